"""How soon a job runs again after SIGKILL of its solver, of its worker, of everything.

`python bench/resume.py` prints a table; README.md says what the rows mean. The solver is the
tests', and all times are from its own journal.
"""

import argparse
import itertools
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from kit import jobset
from kit.journal import Journal, Line
from kit.waiting import until
from rich.console import Console
from rich.table import Table
from sagequeue.watch import until_ended

from runner import Row, filesystem, ms, times

TURNS = 10
WINDOW = 0.3  # seconds before and after a kill that are looked at
TOTAL = 10_000_000  # cases: more than anybody solves here


class Bench:
    """A jobset of one partition that never ends, and its workers."""

    def __init__(self, root: Path) -> None:
        self.root, self.journal = root, Journal(root / "journal")
        self.journal.path.touch()
        self.env_file = root / "bench.env"
        self.env_file.write_text(jobset.render(self.configured(root)))
        self.unread: deque[Line] = deque()

    def configured(self, home: Path) -> dict[str, str]:
        """The keys of the jobset, with a solver that keeps its journal in `home`."""
        return jobset.solving(
            home, home, options=("--pace", "0.002"), JOBSET="bench", STRIDE=1, TOTAL_CASES=TOTAL,
            WORKERS=1, SAGE_BIN=jobset.bare_python(home / "python"), MAX_FAILED_RETRIES=10 * TURNS,
        )  # fmt: skip

    def start(self, *verb: str) -> subprocess.Popen[bytes]:
        """Start a verb of the runner."""
        command = [sys.executable, "-m", "sagequeue", *verb, "--env-file", str(self.env_file)]
        with open(self.root / "out", "ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def until(self, condition: Callable[[Line], bool]) -> Line:
        """The next line that is waited for."""

        def found() -> Line | None:
            self.unread += self.journal.added()
            while self.unread:
                if condition(line := self.unread.popleft()):
                    return line
            return None

        return until(found, f"a solver's line, see {self.root}/out", below=self.journal.path)

    def solving(self, since: float = 0.0) -> Line:
        """A case that is solved a while after the first one after that moment."""
        first = self.until(lambda line: _case(line, since))
        return self.until(lambda line: _case(line, first.seconds + WINDOW))

    def began(self, since: float) -> Line:
        """The first start of a solver after that moment."""
        return self.until(lambda line: line.event == "start" and line.seconds > since)


def _case(line: Line, since: float) -> bool:
    return line.event == "case" and line.seconds > since


def _longest(lines: list[Line], begin: float, end: float) -> float:
    cases = [line.seconds for line in lines if _case(line, begin) and line.seconds <= end]
    return max(after - before for before, after in itertools.pairwise(cases))


def _kill(*pids: int) -> float:
    """Kill processes, whoever's they are; the moment when all are gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        until_ended(pid, 10)
    return time.monotonic()


def bare(bench: Bench) -> float:
    """The floor: seconds from starting the solver's command to its first line, by nobody."""
    home = bench.root / "bare"
    home.mkdir(exist_ok=True)
    keys, journal = bench.configured(home), Journal(home / "journal")
    journal.path.touch()
    words = [keys["SAGE_BIN"], keys["SCRIPT"], *shlex.split(keys["SAGE_BASE_ARGS"])]
    command = [*words, "--stride", "1", "--offset", "0"]
    taken = []
    for _ in range(TURNS):
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as solver:
            start, *_ = until(journal.added, "the solver's start", below=journal.path)
            solver.kill()
        journal.added()
        taken.append(start.seconds - began)
    return statistics.median(taken)


def measure(bench: Bench) -> list[Row]:
    """All rows."""
    bench.start("enqueue").wait()
    worker = bench.start("worker", "1")
    gaps, before, solver, execution, everything = [], [], [], [], []
    for _ in range(TURNS):
        bench.solving(time.monotonic())
        killed = time.monotonic()
        worker.kill()
        worker.wait()
        bench.solving(killed)
        lines = bench.journal.lines
        before.append(_longest(lines, killed - WINDOW, killed))
        gaps.append(_longest(lines, killed - WINDOW / 10, killed + WINDOW))
        worker = bench.start("worker", "1")

        line = bench.solving(time.monotonic())
        execution.append(_after(bench, _kill(line.wrapper, line.pid)))

        line = bench.solving(time.monotonic())
        solver.append(_after(bench, _kill(line.pid)))

        line = bench.solving(time.monotonic())
        worker.kill()
        _kill(line.wrapper, line.pid)
        worker.wait()
        can = time.monotonic()
        worker = bench.start("worker", "1")
        everything.append(_after(bench, can))
    worker.terminate()
    worker.wait()
    floor = bare(bench)
    gap, usual = statistics.median(gaps), statistics.median(before)
    command = f"{ms(floor)}: start of the bare command"
    rows = [
        Row(
            f"SIGKILL of a worker: longest gap between two cases, median of {TURNS}",
            ms(gap), "no second", f"{ms(usual)}: before the kill", times(gap, usual),
        )
    ]  # fmt: skip
    for what, taken in (
        ("SIGKILL of solver and wrapper, until it solves again", execution),
        ("SIGKILL of a solver, until it solves again", solver),
        ("SIGKILL of everything, from the start of the worker on", everything),
    ):
        middle = statistics.median(taken)
        text = f"{ms(middle)}, longest {ms(max(taken))}"
        rows.append(Row(f"{what}, median of {TURNS}", text, "10 s", command, times(middle, floor)))
    return rows


def _after(bench: Bench, moment: float) -> float:
    return bench.began(moment).seconds - moment


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description="How soon a job runs again after SIGKILL.")
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), help="on a disk (default: %(default)s)"
    )
    where = parser.parse_args().directory.resolve()
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
    with tempfile.TemporaryDirectory(prefix="sagequeue-resume-", dir=where) as directory:
        rows = measure(Bench(Path(directory)))
    cores = os.cpu_count()
    title = f"{filesystem(where)} on {where}, {cores} cores, load at the start {load}"
    table = Table("what", "measured", "aim", "floor in the same run", "ratio", title=title)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=False).print(table)


if __name__ == "__main__":
    main()
