"""Solvers yield to other programs, by nice and by the nice value of their session's group."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from kit.journal import Line
from rig import Rig
from sagequeue import autogroup, owner

GROUPED = pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroups"
)


def at_work(demo: Rig, **settings: str) -> Line:
    demo.configure(**settings)
    demo.orders(0, wait_at=0)
    demo.worker(1)
    return demo.until_event("waiting", 0)


@pytest.mark.parametrize(("settings", "nice"), [({}, 10), ({"NICE": "3"}, 3), ({"NICE": "0"}, 0)])
def test_a_solver_has_the_nice_value_of_the_settings_and_its_worker_has_not(
    demo: Rig, settings: dict[str, str], nice: int
) -> None:
    solver = at_work(demo, **settings)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert psutil.Process(solver.pid).nice() == min(ours + nice, 19)
    assert psutil.Process(demo.workers[0].pid).nice() == ours
    demo.go(0)


@GROUPED
def test_so_has_its_sessions_group_and_no_other(demo: Rig) -> None:
    ours = Path("/proc/self/autogroup").read_text()
    solver = at_work(demo)
    group = Path(f"/proc/{solver.pid}/autogroup")
    demo.until(lambda: group.read_text().endswith(" nice 10\n"), "the group's nice value")
    # The worker is in our session, the wrapper begins one.
    assert Path("/proc/self/autogroup").read_text() == ours
    assert Path(f"/proc/{solver.wrapper}/autogroup").read_text().endswith(" nice 0\n")
    demo.go(0)


@GROUPED
def test_the_session_that_a_leader_has_not_left_yet_does_not_get_its_value() -> None:
    argv = ["sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as shell:
        try:
            assert shell.stdout is not None
            member = owner.process(int(shell.stdout.readline()))
            assert member is not None
            assert not autogroup.set_nice(f"{member.pid}:{member.start}:1:boot", 10)
            group = Path(f"/proc/{shell.pid}/autogroup")
            assert group.read_text().endswith(" nice 0\n")
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
