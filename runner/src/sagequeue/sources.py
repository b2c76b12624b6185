"""Which files a partition's log is in: the one that was read last, the execution's, the newest."""

import contextlib
import os

from sagequeue import logfile
from sagequeue.config import Config
from sagequeue.execution import Execution
from sagequeue.position import Position


def current(config: Config, offset: int, at: Position, run: Execution | None) -> int | None:
    """The inode of the log that the execution writes."""
    if run is not None and run.log_inode is not None:
        return run.log_inode
    # An older release began it, or nothing runs. What it writes may have another name by now.
    if run is not None and at.inode and at.execution == run.word:
        return at.inode
    if run is not None:
        return logfile.written(config, offset, run.log_start)
    return logfile.inode_of(config.log_file(offset))


def copy(config: Config, offset: int, run: Execution) -> int | None:
    """The inode of a copy that has the name of the execution's log, if the log itself is gone.

    A queue may have been moved to another disk, or come from a backup.
    """
    inode = logfile.inode_of(config.log_file(offset))
    if run.log_inode is None or inode in (None, run.log_inode):
        return None

    def is_it(fd: int) -> bool:
        return logfile.starts(fd, run.log_start, offset)

    if (fd := logfile.find(config, offset, run.log_inode, is_it)) is not None:
        os.close(fd)
        return None
    with contextlib.suppress(OSError), open(config.log_file(offset), "rb") as log:
        return inode if is_it(log.fileno()) else None
    return None


def inodes(
    config: Config, offset: int, at: Position, run: Execution | None, current: int | None, *,
    over: bool,
) -> list[int]:  # fmt: skip
    """The inodes to be read, in order; the first is the one that was read last."""
    path = logfile.inode_of(config.log_file(offset))
    last = [current, path if over else None]
    if at.inode:
        first = [at.inode]
        if run is None and _was_renamed(config, offset, at):
            return first
        if run is not None and at.execution == run.word:
            last = last[1:]  # it was read to its end, and another file after it
    elif run is not None and run.first and path == current and _is_untouched(config, offset, run):
        first = []  # to list a directory of 100,000 logs for each job would take hours
    else:  # nothing was read yet, and there may be a log from before this release
        beside = map(logfile.inode_of, logfile.beside(config, offset))
        first = [inode for inode in beside if inode and inode not in (current, path)]
    return [*dict.fromkeys(inode for inode in (*first, *last) if inode)]


def _was_renamed(config: Config, offset: int, at: Position) -> bool:
    """Whether the log that was read last was renamed, and the new one is empty.

    A process that was left over has the old one open, and may write more into it.
    """
    try:
        status = os.stat(config.log_file(offset))
    except OSError:
        return False
    if status.st_ino == at.inode or status.st_size:
        return False
    return at.inode in map(logfile.inode_of, logfile.beside(config, offset))


def _is_untouched(config: Config, offset: int, run: Execution) -> bool:
    """Whether the log begins with the execution, so that nothing was renamed or truncated."""
    with contextlib.suppress(OSError), open(config.log_file(offset), "rb") as log:
        return run.log_start == 0 and logfile.starts(log.fileno(), 0, offset)
    return False
