"""Finding a log again that was renamed, copied and truncated, or deleted while a solver writes it.

Log rotation does that. A solver writes on into the file that it was given, whatever its name, so a
log is known by its inode and by the bytes that were read of it last, never by its name alone.
"""

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sagequeue.config import Config

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# What rotation adds to a name: a number or a date, and a time, in digits. Then it may compress.
_WHEN = r"(?:[.-][0-9][0-9._:TZ+-]*)?"
_COMPRESSED = r"\.(?:gz|bz2|xz|zst|lz4|Z)"
_START = re.compile(rb"\n?\[worker [0-9]+\] start offset=([0-9]{1,18})\s")
# Bytes before a position by which a log is known again.
KNOWN_BY = 64


def inode_of(path: Path) -> int | None:
    """The inode of the regular file of that name; None if there is none."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_ino if stat.S_ISREG(status.st_mode) else None


def _any(fd: int) -> bool:
    """Whether a file is the log: it is known to be open, so no other file has its inode."""
    return True


def find(
    config: Config, offset: int, inode: int, is_it: Callable[[int], bool] = _any
) -> int | None:
    """A descriptor of the partition's log with that inode, by whatever name; None if it is gone.

    It may have no name any more: then a process that has it open, the solver's or its client's, is
    the way to it. If nobody has, another file may have its inode by now, another partition's log
    for instance: `is_it` tells of a descriptor whether it is the log's.
    """
    path = config.log_file(offset)
    for candidate in itertools.chain((path,), _beside(config, offset)):
        if (fd := _open(candidate, inode)) is not None:
            return fd
    return _held(config.log_dir, inode, is_it)


def beside(config: Config, offset: int) -> list[Path]:
    """What log rotation may have made of the partition's log, the oldest first."""
    found = [(_modified(path), path) for path in _beside(config, offset)]
    return [path for _, path in sorted(found)]


def all_of(config: Config) -> list[Path]:
    """The jobset's logs, with what the runner and log rotation made of them; nothing else.

    Rotation adds a number or a date, before the log's last suffix or behind it, and may compress:
    `K.log.1`, `K.log.2.gz`, `K.log-20261130-093000`, `K-20261130.log.xz`. What a person has put
    there under another name (`K.log.bak`) is the person's.
    """
    return sorted(
        Path(name.entry.path)
        for name in _names(config)
        if name.is_ours and not name.entry.is_dir(follow_symlinks=False)
    )


def renamed(config: Config) -> Iterator[tuple[int, os.stat_result]]:
    """The offset and the status of each log that rotation has renamed and not compressed.

    It lists the directory once for all offsets.
    """
    with contextlib.suppress(OSError):
        for name in _names(config):
            if name.is_renamed:
                with contextlib.suppress(FileNotFoundError):
                    yield name.offset, name.entry.stat(follow_symlinks=False)


def copies(
    config: Config, offset: int, inode: int, at: int, before: str
) -> Iterator[tuple[int, int]]:
    """Copies made of a log before it was truncated, and where what was not read begins in each.

    `at` and `before` say how far the log was read. The copy that was made first goes on from there;
    each later one has what was written in between, the oldest first. Each descriptor is closed when
    the next one is asked for.
    """
    found = False
    for path in beside(config, offset) if at else ():
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            fd = os.open(path, _READ)
            stack.callback(os.close, fd)
            if os.fstat(fd).st_ino == inode:
                continue
            here = known(fd, at, before)
            if found != here:
                yield fd, at if here else 0
            found = found or here


def known(fd: int, at: int, before: str) -> bool:
    """Whether the file's first bytes, and those before position `at`, are those."""
    last, _, first = (bytes.fromhex(part) for part in before.partition(" "))
    if at < len(last) or os.pread(fd, len(last), at - len(last)) != last:
        return False
    return os.pread(fd, len(first), 0) == first


def written(config: Config, offset: int, log_start: int) -> int | None:
    """The inode of the log that an execution writes whose record does not say; None without a log.

    Of several in which an execution starts at that byte, it is the newest.
    """
    path = config.log_file(offset)
    for candidate in (path, *reversed(beside(config, offset))):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            fd = os.open(candidate, _READ)
            stack.callback(os.close, fd)
            if starts(fd, log_start, offset):
                return os.fstat(fd).st_ino
    return inode_of(path)


def starts(fd: int, at: int, offset: int) -> bool:
    """Whether an execution starts there: before its solver, the worker writes a line there."""
    match = _START.match(os.pread(fd, KNOWN_BY, at))
    return match is not None and int(match[1]) == offset


def before(fd: int, at: int) -> str:
    """The bytes before a position and the file's first ones, as `known` takes them.

    The first ones have a time in them: what a workload prints again and again is no mark.
    """
    begin = max(0, at - KNOWN_BY)
    return f"{os.pread(fd, at - begin, begin).hex()} {os.pread(fd, min(at, KNOWN_BY), 0).hex()}"


class _Name(NamedTuple):
    """A file whose name begins as a partition's log's.

    `is_ours` is whether the rest of it is the runner's or log rotation's, and `is_renamed` whether
    the file may be a log that was renamed, by a person (`K.log.old`) or by rotation, and not
    compressed: a log is known by its inode then.
    """

    offset: int
    entry: os.DirEntry[str]
    is_ours: bool
    is_renamed: bool


def _names(config: Config, offset: int | None = None) -> Iterator[_Name]:
    """The jobset's logs, or one partition's, with all that their names may have become."""
    begin = f"{config.log_prefix}_off{'' if offset is None else offset}"
    name = re.compile(
        rf"{re.escape(config.log_prefix)}_off([0-9]{{1,18}})(?![0-9])"
        rf"(?:({_WHEN}\.log{_WHEN})|.*?)({_COMPRESSED})?"
    )
    with contextlib.suppress(FileNotFoundError), os.scandir(config.log_dir) as entries:
        for entry in entries:
            match = name.fullmatch(entry.name) if entry.name.startswith(begin) else None
            if match is None or offset not in (None, int(match[1])):
                continue
            own = match[2] == ".log" and not match[3]
            yield _Name(int(match[1]), entry, match[2] is not None, not own and not match[3])


def _beside(config: Config, offset: int) -> Iterator[Path]:
    """Files that the partition's log may have become: `K.log.1`, `K.log-7`, `K-7.log`."""
    with contextlib.suppress(OSError):
        for name in _names(config, offset):
            if name.is_renamed:
                yield Path(name.entry.path)


def _modified(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _open(path: Path | str, inode: int, *, follow: bool = False) -> int | None:
    try:
        fd = os.open(path, _READ & ~os.O_NOFOLLOW if follow else _READ)
    except OSError:
        return None
    if os.fstat(fd).st_ino == inode:
        return fd
    os.close(fd)
    return None


def _held(directory: Path, inode: int, is_it: Callable[[int], bool]) -> int | None:
    """The file by a process of ours that has it open."""
    device = os.stat(directory).st_dev
    for process in os.scandir("/proc"):
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError), os.scandir(f"{process.path}/fd") as descriptors:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    status = os.stat(descriptor.path)
                    if (status.st_ino, status.st_dev) != (inode, device):
                        continue
                    if (fd := _open(descriptor.path, inode, follow=True)) is None:
                        continue
                    with contextlib.suppress(OSError):  # it may be a directory
                        if is_it(fd):
                            return fd
                    os.close(fd)
    return None
