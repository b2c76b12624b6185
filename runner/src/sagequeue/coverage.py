"""Of which cases the output was read, and so what "nothing found" may be said of."""

import os
from dataclasses import dataclass

from sagequeue import position
from sagequeue.config import Config
from sagequeue.execution import Execution
from sagequeue.jobs import JobState, job_name
from sagequeue.position import Position
from sagequeue.ranges import Ranges


@dataclass(frozen=True)
class Coverage:
    """A partition's cases, as its state file counts them.

    `read` of them have a `DONE` line that was read, or an execution that ended by itself.
    `unconfirmed` are ranges of gidx, first and last, of an execution that was ended and whose last
    lines may be lost. `unread` is how many no log here tells of. `behind` says that the log was
    written since it was read, `complete` that the job is done and all of its output was read.
    """

    read: int
    unconfirmed: list[tuple[int, int]]
    unread: int
    behind: bool
    complete: bool


def look(
    config: Config, offset: int, state: JobState | None, last_gidx: int | None,
    run: Execution | None,
) -> tuple[Coverage, Position]:  # fmt: skip
    """The coverage of a partition, and how far its log was read.

    `last_gidx` is the state file's number (None: none), `run` its execution if it is running.
    """
    at = position.load(config, job_name(config.jobset, offset), offset)
    summary, stride = at.summary, config.stride
    last = -1 if last_gidx is None else last_gidx // stride
    counted = Ranges([(0, last)] if last >= 0 else [])
    open_cases = counted.without(summary.confirmed)
    unread = open_cases.without(summary.unconfirmed)
    doubtful = open_cases.without(unread)
    if run is not None and run.gidx.lstrip("-").isdigit():
        # What the living solver counted is confirmed, or not, when it ends. Its state file may
        # have been moved back since it started: then these are none.
        living = Ranges()
        living.add(int(run.gidx) // stride + 1, last)
        unread = unread.without(living)
    behind = state is not JobState.RUNNING and _is_behind(config, offset, at)
    told = summary.executions > 0 and not summary.unsure if not config.state_file_host else True
    known = state is JobState.DONE and told and not behind and not unread and not doubtful
    gidx = [(first * stride + offset, last * stride + offset) for first, last in doubtful.pairs]
    if state is JobState.DONE and not config.state_file_host and summary.unsure:
        gidx = [(offset, offset)]
    read = len(counted) - len(open_cases)
    return Coverage(read, gidx, len(unread), behind, known), at


def _is_behind(config: Config, offset: int, at: Position) -> bool:
    try:
        status = os.stat(config.log_file(offset))
    except OSError:
        return False
    return (status.st_ino, status.st_size) != (at.inode, at.byte)
