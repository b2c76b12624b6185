"""The pending jobs in offset order, kept up to date by what appears in the directory.

Listing 100,000 files takes a tenth of a second; a claim must not. So the directory is listed once,
and again only when the kernel could not tell what came.
"""

import heapq
import time

from sagequeue.jobs import JobState
from sagequeue.later import Later
from sagequeue.spool import SUFFIX, Spool
from sagequeue.watch import SAFETY_SECONDS, Watch


class Candidates:
    """A worker's view of pending; other workers take from it at any time."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.watch = Watch(spool.dirs[JobState.PENDING])
        self._heap: list[tuple[int, str]] = []
        self._aside: list[str] = []
        self.later = Later()
        self._list = True
        self._listed_at = float("-inf")

    def refresh(self) -> None:
        """Take in what has come since the last call, and what has waited long enough."""
        for name in self.later.take():
            self.put(name)
        names = self.watch.take()
        if names is not None and not self._list:
            for name in names:
                if name.endswith(SUFFIX) and not name.startswith("."):
                    self.put(name.removesuffix(SUFFIX))
            if self._heap or time.monotonic() - self._listed_at < SAFETY_SECONDS:
                return
        # Without inotify an unfinished list still serves, for SLEEP_EMPTY seconds.
        age = time.monotonic() - self._listed_at
        if self.watch.inotify is None and self._heap and age < self.spool.config.sleep_empty:
            return
        self._heap = [(self._order(n), n) for n in self.spool.names(JobState.PENDING)]
        heapq.heapify(self._heap)
        self._list, self._listed_at = False, time.monotonic()

    def _order(self, name: str) -> int:
        digits = name.rpartition("_off")[2]
        # What has no offset in its name is no job: it goes first, to be put aside.
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else -1

    def forget(self) -> None:
        """List the directory again at the next `refresh`."""
        self._list, self._listed_at = True, float("-inf")

    def put(self, name: str) -> None:
        """Put a job among the candidates."""
        heapq.heappush(self._heap, (self._order(name), name))

    def put_aside(self, name: str) -> None:
        """Put away a job that somebody holds, to claim it most likely, or that can't be claimed."""
        self._aside.append(name)

    def put_off(self, name: str, seconds: float) -> None:
        """Put away a job that is not to be claimed for so long."""
        self.later.put(name, seconds)

    def is_away(self, name: str) -> bool:
        """Whether the job was put aside or put off, and not taken back since."""
        return name in self._aside or name in self.later

    def take_back(self) -> bool:
        """Put what was put aside and is pending still among the candidates again; was there any."""
        aside = [name for name in self._aside if self.spool.lies(JobState.PENDING, name)]
        self._aside.clear()
        for name in aside:
            self.put(name)
        return bool(aside)

    def take(self) -> str | None:
        """The pending job of the lowest offset, or None."""
        while self._heap:
            name = heapq.heappop(self._heap)[1]
            if self.spool.lies(JobState.PENDING, name):
                return name
        return None
