"""The record of an execution is lost while its solver works: the job is settled all the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rig import Rig, alive
from sagequeue import execution, findings
from sagequeue.jobs import JobState

pytestmark = pytest.mark.slow

PENDING, RUNNING, DONE, FAILED = JobState
SOLUTION = "FOUND perfect number: 6"


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xff nonsense\n")


def emptied(path: Path) -> None:
    path.write_text("")


def unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)  # not even root can read it


def anothers(path: Path) -> None:
    """As of an execution of another job, copied by mistake."""
    execution.begin(path, 7, 0, "-1")
    with open(path, "a") as file:
        file.write("PID=1\nRUN=1\nRC=1\n")


SPOIL = [Path.unlink, garbage, emptied, unreadable, anothers]
Spoil = Callable[[Path], None]


@pytest.mark.parametrize("spoil", SPOIL)
def test_its_worker_settles_the_job_as_one_without_a_result(demo: Rig, spoil: Spoil) -> None:
    demo.orders(0, wait_at=4, print=[0, SOLUTION])
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    spoil(demo.spool.result_file("demo_off0"))
    demo.orders(0)
    demo.go(0)
    demo.until_state(DONE, *range(4))
    assert "demo_off0 interrupted -> pending no_result" in demo.said(1)
    assert len(demo.events("start", 0)) == 2
    assert "ATTEMPTS" not in demo.job(0)
    assert [f["lines"] for f in findings.read(demo.config)] == [[SOLUTION]]
    assert worker.poll() is None


@pytest.mark.parametrize(
    ("verb", "spoil"),
    # Nobody but its worker can tell that another's record is not its own.
    [*(("stop", spoil) for spoil in SPOIL), *(("requeue-running", spoil) for spoil in SPOIL[:-1])],
)
def test_its_solver_can_be_stopped_which_does_not_count(demo: Rig, spoil: Spoil, verb: str) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    if verb == "requeue-running":
        worker.kill()
        worker.wait()
    spoil(demo.spool.result_file("demo_off0"))
    if verb == "stop":
        worker.terminate()
        assert demo.until_ended(worker) == 0
    else:
        demo.run("requeue-running")
    assert not alive(solver.pid)
    assert demo.where(0) == [PENDING]
    assert not {"ATTEMPTS", "INTERRUPTS"} & demo.job(0).keys()


@pytest.mark.parametrize("spoil", [Path.unlink, garbage])
@pytest.mark.parametrize("then", ["ends", "stop"])
def test_the_next_worker_of_that_number_takes_up_its_solver_too(
    demo: Rig, spoil: Spoil, then: str
) -> None:
    demo.orders(0, wait_at=4, print=[0, SOLUTION])
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    spoil(demo.spool.result_file("demo_off0"))
    worker = demo.worker(1)
    demo.until(lambda: "action=adopt job=demo_off0" in demo.said(1), "adoption")
    demo.orders(0)
    if then == "stop":
        worker.terminate()
        assert demo.until_ended(worker) == 0
        assert (demo.where(0), alive(solver.pid)) == ([PENDING], False)
        worker = demo.worker(1)
    else:
        demo.go(0)
    demo.until_state(DONE, *range(4))
    assert [f["lines"] for f in findings.read(demo.config)] == [[SOLUTION]]


def test_what_it_printed_is_recorded_by_recovery_when_nobody_attends_to_it(demo: Rig) -> None:
    demo.orders(0, wait_at=4, print=[0, SOLUTION])
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.spool.result_file("demo_off0").unlink()
    demo.go(0)
    demo.until_free(0)
    demo.run("recover")
    assert demo.where(0) == [PENDING]
    assert [f["lines"] for f in findings.read(demo.config)] == [[SOLUTION]]
