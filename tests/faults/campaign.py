"""A campaign: rounds of faults drawn from a seed, each round with a queue of its own.

All that a round draws comes from the seed, its number and the fault's number, so the same seed
draws the same faults at the same moments, as far as the machine repeats itself.
"""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import evidence
import faults
import tampering
from books import Books
from ground import Ground, Plan, draw_plan
from kit.waiting import PATIENCE, NeverCame
from stage import Stage

KINDS = [*faults.KINDS, *tampering.KINDS]
_PER_ROUND = 200
_TINY_EVERY = 4  # rounds of which one has a disk that gets full
_MISSES = 400  # faults in a row without anything to hit
_BY_HAND = 4  # times that held jobs are given back by hand in the end
_CLEARED = 0.2  # how likely a stop gate is cleared after a fault
_RECOVERY_EVERY = 1.0  # seconds between two recoveries in the end; a machine's timer is slower
Say = Callable[[str], None]


@dataclass
class Result:
    """What a campaign came to."""

    faults: Counter[str] = field(default_factory=Counter)
    executions: int = 0
    cases: int = 0
    partitions: int = 0
    rounds: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def line(self, seed: int) -> str:
        """The closing line."""
        return (
            f"faults: {self.faults.total()} of {len(self.faults)} kinds in {self.seconds:.0f} s, "
            f"{self.executions} executions, {self.cases} cases, {self.partitions} partitions, "
            f"{self.rounds} rounds, seed {seed}: violations {len(self.violations)}"
        )


def run(
    directory: Path, seed: int, wanted: int, *, mounts: bool, say: Say, patience: float = PATIENCE
) -> Result:
    """Inject so many faults; ends with the first round that has violations.

    `patience` is how long what must happen may take, in seconds.
    """
    result, began = Result(), time.monotonic()
    while result.faults.total() < wanted and not result.violations:
        number = result.rounds
        draw = Random(f"{seed} {number}")
        plan = draw_plan(draw, tiny=mounts and number % _TINY_EVERY == 1)
        root = directory / f"round{number}"
        quota = min(_PER_ROUND, wanted - result.faults.total())
        books, found, cases = play(Ground(root, plan), f"{seed} {number}", quota, patience)
        result.rounds += 1
        result.faults += books.faults
        result.executions += books.executions
        result.cases += cases
        result.partitions += plan.stride
        result.violations += [f"round {number}: {text}" for text in found]
        result.seconds = time.monotonic() - began
        say(
            f"round {number}: {books.faults.total()} faults, {books.executions} executions, "
            f"{plan.workers} workers, {result.seconds:.0f} s so far"
        )
        if not found:
            shutil.rmtree(root)
    return result


def play(ground: Ground, seed: str, quota: int, patience: float) -> tuple[Books, list[str], int]:
    """One round: its books, its violations, the number of cases that were solved."""
    os.environ["HOME"] = str(ground.root)
    stage = Stage(ground, patience)
    try:
        stage.run("enqueue")
        stage.staff(ground.plan.workers)
        try:
            _attack(stage, seed, quota)
            _finish(stage)
        except NeverCame as never:
            stage.violation(str(never))
        cases = sum(line.event == "case" for line in stage.journal.lines)
        found = evidence.violations(stage)
        if found:  # its disk may go away with this process
            shutil.copytree(ground.project, ground.root / "kept", symlinks=True)
        return stage.books, found, cases
    finally:
        with suppress(OSError):
            stage.mend(all_of_them=True)
        stage.close()


def _attack(stage: Stage, seed: str, quota: int) -> None:
    """Inject faults until there are enough, or the work is done."""
    plan, missed = stage.ground.plan, 0
    healthy = set(range(plan.stride)) - plan.doomed
    weights = [kind.weight for kind in KINDS]
    number = 0
    while stage.books.faults.total() < quota and missed < _MISSES:
        draw = Random(f"{seed} {number}")
        number += 1
        (kind,) = draw.choices(KINDS, weights)
        stage.moment(draw)
        if not healthy - stage.ground.lying("done"):
            return
        if _struck(kind, stage, draw):
            stage.books.faults[kind.name] += 1
            missed = 0
        else:
            missed += 1
        stage.mend()
        if stage.ground.gate.exists() and draw.random() < _CLEARED:
            stage.verb("clear-stop")


def _struck(kind: faults.Kind, stage: Stage, draw: Random) -> bool:
    try:
        return kind.strike(stage, draw)
    except OSError:
        return False  # what it was to hit has gone, or an earlier fault is in its way


def _finish(stage: Stage) -> None:
    """Take every obstacle away, and let recovery and workers do what they can."""
    plan: Plan = stage.ground.plan
    stage.skew.clear()
    stage.until(lambda: stage.mend(all_of_them=True), "the end of the obstacles")
    stage.until(lambda: not stage.others, "the end of the verbs")
    stage.run("clear-stop")
    stage.staff(plan.workers)
    recovered = time.monotonic()

    def at_rest() -> bool:
        nonlocal recovered
        if stage.ground.gate.exists():
            stage.run("clear-stop")
        # A solver without an owner file works on for seconds; only recovery settles its job then.
        if time.monotonic() - recovered > _RECOVERY_EVERY:
            stage.run("recover")
            recovered = time.monotonic()
        return stage.ground.lying("done", "failed") == set(range(plan.stride))

    for _ in range(_BY_HAND):
        before = -1
        while before < len(stage.journal.solvers):  # recovery retries what may be retried
            before = len(stage.journal.solvers)
            stage.run("recover")
            stage.until(at_rest, "an end of the work")
        if not stage.ground.lying("failed") - plan.doomed:
            break
        stage.books.by_hand = True
        stage.run("retry-failed")
        stage.until(at_rest, "an end of the work")
    stage.open = False
    stage.due.clear()
    for number, process in stage.workers.items():
        stage.stopping(number)
        stage.tell(process, signal.SIGTERM)
    stage.until(lambda: not stage.workers and not stage.living(), "the workers' end")
