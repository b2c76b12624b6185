"""Waiting for files to appear or go, for signals, for the end of processes, without a busy loop.

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
# Seconds of one wait: the kernel's own limit is some weeks, and who waits longer waits again.
_LONGEST = 86400.0
_APPEARS = flags.CREATE | flags.MOVED_TO
_GOES = flags.DELETE | flags.MOVED_FROM | flags.DELETE_SELF | flags.MOVE_SELF


def readable(fd: int, seconds: float) -> bool:
    """Wait until there is something to read, at most for `seconds` or a day; whether there is."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, min(seconds, _LONGEST)) * 1000))


def until_ended(pid: int, seconds: float) -> None:
    """Return when the process has ended, whoever's it is, or after `seconds` or a day."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    readable(process, seconds)
    os.close(process)


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

    `stop`: end at once. `drain`: begin nothing new, and end; to stop is to drain, too. With
    `hand_over` SIGHUP is one more, `leave`: end at once and leave what works as it is; to leave is
    to drain, too.
    """

    def __init__(self, *, hand_over: bool = False) -> None:
        self.stop = self.drain = self.leave = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._on_signal)
        # Started by `nohup` it outlives the terminal.
        if hand_over and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.drain = True
        self.leave = self.leave or number == signal.SIGHUP
        self.stop = self.stop or number in (signal.SIGTERM, signal.SIGINT)

    def wait(self, seconds: float | None, *others: Watch | int, polling: float = 30.0) -> None:
        """Return on a signal, on any of `others` (a watch or a descriptor), or after `seconds`.

        Nothing is waited for longer than a day.
        A watch without inotify shortens the wait to `polling` seconds. A signal ends one wait only:
        look at the flags first.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        limits = [SAFETY_SECONDS] if seconds is None else [seconds, _LONGEST]
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
