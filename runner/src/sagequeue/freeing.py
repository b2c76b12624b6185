"""Freeing the lock of a job whose execution has ended, and saying who keeps it."""

from collections.abc import Callable
from pathlib import Path

from sagequeue import execution, runtime
from sagequeue.execution import Execution
from sagequeue.holders import Holder, told
from sagequeue.jobs import JobState
from sagequeue.owner import held
from sagequeue.runtime import Runtime
from sagequeue.spool import Spool

# Times that what is found is ended: a process may start others while it is ended.
_ROUNDS = 4


def end(
    solvers: Runtime, lock: Path, still: Callable[[], bool], *, patient: bool = True
) -> list[Holder]:
    """End the processes that hold the lock of an execution that has ended; those that are left.

    `still` reads the record, and says whether the execution is the job's last. So a process that
    was found before does not belong to a later execution. Without `patient` they are killed at
    once.
    """
    known: list[Holder] = []
    for _ in range(_ROUNDS):
        found = solvers.holders(lock, known, patient=patient)
        if not still():
            return []
        if set(found) <= set(known):
            return found
        known = found
    return known


def is_last(spool: Spool, name: str, word: str) -> bool:
    """Whether the job runs, and its record is that of the execution of this word.

    The word is empty for a record that is lost, and has to be lost still.
    """
    run = execution.read(spool.result_file(name)) or execution.UNKNOWN
    return run.word == word and spool.lies(JobState.RUNNING, name)


def note(spool: Spool, name: str) -> str:
    """What keeps a running job whose execution has ended; empty if nothing does."""
    run, lock = execution.read(spool.result_file(name)), spool.lock_file(name)
    if run is None or not run.over or not held(lock):
        return ""
    found = runtime.for_config(spool.config).holders(lock)
    # The last of the execution's own processes may have been at its end just then.
    return f"{ending(run)}, but its lock is held by {told(found)}" if held(lock) else ""


def ending(run: Execution) -> str:
    """How the execution ended, as a clause."""
    if run.rc is None:
        return "its workload was not started"
    return f"its workload ended with exit status {run.rc}"
