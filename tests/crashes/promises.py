"""What the runner had told the world before the power went, and so has to keep.

A command keeps its promise from its end on; from the beginning of one that may change a thing,
nothing is promised of it until that has ended.
"""

import re
from dataclasses import dataclass, replace

from story import FAILS, STRIDE

SETTLED = re.compile(r"\[worker 1\] demo: demo_off(\d+) \w+ -> (\w+)")


@dataclass(frozen=True)
class Promises:
    """Of jobs by their offsets.

    `there`: the job is in the queue. `settled`: it is where its worker said, done or failed, and
    nothing has begun that may move it. `held`: nobody has retried by hand what must be held.
    `empty`: no job is there. `gate`: whether the stop gate is there (None: it may be). `moved`:
    whether the settings have moved in from the shell project (None: they never were there).
    """

    there: frozenset[int] = frozenset()
    settled: frozenset[tuple[int, str]] = frozenset()
    held: bool = True
    empty: bool = False
    gate: bool | None = False
    moved: bool | None = None

    def hear(self, line: str) -> "Promises":
        """What is promised after that line."""
        if said := SETTLED.match(line):
            job = int(said[1])
            others = frozenset(s for s in self.settled if s[0] != job)
            return replace(
                self, settled=others | {(job, said[2])} if said[2] != "pending" else others
            )
        began, _, words = line.partition(" ")
        verb = words.split()[:1]
        if began == "begin":
            return self._begin(words)
        return self._end(words) if began == "end" and verb else self

    def _without(self, *states: str) -> "Promises":
        kept = frozenset(s for s in self.settled if s[1] not in states)
        return replace(self, settled=kept)

    def recovered(self) -> "Promises":
        """What is promised still after a recovery: it retries what failed, but not what is held."""
        kept = frozenset(s for s in self.settled if s != (FAILS, "failed"))
        return replace(self, settled=kept)

    def _begin(self, command: str) -> "Promises":
        verb = command.split()[0]
        if verb == "purge":
            return replace(self._without("done", "failed"), there=frozenset())
        if verb == "enqueue":
            return replace(
                self._without("done", "failed") if "--force" in command else self, empty=False
            )
        if verb in ("worker", "recover"):
            return self.recovered()
        if verb == "retry-failed":
            return replace(self._without("failed"), held=False)
        if verb == "migrate":
            return replace(self, moved=False)
        return replace(self, gate=None) if verb in ("request-stop", "clear-stop") else self

    def _end(self, command: str) -> "Promises":
        verb = command.split()[0]
        if verb == "purge":
            return replace(self, empty=True)
        if verb == "enqueue":
            return replace(self, there=self.there | frozenset(range(STRIDE)))
        if verb in ("request-stop", "clear-stop"):
            return replace(self, gate=verb == "request-stop")
        return replace(self, moved=True) if verb == "migrate" else self
