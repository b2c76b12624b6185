"""A worker in one piece: what it does when a job it attends to cannot be settled as it should."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kinds import Put
from kit import waiting
from sagequeue import execution, recovery, settlement, worker
from sagequeue.config import Config
from sagequeue.jobs import JobState
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import is_mine, try_lock, write_owner
from sagequeue.spool import Spool
from sagequeue.worker import Worker

PENDING, RUNNING, DONE, FAILED = JobState
PATIENCE = 5.0


@pytest.fixture
def one(config: Config) -> Iterator[Worker]:
    """Worker 1, in this process; the process's signals are put back afterwards."""
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in caught}
    made = Worker(config, 1)
    yield made
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
    made.held.close()


def waiters() -> list[LockWaiter]:
    return [thread for thread in threading.enumerate() if isinstance(thread, LockWaiter)]


def test_a_gate_that_cannot_be_noted_does_not_leave_the_lock_with_the_worker_for_ever(
    one: Worker, spool: Spool, put: Put
) -> None:
    name = put(RUNNING)
    record = spool.result_file(name)
    record.symlink_to(record.name)  # a loop: not even root can write to it
    spool.config.stop_file_host.write_text("stop\n")
    solver = spool.lock(name)
    assert solver is not None
    # The solver ends while the worker attends to it, whether or not the worker minds the disk.
    threading.Timer(0.2, solver.close).start()
    with contextlib.suppress(OSError):  # it may say so, or pass over it
        one.attend(name, execution.UNKNOWN.word)
    for waiter in waiters():
        waiter.join(PATIENCE)
        assert not waiter.is_alive()
    again = spool.lock(name)
    assert again is not None, "nobody but this worker can have it, and it waits for it"
    again.close()


def test_a_gate_that_comes_and_goes_while_its_solver_ends_has_paused_the_job(
    one: Worker, spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, gate = put(RUNNING), spool.config.stop_file_host
    record = spool.result_file(name)
    word = execution.begin(record, 1, 0, "-1")
    solver = spool.lock(name)
    assert solver is not None

    def wait(*_: object, **__: object) -> None:
        """The solver sees the gate and ends, and the gate is gone before its wrapper looks."""
        gate.touch()
        with open(record, "a") as file:
            file.write("PID=1\nRUN=1\nRC=0\n")
        gate.unlink()
        solver.close()
        waiting.until(lambda: not waiters(), "the lock to be the worker's")

    monkeypatch.setattr(one.signals, "wait", wait)
    one.attend(name, word)
    assert spool.locate(name) == [PENDING]
    assert spool.read(PENDING, name).last_outcome == "paused"


def test_a_job_copied_into_two_states_is_not_adopted_again_and_again(
    one: Worker, spool: Spool, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    write_owner(spool.owner_file(put(RUNNING)), 1)
    put(DONE)
    tries = 0

    def counted(name: str, word: str | None) -> worker.Turn:
        nonlocal tries
        tries += 1
        if tries == 3:
            one.signals.drain = True  # so that a loop ends
        return Worker.attend(one, name, word)

    def stop_when_idle(*_: object, **__: object) -> None:
        one.signals.drain = True

    one.attend = counted  # type: ignore[method-assign]
    one.signals.wait = stop_when_idle  # type: ignore[method-assign]
    one.run()
    assert tries < 3
    assert spool.locate("demo_off0") == [RUNNING, DONE]


def test_a_pending_copy_of_a_running_job_does_not_cost_it_its_result(
    one: Worker, spool: Spool, put: Put, tmp_path: Path
) -> None:
    name = put(RUNNING)
    execution.begin(spool.result_file(name), 2, 17, "-1")
    with open(spool.result_file(name), "a") as file:
        file.write("PID=4711\nRC=0\n")
    before = spool.result_file(name).read_bytes()
    put(PENDING)
    with pytest.raises(Exception, match="demo_off0 is pending and running"):
        one.run_once()
    assert spool.result_file(name).read_bytes() == before


def test_a_signal_that_came_while_a_job_was_attended_to_is_not_slept_over(
    one: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drained_meanwhile() -> worker.Turn:
        one.signals.drain = True  # and its wake-up call is used up
        return worker.Turn.UNAVAILABLE

    monkeypatch.setattr(one, "run_once", drained_meanwhile)
    monkeypatch.setattr(one.signals, "wait", lambda *_, **__: pytest.fail("it waits"))
    one.run()


def test_after_an_outage_it_looks_again_within_ten_seconds_however_long_that_was(
    one: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def wait(seconds: float, *_: object, **__: object) -> None:
        pauses.append(seconds)
        one.signals.drain = sum(pauses) > 3600

    monkeypatch.setattr(one, "run_once", lambda: worker.Turn.UNAVAILABLE)
    monkeypatch.setattr(one.signals, "wait", wait)
    one.run()
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert max(pauses) <= 10


def test_a_job_that_recovery_is_just_giving_back_is_not_said_to_be_adopted(
    one: Worker, spool: Spool, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen once: `adopt` by one worker, and 8 ms later `requeue_orphan` by another's recovery."""
    name = put(RUNNING)
    execution.begin(spool.result_file(name), 1, 0, "-1")
    spool.owner_file(name).write_text("OWNER_PID=0\nOWNER_WORKER_ID=1\n")
    passing, lock = try_lock(recovery.lock_file(spool)), spool.lock(name)
    assert passing is not None
    assert lock is not None
    adopting = threading.Thread(target=one.adopt)
    adopting.start()
    waiting.until(lambda: waiters() or not adopting.is_alive(), "the other worker to be at it")
    settlement.settle(spool, lock, name)
    lock.close()
    passing.close()
    adopting.join(PATIENCE)
    assert not adopting.is_alive()
    assert "adopt" not in capsys.readouterr().out
    assert spool.locate(name) == [PENDING]
    assert not spool.owner_file(name).exists()


@pytest.mark.parametrize("attribute", ["drain", "stop"])
def test_a_signal_just_after_a_job_was_adopted_is_for_its_solver_too(
    one: Worker, spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch, attribute: str
) -> None:
    """A drained worker sees what it adopted through, and a stopped one ends it."""
    name = put(RUNNING)
    execution.begin(spool.result_file(name), 1, 0, "-1")
    spool.owner_file(name).write_text("OWNER_PID=0\nOWNER_WORKER_ID=1\n")
    solver = spool.lock(name)
    assert solver is not None
    attended: list[str] = []

    def say(line: str) -> None:
        one.signals.drain = True
        setattr(one.signals, attribute, True)

    monkeypatch.setattr(recovery, "say", say)
    monkeypatch.setattr(one, "attend", lambda name, word: attended.append(name))
    one.adopt()
    solver.close()
    assert attended == [name]


def test_recovery_that_does_not_come_to_an_end_keeps_no_worker_from_its_solver_for_long(
    one: Worker, spool: Spool, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    name = put(RUNNING)
    execution.begin(spool.result_file(name), 1, 0, "-1")
    spool.owner_file(name).write_text("OWNER_PID=0\nOWNER_WORKER_ID=1\n")
    passing, solver = try_lock(recovery.lock_file(spool)), spool.lock(name)
    assert passing is not None
    assert solver is not None
    limits: list[float | None] = []

    def wait(seconds: float | None, *_: object, **__: object) -> None:
        limits.append(seconds)
        one.signals.leave = len(limits) > 1

    one.signals.wait = wait  # type: ignore[method-assign]
    one.adopt()
    assert limits[0] == 10
    assert "action=adopt job=demo_off0 worker=1" in capsys.readouterr().out
    assert is_mine(spool.owner_file(name))
    passing.close()
    solver.close()
    for waiter in waiters():
        waiter.join(PATIENCE)


def test_a_job_whose_solver_ended_before_it_could_be_adopted_is_settled(
    one: Worker, spool: Spool, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    name = put(RUNNING)
    execution.begin(spool.result_file(name), 1, 0, "-1")
    with open(spool.result_file(name), "a") as file:
        file.write("PID=1\nRUN=1\nRC=3\n")
    spool.owner_file(name).write_text("OWNER_PID=0\nOWNER_WORKER_ID=1\n")
    one.adopt()
    assert spool.locate(name) == [FAILED]
    assert "adopt" not in capsys.readouterr().out


class Output:
    """A standard output that fails like that, on descriptor `fd`."""

    def __init__(self, fd: int, error: int) -> None:
        self.fd, self.error = fd, error

    def write(self, text: str) -> int:
        return os.write(self.fd, text.encode())

    def flush(self) -> None:
        if self.error != errno.EPIPE:
            raise OSError(self.error, os.strerror(self.error))

    def fileno(self) -> int:
        return self.fd


@pytest.mark.parametrize("error", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_a_worker_to_whom_nobody_listens_works_on(
    one: Worker, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    if error == errno.EPIPE:
        os.close(reading)
    monkeypatch.setattr(sys, "stdout", Output(writing, error))
    one.say("the job is done")
    one.say("and the next")
    if error == errno.EPIPE:
        assert os.path.samestat(os.fstat(writing), os.stat(os.devnull))
