"""The invariants, held against the solvers' journal, the books of the suite and the directories.

Each function takes a stage whose round is over and gives what is violated, as sentences.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kit.journal import Line
from solvers import Solver

if TYPE_CHECKING:  # it runs the runner, of which nothing here is to be believed
    from stage import Stage

# What leaves a solver that has ended without a result.
_RESULT_LOST = {"wrapper", "tree", "machine", "requeued", "read-only", "disk full", "ended"}
# What ends a solver.
_ENDED = {"solver", "tree", "machine", "requeued", "ended"}

_LAUNCH = 5_000_000_000  # nanoseconds that a worker's order to its solver may be on the way


def violations(stage: "Stage") -> list[str]:
    """All of them."""
    for solver in stage.journal.solvers.values():
        for what, began, ended in stage.books.spans:
            if began <= (solver.ended or ended) and solver.began <= ended:
                solver.struck.add(what)
    found = list(stage.books.violations)
    for check in (places, overlaps, disturbed, again, done, attempts, held, findings):
        found += [f"{check.__name__}: {text}" for text in check(stage)]
    return found


def _of(stage: "Stage") -> dict[int, list[Solver]]:
    """Each offset's solvers in order."""
    found = defaultdict(list)
    for solver in stage.journal.solvers.values():
        found[solver.offset].append(solver)
    return found


def places(stage: "Stage") -> Iterator[str]:
    """Every job is in exactly one directory."""
    for offset in range(stage.ground.plan.stride):
        if len(where := stage.ground.places(offset)) != 1:
            yield f"offset {offset} lies in {where or 'no directory'}"


def overlaps(stage: "Stage") -> Iterator[str]:
    """At no time two solvers of an offset are alive: none writes after the next one began."""
    latest: dict[int, Line] = {}
    past = set()
    for line in stage.journal.lines:
        if line.event == "overlap":
            yield f"offset {line.offset}: {line.value} was alive when {line.pid} began"
        before = latest.get(line.offset)
        if before is not None and before.solver != line.solver:
            past.add(before.solver)
        if line.solver in past:
            past.remove(line.solver)  # tell it once
            yield f"offset {line.offset}: {line.pid} wrote after another had begun"
        latest[line.offset] = line


def disturbed(stage: "Stage") -> Iterator[str]:
    """A solver that nobody struck, and whose worker nobody stopped, comes to its own end."""
    for solver in stage.journal.solvers.values():
        if solver.ended is None:
            yield f"offset {solver.offset}: {solver.process.pid} is still alive"
        elif not solver.finished and not solver.struck & _ENDED and not _stopped(stage, solver):
            seconds = (solver.ended - solver.began) / 1e9
            yield (
                f"offset {solver.offset}: {solver.process.pid} of worker "
                f"{stage.numbers.get(solver.worker)} was ended after {seconds:.3f} s"
            )


def _stopped(stage: "Stage", solver: Solver) -> bool:
    """Whether a worker that may have it was told to end it."""
    began, ended = solver.began, solver.ended or solver.began
    number = stage.numbers.get(solver.worker)
    # Its worker died before it was up, or its owner file named another, who adopted it then.
    anybody = number is None or solver.offset in stage.books.forged
    for worker, pid, at in stage.books.stopped:
        mine = pid == solver.worker or (worker == number and at >= began)
        if (mine or (anybody and at >= began - _LAUNCH)) and at <= ended:
            return True
    return False


def again(stage: "Stage") -> Iterator[str]:
    """No solver is started when an earlier one has completed the partition."""
    for offset, solvers in _of(stage).items():
        if stage.books.tampered[offset]:
            continue
        for before, after in itertools.pairwise(solvers):
            struck = before.struck & (_RESULT_LOST | _ENDED) or _stopped(stage, before)
            if before.last == "complete" and not struck:
                yield f"offset {offset}: {after.process.pid} began after it was complete"


def done(stage: "Stage") -> Iterator[str]:
    """What is done is complete by the journal; at the end, that is every job that can be."""
    plan = stage.ground.plan
    solved = defaultdict(set)
    for line in stage.journal.lines:
        if line.event == "case":
            solved[line.offset].add(line.value)
    lying = stage.ground.lying("done")
    for offset in range(plan.stride):
        missing = set(range(offset, plan.total, plan.stride)) - solved[offset]
        if offset in lying and missing:
            yield f"offset {offset} is done without the cases {sorted(missing)}"
        if offset not in lying and offset not in plan.doomed:
            yield f"offset {offset} is not done but {stage.ground.places(offset)}"


def attempts(stage: "Stage") -> Iterator[str]:
    """Only a workload's own failures cost attempts, and each that is retried costs one."""
    books, plan = stage.books, stage.ground.plan
    by_offset = _of(stage)
    for offset in range(plan.stride):
        for state in stage.ground.places(offset)[:1]:
            spent = stage.ground.attempts(offset, state)
            solvers = by_offset[offset]
            possible = sum(_may_fail(stage, solver) for solver in solvers)
            # A spoilt job or state file makes a failure that no solver sees.
            if spent > possible + books.tampered[offset] or spent > plan.retries:
                yield f"offset {offset} has spent {spent} attempts on {possible} failures"
            certain = sum(solver.last == "fail" and not solver.struck for solver in solvers)
            quiet = not any(solver.struck for solver in solvers) and not books.tampered[offset]
            stopped = any(_stopped(stage, solver) for solver in solvers)
            if state == "done" and quiet and not stopped and not books.by_hand and spent < certain:
                yield f"offset {offset} has spent {spent} attempts on {certain} certain failures"


def _may_fail(stage: "Stage", solver: Solver) -> bool:
    by_hand = solver.offset in stage.books.gates and solver.last == "gate"
    return solver.last == "fail" or by_hand or bool(solver.struck & {"solver", "tree"})


def held(stage: "Stage") -> Iterator[str]:
    """What can never succeed is held in the end, and has not been tried more often than is said."""
    for offset in stage.ground.plan.doomed:
        if (where := stage.ground.places(offset)) != ["failed"]:
            yield f"offset {offset}, which always fails, lies in {where}"
        solvers = _of(stage)[offset]
        tried = sum(s.last == "fail" and not s.struck and not _stopped(stage, s) for s in solvers)
        free = stage.books.tampered[offset] or stage.books.by_hand
        if not free and tried > stage.ground.plan.retries + 1:
            yield f"offset {offset}, which always fails, was tried {tried} times"


def findings(stage: "Stage") -> Iterator[str]:
    """Every solution that was printed has its record."""
    found = stage.ground.found()
    for line in stage.journal.lines:
        if line.event == "found" and (line.offset, line.value) not in found:
            yield f"offset {line.offset}: the solution of case {line.value} has no record"
