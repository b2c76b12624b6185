"""A round's solvers, by their journal, and what was done to each."""

from dataclasses import dataclass, field
from pathlib import Path

from kit.journal import BESIDE, FINISHED, Journal
from processes import Process


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
        return self.last in FINISHED


class Solvers(Journal):
    """The journal, and the solvers in the order of their first lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.solvers: dict[tuple[int, int], Solver] = {}
        self.latest: dict[int, Solver] = {}

    def new(self) -> list[Solver]:
        """Read what was added; the solvers that are new."""
        new = []
        for line in self.added():
            solver = self.solvers.get(line.solver)
            if solver is None:
                process = Process(*line.solver)
                solver = Solver(line.offset, process, line.at, line.wrapper, line.worker)
                self.solvers[line.solver] = self.latest[line.offset] = solver
                new.append(solver)
            if line.event not in BESIDE:
                solver.last = line.event
        return new
