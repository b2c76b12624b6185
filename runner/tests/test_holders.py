"""A process that left its solver, and holds the job's lock, does not keep the job from going on."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from kinds import Put
from kit import waiting
from rig import Rig, alive, wrapper_of
from sagequeue import execution, freeing
from sagequeue.attending import Attending
from sagequeue.holders import Holder
from sagequeue.jobs import JobState
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock, write_owner
from sagequeue.runtime import Local
from sagequeue.spool import Spool
from sagequeue.watch import Signals, Watch

pytestmark = pytest.mark.slow

PENDING, RUNNING, DONE, FAILED = JobState
SLEEP = ["sleep", "1000"]
# It starts programs that hold the lock, too.
DEAF = ["sh", "-c", "trap '' TERM; while :; do sleep 1000; done"]
STOPPED = ["sh", "-c", "kill -STOP $$"]


def result(demo: Rig, offset: int = 0) -> int | None:
    run = execution.read(demo.spool.result_file(f"demo_off{offset}"))
    return run.rc if run else None


def end_solver_without_worker(demo: Rig, escaped: list[str]) -> int:
    """Have a solver end whose worker is dead, and which left such a program; its process."""
    demo.orders(0, wait_at=8, escaped=escaped)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.go(0)
    demo.until(lambda: result(demo) == 0, "the result")
    return demo.until_event("escaped", 0).value


@pytest.mark.parametrize("program", [SLEEP, DEAF, STOPPED])
def test_it_is_ended_once_the_result_is_written_and_its_job_is_settled_by_that(
    demo: Rig, program: list[str]
) -> None:
    demo.configure(STOP_GRACE=1)
    demo.orders(0, escaped=program)
    demo.worker(1)
    demo.until_state(DONE, *range(4))
    assert not alive(demo.until_event("escaped", 0).value)
    assert len(demo.events("start", 0)) == 1


def test_a_failure_with_such_a_process_is_a_failure_still(demo: Rig) -> None:
    demo.orders(0, escaped=SLEEP, exit=[4, 7])
    demo.worker(1)
    demo.until_state(FAILED, 0)
    assert demo.job(0)["LAST_REASON"] == "rc_7"


@pytest.mark.parametrize("program", [SLEEP, DEAF])
def test_a_stop_ends_it_and_keeps_the_result(demo: Rig, program: list[str]) -> None:
    demo.configure(STOP_GRACE=1)
    demo.orders(0, escaped=program)
    worker = demo.worker(1)
    demo.until(lambda: result(demo) == 0, "the result")
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert demo.where(0) == [DONE]
    assert not alive(demo.until_event("escaped", 0).value)


def test_recovery_ends_it_when_no_worker_does(demo: Rig) -> None:
    escaped = end_solver_without_worker(demo, SLEEP)
    assert "action=finish job=demo_off0 outcome=done" in demo.run("recover").stdout
    assert not alive(escaped)


def test_requeue_running_ends_it_and_keeps_the_result(demo: Rig) -> None:
    escaped = end_solver_without_worker(demo, SLEEP)
    assert "demo_off0 is done" in demo.run("requeue-running").stdout
    assert not alive(escaped)


@pytest.mark.parametrize("how", ["stop", "requeue-running"])
def test_it_can_be_stopped_when_wrapper_and_solver_were_killed(demo: Rig, how: str) -> None:
    demo.orders(0, wait_at=4, escaped=SLEEP)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0).pid
    escaped = demo.until_event("escaped", 0).value
    wrapper_of(solver).kill()
    os.kill(solver, signal.SIGKILL)
    # It may be the solver itself, and at work: without a result only an order ends it.
    demo.run("recover")
    assert demo.where(0) == [RUNNING]
    assert alive(escaped)
    if how == "stop":
        worker.terminate()
        assert demo.until_ended(worker) == 0
    else:
        worker.kill()
        worker.wait()
        demo.run("requeue-running")
    assert demo.where(0) == [PENDING]
    assert not alive(escaped)
    assert not {"ATTEMPTS", "INTERRUPTS"} & demo.job(0).keys()


def test_what_keeps_the_job_is_named(demo: Rig) -> None:
    escaped = end_solver_without_worker(demo, SLEEP)
    why = f"its workload ended with exit status 0, but its lock is held by process {escaped}"
    why += " (sleep)"
    said = demo.run("explain", "0").stdout
    assert f"It is not settled: {why}." in said
    assert "works on" not in said
    assert "Next: recovery ends it and settles the job" in said
    told = json.loads(demo.run("progress", "--json").stdout)
    assert told["partitions"][0]["note"] == why
    assert f"demo_off0 is not settled: {why}" in demo.run("doctor", check=False).stdout
    assert alive(escaped), "who looks ends nothing"


@contextmanager
def letter_box(demo: Rig) -> Iterator[str]:
    """A socket that takes a lock, and in which it stays until the end of the block."""
    path = str(demo.root / "box")
    with socket.socket(socket.AF_UNIX) as box:
        box.bind(path)
        box.listen()
        yield path


def test_one_that_cannot_be_ended_keeps_its_job_running_and_no_other(demo: Rig) -> None:
    with letter_box(demo) as box:
        demo.orders(0, posted=box)
        worker = demo.worker(1)
        demo.until_state(DONE, 1, 2, 3)
        assert demo.where(0) == [RUNNING]
        why = "ended with exit status 0, but a process that cannot be seen from here holds its lock"
        assert demo.said(1).count(f"demo_off0 stays in running/: its workload {why}") == 1
        assert worker.poll() is None
        assert "a process that cannot be seen from here" in demo.run("explain", "0").stdout
    demo.until_state(DONE, 0)
    assert len(demo.events("start", 0)) == 1


def test_a_worker_is_stopped_though_it_cannot_be_ended(demo: Rig) -> None:
    with letter_box(demo) as box:
        demo.orders(0, posted=box)
        worker = demo.worker(1)
        demo.until(lambda: result(demo) == 0, "the result")
        worker.terminate()
        assert demo.until_ended(worker) == 0
        assert "demo_off0 stays in running/: a process" in demo.run("requeue-running").stdout
        assert "action=warn job=demo_off0 reason=lock_held" in demo.run("recover").stdout
        assert demo.run("purge", "--yes", check=False).returncode == 75
        assert demo.where(0) == [RUNNING]
    assert "action=finish job=demo_off0 outcome=done" in demo.run("recover").stdout


@pytest.fixture
def lock(spool: Spool, put: Put) -> Iterator[Lock]:
    """The lock of a running job, taken by this process."""
    taken = spool.lock(put(RUNNING))
    assert taken is not None
    with taken:
        yield taken


@contextmanager
def inheriting(lock: Lock) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP, pass_fds=[lock.fd]) as process:
        try:
            yield process
        finally:
            process.kill()


def found(spool: Spool, lock: Lock) -> list[int]:
    return [holder.pid for holder in Local(spool.config).holders(lock.path)]


def test_who_inherited_the_lock_is_found_and_who_took_or_waits_for_it_is_not(
    spool: Spool, lock: Lock, tmp_path: Path
) -> None:
    assert found(spool, lock) == []
    other = spool.lock("demo_off1")
    assert other is not None
    with inheriting(lock) as process, other, inheriting(other), LockWaiter(lock.path):
        assert found(spool, lock) == [process.pid]


def test_a_holder_whose_number_is_another_process_by_now_is_left_alone(
    spool: Spool, lock: Lock
) -> None:
    solvers = Local(spool.config)
    with inheriting(lock) as process:
        (holder,) = solvers.holders(lock.path)
        solvers.holders(lock.path, [Holder(holder.pid, holder.start - 1, holder.name)])
        assert process.poll() is None
        assert solvers.holders(lock.path, [holder]) == []
        assert process.wait(waiting.PATIENCE) == -signal.SIGTERM


def test_nothing_is_ended_when_the_execution_is_not_the_jobs_last(spool: Spool, lock: Lock) -> None:
    with inheriting(lock) as process:
        freeing.end(Local(spool.config), lock.path, lambda: False)
        assert process.poll() is None
        freeing.end(Local(spool.config), lock.path, lambda: True)
        assert process.wait(waiting.PATIENCE) == -signal.SIGTERM


def test_a_holder_that_does_not_end_is_named_by_its_worker(
    spool: Spool, lock: Lock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Weak(Local):
        """Ends nothing, as if each process waited for a broken disk."""

        linger = 0.0

        def holders(self, lock: Path, ended: object = (), *, patient: bool = True) -> list[Holder]:
            return super().holders(lock)

    one = Attending()
    one.config, one.number, one.spool, one.outage = spool.config, 1, spool, None
    one.runtime, one.signals = Weak(spool.config), Signals()
    one.gate_watch = Watch(spool.config.stop_file_host.parent, goes=True)
    record = spool.result_file("demo_off0")
    word = execution.begin(record, 1, 0, "-1")
    with open(record, "a") as file:
        file.write("PID=1\nRUN=1\nRC=0\n")
    write_owner(spool.owner_file("demo_off0"), 1)
    with inheriting(lock) as process:
        lock.close()
        one.attend("demo_off0", word)
        why = f"but process {process.pid} (sleep) holds its lock and cannot be ended"
        assert why in capsys.readouterr().out
        assert spool.lies(RUNNING, "demo_off0")
        assert "demo_off0" in one.unsettled


def test_without_a_shell_nobody_is_seen(spool: Spool, lock: Lock) -> None:
    with inheriting(lock), mock.patch.dict(os.environ, PATH="/nowhere"):
        assert found(spool, lock) == []
