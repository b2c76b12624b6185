"""Waiting for files to appear or go, and for signals, without using the processor.

inotify tells at once; where it is not to be had (a user has 128 instances), the same question is
asked every SLEEP_EMPTY seconds.
"""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

from inotify_simple import INotify, flags

# Network filesystems tell nothing of what other hosts do: look again once in a while all the same.
SAFETY_SECONDS = 60.0
_APPEARS = flags.CREATE | flags.MOVED_TO
_GOES = flags.DELETE | flags.MOVED_FROM | flags.DELETE_SELF | flags.MOVE_SELF


class Watch:
    """Names that appeared in (or, with `goes`, also left) one directory since the last `take`."""

    def __init__(self, directory: Path, *, goes: bool = False) -> None:
        self.inotify: INotify | None = None
        try:
            self.inotify = INotify()
            self.inotify.add_watch(directory, _APPEARS | _GOES if goes else _APPEARS)
        except OSError:
            self.close()

    def take(self) -> list[str] | None:
        """The names, or None when the directory has to be listed to know."""
        if self.inotify is None:
            return None
        events = self.inotify.read(timeout=0)
        if any(event.mask & flags.Q_OVERFLOW for event in events):
            return None
        return [event.name for event in events]

    def close(self) -> None:
        """Stop watching."""
        if self.inotify is not None:
            self.inotify.close()
            self.inotify = None


class Signals:
    """SIGTERM, SIGINT and SIGUSR1 as flags and as something that can be waited for.

    `stop`: end at once. `drain`: begin nothing new, and end; to stop is to drain, too.
    """

    def __init__(self) -> None:
        self.stop = self.drain = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.drain = True
        self.stop = self.stop or number != signal.SIGUSR1

    def wait(self, seconds: float | None, *others: Watch | int, polling: float = 30.0) -> None:
        """Return on a signal, on any of `others` (a watch or a descriptor), or after `seconds`.

        A watch without inotify shortens the wait to `polling` seconds. A signal ends one wait only:
        look at the flags first.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        limits = [SAFETY_SECONDS] if seconds is None else [seconds]
        for other in others:
            if isinstance(other, int):
                poll.register(other, select.POLLIN)
            elif other.inotify is not None:
                poll.register(other.inotify.fileno(), select.POLLIN)
            else:
                limits.append(polling)
        poll.poll(min(limits) * 1000)
        with suppress(BlockingIOError):
            os.read(self._read, 4096)
