"""The one place where what an execution left becomes an edge of its job.

Whoever gets the lock of a running job settles it: the worker that ran it, one that adopted it, or
recovery. Each step can be done again, so a settlement that was cut off is simply settled anew.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from sagequeue import backoff, durable, execution, joblog, jobs, ledger, reading, regular, worklog
from sagequeue.config import Config
from sagequeue.exceptions import MalformedJob, ReadingInterrupted, StateCorrupt, StateUnreadable
from sagequeue.execution import Execution
from sagequeue.jobs import Job, JobState, Outcome
from sagequeue.owner import Lock
from sagequeue.reading import Reader
from sagequeue.spool import Spool

# After so many interruptions in a row without a case done, a person has to look.
MAX_INTERRUPTS = 5
NO_PROGRESS = "no_progress"
NOT_STARTED = "not_started"

_GIDX = re.compile(r"-1|[0-9]{1,18}")
_WORDS = {Outcome.PAUSED: "pause"}


@dataclass(frozen=True)
class Settled:
    """What became of an execution: its outcome, the reason in a word, where the job lies now."""

    outcome: Outcome
    reason: str
    state: JobState
    found: int = 0
    started: bool = True


def log_line(config: Config, offset: int, worker: object, word: str, **pairs: object) -> None:
    """Append `[worker N] word offset=K … at TIME` to the offset's log."""
    said = "".join(f" {key}={value}" for key, value in pairs.items() if value not in (None, ""))
    line = f"[worker {worker}] {word} offset={offset}{said} at {jobs.now()}\n"
    how = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    fd = os.open(config.log_file(offset), how, 0o666)
    with open(fd, "r+b", buffering=0) as file:
        regular.demand(fd, config.log_file(offset))
        # What the workload left without a line end must not swallow ours.
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = f"\n{line}"
        file.write(line.encode("utf-8"))


def settle(
    spool: Spool, lock: Lock, name: str, *, lost: Execution | None = None, by_hand: bool = False,
    log: int | None = None, interrupted: Callable[[], bool] = reading.never,
) -> Settled:  # fmt: skip
    """Finish a running job whose lock we got, by the record of its last execution.

    With `by_hand` a person asked for it: the job does not wait before it is claimed again. `lost`
    is what is known of an execution whose record is lost; it is taken in place of the record.
    `log` is a descriptor of its log that the caller kept open: the log may have no name any more.

    OSError (a full disk, say, or reading its log was `interrupted`) and StateUnreadable leave the
    job running, with its record, to be settled again.
    """
    config = spool.config
    run = lost or execution.read(spool.result_file(name))
    worklog.make_directory(config)
    if run and run.rc is not None:
        # What is decided by it now must be decided by it again after a power cut.
        durable.sync_file(spool.result_file(name))
    # Before anything else, and by the name: the file may have been spoilt meanwhile.
    found = _read_log(config, name, run, log, interrupted)
    try:
        job = spool.read(JobState.RUNNING, name)
    except MalformedJob as error:
        if run is not None:
            execution.keep_group(spool.group_file(name), run)
        _end(config, name, run, log, Outcome.FAILED, error.reason)
        spool.reject(lock, JobState.RUNNING)
        return Settled(Outcome.FAILED, error.reason, JobState.FAILED, found)
    if run is None or not run.started:
        reason = _not_started(run)
        changed = _count_start(config, job, run, reason)
        if run is not None:
            log_line(config, job.offset, run.worker, Outcome.INTERRUPTED, job=name, reason=reason)
        spool.release(lock, backoff.wait(changed, 0) if changed and by_hand else changed)
        return Settled(Outcome.INTERRUPTED, reason, JobState.PENDING, found, started=False)

    outcome, reason = _judge(config, job, run)
    if outcome is Outcome.DONE:
        spool.group_file(name).unlink(missing_ok=True)
    else:
        execution.keep_group(spool.group_file(name), run)
    word = _WORDS.get(outcome, outcome)
    log_line(config, job.offset, run.worker, word, job=name, rc=run.rc, reason=reason)
    _end(config, name, run, log, outcome, reason)
    if outcome is Outcome.INTERRUPTED:
        job = _count_interrupt(config, job, run, reason)
        if by_hand:
            job = backoff.wait(job, 0)
        if job.last_reason == NO_PROGRESS:
            spool.hold(lock, job)
            return Settled(outcome, NO_PROGRESS, JobState.FAILED, found)
        spool.interrupt(lock, job)
        return Settled(outcome, reason, JobState.PENDING, found)
    job = job.without_waits()
    last = Outcome.FOUND if found else outcome
    if outcome is Outcome.DONE:
        spool.finish(lock, job, last)
        return Settled(outcome, reason, JobState.DONE, found)
    if outcome is Outcome.PAUSED:
        # Cut off here and settled again, it must be a pause still, gate or not.
        execution.note_gate(spool.result_file(name))
        spool.pause(lock, job, last)
        return Settled(outcome, reason, JobState.PENDING, found)
    spool.fail(lock, job, last, reason)
    return Settled(outcome, reason, JobState.FAILED, found)


def state_word(config: Config, offset: int) -> str:
    """The state file's number, or a word that differs from every number.

    Raises StateUnreadable if the file cannot be read now.
    """
    try:
        return str(config.last_gidx(offset)) if config.state_file_host else "unknown"
    except StateCorrupt:
        return "corrupt"


def offset_of(config: Config, name: str) -> int | None:
    """The offset that a job's name says; None for a name that says none."""
    digits = name.removeprefix(jobs.job_name(config.jobset, ""))
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _read_log(
    config: Config, name: str, run: Execution | None, log: int | None,
    interrupted: Callable[[], bool],
) -> int:  # fmt: skip
    """Read the log to its end, now that nothing writes there; how many solutions are in it."""
    offset = offset_of(config, name)
    if offset is None:
        return 0
    reader = Reader.open(config, name, offset)
    assert reader is not None, "it was waited for"
    with reader:
        at = reader.at
        before = at.solutions if at.over else 0
        if not reader.read(run, log, over=True, interrupted=interrupted):
            raise ReadingInterrupted(f"the log of {name} was not read to its end yet")
    if run is None or not run.word:  # whatever was not told of an execution before is of this one
        return at.solutions - before
    if at.execution != run.word:
        return 0
    if at.new and not at.over:
        log_line(config, offset, run.worker, Outcome.FOUND, job=name, solutions=at.new)
    return at.solutions


def _end(
    config: Config, name: str, run: Execution | None, log: int | None, outcome: Outcome, reason: str
) -> None:
    """Add to the ledger what became of the execution; what it printed was read."""
    offset = offset_of(config, name)
    reader = None if offset is None or run is None else Reader.open(config, name, offset)
    if reader is None or run is None or offset is None:
        return
    with reader:
        reader.read(run, log, over=True)  # the line that we added
        at = reader.at
        if at.over and at.execution == run.word:
            return  # it was settled before, and that was cut off
        first, last = _cases(config, offset, run)
        reader.end(
            {
                "kind": ledger.EXECUTION, "execution": run.word, "worker": run.worker,
                "ended": jobs.now(), "outcome": outcome, "reason": reason, "rc": run.rc,
                "stride": config.stride, "first": first, "last": last, "solutions": at.solutions,
                "confirmed": _ended_by_itself(run) and not at.lost,
            }
        )  # fmt: skip


def _ended_by_itself(run: Execution) -> bool:
    """Whether the workload ended of its own accord, and so wrote all that it had to say."""
    if run.rc is None or 128 < run.rc <= 128 + execution.LAST_SIGNAL:
        return False
    return not run.stopped and not run.cut


def _cases(config: Config, offset: int, run: Execution) -> tuple[int | None, int | None]:
    """The first and the last case of the execution, by the state file; local numbers."""
    try:
        then, now = run.gidx, state_word(config, offset)
    except StateUnreadable:
        return None, None
    if not (_GIDX.fullmatch(then) and _GIDX.fullmatch(now)):
        return None, None
    return int(then) // config.stride + 1, int(now) // config.stride


def _judge(config: Config, job: Job, run: Execution) -> tuple[Outcome, str]:
    try:
        complete = config.complete(job.offset)
    except StateCorrupt:
        outcome, reason = execution.judge(run, complete=False, gate=config.gated)
        return outcome, "state_corrupt" if outcome is Outcome.FAILED else reason
    except StateUnreadable:
        # Only a job that goes back to pending whatever the file says is settled without it.
        outcome, reason = execution.judge(run, complete=True, gate=config.gated)
        if outcome is not Outcome.INTERRUPTED:
            raise
        return outcome, reason
    return execution.judge(run, complete=complete, gate=config.gated)


def _not_started(run: Execution | None) -> str:
    """Why the workload was not started, in a word."""
    if run is None:
        return NOT_STARTED
    return "stopped" if run.stopped else run.lacks or NOT_STARTED


def _count_start(config: Config, job: Job, run: Execution | None, reason: str) -> Job | None:
    """The job whose workload was not started, saying why; None if it goes back as it was.

    Nothing is held against it. Was the wrapper at work already, the job waits, the longer the more
    often: the next attempt may take seconds, too, and another job may be luckier.
    """
    if run is None or (reason == NOT_STARTED and run.wrapper is None):
        return None
    changed = job.with_(LAST_REASON=reason, LAST_ERROR=None)
    if run.stopped or run.wrapper is None:
        return backoff.wait(changed, 0)
    if reason == execution.NOT_PREPARSED:
        changed = changed.with_(LAST_ERROR=joblog.last_words(config.log_file(job.offset)) or None)
    count = job.count("NOT_STARTED") + 1
    return backoff.wait(changed.with_(NOT_STARTED=count), backoff.before_a_start(count))


def _got_on(before: str, after: str) -> bool:
    """Whether the state file moved on, between two of its words; back is not on."""
    if not _GIDX.fullmatch(after):
        return False
    return not _GIDX.fullmatch(before) or int(after) > int(before)


def _count_interrupt(config: Config, job: Job, run: Execution, reason: str) -> Job:
    """The job with one interruption more in a row, or with none when its state file moved on.

    The more there are, the longer it waits; one that keeps a state file is held at last.
    """
    changed = job.with_(LAST_OUTCOME=Outcome.INTERRUPTED, LAST_REASON=reason)
    changed = backoff.wait(changed.with_(NOT_STARTED=None, LAST_ERROR=None), 0)
    if run.stopped:
        return changed  # it was ended by one of us, which says nothing of the job
    try:
        state = state_word(config, job.offset)
    except StateUnreadable:
        return changed  # whether it got on cannot be told
    if config.state_file_host and run.gidx and _got_on(run.gidx, state):
        return changed.without_waits()
    # The execution's own word: a settlement that was cut off counts once. A spoilt record has none.
    this = run.word or None
    count = job.count("INTERRUPTS") + (this is None or job.extra.get("INTERRUPT_RUN") != this)
    changed = changed.with_(INTERRUPTS=count, INTERRUPT_RUN=this, INTERRUPT_LOG=None)
    if count >= MAX_INTERRUPTS and config.state_file_host and run.gidx:
        return changed.with_(LAST_REASON=NO_PROGRESS)
    return backoff.wait(changed, backoff.seconds(count))
