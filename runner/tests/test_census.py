"""Solvers are found by what runs, whoever started it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from kit.jobset import SOLVER
from rig import Rig, rig, wrapper_of
from sagequeue import census
from sagequeue.jobs import JobState


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig") as made:
        made.spool.create()
        yield made


@contextmanager
def by_hand(
    demo: Rig, offset: int, *more: str, stride: int = 4, script: Path = SOLVER, shell: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A solver that somebody starts, at its first case; `more` are arguments of its own."""
    demo.orders(offset, wait_at=offset)
    words = [sys.executable, str(script), *demo.config.sage_base_args, *more]
    argv = [*words, "--stride", str(stride), "--offset", str(offset)]
    # `exit` keeps the shell from becoming the solver.
    before = ["sh", "-c", f"{shlex.join(argv)}; exit"] if shell else argv
    with subprocess.Popen(before, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        demo.until_event("waiting", offset)
        try:
            yield process
        finally:
            demo.go(offset)


def found(demo: Rig) -> list[tuple[int, int, bool]]:
    return [(s.pid, s.offset, s.ours) for s in census.solvers(demo.config)]


def test_there_are_no_solvers_where_nothing_runs(demo: Rig) -> None:
    assert census.solvers(demo.config) == []


def test_a_workers_solver_is_ours_and_counts_once(demo: Rig) -> None:
    demo.orders(0, wait_at=0, child=True, stray=True)
    demo.run("enqueue", "--offset", "0")
    demo.worker(1)
    demo.until_event("waiting", 0)
    pid = demo.events("start", 0)[0].pid
    assert found(demo) == [(pid, 0, True)]
    demo.go(0)
    demo.until_state(JobState.DONE, 0)
    assert found(demo) == []


def test_it_is_ours_after_its_wrapper_and_its_worker_are_gone(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.run("enqueue", "--offset", "0")
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    pid = demo.events("start", 0)[0].pid
    wrapper = wrapper_of(pid)
    worker.kill()
    worker.wait()
    wrapper.kill()
    demo.until_gone(wrapper.pid)
    assert found(demo) == [(pid, 0, True)]
    demo.go(0)
    demo.until_gone(pid)


def test_a_solver_started_by_hand_is_foreign(demo: Rig) -> None:
    with by_hand(demo, 2) as process:
        assert found(demo) == [(process.pid, 2, False)]


def test_the_shell_around_a_solver_is_none(demo: Rig) -> None:
    with by_hand(demo, 2, shell=True) as process:
        (pid, offset, ours), *more = found(demo)
        assert (offset, ours, more) == (2, False, [])
        assert pid != process.pid


def test_a_command_that_waits_for_the_solver_is_none(demo: Rig) -> None:
    demo.orders(1, wait_at=1)
    argv = [sys.executable, str(SOLVER), *demo.config.sage_base_args, "--stride=4", "--offset=1"]
    with subprocess.Popen(["timeout", "60", *argv], stdout=subprocess.DEVNULL) as process:
        demo.until_event("waiting", 1)
        (pid, offset, ours), *more = found(demo)
        assert (offset, ours, more) == (1, False, [])
        assert pid == demo.events("start", 1)[0].pid != process.pid
        demo.go(1)


def test_offsets_come_in_order_with_how_long_they_have_run(demo: Rig) -> None:
    with by_hand(demo, 3), by_hand(demo, 1):
        late, early = census.solvers(demo.config)
    assert (late.offset, early.offset) == (1, 3)
    assert 0 <= late.seconds <= early.seconds < 600


def test_another_stride_is_another_experiment(demo: Rig) -> None:
    with by_hand(demo, 2, stride=3):
        assert found(demo) == []


def test_another_script_is_another_experiment(demo: Rig) -> None:
    copy = demo.home / "another.py"
    copy.write_bytes(SOLVER.read_bytes())
    with by_hand(demo, 2, script=copy):
        assert found(demo) == []


def test_a_jobset_with_more_arguments_is_told_apart_by_its_mark(demo: Rig) -> None:
    base = demo.settings["SAGE_BASE_ARGS"]
    demo.configure(SAGE_BASE_ARGS=f"{base} --total 12")
    demo.orders(0, wait_at=0)
    demo.run("enqueue", "--offset", "0")
    demo.worker(1)
    demo.until_event("waiting", 0)
    # The same script and stride, and no argument that the other has not.
    demo.configure(JOBSET="shorter", SAGE_BASE_ARGS=base)
    assert found(demo) == []
    demo.configure(JOBSET="demo")
    assert [ours for _, _, ours in found(demo)] == [True]
    demo.go(0)
    demo.until_state(JobState.DONE, 0)
    assert found(demo) == []


def test_the_same_jobset_of_another_clone_is_foreign(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.run("enqueue", "--offset", "0")
    demo.worker(1)
    demo.until_event("waiting", 0)
    demo.configure(RUN_DIR=demo.root / "elsewhere")
    assert [solver.ours for solver in census.solvers(demo.config)] == [False]
    demo.configure(RUN_DIR=None)
    demo.go(0)
    demo.until_state(JobState.DONE, 0)
    assert found(demo) == []


@pytest.mark.parametrize(
    ("asks", "owners", "command"),
    [
        (1000, [1000], "kill 1"),
        (1000, [1000, 100999], "podman unshare kill 1 2"),
        (1000, [100999, 0], "sudo kill 1 2"),
        (0, [1000], "kill 1"),
    ],
)
def test_the_command_that_ends_solvers_is_one_that_may(
    asks: int, owners: list[int], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(pid: int) -> SimpleNamespace:
        return SimpleNamespace(uids=lambda: SimpleNamespace(real=owners[pid - 1]))

    monkeypatch.setattr(os, "getuid", lambda: asks)
    monkeypatch.setattr(psutil, "Process", process)
    solvers = [census.Solver(n, 0, False, 1.0) for n in range(1, len(owners) + 1)]
    assert census.kill(solvers) == command


def test_a_program_that_only_reads_the_script_is_none(demo: Rig) -> None:
    argv = ["tail", "-f", str(SOLVER)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        assert found(demo) == []
        process.kill()
