"""The one place where what an execution left becomes an edge of its job.

Whoever gets the lock of a running job settles it: the worker that ran it, one that adopted it, or
recovery. Each step can be done again, so a settlement that was cut off is simply settled anew.
"""

import os
from dataclasses import dataclass

from sagequeue import backoff, durable, execution, findings, joblog, jobs
from sagequeue.config import Config
from sagequeue.exceptions import MalformedJob, StateCorrupt, StateUnreadable
from sagequeue.execution import Execution
from sagequeue.jobs import Job, JobState, Outcome
from sagequeue.owner import Lock
from sagequeue.spool import Spool

# After so many interruptions in a row without a case done, a person has to look.
MAX_INTERRUPTS = 5
NO_PROGRESS = "no_progress"
NOT_STARTED = "not_started"

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
        # What the workload left without a line end must not swallow ours.
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = f"\n{line}"
        file.write(line.encode("utf-8"))


def settle(
    spool: Spool, lock: Lock, name: str, *, lost: Execution | None = None, by_hand: bool = False
) -> Settled:
    """Finish a running job whose lock we got, by the record of its last execution.

    With `by_hand` a person asked for it: the job does not wait before it is claimed again. `lost`
    is what is known of an execution whose record is lost; it is taken in place of the record.

    OSError (a full disk, say) and StateUnreadable leave the job running, with its record, to be
    settled again.
    """
    config = spool.config
    run = lost or execution.read(spool.result_file(name))
    if run and run.rc is not None:
        # What is decided by it now must be decided by it again after a power cut.
        durable.sync_file(spool.result_file(name))
    # Before anything else, and by the name: the file may have been spoilt meanwhile.
    # Without a record all of the log may be of it.
    found = record_findings(config, name, run or execution.UNKNOWN)
    try:
        job = spool.read(JobState.RUNNING, name)
    except MalformedJob as error:
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
    word = _WORDS.get(outcome, outcome)
    log_line(config, job.offset, run.worker, word, job=name, rc=run.rc, reason=reason)
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


def record_findings(config: Config, name: str, run: Execution, *, live: bool = False) -> int:
    """Record what the execution printed so far; how many solutions that is."""
    digits = name.removeprefix(jobs.job_name(config.jobset, ""))
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        return 0
    offset = int(digits)
    job = Job(config.jobset, offset)
    found, new = findings.record(config, job, run.log_start, run.worker, live=live)
    if new:
        log_line(config, offset, run.worker, Outcome.FOUND, job=name, solutions=new)
    return found


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
    if config.state_file_host and run.gidx and state != run.gidx:
        return changed.without_waits()
    # The execution's own word: a settlement that was cut off counts once. A spoilt record has none.
    this = run.word or None
    count = job.count("INTERRUPTS") + (this is None or job.extra.get("INTERRUPT_RUN") != this)
    changed = changed.with_(INTERRUPTS=count, INTERRUPT_RUN=this, INTERRUPT_LOG=None)
    if count >= MAX_INTERRUPTS and config.state_file_host and run.gidx:
        return changed.with_(LAST_REASON=NO_PROGRESS)
    return backoff.wait(changed, backoff.seconds(count))
