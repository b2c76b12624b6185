"""Read the journal of the tests' solvers as it grows.

A line is `EVENT OFFSET PID TICKS NANOSECONDS WRAPPER WORKER VALUE .`; for events see solver.py.
The kernel writes a line that crosses a page's edge in two parts, and a process may be killed
between the two. Such a line has no full stop, and did not happen.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

FINISHED = ("complete", "gate", "fail")
"""The last event of a solver that came to its end by itself."""
BESIDE = ("overlap", "child", "stray", "keeper", "writer")
"""Events about another process, whose PID is the value."""


class Line(NamedTuple):
    """One event.

    `ticks` is the solver's start in ticks since boot. `at` is in nanoseconds, of the clock that all
    processes of a boot share. `wrapper` and `worker` are the solver's parent and grandparent when
    it started, 0 for one that was gone or could not be seen.
    """

    event: str
    offset: int
    pid: int
    ticks: int
    at: int
    wrapper: int
    worker: int
    value: int

    def __str__(self) -> str:
        """As it is in the file."""
        return " ".join(map(str, (*self, ".")))

    @property
    def seconds(self) -> float:
        """When it was written."""
        return self.at / 1e9

    @property
    def solver(self) -> tuple[int, int]:
        """The number and the start of the process, which name it for ever."""
        return self.pid, self.ticks


class Journal:
    """The journal at `path`, which need not be there yet; `lines` are those read so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._read = 0

    def added(self) -> list[Line]:
        """The lines that were written since the last reading; a line that is not whole waits."""
        text = b""
        with suppress(FileNotFoundError), open(self.path, "rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        parts = (line.split() for line in whole.decode().splitlines() if line.endswith(" ."))
        new = [Line(event, *map(int, numbers)) for event, *numbers, _ in parts]
        self.lines += new
        return new

    def read(self) -> list[Line]:
        """All lines so far."""
        self.added()
        return self.lines
