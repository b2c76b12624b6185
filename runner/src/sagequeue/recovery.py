"""Recovery: what became of the running jobs that nobody attends to, and which failed ones go again.

It acts on free locks only. What it does is printed, a line an action, for grep and awk.
"""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sagequeue import (
    execution,
    freeing,
    jobs,
    predecessor,
    reading,
    retry,
    runtime,
    settlement,
    unread,
)
from sagequeue.exceptions import IllegalEdge, MalformedJob, StateUnreadable
from sagequeue.holders import told
from sagequeue.jobs import JobState
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock, orphan_reason, read_owner, try_lock
from sagequeue.reading import Reader
from sagequeue.spool import Spool

COUNTS = (
    "scanned_running",
    "requeued_orphans",
    "scanned_failed",
    "retried_failed",
    "skipped_failed",
    "held_failed",
)
Say = Callable[[str], None]


def say(line: str) -> None:
    """Print a line at once, so that a journal has it when it happens."""
    print(line, flush=True)


def line(action: str, **pairs: object) -> str:
    """`[recover] ts=… action=… key=value …`; blanks in a value become underscores."""
    said = "".join(
        f" {key}={'_'.join(jobs.printable(str(value)).split())}" for key, value in pairs.items()
    )
    return f"[recover] ts={jobs.now()} action={action}{said}"


def lock_file(spool: Spool) -> Path:
    """What a pass of recovery holds from its beginning to its end."""
    return spool.config.run_dir / "recover.lock"


def recover(
    spool: Spool, tell: Say = say, *, interrupted: Callable[[], bool] = reading.never
) -> bool:
    """One pass over one jobset; False when another recovery is at it already.

    Logs that nobody attends to are read on, until that is `interrupted`.
    A job that cannot be recovered (its disk is full, say) is told as a warning and left as it is.
    """
    pass_lock = try_lock(lock_file(spool))
    if pass_lock is None:
        return False
    counts: Counter[str] = Counter()
    # The list of processes is read once at most, and only for a job that nobody of ours has run.
    theirs = functools.cache(lambda: bool(predecessor.commands(spool.config)))
    running = functools.partial(_running, theirs, interrupted)
    with pass_lock, spool.batch():
        for state, act in ((JobState.RUNNING, running), (JobState.FAILED, failed)):
            for name in sorted(spool.names(state)):
                counts[f"scanned_{state}"] += 1
                # Almost every running job is being worked on, so its lock tells all.
                with contextlib.ExitStack() as stack:
                    try:
                        lock = spool.lock(name)
                        if lock is None and state is JobState.RUNNING:
                            _look(spool, name, interrupted)
                            lock = _freed(spool, name, tell, interrupted)
                        if lock is None:
                            continue
                        stack.enter_context(lock)
                        if spool.lies(state, name):
                            counts[act(spool, lock, name, tell)] += 1
                    except StateUnreadable as error:
                        why = "state_unreadable"
                        tell(line("warn", job=name, reason=why, error=error))
                    except (OSError, IllegalEdge) as error:
                        tell(line("warn", job=name, reason=error))
        _drop_stale_owners(spool, tell)
        _read_on(spool, theirs, tell, interrupted)
    tell(line("summary", jobset=spool.config.jobset, **{key: counts[key] for key in COUNTS}))
    return True


def _look(spool: Spool, name: str, interrupted: Callable[[], bool]) -> None:
    """Read on in the log of a living execution, if its worker is dead; note the stop gate."""
    record = spool.result_file(name)
    offset = settlement.offset_of(spool.config, name)
    run = execution.read(record)
    if run and offset is not None and orphan_reason(spool.owner_file(name)) is not None:
        reader = Reader.open(spool.config, name, offset, wait=False)
        if reader is not None:
            with reader:
                reader.read(run, over=False, interrupted=interrupted)
    if spool.config.gated:
        execution.note_gate(record)


def _freed(spool: Spool, name: str, tell: Say, interrupted: Callable[[], bool]) -> Lock | None:
    """The lock of a job whose execution has ended and whose worker is dead.

    What holds it is ended. None if the job is not of that kind, or if that cannot be done.
    """
    run = execution.read(spool.result_file(name))
    if run is None or not run.over or orphan_reason(spool.owner_file(name)) is None:
        return None
    solvers = runtime.for_config(spool.config)
    with LockWaiter(spool.lock_file(name)) as waiting:
        waiting.join(solvers.linger)
        if not waiting.over and not interrupted():
            still = functools.partial(freeing.is_last, spool, name, run.word)
            left = freeing.end(solvers, spool.lock_file(name), still)
            waiting.join(LockWaiter.AGAIN if left else solvers.linger)
            if not waiting.over and still():
                tell(line("warn", job=name, reason="lock_held", by=told(left)))
        return waiting.taken() if waiting.over else None


def _read_on(
    spool: Spool, theirs: Callable[[], bool], tell: Say, interrupted: Callable[[], bool]
) -> None:
    """Read what was added to logs whose jobs do not run: by a process that was left over.

    Or by an earlier release, which did not keep what it had read.
    """
    for offset, quiet in unread.logs(spool.config):
        name = jobs.job_name(spool.config.jobset, offset)
        if interrupted() or theirs():
            return
        with contextlib.ExitStack() as stack:
            try:
                if (held := spool.lock(name)) is None:
                    continue
                stack.enter_context(held)
                if not spool.lies(JobState.RUNNING, name):
                    unread.read_on(spool.config, name, offset, quiet, interrupted)
            except OSError as error:
                tell(line("warn", job=name, reason=error))


def _running(
    theirs: Callable[[], bool], interrupted: Callable[[], bool],
    spool: Spool, lock: Lock, name: str, tell: Say,
) -> str:  # fmt: skip
    """Settle one running job that nothing of an execution holds; the count it goes into.

    `theirs` says whether the shell project, which takes no locks, is at work on the jobset.
    """
    run = execution.read(spool.result_file(name))
    if run is None and theirs():
        tell(line("warn", job=name, reason="shell_project_at_work"))
        return "attended"
    if run is not None and run.rc is not None:
        settled = settlement.settle(spool, lock, name, interrupted=interrupted)
        tell(line("finish", job=name, outcome=settled.outcome, state=settled.state))
        return "finished"
    owner_file = spool.owner_file(name)
    reason = orphan_reason(owner_file)
    if reason is None:
        return "attended"  # its worker lives, and is about to settle it
    pid = "-" if reason == "owner_file_missing" else read_owner(owner_file).get("OWNER_PID", "-")
    settled = settlement.settle(spool, lock, name, interrupted=interrupted)
    if settled.state is JobState.FAILED:
        tell(line("hold_failed", job=name, attempts="-", reason=settled.reason))
        return "held_failed"
    tell(line("requeue_orphan", job=name, reason=reason, owner_pid=pid))
    return "requeued_orphans"


def failed(spool: Spool, lock: Lock, name: str, tell: Say = say) -> str:
    """Retry, hold or skip one failed job; the count it goes into."""
    try:
        job = spool.read(JobState.FAILED, name)
    except MalformedJob as error:
        tell(line("skip_failed", job=name, reason=error.reason))
        return "skipped_failed"
    decision = retry.decide(job, spool.config.max_failed_retries)
    if decision.verdict is retry.Verdict.HOLD:
        attempts = job.count("ATTEMPTS")
        tell(line("hold_failed", job=name, attempts=attempts, reason=decision.reason))
        return "held_failed"
    job = spool.retry(lock, job)
    tell(line("retry_failed", job=name, attempts=job.count("ATTEMPTS"), reason=decision.reason))
    return "retried_failed"


def _drop_stale_owners(spool: Spool, tell: Say) -> None:
    for name in spool.owners():
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if spool.lies(JobState.RUNNING, name) or (lock := spool.lock(name)) is None:
                continue
            stack.enter_context(lock)
            if not spool.lies(JobState.RUNNING, name):
                spool.owner_file(name).unlink(missing_ok=True)
                tell(line("warn", job=name, reason="stale_owner_file_removed"))
