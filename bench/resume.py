"""How soon a job runs again after SIGKILL of its solver, of its worker, of everything.

`python bench/resume.py` prints a table; README.md says what the rows mean. The solver is that of
the fault suite, and all times are from its own journal.
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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from inotify_simple import INotify, flags
from rich.console import Console
from rich.table import Table
from sagequeue.watch import until_ended

from runner import Row, filesystem, ms, times

SOLVER = Path(__file__).resolve().parents[1] / "tests" / "faults" / "solver.py"
TURNS = 10
WINDOW = 0.3  # seconds before and after a kill that are looked at
TOTAL = 10_000_000  # cases: more than anybody solves here


class Line(NamedTuple):
    """One line of the solver's journal; `at` in seconds."""

    event: str
    pid: int
    at: float
    wrapper: int


class Bench:
    """A jobset of one partition that never ends, and its workers."""

    def __init__(self, root: Path) -> None:
        self.root, self.journal = root, root / "journal"
        self.journal.touch()
        self.env_file = root / "bench.env"
        self.python = root / "python"
        self.python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S "$@"\n')
        self.python.chmod(0o755)
        self.arguments = [
            *("--home", str(root), "--total", str(TOTAL), "--gate", f"{root}/bench_stop.txt"),
            *("--state", f"{root}/state_{{offset}}.txt"),
            *("--fails", "-", "--finds", "-", "--children", "-"),
        ]
        values = {
            "PROJECT_ROOT": root,
            "JOBSET": "bench",
            "RUNTIME": "local",
            "SAGE_BIN": self.python,
            "SCRIPT": SOLVER,
            "STOP_FILE_HOST": root / "bench_stop.txt",
            "STATE_FILE_HOST": root / "state_{offset}.txt",
            "STRIDE": 1,
            "TOTAL_CASES": TOTAL,
            "STOP_GRACE": 1,
            "MAX_FAILED_RETRIES": 10 * TURNS,
            "SAGE_BASE_ARGS": shlex.join(self.arguments),
        }
        self.env_file.write_text("".join(f'{key}="{value}"\n' for key, value in values.items()))
        self.lines: list[Line] = []
        self.reader = open(self.journal)  # noqa: SIM115 - read on as it grows
        self.inotify = INotify()
        self.inotify.add_watch(self.journal, flags.MODIFY)

    def start(self, *verb: str) -> subprocess.Popen[bytes]:
        """Start a verb of the runner."""
        command = [sys.executable, "-m", "sagequeue", *verb, "--env-file", str(self.env_file)]
        with open(self.root / "out", "ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def until(self, condition: Callable[[Line], bool]) -> Line:
        """The next line that is waited for; a line is written in one piece."""
        while True:
            for text in self.reader:
                part = text.split()
                line = Line(part[0], int(part[2]), int(part[4]) / 1e9, int(part[5]))
                self.lines.append(line)
                if condition(line):
                    return line
            if not self.inotify.read(timeout=60_000):
                raise RuntimeError(f"no solver works; see {self.root}/out")

    def solving(self, since: float = 0.0) -> Line:
        """A case that is solved a while after the first one after that moment."""
        first = self.until(lambda line: _case(line, since))
        return self.until(lambda line: _case(line, first.at + WINDOW))

    def began(self, since: float) -> Line:
        """The first start of a solver after that moment."""
        return self.until(lambda line: line.event == "start" and line.at > since)


def _case(line: Line, since: float) -> bool:
    return line.event == "case" and line.at > since


def _longest(lines: list[Line], begin: float, end: float) -> float:
    cases = [line.at for line in lines if line.event == "case" and begin <= line.at <= end]
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
    (home / "journal").touch()
    arguments = [word.replace(str(bench.root), str(home)) for word in bench.arguments]
    taken = []
    with INotify() as inotify:
        inotify.add_watch(home / "journal", flags.MODIFY)
        for _ in range(TURNS):
            began = time.monotonic()
            command = [str(bench.python), str(SOLVER), *arguments, "--stride", "1", "--offset", "0"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as solver:
                inotify.read(timeout=10_000)
                solver.kill()
            at = [
                int(line.split()[4]) / 1e9
                for line in (home / "journal").read_text().splitlines()
                if line.startswith("start")
            ]
            taken.append(next(moment for moment in at if moment > began) - began)
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
        lines = bench.lines
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
    return bench.began(moment).at - moment


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
