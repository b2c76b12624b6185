"""The kinds of faults: to processes here, to files in tampering.py.

A fault takes the stage and a random number generator of its own, does its damage at once and tells
the books of it before; it returns False when there is nothing to be hit at the moment.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from signal import Signals

import processes
from processes import Process, identify
from solvers import Solver
from stage import Stage

_UNDISTURBED = 0.25  # seconds that a solver without a worker is left alone, at most

Strike = Callable[[Stage, Random], bool]


@dataclass(frozen=True)
class Kind:
    """A kind of fault; `weight` is how often it is drawn beside the others."""

    name: str
    weight: int
    strike: Strike


def _victim(stage: Stage, draw: Random) -> Solver | None:
    """A solver at work, waited for if there is none."""
    for _ in range(3):
        if living := stage.living():
            return draw.choice(sorted(living, key=lambda solver: solver.offset))
        stage.pump(0.05)
    return None


def _goes_on(stage: Stage, draw: Random, process: Process, *, group: bool = False) -> bool:
    """A stopped process goes on after some more faults."""

    def go_on() -> bool:
        process.send(signal.SIGCONT, group=group)
        return True

    stage.later(go_on, draw.randint(0, 4))
    return True


def worker(number: Signals, stage: Stage, draw: Random) -> bool:
    """A signal to a worker."""
    if not stage.workers:
        return False
    chosen = draw.choice(sorted(stage.workers))
    process = stage.workers[chosen]
    if number is signal.SIGSTOP:
        return process.send(number) and _goes_on(stage, draw, process)
    if number in (signal.SIGTERM, signal.SIGINT):
        stage.stopping(chosen)
    return stage.tell(process, number)


def solver(number: Signals, stage: Stage, draw: Random, *, group: bool = False) -> bool:
    """A signal to a solver or to its whole process group."""
    victim = _victim(stage, draw)
    if victim is None:
        return False
    if number is signal.SIGSTOP:
        sent = victim.process.send(number, group=group)
        return sent and _goes_on(stage, draw, victim.process, group=group)
    victim.struck.add("solver")
    return stage.tell(victim.process, number, group=group)


def wrapper(number: Signals, stage: Stage, draw: Random) -> bool:
    """A signal to the wrapper around a solver."""
    victim = _victim(stage, draw)
    process = identify(victim.wrapper) if victim else None
    if victim is None or process is None or process.pid == os.getpid():
        return False
    if number is signal.SIGSTOP:
        return process.send(number) and _goes_on(stage, draw, process)
    # KILL and USR1 end it alone, the others it passes on.
    victim.struck.add("wrapper" if number in (signal.SIGKILL, signal.SIGUSR1) else "ended")
    return stage.tell(process, number)


def tree(stage: Stage, draw: Random) -> bool:
    """One worker, its wrapper and its solver are killed."""
    victim = _victim(stage, draw)
    if victim is None:
        return False
    victim.struck.add("tree")
    parts = [identify(victim.wrapper), victim.process]
    number = stage.numbers.get(victim.worker)
    parts.append(stage.workers.get(number) if number else None)
    draw.shuffle(parts)
    sent = [stage.tell(part, signal.SIGKILL) for part in parts if part and part.pid != os.getpid()]
    return any(sent)


def machine(stage: Stage, draw: Random) -> bool:
    """Everything dies at once, and the queue is as it lies then; all workers start again."""
    began = time.monotonic_ns()
    stage.strike_all("machine")
    stage.books.signalled |= {process.pid for process in processes.descendants()}
    count = max(len(stage.workers), draw.choice((stage.ground.plan.workers, 8, 16)))
    stage.open = False
    processes.kill_all()
    stage.span("machine", began)
    for offset in range(stage.ground.plan.stride):
        places = stage.ground.places(offset)
        if len(places) != 1 and not stage.books.tampered[offset]:
            stage.violation(f"offset {offset} lies in {places} after the machine died")
    stage.until(lambda: not stage.workers and not stage.living(), "the end of all")
    stage.staff(count)
    return True


def cold_start(stage: Stage, draw: Random) -> bool:
    """All workers are killed, and eight or more started at once."""
    stage.open = False
    for process in list(stage.workers.values()):
        stage.tell(process, signal.SIGKILL)
    stage.until(lambda: not stage.workers, "the workers' end")
    stage.staff(draw.choice((8, 16)))
    return True


def shift_change(stage: Stage, draw: Random) -> bool:
    """More or fewer workers than before from now on; the last ones are drained."""
    wanted = draw.choice((2, 4, 8, 16))
    stage.due = {number: at for number, at in stage.due.items() if number <= wanted}
    for number, process in list(stage.workers.items()):
        if number > wanted:
            stage.tell(process, signal.SIGUSR1)
    stage.staff(wanted)
    return True


def recoveries(count: int, stage: Stage, draw: Random) -> bool:
    """Recovery runs, as often at once."""
    for _ in range(count):
        stage.verb("recover")
    return True


def bereaved(stage: Stage, draw: Random) -> bool:
    """The worker of the latest solver is killed, recovery comes, and nobody does anything more."""
    living = [s for s in stage.living() if stage.numbers.get(s.worker) in stage.workers]
    if not living:
        return False
    victim = max(living, key=lambda solver: solver.began)
    if not stage.tell(stage.workers[stage.numbers[victim.worker]], signal.SIGKILL):
        return False
    stage.verb("recover")
    deadline = time.monotonic() + _UNDISTURBED
    while victim.ended is None and time.monotonic() < deadline:
        stage.pump(_UNDISTURBED)
    return True


def cut_off(words: tuple[str, ...], stage: Stage, draw: Random) -> bool:
    """A verb is killed in the middle of it."""
    if words[0] == "retry-failed":
        stage.books.by_hand = True
    if words[0] == "requeue-running":
        stage.strike_all("requeued")
    process = stage.verb(*words)
    stage.moment(draw)
    return stage.tell(process, signal.SIGKILL)


def requeue_running(stage: Stage, draw: Random) -> bool:
    """All running jobs are given back by hand."""
    stage.strike_all("requeued")
    stage.verb("requeue-running")
    return True


def retry_failed(stage: Stage, draw: Random) -> bool:
    """Failed and held jobs are given back by hand."""
    stage.books.by_hand = True
    stage.verb("retry-failed")
    return True


def clock(stage: Stage, draw: Random) -> bool:
    """A worker is killed, and the next of its number believes in another time of day."""
    number = draw.choice(sorted(stage.workers) or [1])
    stage.skew[number] = draw.choice((-50000.0, -7.0, -1.0, 1.0, 7.0, 50000.0))
    process = stage.workers.get(number)
    return process is not None and stage.tell(process, signal.SIGKILL)


def _signals(who: str, strike: Callable[..., bool], weights: dict[str, int]) -> list[Kind]:
    return [
        Kind(f"SIG{name} {who}", weight, functools.partial(strike, Signals[f"SIG{name}"]))
        for name, weight in weights.items()
    ]


KINDS = [
    *_signals("worker", worker, {"KILL": 10, "TERM": 3, "INT": 1, "HUP": 4, "USR1": 3, "STOP": 3}),
    *_signals("solver", solver, {"KILL": 6, "TERM": 2, "HUP": 1, "USR1": 1, "STOP": 3}),
    *_signals("wrapper", wrapper, {"KILL": 4, "TERM": 2, "HUP": 1, "USR1": 1, "STOP": 3}),
    *_signals("group", functools.partial(solver, group=True), {"KILL": 2, "TERM": 1, "STOP": 2}),
    Kind("tree killed", 4, tree),
    Kind("worker killed, recovery", 10, bereaved),
    Kind("machine died", 2, machine),
    Kind("cold start", 1, cold_start),
    Kind("other staff", 1, shift_change),
    Kind("recovery", 3, functools.partial(recoveries, 1)),
    Kind("two recoveries", 2, functools.partial(recoveries, 2)),
    Kind("recovery killed", 2, functools.partial(cut_off, ("recover",))),
    Kind("enqueue killed", 1, functools.partial(cut_off, ("enqueue",))),
    Kind("retry-failed killed", 1, functools.partial(cut_off, ("retry-failed",))),
    Kind("requeue killed", 1, functools.partial(cut_off, ("requeue-running",))),
    Kind("requeue-running", 1, requeue_running),
    Kind("retry-failed", 1, retry_failed),
    Kind("clock set", 2, clock),
]
