"""Logs that were written since they were read, and whose jobs do not run.

A process that was left over wrote there, or an earlier release read them, which kept no position.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sagequeue import logfile, position
from sagequeue.config import Config
from sagequeue.jobs import job_name
from sagequeue.reading import Reader

# Nanoseconds after which a last line without its end is taken for a whole one.
_QUIET = 60 * 10**9


def logs(config: Config) -> Iterator[tuple[int, bool]]:
    """The offsets whose logs were written since they were read, and whether they are quiet now."""
    read = _times(config.ledger_dir, re.compile(rf"{config.jobset}_off([0-9]{{1,18}})\.position"))
    logs = re.compile(rf"{re.escape(config.log_prefix)}_off([0-9]{{1,18}})\.log")
    # A copy of a log, or one that was renamed, has an old time, and is another file than was read.
    written = _times(config.log_dir, logs, changed=True)
    for offset, status in logfile.renamed(config):
        # A process that opened it before it was renamed may still write there.
        changed = _time(status, changed=True)
        if changed >= read.get(offset, -1) and _is_read(config, offset, status.st_ino):
            written[offset] = max(changed, written.get(offset, -1))
    for offset, moment in sorted(written.items()):
        # In one tick of the kernel's clock it may have been read and written again.
        if moment >= read.get(offset, -1):
            yield offset, time.time_ns() - moment > _QUIET


def _is_read(config: Config, offset: int, inode: int) -> bool:
    """Whether that is the file of the partition that was read last."""
    return position.load(config, job_name(config.jobset, offset), offset).inode == inode


def _times(directory: Path, names: re.Pattern[str], *, changed: bool = False) -> dict[int, int]:
    """When each offset's file was last written, or `changed` in any way, in nanoseconds."""
    try:
        with os.scandir(directory) as entries:
            found = [(names.fullmatch(entry.name), entry) for entry in entries]
            return {
                int(match[1]): _time(entry.stat(follow_symlinks=False), changed=changed)
                for match, entry in found
                if match
            }
    except FileNotFoundError:
        return {}


def _time(status: os.stat_result, *, changed: bool) -> int:
    return max(status.st_mtime_ns, status.st_ctime_ns) if changed else status.st_mtime_ns


def read_on(
    config: Config, name: str, offset: int, quiet: bool, interrupted: Callable[[], bool]
) -> None:
    """Read what was added to the log of a job that does not run; the caller has its lock."""
    reader = Reader.open(config, name, offset)
    assert reader is not None, "it was waited for"
    with reader:
        done = reader.read(None, over=quiet, interrupted=interrupted)
    if done:
        with contextlib.suppress(FileNotFoundError):
            os.utime(position.file(config, name))
