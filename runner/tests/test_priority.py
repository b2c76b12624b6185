"""Solvers yield to other programs, by nice and by the nice value of their session's group."""

import os
from pathlib import Path

import psutil
import pytest
from kit.journal import Line
from rig import Rig

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
    solver = at_work(demo)
    group = Path(f"/proc/{solver.pid}/autogroup")
    demo.until(lambda: group.read_text().endswith(" nice 10\n"), "the group's nice value")
    for other in (os.getpid(), demo.workers[0].pid, solver.wrapper):
        assert Path(f"/proc/{other}/autogroup").read_text().endswith(" nice 0\n")
    demo.go(0)
