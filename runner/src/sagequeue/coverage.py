"""Of which cases the output was read, and so what "nothing found" may be said of."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sagequeue.config import Config
from sagequeue.execution import Execution
from sagequeue.jobs import JobState
from sagequeue.position import Position
from sagequeue.ranges import Ranges


@dataclass(frozen=True)
class Coverage:
    """A partition's cases, as its state file counts them.

    `read` of them have a `DONE` line that was read, or an execution that ended by itself if the
    workload prints no such lines.
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
    config: Config, offset: int, at: Position, state: JobState | None, last_gidx: int | None,
    run: Execution | None, renamed: Callable[[], Mapping[int, int]], *, reports: bool,
) -> Coverage:  # fmt: skip
    """The coverage of a partition whose log was read up to `at`.

    `last_gidx` is the state file's number (None: none), `run` its execution if it is running.
    `renamed` gives the size in bytes of each log that was renamed, by inode.
    `reports` is whether the jobset's workload prints `DONE` lines: then nothing but these confirms
    a case. A helper that wrote the log may have been killed, and the workload have gone on to its
    end.
    """
    summary, stride = at.summary, config.stride
    last = -1 if last_gidx is None else last_gidx // stride
    counted = Ranges([(0, last)] if last >= 0 else [])
    left = counted.without(summary.done)
    if not reports:
        left = left.without(summary.exited)
    unread = left.without(summary.doubtful).without(summary.exited)
    doubtful = left.without(unread)
    if run is not None and run.gidx.lstrip("-").isdigit():
        # What the living solver counted is confirmed, or not, when it ends. Its state file may
        # have been moved back since it started: then these are none.
        living = Ranges()
        living.add(int(run.gidx) // stride + 1, last)
        unread = unread.without(living)
    behind = state is not JobState.RUNNING and _is_behind(config, offset, at, renamed)
    told = bool(config.state_file_host) or (summary.executions > 0 and not summary.unsure)
    known = state is JobState.DONE and told and not behind and not unread and not doubtful
    gidx = [(first * stride + offset, last * stride + offset) for first, last in doubtful.pairs]
    if state is JobState.DONE and not config.state_file_host and summary.unsure:
        gidx = [(offset, offset)]
    return Coverage(len(counted) - len(left), gidx, len(unread), behind, known)


def _is_behind(
    config: Config, offset: int, at: Position, renamed: Callable[[], Mapping[int, int]]
) -> bool:
    try:
        status = os.stat(config.log_file(offset))
    except OSError:
        status = None
    if status is not None and (status.st_ino == at.inode or status.st_size):
        return (status.st_ino, status.st_size) != (at.inode, at.byte)
    # The log was renamed. There is no new one yet, or an empty one.
    return bool(at.inode) and renamed().get(at.inode, at.byte) != at.byte
