"""What a partition's ledger comes to, kept up line by line.

So nobody who looks at a jobset has to read whole ledgers. It is kept beside the reader's position.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagequeue import ledger, tally
from sagequeue.ledger import CASE, EXECUTION, Line
from sagequeue.ranges import Ranges
from sagequeue.tally import Tally

# How long the last cases took, kept for the forecast.
_RECENT = 256
# Tallies of the last cases, kept apart: a solver that was killed does its last case again, and the
# state file moves on a moment after the `DONE` line.
_LATEST = 8


@dataclass
class Summary:
    """What a partition's ledger comes to.

    Numbers of cases are local: the partition's first case is 0. `confirmed` are the cases whose
    output was read: a `DONE` line was, with no gap before it, or their execution ended by itself.
    `unconfirmed` are those of executions that did not, minus nothing: see `doubtful`. `unsure` is
    whether the last execution of a job without a state file did not end by itself, `reports`
    whether the workload prints `DONE` lines. `recent` are seconds of the last cases. `tally` adds
    up what `tally_cases` cases counted; `latest` are the last of these, each with its local number,
    and `tally_stale` says that an older one was done again since.
    """

    stride: int
    offset: int
    confirmed: Ranges = field(default_factory=Ranges)
    unconfirmed: Ranges = field(default_factory=Ranges)
    unsure: bool = False
    reports: bool = False
    executions: int = 0
    recent: list[float] = field(default_factory=list)
    counts: Tally = field(default_factory=dict)
    tally_cases: int = 0
    latest: list[tuple[int, str]] = field(default_factory=list)
    tally_stale: bool = False

    def doubtful(self) -> Ranges:
        """The cases that were counted by a state file and whose output may be lost."""
        return self.unconfirmed.without(self.confirmed)

    def add(self, line: Line) -> None:
        """Take in one more line."""
        if line.get("kind") == CASE:
            self._case(line)
        elif line.get("kind") == EXECUTION:
            self._execution(line)

    def _local(self, gidx: object) -> int | None:
        if not isinstance(gidx, int) or gidx < 0 or gidx % self.stride != self.offset:
            return None
        return gidx // self.stride

    def _case(self, line: Line) -> None:
        local = self._local(line.get("gidx"))
        if local is None:
            return
        if line.get("gap") is not True:
            self.confirmed.add(local, local)
        self.reports = True
        seconds = line.get("seconds")
        if isinstance(seconds, int | float):
            self.recent = [*self.recent[1 - _RECENT :], float(seconds)]
        said = line.get("tally")
        if isinstance(said, str) and tally.parse(said) is not None:
            self._count(local, said)

    def _count(self, local: int, said: str) -> None:
        places = [number for number, _ in self.latest]
        if local in places:
            at = places.index(local)
            self._tell(self.latest[at][1], -1)
            self.latest[at] = (local, said)
        elif not places or local > places[-1]:
            self.latest = [*self.latest[1 - _LATEST :], (local, said)]
        else:
            self.tally_stale = True
            return
        self._tell(said, 1)

    def _tell(self, said: str, sign: int) -> None:
        tally.add(self.counts, tally.parse(said) or {}, sign)
        self.tally_cases += sign

    def _execution(self, line: Line) -> None:
        if line.get("stride", self.stride) != self.stride:
            return  # its cases have other numbers, and it was another partition
        self.executions += 1
        sure = line.get("confirmed") is True
        first, last = line.get("first"), line.get("last")
        if isinstance(first, int) and isinstance(last, int):
            (self.confirmed if sure else self.unconfirmed).add(first, last)
        self.unsure = first is None and not sure

    def counted(self, last: int, path: Path) -> tuple[Tally, int]:
        """The tally of the cases up to local number `last`, and how many these are.

        What the summary does not know any more is looked up in the ledger at `path`.
        """
        beyond = [said for local, said in self.latest if local > last]
        if not self.tally_stale and len(beyond) < max(1, len(self.latest)):
            total: Tally = {}
            tally.add(total, self.counts)
            for said in beyond:
                tally.add(total, tally.parse(said) or {}, -1)
            told = {name: +counts for name, counts in total.items() if +counts}
            return told, self.tally_cases - len(beyond)
        return tally.count(ledger.read(path), self.offset, self.stride, last)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "confirmed": self.confirmed.pairs,
            "unconfirmed": self.unconfirmed.pairs,
            "unsure": self.unsure,
            "reports": self.reports,
            "executions": self.executions,
            "recent": self.recent,
            "tally": self.counts,
            "tally_cases": self.tally_cases,
            "latest": self.latest,
            "tally_stale": self.tally_stale,
        }

    @classmethod
    def from_json(cls, stride: int, offset: int, shape: Mapping[str, Any]) -> "Summary":
        """What `as_json` gave; ValueError, TypeError or KeyError for anything else."""
        counts = {
            str(name): Counter({int(value): int(n) for value, n in told.items()})
            for name, told in shape["tally"].items()
        }
        return cls(
            stride, offset, Ranges(shape["confirmed"]), Ranges(shape["unconfirmed"]),
            bool(shape["unsure"]), bool(shape["reports"]), int(shape["executions"]),
            [float(s) for s in shape["recent"]], counts, int(shape["tally_cases"]),
            [(int(n), str(t)) for n, t in shape["latest"]], bool(shape["tally_stale"]),
        )  # fmt: skip
