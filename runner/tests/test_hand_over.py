"""SIGHUP: the worker ends at once, its solver is left at work, and the next one adopts it.

As in test_guarantee.py every test ends with `Rig.check`.
"""

import signal

import psutil
import pytest
from kit.journal import Line
from rig import Rig, alive
from sagequeue.jobs import JobState
from test_guarantee import waiting_wrapper

pytestmark = pytest.mark.slow


@pytest.fixture
def solver(demo: Rig) -> Line:
    """Worker 1 has a solver at the second case of offset 0, which waits."""
    demo.orders(0, wait_at=4)
    demo.worker(1)
    return demo.until_event("waiting", 0)


def tell(demo: Rig, *told: signal.Signals) -> None:
    """Send them to the last worker, which ends with 0."""
    worker = demo.workers[-1]
    for number in (*told, signal.SIGCONT):
        worker.send_signal(number)
    assert demo.until_ended(worker) == 0, demo.report()


def adopts(demo: Rig, count: int = 1) -> None:
    """Another worker 1 takes up what the last one left."""
    demo.worker(1)
    demo.until(lambda: demo.said(1).count("action=adopt job=demo_off0") == count, "adoption")


def test_the_next_worker_of_the_number_sees_the_same_solver_through(
    demo: Rig, solver: Line
) -> None:
    tell(demo, signal.SIGHUP)
    assert alive(solver.pid)
    assert demo.where(0) == [JobState.RUNNING]
    adopts(demo)
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    assert {event.pid for event in demo.events("case", 0)} == {solver.pid}
    assert demo.log(0).count("DONE  gidx=") == 3
    assert not {"ATTEMPTS", "INTERRUPTS"} & demo.job(0).keys()


def test_an_adopted_solver_is_handed_over_again(demo: Rig, solver: Line) -> None:
    for count in (1, 2):
        tell(demo, signal.SIGHUP)
        adopts(demo, count)
    demo.go(0)
    demo.until_state(JobState.DONE, 0)
    assert {event.pid for event in demo.events("case", 0)} == {solver.pid}


def test_a_worker_of_another_number_leaves_it_alone(demo: Rig, solver: Line) -> None:
    tell(demo, signal.SIGHUP)
    demo.worker(2)
    demo.until_state(JobState.DONE, 1, 2, 3)
    assert demo.where(0) == [JobState.RUNNING]
    assert "action=adopt" not in demo.said(2)
    assert alive(solver.pid)


def test_recovery_beside_it_takes_nothing(demo: Rig, solver: Line) -> None:
    tell(demo, signal.SIGHUP)
    assert "scanned_running=1 requeued_orphans=0" in demo.run("recover").stdout
    adopts(demo)
    assert "requeued_orphans=0" in demo.run("recover").stdout
    assert alive(solver.pid)


def test_a_solver_that_ends_between_two_workers_is_done(demo: Rig, solver: Line) -> None:
    tell(demo, signal.SIGHUP)
    demo.go(0)
    demo.until_gone(solver.pid)
    demo.until_free(0)
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(4))
    assert len(demo.events("start", 0)) == 1


def test_a_solver_that_ends_as_its_worker_is_told_is_settled_once(demo: Rig, solver: Line) -> None:
    worker = demo.workers[-1]
    demo.freeze(worker)
    demo.go(0)
    demo.until_gone(solver.pid)
    demo.until_free(0)
    tell(demo, signal.SIGHUP)
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(4))
    assert demo.log(0).count("] done offset=0") == 1


def test_told_while_it_ends_its_solver_it_ends_it(demo: Rig) -> None:
    demo.configure(STOP_GRACE=2)
    demo.orders(0, wait_at=4, deaf=True)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.terminate()

    def ends_it() -> bool:
        started = psutil.process_iter(["ppid", "cmdline"])
        lines = (p.info["cmdline"] or [] for p in started if p.info["ppid"] == worker.pid)
        return any("sagequeue-ender" in line for line in lines)

    demo.until(ends_it, "the solver's ender")
    tell(demo, signal.SIGHUP)
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]
    assert "ATTEMPTS" not in demo.job(0)


def test_told_to_stop_as_well_it_does_either(demo: Rig, solver: Line) -> None:
    tell(demo, signal.SIGHUP, signal.SIGTERM)
    assert demo.where(0) == [JobState.RUNNING if alive(solver.pid) else JobState.PENDING]
    demo.run("stop")
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]
    assert "ATTEMPTS" not in demo.job(0)


def test_one_that_drains_does_not_wait_for_its_solver(demo: Rig, solver: Line) -> None:
    tell(demo, signal.SIGUSR1, signal.SIGHUP)
    assert alive(solver.pid)
    assert demo.where(0) == [JobState.RUNNING]


def test_stop_ends_a_solver_that_was_left_at_work(demo: Rig, solver: Line) -> None:
    tell(demo, signal.SIGHUP)
    said = demo.run("stop").stdout.splitlines()
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]
    assert said[-1] == "demo: no worker ran; solvers ended, and their jobs went back"


def test_a_solver_that_has_not_begun_is_handed_over_as_well(demo: Rig) -> None:
    gate = waiting_wrapper(demo)
    tell(demo, signal.SIGHUP)
    adopts(demo)
    gate.write_text("go\n")
    demo.until_state(JobState.DONE, *range(4))
    assert len(demo.events("start", 0)) == 1


def test_at_any_moment_it_leaves_a_whole_queue(demo: Rig) -> None:
    demo.grow(24, 48)
    demo.run("enqueue")

    def moments() -> list[int]:
        states = [len(demo.spool.names(state)) for state in JobState]
        return [0, *states, len(demo.events("start")), len(demo.events("complete"))]

    for turn in range(8):
        before = moments()
        which = turn % len(before)
        worker = demo.worker(1)
        demo.until(lambda b=before, w=which: not w or moments()[w] != b[w] or not moments()[1])
        worker.send_signal(signal.SIGHUP)
        assert demo.until_ended(worker) in (0, -signal.SIGHUP)
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(24))
    logs = "".join(demo.log(offset) for offset in range(24))
    assert " failed offset=" not in logs, demo.report()
    assert " interrupted offset=" not in logs, demo.report()
    assert len(demo.events("start")) == 24


def test_under_nohup_it_works_on(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1, before=["nohup"])
    demo.until_event("waiting", 0)
    worker.send_signal(signal.SIGHUP)
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    assert worker.poll() is None


def test_explain_tells_who_took_it_up(demo: Rig, solver: Line) -> None:
    tell(demo, signal.SIGHUP)
    assert "is running without a worker" in demo.run("explain", "0").stdout
    adopts(demo)
    pid = demo.workers[-1].pid
    demo.until(
        lambda: f"OWNER_PID={pid}" in demo.spool.owner_file("demo_off0").read_text(), "its owner"
    )
    assert f"worker 1 (process {pid}) took it up" in demo.run("explain", "0").stdout
