"""The solvers' journal, read as it grows: which solvers there were, and what each did."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from processes import Process


class Line(NamedTuple):
    """One event, see solver.py."""

    event: str
    offset: int
    solver: Process
    at: int
    value: int


@dataclass
class Solver:
    """One execution's solver.

    `worker` is the process that started it (0 when that was dead already), `struck` what the suite
    did to it or to what it depends on, `ended` when it was seen to be gone, in nanoseconds.
    """

    offset: int
    process: Process
    began: int
    wrapper: int
    worker: int
    struck: set[str] = field(default_factory=set)
    last: str = "start"
    ended: int | None = None

    @property
    def finished(self) -> bool:
        """Whether it came to its end by itself."""
        return self.last in ("complete", "gate", "fail")


class Journal:
    """The journal so far: its lines, and the solvers in the order of their first lines."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""
        self.lines: list[Line] = []
        self.solvers: dict[Process, Solver] = {}
        self.latest: dict[int, Solver] = {}

    def read(self) -> list[Solver]:
        """Take in what was added; the solvers that are new."""
        new = []
        while chunk := os.read(self._fd, 1 << 16):
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            for text in whole:
                event, *numbers = text.decode().split()
                offset, pid, ticks, at, wrapper, worker, value = map(int, numbers)
                line = Line(event, offset, Process(pid, ticks), at, value)
                self.lines.append(line)
                solver = self.solvers.get(line.solver)
                if solver is None:
                    solver = Solver(offset, line.solver, at, wrapper, worker)
                    self.solvers[line.solver] = self.latest[offset] = solver
                    new.append(solver)
                if event not in ("child", "overlap"):
                    solver.last = event
        return new

    def close(self) -> None:
        """Read no more."""
        os.close(self._fd)
