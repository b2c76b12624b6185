"""Runs one size of the tests, and says what a person wants to know of it."""

import fcntl
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import as_json, read_tests, table, verdict
from lanes import Lanes, Outcome
from steps import SIZES, Step, part

# Machines have the same names in every clone.
_LOCK = Path("/run/sagequeue-test.lock")


class Report:
    """What a person sees while the steps run; steps report from several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def began(self, step: Step) -> None:
        """Say that the step has started."""
        with self._lock:
            print(f"== {step.name}", flush=True)

    def ended(self, outcome: Outcome, output: Path) -> None:
        """Say how it ended; show all that it printed if it failed."""
        step = outcome.step
        with self._lock:
            if outcome.status not in (0, None):
                print(output.read_text(errors="replace"), flush=True)
            for line in self._lines(step, output) if outcome.passed else ():
                print(line)
            print(f"{step.name}: {verdict(outcome)} in {outcome.seconds:.0f} s", flush=True)

    def _lines(self, step: Step, output: Path) -> list[str]:
        """The figures that a step leaves: those in its file, and the closing lines of pytest."""
        figures = self._directory / f"{step.slug}.figures"
        lines = figures.read_text().splitlines() if figures.exists() else []
        if step.is_pytest:
            text = output.read_text(errors="replace").splitlines()
            lines += [
                line
                for line in text
                if line.startswith(("faults:", "crashes:", "output:", "again:"))
            ]
            lines += [line for line in text[-30:] if line.startswith("SKIPPED")] + text[-1:]
        return lines


def with_directories(steps: Sequence[Step], directory: Path) -> list[Step]:
    """The steps, told where to leave their figures and what they need only while they run.

    Molecule would keep one scenario's configuration in one place for both suites, and two such
    steps at a time would make each other's machines.
    """
    told = []
    for step in steps:
        command = step.command
        places = {"SAGEQUEUE_FIGURES": f"{directory / step.slug}.figures"}
        if step.is_pytest:
            command += (f"--junit-xml={directory / step.slug}.xml",)
        if step.is_molecule:
            places["MOLECULE_EPHEMERAL_DIRECTORY"] = f"{directory / step.slug}.molecule"
        told.append(replace(step, command=command, environment={**step.environment, **places}))
    return told


def run(size: str, count: int, of: tuple[int, int] = (1, 1)) -> bool:
    """Run that size, `count` steps at a time; True if every step passed.

    `of` is the number of the part that is run, and that of all parts.
    """
    if size != "unit":
        wait_for_other_clones()
    start = time.monotonic()
    called = size if of == (1, 1) else f"{size} {of[0]}/{of[1]}"
    with TemporaryDirectory(prefix="sagequeue-test-") as name:
        directory = Path(name)
        report = Report(directory)
        lanes = Lanes(
            count, directory, report.began, lambda o: report.ended(o, lanes.output(o.step))
        )
        steps = with_directories(part(SIZES[size](), *of), directory)
        for seed in {step.environment.get("SAGEQUEUE_SEED") for step in steps} - {None}:
            print(f"To repeat it: SAGEQUEUE_SEED={seed} ./test {called}", flush=True)
        try:
            lanes.run(steps)
        finally:
            lanes.stop()
        tests = [test for step in steps for test in read_tests(directory / f"{step.slug}.xml")]
    seconds = time.monotonic() - start
    print(f"\n{table(lanes.outcomes, tests, seconds)}\n")
    if file := os.environ.get("SAGEQUEUE_TIMES"):
        Path(file).write_text(as_json(called, count, lanes.outcomes, tests, seconds))
    passed = sum(outcome.passed for outcome in lanes.outcomes)
    print(f"steps: {passed} passed, {len(lanes.outcomes) - passed} failed", flush=True)
    return passed == len(steps)


def wait_for_other_clones() -> None:
    """Take the lock that this process keeps to its end: one test at a time makes machines."""
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another ./test is running on this machine. Waiting for its end.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
