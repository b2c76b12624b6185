"""What is known of a partition's cases and executions, in lines that are only ever added.

`ledger/<job>.jsonl` has one JSON object a line, of two kinds: a *case* for each `DONE` line that
was read from the partition's log, and an *execution* for each one that was settled. Whoever adds
to it holds `flock` on it, which also is the right to read the log on (see `reading`). A crash can
leave the last line torn; it is passed over, and what it said is read from the log again.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from sagequeue import durable, regular

CASE, EXECUTION = "case", "execution"
Line = Mapping[str, Any]

_CHUNK = 1 << 20
# Seconds that whoever reads a log is waited for, and seconds between looks. A reader may be stopped
# (SIGSTOP, a frozen control group), and nobody who settles jobs may stand with it for ever.
_PATIENCE, _AGAIN = 20.0, 0.05
# We write no line that is longer than so many chunks.
_MOST_CHUNKS = 64
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Ledger:
    """A partition's ledger, opened and locked."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self._fd = path, fd

    @classmethod
    def open(cls, path: Path, *, wait: bool) -> "Ledger | None":
        """Open and lock it, made where it is not there; None if somebody has it and not `wait`.

        TimeoutError, an OSError, if somebody has it for too long to be waited for.
        """
        how = os.O_RDWR | os.O_APPEND | os.O_CREAT | _SAFE
        try:
            fd = os.open(path, how, 0o666)
        except IsADirectoryError:
            raise durable.directory_there(path) from None
        try:
            regular.demand(fd, path)
            if _lock(fd, _PATIENCE if wait else 0.0):
                return cls(path, fd)
            if wait:
                raise TimeoutError(
                    f"{path} is locked by a process that reads the log or is stopped"
                )
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self._fd).st_size

    def add(self, lines: Iterable[Line], *, sync: bool) -> None:
        """Append lines, through to the disk with `sync`."""
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        if not text:
            return
        size = self.size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            text = f"\n{text}"  # a line was torn; ours must not become part of it
        content = memoryview(text.encode())
        while content:
            content = content[os.write(self._fd, content) :]
        if sync:
            os.fdatasync(self._fd)
            if not size:  # it is new: its name must last, too
                durable.sync_directory(self.path.parent)

    def lines(self, start: int = 0) -> Iterator[Line]:
        """Its whole lines from a byte on."""
        return _parse(self._fd, start)

    def ended(self, word: str) -> bool:
        """Whether the execution of that word was settled."""
        lines = _parse(self._fd, 0, f'"{word}"'.encode())
        return any((line.get("kind"), line.get("execution")) == (EXECUTION, word) for line in lines)


def read(path: Path) -> Iterator[Line]:
    """The lines of a ledger, for whoever only looks; none if there is no ledger."""
    try:
        fd = os.open(path, os.O_RDONLY | _SAFE)
    except OSError:
        return
    try:
        if not regular.is_regular(fd):
            return
        yield from _parse(fd, 0)
    finally:
        os.close(fd)


def _lock(fd: int, seconds: float) -> bool:
    """Lock it, within so many seconds; whether that was possible."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_AGAIN)
        else:
            return True


def _parse(fd: int, start: int, mark: bytes = b"") -> Iterator[Line]:
    """The whole lines from a byte on that have the mark in them."""
    parts: list[bytes] = []
    while chunk := os.pread(fd, _CHUNK, start):
        start += len(chunk)
        *whole, rest = chunk.split(b"\n")
        if whole:
            whole[0] = b"".join((*parts, whole[0]))
            parts = []
        # Joined when its end has come: a file that is not ours may have no line end in a gigabyte.
        parts = [*parts[-_MOST_CHUNKS:], rest]
        for line in whole:
            if mark not in line:
                continue
            with contextlib.suppress(ValueError, RecursionError):
                parsed = json.loads(line)
                if isinstance(parsed, dict):
                    yield parsed
