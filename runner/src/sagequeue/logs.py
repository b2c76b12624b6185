"""The ends of a jobset's logs, and what is added to them, line by line, each with its offset.

A log may appear, be truncated or be rotated at any time. What is printed is harmless to a terminal.
"""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inotify_simple import INotify, flags

from sagequeue.config import Config
from sagequeue.jobs import printable
from sagequeue.watch import Signals

# Bytes that are read at once. A longer line comes in pieces, and no end of a log is longer.
_CHUNK = 1 << 20
# Seconds between looks where inotify is not to be had.
_POLLING = 1.0
_EVENTS = flags.CREATE | flags.MODIFY | flags.MOVED_TO | flags.MOVED_FROM
Tell = Callable[[str], None]


@dataclass
class _Tail:
    """How far a log was read: which file it was, the position, the last line without its end."""

    inode: int
    position: int
    rest: bytes = b""


class Logs:
    """The logs of a jobset, or of the one offset; `tell` is handed each line."""

    def __init__(self, config: Config, offset: int | None, tell: Tell) -> None:
        self.directory = config.log_dir
        which = "[0-9]+" if offset is None else str(offset)
        self.pattern = re.compile(rf"{re.escape(config.log_prefix)}_off({which})\.log")
        self.tell = tell
        self._tails: dict[int, _Tail] = {}

    def last(self, lines: int) -> int:
        """Tell the last lines of each, in offset order; how many logs there are."""
        offsets = self._there()
        for offset, path in offsets:
            with suppress(FileNotFoundError), open(path, "rb") as file:
                status = os.fstat(file.fileno())
                begin = _begin(file.fileno(), status.st_size, lines)
            tail = self._tails[offset] = _Tail(status.st_ino, begin)
            self._read(path, offset, tail)
        return len(offsets)

    def finish(self) -> None:
        """Tell the lines that have no end yet, too."""
        for offset, tail in self._tails.items():
            if tail.rest:
                self._line(offset, tail.rest)
                tail.rest = b""

    def added(self, names: Iterable[str] | None = None) -> None:
        """Tell what was added since the last time, to the files of those names or to all."""
        for offset, path in self._there(names):
            try:
                inode = path.stat().st_ino
            except FileNotFoundError:
                continue
            tail = self._tails.get(offset)
            if tail is None or tail.inode != inode:
                if tail is not None:
                    self._read_rotated(offset, tail)
                tail = self._tails[offset] = _Tail(inode, 0)
            self._read(path, offset, tail)

    def _there(self, names: Iterable[str] | None = None) -> list[tuple[int, Path]]:
        if names is None:
            try:
                names = os.listdir(self.directory)
            except FileNotFoundError:
                names = []
        found = ((self.pattern.fullmatch(name), name) for name in set(names))
        return sorted((int(match[1]), self.directory / name) for match, name in found if match)

    def _read_rotated(self, offset: int, tail: _Tail) -> None:
        """The rest of a log that goes by another name by now."""
        for entry in os.scandir(self.directory):
            if entry.inode() == tail.inode:
                self._read(Path(entry.path), offset, tail)
        if tail.rest:
            self._line(offset, tail.rest)

    def _read(self, path: Path, offset: int, tail: _Tail) -> None:
        with suppress(FileNotFoundError), open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < tail.position:
                tail.position, tail.rest = 0, b""  # it was truncated, and what it holds is new
            file.seek(tail.position)
            while chunk := file.read(_CHUNK):
                tail.position += len(chunk)
                *whole, tail.rest = (tail.rest + chunk).split(b"\n")
                if len(tail.rest) > _CHUNK:
                    whole.append(tail.rest)
                    tail.rest = b""
                for line in whole:
                    self._line(offset, line)

    def _line(self, offset: int, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode("utf-8", errors="replace")
        self.tell(f"[off {offset}] {printable(text)}")


def _begin(fd: int, size: int, lines: int) -> int:
    """Where the last lines of a file of that size begin."""
    if lines == 0:
        return size
    start = max(0, size - _CHUNK)
    end = os.pread(fd, size - start, start)
    cut = len(end)
    # The end of the last line begins no line.
    for _ in range(lines + 1 if end.endswith(b"\n") else lines):
        cut = end.rfind(b"\n", 0, cut)
        if cut < 0:
            return start
    return start + cut + 1


def follow(logs: Logs, lines: int, signals: Signals) -> None:
    """Tell the last lines of each log, and all that is added until a signal comes."""
    inotify = _watch(logs.directory)
    logs.last(lines)
    try:
        while not signals.stop:
            if inotify is None:
                signals.wait(_POLLING)
                inotify = _watch(logs.directory)
                logs.added()
                continue
            signals.wait(None, inotify.fileno())
            events = inotify.read(timeout=0)
            if any(event.mask & (flags.Q_OVERFLOW | flags.IGNORED) for event in events):
                inotify.close()
                inotify = _watch(logs.directory)
                events = []
            logs.added({event.name for event in events} or None)
    finally:
        if inotify is not None:
            inotify.close()


def _watch(directory: Path) -> INotify | None:
    try:
        inotify = INotify()
    except OSError:
        return None
    try:
        inotify.add_watch(directory, _EVENTS)
    except OSError:
        inotify.close()
        return None
    return inotify
