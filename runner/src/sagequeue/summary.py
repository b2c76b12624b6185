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

    Numbers of cases are local: the partition's first case is 0. `done` are the cases of which a
    `DONE` line was read, `exited` those of executions that ended by themselves, `doubtful` those of
    executions that did not, or that lost a part of their log, and reported no `DONE` line of them
    with no gap before it.
    The last execution of a case is what counts; `reported` are the cases of the execution at hand.
    `reports` is whether any `DONE` line was ever read, `unsure` whether the last execution of a job
    without a state file did not end by itself, `printed` how many solutions all executions printed.
    `recent` are seconds of the last cases. `counts`
    adds up what `tally_cases` cases counted; `latest` are the last of these, each with its local
    number, and `tally_stale` says that an older one was done again since.
    """

    stride: int
    offset: int
    done: Ranges = field(default_factory=Ranges)
    exited: Ranges = field(default_factory=Ranges)
    doubtful: Ranges = field(default_factory=Ranges)
    reported: Ranges = field(default_factory=Ranges)
    unsure: bool = False
    reports: bool = False
    executions: int = 0
    printed: int = 0
    recent: list[float] = field(default_factory=list)
    counts: Tally = field(default_factory=dict)
    tally_cases: int = 0
    latest: list[tuple[int, str]] = field(default_factory=list)
    tally_stale: bool = False

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
        case = Ranges([(local, local)])
        if line.get("gap") is True:  # what it printed before may be lost
            self.done, self.reported = self.done.without(case), self.reported.without(case)
        else:
            self.done.add(local, local)
            self.reported.add(local, local)
            self.doubtful = self.doubtful.without(case)
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
        printed = line.get("solutions")
        self.printed += printed if isinstance(printed, int) else 0
        sure = line.get("confirmed") is True
        first, last = line.get("first"), line.get("last")
        self.unsure = first is None and not sure
        if isinstance(first, int) and isinstance(last, int) and first <= last:
            cases = Ranges([(first, last)])
            silent = cases.without(self.reported)
            self.done = self.done.without(silent)
            self.exited = self.exited.without(cases)
            self.doubtful = self.doubtful.without(cases)
            kept, what = (self.exited, cases) if sure else (self.doubtful, silent)
            for pair in what.pairs:
                kept.add(*pair)
        self.reported = Ranges()

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
            "done": self.done.pairs,
            "exited": self.exited.pairs,
            "doubtful": self.doubtful.pairs,
            "reported": self.reported.pairs,
            "unsure": self.unsure,
            "reports": self.reports,
            "executions": self.executions,
            "printed": self.printed,
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
            stride, offset, Ranges(shape["done"]), Ranges(shape["exited"]),
            Ranges(shape["doubtful"]), Ranges(shape["reported"]),
            bool(shape["unsure"]), bool(shape["reports"]), int(shape["executions"]),
            int(shape["printed"]),
            [float(s) for s in shape["recent"]], counts, int(shape["tally_cases"]),
            [(int(n), str(t)) for n, t in shape["latest"]], bool(shape["tally_stale"]),
        )  # fmt: skip
