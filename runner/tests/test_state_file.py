"""A state file that cannot be read for a while: the job waits, and nothing is held against it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import Rig, rig
from sagequeue import execution, recovery
from sagequeue.doctor import examine, queue
from sagequeue.doctor.patient import Patient
from sagequeue.jobs import JobState

PENDING, RUNNING, DONE, FAILED = JobState


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    """The runner finds each state file through a link of its own, its solver does not."""
    with rig(tmp_path / "rig") as made:
        file = Path(str(made.settings["STATE_FILE_HOST"])).name
        for offset in range(4):
            way(made, offset).symlink_to(made.home)
        made.configure(STATE_FILE_HOST=f"{made.root}/way{{offset}}/{file}")
        made.run("enqueue")
        yield made


def way(demo: Rig, offset: int) -> Path:
    return demo.root / f"way{offset}"


def block(demo: Rig, offset: int) -> str:
    """Have the state file unreadable; what is to be said of it."""
    way(demo, offset).unlink()
    way(demo, offset).symlink_to(f"way{offset}")
    return f"cannot read {demo.config.state_file(offset)}: Too many levels of symbolic links"


def unblock(demo: Rig, offset: int) -> None:
    way(demo, offset).unlink()
    way(demo, offset).symlink_to(demo.home)


def looks(demo: Rig, said: str) -> None:
    """Everything that looks at the queue says so."""
    # At the moment at which its worker tries again, that is what happens next.
    demo.until(lambda: said in demo.run("explain", "0").stdout, "the reason")
    shown = demo.run("progress").stdout
    assert "state_unreadable" in shown
    assert "".join(said.split()) in "".join(shown.split()), "wherever its lines were broken"
    ((_, finding),) = examine(Patient(demo.config), [queue.state_files])
    assert said in finding.cause
    assert finding.level == "WARN"
    assert str(demo.config.state_file(0)) in finding.remedy


def test_a_job_whose_state_file_cannot_be_read_is_not_started_and_the_others_are(
    demo: Rig,
) -> None:
    said = block(demo, 0)
    worker = demo.worker(1)
    demo.until_state(DONE, 1, 2, 3)
    demo.until(lambda: said in demo.said(1), "the worker's words")
    assert (demo.where(0), demo.events("start", 0), demo.log(0)) == ([PENDING], [], "")
    looks(demo, said)
    unblock(demo, 0)
    demo.until_state(DONE, 0)
    assert worker.poll() is None
    assert not {"ATTEMPTS", "INTERRUPTS"} & demo.job(0).keys()
    assert [f.level for _, f in examine(Patient(demo.config), [queue.state_files])] == ["OK"]


@pytest.mark.parametrize("order", [{}, {"exit": [8, 7]}])
def test_a_result_waits_in_running_until_the_state_file_can_be_read(
    demo: Rig, order: dict[str, object]
) -> None:
    demo.orders(0, wait_at=4, **order)
    demo.worker(1)
    demo.until_event("waiting", 0)
    said = block(demo, 0)
    demo.go(0)
    demo.until_state(DONE, 1, 2, 3)
    assert demo.where(0) == [RUNNING]
    run = execution.read(demo.spool.result_file("demo_off0"))
    assert run is not None
    assert run.rc == (7 if order else 0)
    assert f"demo_off0 stays in running/, with its result: {said}" in demo.said(1)

    def warned() -> bool:
        lines: list[str] = []
        recovery.recover(demo.spool, lines.append)
        return "action=warn job=demo_off0 reason=state_unreadable error=cannot_read_" in lines[0]

    # At the moment at which its worker tries again, recovery leaves it alone.
    demo.until(warned, "recovery's warning")
    assert demo.where(0) == [RUNNING]
    looks(demo, said)
    unblock(demo, 0)
    demo.until_state(FAILED if order else DONE, 0)
    assert len(demo.events("start", 0)) == 1
    assert demo.job(0).get("LAST_REASON") == ("rc_7" if order else None)
    assert demo.log(0).count("[worker 1] failed" if order else "[worker 1] done") == 1


def test_a_worker_that_starts_settles_what_its_predecessor_could_not(demo: Rig) -> None:
    demo.orders(0, wait_at=8)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    block(demo, 0)
    demo.go(0)
    demo.until(lambda: "demo_off0 stays in running/" in demo.said(1), "the worker's words")
    worker.kill()
    worker.wait()
    demo.worker(1)
    demo.until(lambda: demo.said(1).count("stays in running/") == 2, "the same of the next worker")
    unblock(demo, 0)
    demo.until_state(DONE, 0)
    assert len(demo.events("start", 0)) == 1


@pytest.mark.parametrize("verb", ["stop", "gate"])
def test_a_result_that_cannot_be_settled_keeps_no_worker_from_a_stop_or_the_gate(
    demo: Rig, verb: str
) -> None:
    demo.orders(0, wait_at=8)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    block(demo, 0)
    demo.go(0)
    demo.until(lambda: "demo_off0 stays in running/" in demo.said(1), "the worker's words")
    if verb == "stop":
        worker.terminate()
        assert demo.until_ended(worker) == 0
        unblock(demo, 0)
        demo.run("recover")
    else:
        demo.run("request-stop")
        unblock(demo, 0)
    demo.until_state(DONE, 0)


def test_a_solver_that_was_stopped_goes_back_whatever_its_state_file(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    block(demo, 0)
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert demo.where(0) == [PENDING]


def test_requeue_running_says_what_it_could_not_settle(demo: Rig) -> None:
    demo.orders(0, wait_at=8)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    said = block(demo, 0)
    worker.kill()
    demo.go(0)
    demo.until_free(0)
    told = demo.run("requeue-running").stdout
    assert f"demo_off0 stays in running/, with its result: {said}\nrequeued=0" in told
    assert demo.where(0) == [RUNNING]
    unblock(demo, 0)
    demo.run("recover")
    assert demo.where(0) == [DONE]
