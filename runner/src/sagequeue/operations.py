"""What an operator does to a queue. Each verb tells what it did, one line a fact."""

import contextlib
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from sagequeue import (
    durable,
    execution,
    freeing,
    jobs,
    logfile,
    predecessor,
    queue_format,
    regular,
    runtime,
    settlement,
)
from sagequeue.commands import typed
from sagequeue.config import Config
from sagequeue.exceptions import (
    Busy,
    IllegalEdge,
    MalformedJob,
    SagequeueError,
    StateCorrupt,
    StateUnreadable,
)
from sagequeue.execution import Execution
from sagequeue.holders import told
from sagequeue.jobs import Job, JobState
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock, wait_lock
from sagequeue.progress import gate_reason
from sagequeue.spool import Spool

Tell = Callable[[str], None]
# Bytes. Solutions are lines of it, and whole ones are in `results/`.
_LONGEST_GATE = 1 << 20


# Seconds in which recovery, or another look, lets go of the lock of a job that does not run.
_PATIENCE = 10.0
# Seconds in which a worker settles a job whose solver has ended, if nothing else has the lock.
_SETTLING = 20.0


@contextlib.contextmanager
def _locked(spool: Spool, name: str) -> Iterator[Lock | None]:
    """The job's lock for the block, None when somebody has it."""
    lock = spool.lock(name)
    if lock is None:
        yield None
        return
    with lock:
        yield lock


@contextlib.contextmanager
def _locked_soon(spool: Spool, name: str) -> Iterator[Lock | None]:
    """The lock of a job that does not run, waited for while somebody looks at the job.

    None when that does not end.
    """
    lock = spool.lock(name)
    if lock is None:
        with LockWaiter(spool.lock_file(name)) as waiting:
            waiting.join(_PATIENCE)
            lock = waiting.taken() if waiting.over else None
    with contextlib.ExitStack() as stack:
        yield lock if lock is None else stack.enter_context(lock)


def enqueue(config: Config, offset: int | None, *, force: bool, tell: Tell) -> None:
    """Add the jobs that are missing, all or one; with `force` do done and failed ones again.

    Running jobs are never touched. Last line: `enqueued=… requeued=… skipped=…`.
    """
    if offset is not None and not 0 <= offset < config.stride:
        raise SagequeueError(f"offset {offset} is not from 0 to {config.stride - 1} (STRIDE - 1)")
    spool = Spool(config)
    spool.create()
    wanted = range(config.stride) if offset is None else range(offset, offset + 1)
    # Before the queue is listed: a job moving meanwhile is in some listing, or seen under its lock.
    with wait_lock(config.run_dir / "enqueue.lock"), spool.batch():
        there = {name: state for state in JobState for name in spool.names(state)}
        stamp = {"ENQUEUED_AT": jobs.now()}
        missing = [
            Job(config.jobset, k, stamp)
            for k in wanted
            if jobs.job_name(config.jobset, k) not in there
        ]
        spool.stage(missing)
        counts: Counter[str] = Counter()
        for job in missing:
            if not os.path.lexists(spool.lock_file(job.name)):
                spool.enqueue(None, job)
                counts["enqueued"] += 1
                continue
            with _locked(spool, job.name) as lock:
                if lock is not None and not spool.locate(job.name):
                    spool.enqueue(lock, job)
                    counts["enqueued"] += 1
                else:
                    spool.unstage(job.name)
        redone = _redo(spool, wanted, tell) if force else set()
    skipped = len(wanted) - counts["enqueued"] - len(redone)
    if skipped:
        have = Counter(
            there[n]
            for k in wanted
            if (n := jobs.job_name(config.jobset, k)) in there and n not in redone
        )
        tell("already there: " + ", ".join(f"{have[state]} {state}" for state in JobState))
    tell(f"enqueued={counts['enqueued']} requeued={len(redone)} skipped={skipped}")


def _redo(spool: Spool, offsets: range, tell: Tell) -> set[str]:
    """Give done and failed jobs back to pending, as new jobs; which."""
    names = {jobs.job_name(spool.config.jobset, k): k for k in offsets}
    again: set[str] = set()
    complete = 0
    for state in (JobState.DONE, JobState.FAILED):
        for name in sorted(set(spool.names(state)) & names.keys(), key=names.__getitem__):
            with _locked_soon(spool, name) as lock:
                if lock is None:
                    tell(f"{name} stays in {state}/: its lock is held; try again later")
                if lock is None or not spool.lies(state, name):
                    continue
                try:
                    spool.redo(lock, state, spool.read(state, name))
                except (MalformedJob, IllegalEdge) as error:
                    tell(f"{name} stays in {state}/: {error}; mend or remove the file")
                    continue
            again.add(name)
            with contextlib.suppress(StateCorrupt, StateUnreadable):
                complete += bool(spool.config.complete(names[name]))
    if complete:
        pattern = spool.config.state_file_host
        tell(
            f"{complete} of them are complete by their state files: running them again does "
            f"nothing. To compute them anew, move {pattern} away first"
        )
    return again


def retry_failed(config: Config, *, reset: bool, tell: Tell) -> None:
    """Give every failed job back to pending, held ones too; malformed ones stay."""
    spool = Spool(config)
    spool.create()
    retried = kept = 0
    with spool.batch():
        for name in sorted(spool.names(JobState.FAILED)):
            with _locked_soon(spool, name) as lock:
                if lock is None:
                    tell(f"{name} stays in failed/: its lock is held; try again later")
                    kept += 1
                if lock is None or not spool.lies(JobState.FAILED, name):
                    continue
                try:
                    job = spool.read(JobState.FAILED, name)
                except MalformedJob as error:
                    tell(f"{name} stays in failed/: {error}; mend or remove the file")
                    kept += 1
                    continue
                try:
                    spool.retry_by_hand(lock, job, reset=reset)
                    retried += 1
                except IllegalEdge as error:
                    tell(f"{error}; it stays as it is")
                    kept += 1
    tell(f"retried={retried} kept={kept}")


def requeue_running(config: Config, *, tell: Tell) -> None:
    """End every solver, gracefully at first, and give its job back to pending."""
    spool = Spool(config)
    spool.create()
    predecessor.refuse(spool)
    solvers = runtime.for_config(config)
    requeued = 0
    wrong: OSError | None = None
    for name in sorted(spool.names(JobState.RUNNING)):
        try:
            tell(f"{name} {_requeue(spool, solvers, name)}")
            requeued += 1
        except Busy as error:
            tell(f"{name} stays in running/: {error}")
        except StateUnreadable as error:
            tell(f"{name} stays in running/, with its result: {error}")
        except TimeoutError as error:
            tell(f"{name} stays in running/: {error}; try again later")
        except (
            OSError
        ) as error:  # of this job's files, perhaps: the others' solvers end all the same
            tell(f"{name} stays in running/: {error}")
            wrong = error
    tell(f"requeued={requeued}")
    if wrong is not None:
        raise wrong


def _requeue(spool: Spool, solvers: runtime.Runtime, name: str) -> str:
    """End one job's solver and settle the job; what became of it."""
    lock, lost = spool.lock(name), None
    if lock is None:
        lock, lost = _end(spool, solvers, name)
    if lock is None:
        return "was given back, and claimed again"
    with lock, contextlib.suppress(IllegalEdge):
        # Its worker may have had the lock first and settled it; that is as good.
        if spool.lies(JobState.RUNNING, name):
            settlement.settle(spool, lock, name, lost=lost, by_hand=True)
    return f"is {', '.join(spool.locate(name))}"


def _end(spool: Spool, solvers: runtime.Runtime, name: str) -> tuple[Lock | None, Execution | None]:
    """End what holds a running job's lock.

    Returns:
        The lock, None if the job is solved anew meanwhile; and what is known of the execution that
        was ended, if its record is lost.

    Raises:
        Busy: something holds the lock that cannot be ended.

    """
    record, ended, since = spool.result_file(name), False, None
    run = execution.read(record)
    with LockWaiter(spool.lock_file(name)) as waiting:
        while not waiting.over:
            now = execution.read(record)
            if run and now and execution.UNKNOWN not in (run, now) and now.word != run.word:
                return None, None  # its worker settled it, and it was claimed again
            if now is None and spool.lies(JobState.RUNNING, name):
                # Lost, unless it was claimed again just now, and so has a record.
                now = execution.read(record) or execution.UNKNOWN
            ended = ended or now is execution.UNKNOWN
            if now is not None and not now.over:  # else it ended by itself
                if not now.stopped:
                    execution.note_stop(record, now)
                runtime.end_solver(solvers, spool.lock_file(name), now)
            waiting.join(LockWaiter.AGAIN)
            if since is None and now is not None and now.wrapper is not None:
                since = time.monotonic()
            elif since is not None and (late := time.monotonic() - since) > solvers.linger:
                word = (now or execution.UNKNOWN).word
                _free(spool, solvers, waiting, word, hurry=late > _SETTLING)
        lost = ended and execution.read(record) in (None, execution.UNKNOWN)
        return waiting.taken(), replace(execution.UNKNOWN, stopped=True) if lost else None


def _free(
    spool: Spool, solvers: runtime.Runtime, waiting: LockWaiter, word: str, *, hurry: bool
) -> None:
    """End what holds the lock of an execution of that word that has ended.

    Raises Busy if that cannot be done. If nothing is seen that holds it, a worker may be settling
    the job, and Busy is raised only in a `hurry`.
    """
    name = waiting.path.stem
    still = functools.partial(freeing.is_last, spool, name, word)
    left = freeing.end(solvers, waiting.path, still)
    waiting.join(LockWaiter.AGAIN if left else solvers.linger)
    if (left or hurry) and not waiting.over and still():
        raise Busy(f"{told(left)} holds its lock and cannot be ended")


def request_stop(config: Config, reason: str, *, tell: Tell) -> None:
    """Set the stop gate; one that is there keeps its text."""
    queue_format.check(config)
    gate = config.stop_file_host
    if config.gated:
        tell(f"the stop gate is there already: {gate}")
        return
    gate.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), open(gate, "x", encoding="utf-8") as file:
        file.write(f"{reason} {jobs.now()}\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_names(gate.parent)
    tell(f"stop gate set: {gate}; workers finish the case at hand and claim no more")


def clear_stop(config: Config, *, only: str = "", tell: Tell) -> None:
    """Take the stop gate away, if each of its lines begins with `only`; findings stay."""
    queue_format.check(config)
    gate = config.stop_file_host
    reason = gate_reason(config)
    if reason is None:
        tell(f"there is no stop gate: {gate}")
        return
    if only and not _says_only(gate, only):
        tell(f"the stop gate stays, since it is of something else: {reason or '(empty)'}")
        return
    spool = Spool(config)
    spool.create()
    # An execution that saw the gate ends incomplete with 0: its record must say why, gate or not.
    for name in spool.names(JobState.RUNNING):
        execution.note_gate(spool.result_file(name))
    try:
        gate.unlink(missing_ok=True)
    except IsADirectoryError:
        raise SagequeueError(f"the stop gate {gate} is a directory; move it away") from None
    _sync_names(gate.parent)
    tell(f"stop gate cleared: {gate}")


def _sync_names(directory: Path) -> None:
    """Make what was made or removed there last."""
    with contextlib.suppress(OSError):  # the notebooks may lie on a Windows drive, which can't
        durable.sync_directory(directory)


def _says_only(gate: Path, text: str) -> bool:
    """Whether every line begins so: a workload that finds something may add another."""
    try:
        told = regular.read(gate, _LONGEST_GATE + 1)
    except OSError:
        return False
    lines = told.decode("utf-8", errors="replace").splitlines()
    # One that was not read to its end may say something else there.
    return 0 < len(told) <= _LONGEST_GATE and all(
        jobs.printable(line).startswith(text) for line in lines
    )


def purge(config: Config, also: dict[str, list[Path]], *, tell: Tell) -> None:
    """Remove every job of the queue and the named files; Busy, at first, while a solver lives."""
    spool = Spool(config)
    spool.create()
    predecessor.refuse(spool)
    for name in spool.names(JobState.RUNNING):
        with _locked(spool, name) as lock:
            if lock is None:
                why = freeing.note(spool, name) or _solving(config)
                raise Busy(f"nothing was removed: {name} is running and {why}")
    removed = 0
    with spool.batch():
        for name in spool.names(JobState.RUNNING):
            # What it printed and nobody recorded yet is recorded.
            with _locked(spool, name) as lock, contextlib.suppress(IllegalEdge, StateUnreadable):
                if lock is not None and spool.lies(JobState.RUNNING, name):
                    settlement.settle(spool, lock, name)
        for state in JobState:
            for name in spool.names(state):
                with _locked(spool, name) as lock:
                    if lock is None:
                        raise Busy(
                            f"{removed} jobs were removed, then {name} was claimed: "
                            + _solving(config)
                        )
                    if spool.lies(state, name):
                        spool.discard(lock, state)
                        removed += 1
    tell(f"removed {removed} jobs")
    for what, paths in also.items():
        for path in paths:
            path.unlink(missing_ok=True)
        for directory in {path.parent for path in paths}:
            _sync_names(directory)
        tell(f"removed {len(paths)} {what}")


def _solving(config: Config) -> str:
    """Why there is something that cannot be purged, and how to come to purge it."""
    return (
        f"its solver is at work. {typed(config, 'request-stop')} lets the workers finish the cases "
        f"at hand and claim no more; purge then, and {typed(config, 'clear-stop')}"
    )


def kept_files(config: Config) -> dict[str, list[Path]]:
    """What purge removes only by name: state files, logs, results."""
    states = [config.state_file(k) for k in range(config.stride)]
    return {
        "state files": [path for path in states if path is not None and os.path.lexists(path)],
        "logs": logfile.all_of(config),
        "results": sorted(config.results_dir.glob("*.json")),
        "ledger": sorted(config.ledger_dir.glob("*")),
    }
