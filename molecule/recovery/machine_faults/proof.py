"""The invariants, held against the solvers' journal, the faults and the queue's directories."""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from kit.journal import FINISHED, Line

from machine_faults.faults import Strike
from machine_faults.machine import Machine

# Nanoseconds between two lines of a solver that nobody disturbed: the longest case, and what a
# busy machine takes to write.
_CASE = int(1.5e9)


@dataclass
class Solver:
    """One execution, by its lines."""

    lines: list[Line] = field(default_factory=list)

    @property
    def began(self) -> int:
        """When it said so."""
        return self.lines[0].at

    @property
    def last(self) -> Line:
        """What it said last."""
        return self.lines[-1]


class Proof:
    """The faults so far, and what is violated."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.since = time.monotonic_ns()
        self.strikes: list[Strike] = []
        self.violations: list[str] = []

    def solvers(self) -> dict[int, list[Solver]]:
        """Each offset's solvers in the order of their starts."""
        found: dict[int, list[Solver]] = defaultdict(list)
        for line in self.machine.journal.read():
            if line.event == "overlap":
                continue
            if line.event == "start" or not found[line.offset]:
                found[line.offset].append(Solver())
            found[line.offset][-1].lines.append(line)
        return found

    def ended_by(self, strike: Strike) -> bool:
        """Whether a solver had to be started for the one that it ended."""
        return strike.ends and any(
            strike.began <= after.began <= strike.over and before.last.event not in FINISHED
            for solvers in self.solvers().values()
            for before, after in itertools.pairwise(solvers)
        )

    def check(self, *, at_the_end: bool = False) -> None:
        """Put down what is violated."""
        self.violations += self.machine.told
        checks = [self.places, self.alone, self.disturbed, self.again, self.done, self.attempts]
        for check in [*checks, *([self.all_done] if at_the_end else [])]:
            self.violations += [f"{check.__name__}: {text}" for text in check()]

    def places(self) -> Iterator[str]:
        """Every job is in exactly one directory."""
        for offset in range(self.machine.stride):
            # Seen while it is moved, it may seem to be in two or in none; not for long.
            for _ in range(20):
                if len(found := self.machine.places(offset)) == 1:
                    break
                time.sleep(0.05)
            else:
                yield f"offset {offset} lies in {[str(p.parent.name) for p in found]}"

    def alone(self) -> Iterator[str]:
        """At no time are two solvers of an offset alive: none writes after the next one began."""
        for line in self.machine.journal.read():
            if line.event == "overlap":
                yield f"offset {line.offset}: {line.value} was alive when {line.pid} began"
        for offset, solvers in self.solvers().items():
            for solver in solvers:
                if others := {line.pid for line in solver.lines} - {solver.lines[0].pid}:
                    yield f"offset {offset}: {others} wrote after {solver.lines[0].pid} had begun"

    def disturbed(self) -> Iterator[str]:
        """A solver that nobody struck loses no second, and comes to its own end."""
        for offset, solvers in self.solvers().items():
            for before, after in itertools.pairwise(solvers):
                if before.last.event in FINISHED or before.began < self.since:
                    continue
                if not any(
                    s.ends and s.hits(offset, before.began, after.began) for s in self.strikes
                ):
                    yield f"offset {offset}: {before.last.pid} ended before its time"
            for solver in solvers:
                for line, following in itertools.pairwise(solver.lines):
                    if following.at - line.at > _CASE and not any(
                        s.stalls and s.hits(offset, line.at, following.at) for s in self.strikes
                    ):
                        seconds = (following.at - line.at) / 1e9
                        yield f"offset {offset}: {line.pid} stood still for {seconds:.1f} s"

    def again(self) -> Iterator[str]:
        """No solver is started when an earlier one has completed the partition."""
        for offset, solvers in self.solvers().items():
            for before, after in itertools.pairwise(solvers):
                lost = any(
                    (s.loses or s.ends) and s.hits(offset, before.began, after.began)
                    for s in self.strikes
                )
                if before.last.event == "complete" and not lost:
                    yield f"offset {offset}: {after.last.pid} began after it was complete"

    def done(self) -> Iterator[str]:
        """What is done is complete."""
        machine = self.machine
        solved = defaultdict(set)
        lying = machine.lying("done")  # first: the journal has what came before
        for line in machine.journal.read():
            if line.event == "case":
                solved[line.offset].add(line.value)
        for offset in lying:
            if missing := set(range(offset, machine.total, machine.stride)) - solved[offset]:
                yield f"offset {offset} is done without the cases {sorted(missing)}"

    def attempts(self) -> Iterator[str]:
        """Only the workload's own failures cost attempts."""
        journal = self.machine.journal.read()
        for offset in range(self.machine.stride):
            for path in self.machine.places(offset)[:1]:
                try:
                    text = path.read_text(errors="replace")
                except FileNotFoundError:
                    continue  # moved just now
                values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
                spent = int(values.get("ATTEMPTS", "0").strip('"') or 0)
                failures = sum(s.fails and offset in (s.offsets or ()) for s in self.strikes)
                failures += sum(li.event == "fail" and li.offset == offset for li in journal)
                if spent > failures:
                    yield f"offset {offset} has spent {spent} attempts on {failures} failures"

    def all_done(self) -> Iterator[str]:
        """In the end every job is done: none was spoilt for good."""
        for offset in sorted(self.machine.unfinished()):
            where = [path.parent.name for path in self.machine.places(offset)]
            yield f"offset {offset} is not done but {where}"
