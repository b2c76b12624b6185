"""What an operator does to a queue: effects, and what is said of them."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from kinds import Put, read_log
from kit import waiting
from sagequeue import execution, findings, operations
from sagequeue.config import Config
from sagequeue.exceptions import Busy, SagequeueError
from sagequeue.jobs import JobState
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock
from sagequeue.reading import Reader
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState


class Told(list[str]):
    """What an operation said."""

    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def held(spool: Spool) -> Iterator[Lock]:
    """The lock of job 0, as a solver at work holds it."""
    lock = spool.lock("demo_off0")
    assert lock is not None
    with lock:
        yield lock


def states(spool: Spool) -> dict[str, list[int]]:
    return {
        str(state): sorted(int(name.rpartition("off")[2]) for name in spool.names(state))
        for state in JobState
        if spool.names(state)
    }


def state_file(config: Config, offset: int, text: str) -> Path:
    path = config.state_file(offset)
    assert path is not None
    path.write_text(text)
    return path


def enqueue(config: Config, told: Told, offset: int | None = None, *, force: bool = False) -> None:
    told.clear()
    operations.enqueue(config, offset, force=force, tell=told)


# Enqueue


def test_enqueue_makes_the_queue_and_a_job_for_every_offset(config: Config, told: Told) -> None:
    enqueue(config, told)
    spool = Spool(config)
    assert states(spool) == {"pending": [0, 1, 2, 3]}
    assert told == ["enqueued=4 requeued=0 skipped=0"]
    for offset in range(4):
        job = spool.read(PENDING, f"demo_off{offset}")
        assert job.offset == offset
        assert list(job.extra) == ["ENQUEUED_AT"]
    assert sorted(os.listdir(config.pending_dir)) == [f"demo_off{k}.env" for k in range(4)]


def test_enqueue_again_changes_nothing_and_says_what_is_there(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    for offset, state in enumerate(JobState):
        put(state, offset)
    before = {
        state: (spool.dirs[state] / f"demo_off{k}.env").stat() for k, state in enumerate(JobState)
    }
    enqueue(config, told)
    assert told == [
        "already there: 1 pending, 1 running, 1 done, 1 failed",
        "enqueued=0 requeued=0 skipped=4",
    ]
    after = {
        state: (spool.dirs[state] / f"demo_off{k}.env").stat() for k, state in enumerate(JobState)
    }
    assert [s.st_mtime_ns for s in after.values()] == [s.st_mtime_ns for s in before.values()]
    assert [s.st_ino for s in after.values()] == [s.st_ino for s in before.values()]


def test_enqueue_adds_only_what_is_missing(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(RUNNING, 1)
    enqueue(config, told)
    assert states(spool) == {"pending": [0, 2, 3], "running": [1]}
    assert told == [
        "already there: 0 pending, 1 running, 0 done, 0 failed",
        "enqueued=3 requeued=0 skipped=1",
    ]


def test_enqueue_of_one_offset_adds_that_one(config: Config, spool: Spool, told: Told) -> None:
    enqueue(config, told, 2)
    assert states(spool) == {"pending": [2]}
    assert told == ["enqueued=1 requeued=0 skipped=0"]
    enqueue(config, told, 2)
    assert told[-1] == "enqueued=0 requeued=0 skipped=1"


@pytest.mark.parametrize("offset", [-1, 4, 10**300])
def test_enqueue_of_an_offset_that_is_no_partition_is_refused(
    offset: int, config: Config, told: Told
) -> None:
    with pytest.raises(SagequeueError, match=r"is not from 0 to 3 \(STRIDE - 1\)"):
        enqueue(config, told, offset)
    assert not config.queue_dir.exists()


def test_a_malformed_job_is_not_enqueued_beside_itself(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(FAILED, 0, b"malformed")
    enqueue(config, told)
    assert states(spool) == {"pending": [1, 2, 3], "failed": [0]}


def test_force_redoes_done_and_failed_jobs_as_new_ones(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(DONE, 0, LAST_OUTCOME="done", FINISHED_AT="then")
    put(FAILED, 1, LAST_OUTCOME="failed", ATTEMPTS=3, MINE="kept")
    put(PENDING, 2, ATTEMPTS=2)
    enqueue(config, told, force=True)
    assert states(spool) == {"pending": [0, 1, 2, 3]}
    assert told[-1] == "enqueued=1 requeued=2 skipped=1"
    assert list(spool.read(PENDING, "demo_off0").extra) == ["ENQUEUED_AT"]
    assert list(spool.read(PENDING, "demo_off1").extra) == ["ENQUEUED_AT", "MINE"]
    assert spool.read(PENDING, "demo_off2").count("ATTEMPTS") == 2


def test_force_counts_as_already_there_only_what_it_left(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(DONE, 0)
    put(PENDING, 1)
    enqueue(config, told, force=True)
    assert "already there: 1 pending, 0 running, 0 done, 0 failed" in told


def test_force_never_touches_a_running_job(
    config: Config, spool: Spool, put: Put, told: Told, held: Lock
) -> None:
    put(RUNNING, 0)
    put(RUNNING, 1)
    before = [spool.file(RUNNING, f"demo_off{k}").stat().st_ino for k in (0, 1)]
    enqueue(config, told, 0, force=True)
    enqueue(config, told, force=True)
    assert [spool.file(RUNNING, f"demo_off{k}").stat().st_ino for k in (0, 1)] == before
    assert states(spool) == {"running": [0, 1], "pending": [2, 3]}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_PATIENCE", 0.05)


@pytest.mark.parametrize("state", [DONE, FAILED])
def test_a_job_that_is_only_looked_at_is_waited_for(
    config: Config, spool: Spool, put: Put, told: Told, held: Lock, state: JobState
) -> None:
    """Recovery has the lock of each failed job for a moment, and of one whose log it reads."""
    put(state, 0)
    act = threading.Thread(target=enqueue, args=(config, told, 0), kwargs={"force": True})
    act.start()
    waiting.until(
        lambda: any(isinstance(thread, LockWaiter) for thread in threading.enumerate()), "a wait"
    )
    held.close()
    act.join(waiting.PATIENCE)
    assert states(spool) == {"pending": [0]}
    assert told[-1] == "enqueued=0 requeued=1 skipped=0"


def test_force_leaves_a_failed_job_whose_lock_is_held(
    config: Config, spool: Spool, put: Put, told: Told, held: Lock, impatient: None
) -> None:
    put(FAILED, 0)
    enqueue(config, told, 0, force=True)
    assert states(spool) == {"failed": [0]}
    assert "demo_off0 stays in failed/: its lock is held; try again later" in told
    assert told[-1] == "enqueued=0 requeued=0 skipped=1"


def test_force_with_an_offset_redoes_that_one_only(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(DONE, 0)
    put(DONE, 1)
    enqueue(config, told, 1, force=True)
    assert states(spool) == {"pending": [1], "done": [0]}


def test_force_says_when_the_state_files_make_it_a_no_op(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(DONE, 0)
    put(DONE, 1)
    put(FAILED, 2)
    state_file(config, 0, "8\n")
    state_file(config, 1, "5\n")
    state_file(config, 2, "nonsense")
    enqueue(config, told, force=True)
    (warning,) = [line for line in told if "does nothing" in line or "do nothing" in line]
    assert warning.startswith("1 of them ")
    assert config.state_file_host in warning
    assert states(spool) == {"pending": [0, 1, 2, 3]}


def test_force_says_nothing_of_state_files_that_leave_work_to_do(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(DONE, 0)
    state_file(config, 0, "4\n")
    enqueue(config, told, 0, force=True)
    assert told == ["enqueued=0 requeued=1 skipped=0"]


def test_force_leaves_a_malformed_job_and_says_how_to_mend_it(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(FAILED, 0, b"OFFSET=1\n")
    put(FAILED, 1)
    enqueue(config, told, force=True)
    assert states(spool) == {"pending": [1, 2, 3], "failed": [0]}
    assert told[0].startswith("demo_off0 stays in failed/: its OFFSET says demo_off1")
    assert told[0].endswith("mend or remove the file")


def test_a_malformed_file_in_done_is_said_to_be_there(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(DONE, 0, b"")
    enqueue(config, told, 0, force=True)
    assert told[0].startswith("demo_off0 stays in done/")


# Retry


def test_retry_failed_gives_failed_and_held_jobs_back_and_keeps_their_attempts(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(FAILED, 0, LAST_OUTCOME="failed", ATTEMPTS=3)
    put(FAILED, 1, LAST_OUTCOME="found", LAST_REASON="rc_1")
    put(FAILED, 2, LAST_OUTCOME="interrupted", LAST_REASON="no_progress", INTERRUPTS=5)
    put(DONE, 3)
    operations.retry_failed(config, reset=False, tell=told)
    assert told == ["retried=3 kept=0"]
    assert states(spool) == {"pending": [0, 1, 2], "done": [3]}
    assert spool.read(PENDING, "demo_off0").count("ATTEMPTS") == 3
    assert spool.read(PENDING, "demo_off2").count("INTERRUPTS") == 0


def test_retry_failed_with_reset_counts_attempts_from_nought(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(FAILED, 0, LAST_OUTCOME="failed", ATTEMPTS=3)
    operations.retry_failed(config, reset=True, tell=told)
    assert "ATTEMPTS" not in spool.read(PENDING, "demo_off0").extra


def test_retry_failed_keeps_malformed_jobs_and_says_how_to_mend_them(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(FAILED, 0, b"\x00\xff")
    put(FAILED, 1, LAST_OUTCOME="failed")
    operations.retry_failed(config, reset=True, tell=told)
    assert told[0].startswith("demo_off0 stays in failed/: it is not KEY=value text")
    assert told[0].endswith("; mend or remove the file")
    assert told[-1] == "retried=1 kept=1"
    assert states(spool) == {"pending": [1], "failed": [0]}


def test_retry_failed_leaves_a_job_that_somebody_is_at(
    config: Config, spool: Spool, put: Put, told: Told, held: Lock, impatient: None
) -> None:
    put(FAILED, 0)
    operations.retry_failed(config, reset=False, tell=told)
    assert states(spool) == {"failed": [0]}
    assert told[-1] == "retried=0 kept=1"


def test_one_job_copied_into_two_states_does_not_keep_the_others_from_being_retried(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(PENDING, 0)
    put(FAILED, 0)
    put(FAILED, 1)
    operations.retry_failed(config, reset=False, tell=told)
    assert states(spool) == {"pending": [0, 1], "failed": [0]}


# Requeue


def test_requeue_running_gives_back_what_nobody_works_on(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(RUNNING, 0)
    operations.requeue_running(config, tell=told)
    assert told == ["demo_off0 is pending", "requeued=1"]
    assert states(spool) == {"pending": [0]}


def test_requeue_running_honours_a_result_that_is_there(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    name = put(RUNNING, 0)
    state_file(config, 0, "8\n")
    execution.begin(spool.result_file(name), 1, 0, "-1")
    with open(spool.result_file(name), "a") as file:
        file.write("PID=999999999\nRC=0\n")
    operations.requeue_running(config, tell=told)
    assert told[0] == "demo_off0 is done"
    assert states(spool) == {"done": [0]}


def test_requeue_running_leaves_a_job_whose_log_somebody_reads_without_end(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    names = [put(RUNNING, offset) for offset in (0, 1)]
    reader = Reader.open(config, names[0], 0)
    assert reader is not None
    with reader, mock.patch("sagequeue.ledger._PATIENCE", 0.1):
        operations.requeue_running(config, tell=told)
    assert told[0].startswith("demo_off0 stays in running/")
    assert told[1:] == ["demo_off1 is pending", "requeued=1"]
    assert states(spool) == {"running": [0], "pending": [1]}


# Stop gate


def test_request_stop_sets_the_gate_with_its_reason(config: Config, told: Told) -> None:
    operations.request_stop(config, "power cut at noon", tell=told)
    assert config.stop_file_host.read_text().startswith("power cut at noon 20")
    assert told == [
        f"stop gate set: {config.stop_file_host}; workers finish the case at hand and claim no more"
    ]


def test_request_stop_keeps_the_text_of_a_gate_that_is_there(config: Config, told: Told) -> None:
    config.stop_file_host.write_text("SAT gidx=4 off=0 stride=4 J=[0]\n")
    operations.request_stop(config, "again", tell=told)
    assert config.stop_file_host.read_text() == "SAT gidx=4 off=0 stride=4 J=[0]\n"
    assert told == [f"the stop gate is there already: {config.stop_file_host}"]


def test_request_stop_makes_the_directory_of_its_gate(config: Config, told: Told) -> None:
    config = replace(config, stop_file_host=config.stop_file_host.parent / "new" / "stop.txt")
    operations.request_stop(config, "x", tell=told)
    assert config.stop_file_host.exists()


def test_clear_stop_takes_the_gate_away_and_doing_it_again_is_no_error(
    config: Config, told: Told
) -> None:
    operations.request_stop(config, "x", tell=told)
    operations.clear_stop(config, tell=told)
    operations.clear_stop(config, tell=told)
    assert not config.stop_file_host.exists()
    assert told[1:] == [
        f"stop gate cleared: {config.stop_file_host}",
        f"there is no stop gate: {config.stop_file_host}",
    ]


def test_clear_stop_takes_away_a_gate_that_is_a_dangling_link(config: Config, told: Told) -> None:
    config.stop_file_host.symlink_to("/nowhere/at/all")
    operations.clear_stop(config, tell=told)
    assert not os.path.lexists(config.stop_file_host)


def test_clear_stop_puts_down_for_every_execution_that_there_was_a_gate(
    config: Config, spool: Spool, put: Put, told: Told, held: Lock
) -> None:
    execution.begin(spool.result_file(put(RUNNING, 0)), 1, 0, "-1")
    put(RUNNING, 1)
    operations.request_stop(config, "x", tell=told)
    operations.clear_stop(config, tell=told)
    run = execution.read(spool.result_file("demo_off0"))
    assert run is not None
    assert run.gate_seen
    assert not spool.result_file("demo_off1").exists()


def test_clear_stop_without_a_gate_marks_no_execution(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    execution.begin(spool.result_file(put(RUNNING, 0)), 1, 0, "-1")
    operations.clear_stop(config, tell=told)
    run = execution.read(spool.result_file("demo_off0"))
    assert run is not None
    assert not run.gate_seen


# Purge


def everything(config: Config, spool: Spool, put: Put) -> dict[str, Path]:
    """A job in every state, and one of each file that is kept."""
    for offset, state in enumerate(JobState):
        put(state, offset)
    spool.owner_file("demo_off1").write_text("OWNER_PID=1\n")
    execution.begin(spool.result_file("demo_off1"), 1, 0, "-1")
    config.log_file(0).write_text("log\n")
    (config.results_dir / "demo_off0_abc.json").write_text('{"offset": 0}')
    (config.ledger_dir / "demo_off0.jsonl").write_text("")
    return {
        "state files": state_file(config, 0, "8\n"),
        "logs": config.log_file(0),
        "results": config.results_dir / "demo_off0_abc.json",
        "ledger": config.ledger_dir / "demo_off0.jsonl",
    }


def test_purge_removes_every_job_and_keeps_state_files_logs_and_results(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    kept = everything(config, spool, put)
    put(FAILED, 9, b"malformed")
    config.stop_file_host.write_text("a reason\n")
    operations.purge(config, {}, tell=told)
    assert told == ["removed 5 jobs"]
    assert states(spool) == {}
    assert spool.owners() == []
    assert not spool.result_file("demo_off1").exists()
    assert all(path.exists() for path in kept.values())
    assert config.stop_file_host.read_text() == "a reason\n"


@pytest.mark.parametrize("kind", ["state files", "logs", "results", "ledger"])
def test_purge_removes_what_is_named_and_only_that(
    kind: str, config: Config, spool: Spool, put: Put, told: Told
) -> None:
    kept = everything(config, spool, put)
    assert operations.kept_files(config) == {what: [path] for what, path in kept.items()}
    operations.purge(config, {kind: operations.kept_files(config)[kind]}, tell=told)
    assert told == ["removed 4 jobs", f"removed 1 {kind}"]
    assert {what for what, path in kept.items() if not path.exists()} == {kind}


def test_purge_refuses_while_a_solver_lives_and_removes_nothing(
    config: Config, spool: Spool, put: Put, told: Told, held: Lock
) -> None:
    put(RUNNING, 0)
    for offset, state in enumerate((PENDING, DONE, FAILED), start=1):
        put(state, offset)
    before = states(spool)
    with pytest.raises(Busy, match="nothing was removed: demo_off0 is running") as caught:
        operations.purge(config, {}, tell=told)
    assert "sagequeue request-stop" in str(caught.value)
    assert states(spool) == before
    assert told == []


def test_purge_leaves_a_job_that_is_being_claimed(
    config: Config, spool: Spool, put: Put, told: Told, held: Lock
) -> None:
    put(PENDING, 0)
    with pytest.raises(Busy, match="then demo_off0 was claimed"):
        operations.purge(config, {"logs": [config.log_file(0)]}, tell=told)
    assert states(spool) == {"pending": [0]}


def test_purge_keeps_the_locks_so_that_there_is_never_a_second_one(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(PENDING, 0)
    spool.lock_file("demo_off0").touch()
    inode = spool.lock_file("demo_off0").stat().st_ino
    operations.purge(config, {}, tell=told)
    assert spool.lock_file("demo_off0").stat().st_ino == inode


def test_purge_removes_both_copies_of_a_job_in_two_states(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    put(PENDING, 0)
    put(DONE, 0)
    operations.purge(config, {}, tell=told)
    assert states(spool) == {}


def test_purge_of_an_empty_queue_says_so(config: Config, told: Told) -> None:
    operations.purge(config, {}, tell=told)
    assert told == ["removed 0 jobs"]


def test_a_solution_that_was_printed_and_not_yet_recorded_outlives_a_purge(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    name = put(RUNNING, 0)
    config.log_file(0).write_text("SAT found for J = [0]\nFound perm: [1, 0]\n")
    execution.begin(spool.result_file(name), 1, 0, "-1")
    with open(spool.result_file(name), "a") as file:
        file.write("PID=999999999\nRC=0\n")
    operations.purge(config, {}, tell=told)
    assert len(findings.read(config)) == 1


def test_findings_outlive_every_operation_but_a_purge_that_names_them(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    config.log_file(0).write_text("SAT found for J = [0]\nFound perm: [1, 0]\n")
    put(FAILED, 0, LAST_OUTCOME="found")
    read_log(config)
    before = findings.read(config)
    assert len(before) == 1
    operations.request_stop(config, "x", tell=told)
    operations.clear_stop(config, tell=told)
    operations.retry_failed(config, reset=True, tell=told)
    operations.enqueue(config, None, force=True, tell=told)
    operations.requeue_running(config, tell=told)
    operations.purge(config, {}, tell=told)
    also = operations.kept_files(config)
    operations.purge(config, {what: also[what] for what in ("state files", "logs")}, tell=told)
    assert findings.read(config) == before
    operations.purge(config, {"results": also["results"]}, tell=told)
    assert findings.read(config) == []


def test_the_logs_to_be_purged_are_those_of_the_prefix_as_it_is_written(
    config: Config, spool: Spool
) -> None:
    config = replace(config, log_prefix="a[1]")
    config.log_file(0).write_text("")
    (config.log_dir / "a1_off0.log").write_text("")
    assert operations.kept_files(config)["logs"] == [config.log_file(0)]


def test_rotated_logs_are_purged_with_the_logs_and_other_files_beside_them_stay(
    config: Config, spool: Spool, told: Told
) -> None:
    rotated = [
        *("demo_off0.log.1", "demo_off0.log.2.gz", "demo_off0.log-20261130", "demo_off0.log-1.zst"),
        *("demo_off1.1.log", "demo_off1-20261130.log.xz", "demo_off12.log.2026-11-30_12"),
    ]
    others = [
        *("demo_off0.log.bak", "demo_off0.log~", "demo_off0.log.1.txt", "demo_off0.txt"),
        *("demo_offline.log", "demo_off.log", "demo2_off0.log", "my_demo_off0.log", "notes.1"),
    ]
    for name in (config.log_file(0).name, *rotated, *others):
        (config.log_dir / name).write_text("x")
    (config.log_dir / "demo_off0.log.7").mkdir()
    operations.purge(config, {"logs": operations.kept_files(config)["logs"]}, tell=told)
    assert sorted(os.listdir(config.log_dir)) == sorted([*others, "demo_off0.log.7"])
    assert told[-1] == "removed 8 logs"


def test_requeue_running_goes_on_to_the_others_when_a_jobs_own_file_is_spoilt(
    config: Config, spool: Spool, put: Put, told: Told
) -> None:
    names = [put(RUNNING, offset) for offset in (0, 1)]
    (config.ledger_dir / f"{names[0]}.jsonl").mkdir()
    execution.begin(spool.result_file(names[0]), 1, 0, "-1")
    with pytest.raises(IsADirectoryError):
        operations.requeue_running(config, tell=told)
    assert told[0].startswith("demo_off0 stays in running/")
    assert told[1:] == ["demo_off1 is pending", "requeued=1"]
    assert states(spool) == {"running": [0], "pending": [1]}
