"""A round at work: workers that are kept going as a service manager would, and what is seen of it.

Nothing here waits for a time to pass: the journal, the queue's directories and the ends of
processes are events, and `pump` waits for the next of them.
"""

import functools
import importlib
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, tzinfo
from random import Random
from typing import Self

import processes
from books import Books
from ground import STATES, Ground
from inotify_simple import INotify, flags
from kit import waiting
from processes import Process
from sagequeue import cli, jobs
from solvers import Solver, Solvers

_AGAIN = 0.05  # seconds until a worker that could not start is started again
# What the verbs import when they are called: here once, not in every process that is forked.
for name in ("census", "operations", "recovery", "worker"):
    importlib.import_module(f"sagequeue.{name}")
# Made once, too: half of what a worker's start costs is its command line.
setattr(cli, "parser", functools.cache(cli.parser))  # noqa: B010 - mypy minds an assignment
cli.parser()
Mend = Callable[[], bool]


def shifted(hours: float) -> None:
    """Have this process believe in another time of day."""
    seconds = hours * 3600

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(now() + seconds, tz)

    jobs.datetime = Clock  # type: ignore[attr-defined]
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)


class Stage:
    """One round."""

    def __init__(self, ground: Ground, patience: float = waiting.PATIENCE) -> None:
        self.ground, self.books, self.patience = ground, Books(), patience
        self.journal = Solvers(ground.journal)
        self.workers: dict[int, Process] = {}
        self.numbers: dict[int, int] = {}  # process id: worker number, of every one there was
        self.others: dict[int, str] = {}
        self.requeues: dict[int, int] = {}  # process: when it began to give running jobs back
        self.left: list[tuple[int, list[Process]]] = []  # when such a one began, what it left
        self.due: dict[int, float] = {}
        self.skew: dict[int, float] = {}
        self.unsound = 0  # obstacles at the moment that may keep a process from starting
        self.excused: set[int] = set()  # processes that met one
        self.obstacles: list[tuple[int, Mend]] = []
        self.open = True
        self.handles: dict[int, Solver | None] = {}
        self.poll = select.poll()
        self.inotify = INotify()
        self.names = {self.inotify.add_watch(ground.journal, flags.MODIFY): "journal"}
        for name, path in {
            **{state: ground.queue / state for state in STATES}, "run": ground.run,
            "log": ground.log,
        }.items():  # fmt: skip
            self.names[self.inotify.add_watch(path, waiting.CHANGES)] = name
        self.poll.register(self.inotify.fileno(), select.POLLIN)

    # What is seen

    def pump(self, seconds: float) -> Collection[str]:
        """Wait for the next events, and keep the workers going; where something happened."""
        if self.due:
            seconds = min(seconds, max(0.0, min(self.due.values()) - time.monotonic()))
        happened = set()
        for fd, _ in self.poll.poll(seconds * 1000):
            if fd in self.handles:
                self._ended(fd)
                happened.add("end")
        for event in self.inotify.read(timeout=0):
            happened.add(self.names.get(event.wd, "lost"))
        self.look()
        self._reap()
        self._restart()
        return happened

    def look(self) -> None:
        """Take in what the solvers wrote."""
        for solver in self.journal.new():
            self.books.executions += 1
            handle = None
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(solver.process.pid)
            if handle is not None and solver.process.alive:
                self._watch(handle, solver)
                continue
            solver.ended = time.monotonic_ns()
            if handle is not None:
                os.close(handle)

    def _watch(self, handle: int, solver: Solver | None) -> None:
        self.handles[handle] = solver
        self.poll.register(handle, select.POLLIN)

    def _ended(self, handle: int) -> None:
        solver = self.handles.pop(handle)
        if solver is not None:
            solver.ended = time.monotonic_ns()
        self.poll.unregister(handle)
        os.close(handle)

    def _reap(self) -> None:
        for pid, status in processes.reap().items():
            what = self.others.pop(pid, None)
            if began := self.requeues.pop(pid, None):
                self.span("requeued", began)
                # When it was killed, what it had started ends the solvers all the same.
                self.left.append((began, processes.enders()))
            number = next((n for n, p in self.workers.items() if p.pid == pid), None)
            if number is not None:
                what = f"worker {number}"
                del self.workers[number]
                told = pid in self.books.signalled
                self.due[number] = 0.0 if told else time.monotonic() + _AGAIN
            elif what is None:
                continue  # an orphaned wrapper or solver
            # Signals end a process that has not got so far as to mind them.
            told = pid in self.books.signalled
            fine = status in (0, 75) or (told and (status < 0 or status == 130))
            if number is not None and status == 0 and not told:
                fine = False
            met = self.unsound or pid in self.excused
            if not fine and not (met and status in (1, 78)):
                self.violation(f"{what} ended by itself, with status {status}")
        for began, enders in [one for one in self.left if not any(p.alive for p in one[1])]:
            self.left.remove((began, enders))
            if enders:
                self.span("requeued", began)

    def living(self) -> list[Solver]:
        """The solvers at work."""
        return [s for s in self.journal.latest.values() if s.ended is None]

    def violation(self, text: str) -> None:
        """Put one down."""
        self.books.violations.append(text)

    # What is done

    def staff(self, count: int) -> None:
        """Have workers 1 to `count`."""
        self.open = True
        for number in range(1, count + 1):
            if number not in self.workers:
                self.due[number] = 0.0
        self._restart()

    def _restart(self) -> None:
        for number, at in list(self.due.items()):
            if self.open and at <= time.monotonic():
                del self.due[number]
                self._start(number)

    def _start(self, number: int) -> None:
        hours = self.skew.get(number, 0.0)

        def work() -> int:
            if hours:
                shifted(hours)
            return cli.main(["worker", str(number), "--env-file", str(self.ground.env_file)])

        worker = processes.fork(work, self.ground.out)
        self.workers[number] = worker
        self.numbers[worker.pid] = number
        with suppress(ProcessLookupError):
            self._watch(os.pidfd_open(worker.pid), None)

    def verb(self, *words: str) -> Process:
        """Start one verb of the command."""
        argv = [*words, "--env-file", str(self.ground.env_file)]
        began = time.monotonic_ns()
        process = processes.fork(lambda: cli.main(argv), self.ground.out)
        self.others[process.pid] = " ".join(words)
        if words[0] == "requeue-running":
            self.requeues[process.pid] = began
        with suppress(ProcessLookupError):
            self._watch(os.pidfd_open(process.pid), None)
        return process

    def run(self, *words: str) -> None:
        """Run one to its end."""
        process = self.verb(*words)
        self.until(lambda: process.pid not in self.others, f"the end of {' '.join(words)}")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for it; NeverCame after `patience` seconds, which is a violation."""
        waiting.until(condition, what, self.patience, wait=lambda left: self.pump(min(left, 0.25)))

    def moment(self, draw: Random) -> None:
        """Wait for one of the moments at which a fault may hurt: a few events of one kind."""
        where = draw.choice(
            ("journal", "journal", "running", "pending", "done", "run", "log", "end")
        )
        left = draw.randint(0, 2)
        deadline = time.monotonic() + 0.02
        while left > 0 and (seconds := deadline - time.monotonic()) > 0:
            left -= where in self.pump(seconds)
        self.pump(0)

    def tell(self, process: Process, number: signal.Signals, *, group: bool = False) -> bool:
        """Send a signal that may end the process."""
        self.books.signalled.add(process.pid)
        return process.send(number, group=group)

    def stopping(self, number: int) -> None:
        """A worker is about to be told to end its solver."""
        at = time.monotonic_ns()
        self.books.stopped.append((number, self.workers[number].pid, at))

    def strike_all(self, what: str) -> None:
        """Mark every execution that is not settled yet."""
        self.look()
        running = self.ground.lying("running")
        for offset, solver in self.journal.latest.items():
            if solver.ended is None or offset in running:
                solver.struck.add(what)

    @contextmanager
    def sound_again(self, what: str, began: int) -> Iterator[None]:
        """Inside, an obstacle that may keep a process from starting is taken away."""
        yield
        self.unsound -= 1
        self.span(what, began)
        self.excused |= {process.pid for process in self.workers.values()} | self.others.keys()

    def span(self, what: str, began: int) -> None:
        """Mark what was not settled at any time between then and now."""
        self.strike_all(what)
        self.books.spans.append((what, began, time.monotonic_ns()))

    def later(self, mend: Mend, after: int) -> None:
        """Take an obstacle away after so many more faults; it says whether it could."""
        self.obstacles.append((after, mend))

    def mend(self, *, all_of_them: bool = False) -> bool:
        """Take away what is due; whether no obstacle is left."""
        kept = []
        for after, mend in self.obstacles:
            if (after > 0 and not all_of_them) or not self._mended(mend):
                kept.append((after - 1, mend))
        self.obstacles = kept
        return not kept

    def _mended(self, mend: Mend) -> bool:
        try:
            return mend()
        except OSError:
            return False  # another obstacle is in its way

    def close(self) -> None:
        """End what is left, and let go of everything."""
        self.open = False
        self.due.clear()
        processes.kill_all()
        processes.reap()
        self.inotify.close()
        for handle in self.handles:
            os.close(handle)
        self.ground.close()
