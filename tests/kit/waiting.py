"""Wait until something holds, and say what never came."""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from inotify_simple import INotify, flags

T = TypeVar("T")
PATIENCE = 60.0  # seconds until what does not happen is a failure, on a busy machine
CHANGES = (
    flags.CREATE | flags.DELETE | flags.MODIFY | flags.MOVED_TO | flags.MOVED_FROM
    | flags.CLOSE_WRITE
)  # fmt: skip
# Processes start and end without a change of a file: look again after so many seconds.
_AGAIN, _AGAIN_BELOW = 0.1, 0.5


class NeverCame(AssertionError):
    """What a test waited for did not happen in time."""


def until(
    condition: Callable[[], T | None],
    what: str,
    seconds: float = PATIENCE,
    *,
    below: Path | None = None,
    wait: Callable[[float], object] | None = None,
    report: Callable[[], str] | None = None,
) -> T:
    """Return what the condition gives once that is true.

    It is looked at again after each change of `below`, a file or a directory with all in it, or
    after each `wait`, which takes the seconds that are left. With neither it is polled.

    Raises:
        NeverCame: after so many seconds; the message says `what`, and ends with the `report`.

    """
    deadline = time.monotonic() + seconds
    watch = _Watch(below) if below is not None else None
    if wait is None:
        wait = watch.wait if watch else lambda left: time.sleep(min(left, _AGAIN))
    try:
        while True:
            if watch:
                watch.look()  # first, so that no change after the condition's look is missed
            if found := condition():
                return found
            if (left := deadline - time.monotonic()) <= 0:
                told = f"\n{report()}" if report else ""
                raise NeverCame(f"never came within {seconds:.0f} s: {what}{told}")
            wait(left)
    finally:
        if watch:
            watch.inotify.close()


class _Watch:
    """The changes of a file, or of a directory and all directories in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.inotify = path, INotify()
        self.poll = select.poll()
        self.poll.register(self.inotify.fileno(), select.POLLIN)
        self.known: set[str] = set()

    def look(self) -> None:
        """Watch the directories that are new, too."""
        for place in (str(self.path), *(place for place, _, _ in os.walk(self.path))):
            if place not in self.known:
                self.known.add(place)
                with suppress(FileNotFoundError):  # it is gone again
                    self.inotify.add_watch(place, CHANGES)

    def wait(self, left: float) -> None:
        """Return after the next change, or after a while."""
        self.poll.poll(min(left, _AGAIN_BELOW) * 1000)
        self.inotify.read(timeout=0)
