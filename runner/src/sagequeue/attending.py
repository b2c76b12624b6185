"""What a worker does while its solver works, and when that has ended: wait, note, end, settle."""

import contextlib
import errno
import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto

from sagequeue import execution, owner, recovery, retry, runtime, settlement
from sagequeue.config import Config
from sagequeue.exceptions import IllegalEdge, ReadingInterrupted, StateUnreadable
from sagequeue.execution import UNKNOWN, Execution
from sagequeue.jobs import JobState, printable
from sagequeue.later import Later
from sagequeue.live_log import LiveLog
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock, read_owner, write_owner
from sagequeue.runtime import Runtime
from sagequeue.spool import Spool
from sagequeue.watch import SAFETY_SECONDS, Signals, Watch

# What is wrong with the machine is wrong with every job; other errors are of one job's files.
EVERYBODYS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLCK),
)
# Seconds before what went wrong is tried again; doubled each time.
FIRST_PAUSE, LAST_PAUSE = 0.005, 10.0
# Seconds between looks into the log of the solver at work.
_LOOK = 2.0
# Seconds that a worker which is told to end may still read its solver's log.
_READING = 5.0


class Turn(Enum):
    """What one turn of the loop came to, and so what to wait for before the next."""

    GO_ON = auto()
    IDLE = auto()
    GATED = auto()
    BUSY = auto()
    UNAVAILABLE = auto()


class Attending:
    """The part of a worker that attends to jobs whose solvers were started."""

    config: Config
    number: int
    spool: Spool
    runtime: Runtime
    signals: Signals
    gate_watch: Watch
    # Why nothing could be started when we last looked; empty: look before the next claim;
    # None: nothing speaks against one.
    outage: str | None

    def __init__(self) -> None:
        # Running jobs that cannot be settled for want of one of their files, and the seconds after
        # which each is tried again; of those whose record is lost, what is known of the execution.
        self.unsettled, self.pauses = Later(), dict[str, float]()
        self.lost: dict[str, Execution] = {}

    def say(self, text: str) -> None:
        """A line for whoever runs the worker."""
        try:
            print(f"[worker {self.number}] {self.config.jobset}: {printable(text)}", flush=True)
        except BrokenPipeError:
            # The process manager that read it is gone. The work goes on without being told of.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError:
            pass  # a full disk, say, which is not to end the worker

    def adopt(self) -> None:
        """Take up what a worker of this number left: wait for its solver, then settle."""
        if not self.left():
            return
        with contextlib.ExitStack() as stack:
            if lock := self.until_no_recovery():
                stack.enter_context(lock)
            left = self.left()
            adopted = [(name, self.take_up(name)) for name in left if not self.signals.drain]
        # A signal that comes after a job was adopted is for its solver, too: `attend` obeys it.
        for name, run in adopted:
            if run is not None:
                self.attend(name, run.word)

    def left(self) -> list[str]:
        """The running jobs that a worker of this number has left."""
        mine = str(self.number)
        return [
            name
            for name in sorted(self.spool.owners())
            if read_owner(self.spool.owner_file(name)).get("OWNER_WORKER_ID") == mine
            and self.spool.lies(JobState.RUNNING, name)
        ]

    def until_no_recovery(self) -> Lock | None:
        """Keep recovery from beginning a pass, once one that is at work has ended.

        Such a pass has the lock of each job that it looks at, as if it were its solver, and may
        find the job to be an orphan. None at a signal, or if it takes too long.
        """
        with LockWaiter(recovery.lock_file(self.spool)) as waiting:
            if not waiting.over and not self.signals.drain:
                self.signals.wait(LAST_PAUSE, waiting.event)
            return waiting.taken() if waiting.over else None

    def take_up(self, name: str) -> Execution | None:
        """Own a job whose solver works; the execution. None if none does: the job is settled."""
        if (lock := self.spool.lock(name)) is not None:
            with lock:
                self.settle(lock, name)
            return None
        recovery.say(recovery.line("adopt", job=name, worker=self.number))
        self.own(name)
        return execution.read(self.spool.result_file(name)) or execution.UNKNOWN

    def own(self, name: str) -> None:
        """Write the owner file. It is for people: a full disk must not stop the work for it."""
        with contextlib.suppress(OSError):
            write_owner(self.spool.owner_file(name), self.number)

    def attend(self, name: str, word: str | None) -> Turn:
        """Wait until nothing of the execution of that word holds the job's lock, then settle it.

        Its record may vanish or be spoilt meanwhile. What was read of it before is kept, and the
        execution is settled as one that brought no result. `word` is None, or empty, for an
        execution whose record was lost before.
        """
        offset = settlement.offset_of(self.config, name) or 0
        with contextlib.closing(LiveLog(self.config, name, offset)) as live:
            return self._attend(name, word, live)

    def _attend(self, name: str, word: str | None, live: LiveLog) -> Turn:
        mark, record = self.spool.lock_file(name), self.spool.result_file(name)
        self.pauses.pop(name, None)
        self.lost.pop(name, None)
        gate, noted = self.config.stop_file_host, False
        known, ended = UNKNOWN, False
        # What goes wrong in this block must not leave the lock with this process for ever.
        with LockWaiter(mark) as waiting:
            wait = functools.partial(self.signals.wait, _LOOK, waiting.event, self.gate_watch)
            while not waiting.over:
                run = execution.read(record)
                if run is not None and run.word == word:
                    known = run
                elif self.is_anothers(name, run):
                    return Turn.GO_ON
                elif known is not UNKNOWN:
                    # It may have begun since it was read last.
                    known = replace(known, wrapper=known.wrapper or 0, run=True)
                came = self.gate_watch.take() or ()
                with contextlib.suppress(OSError):  # a full disk waits for the next look
                    live.look(known, self.hurried)
                if not noted and (gate.name in came or self.config.gated):
                    with contextlib.suppress(OSError):  # a full disk; at the next look, then
                        execution.note_gate(record)
                        noted = True
                if self.signals.stop:
                    ended = self.end(name, known) or ended
                    waiting.join(LockWaiter.AGAIN)
                elif self.signals.leave:
                    return Turn.GO_ON
                else:
                    wait(polling=self.config.sleep_empty)
            taken = waiting.taken()
        with taken as lock:
            run = execution.read(record)
            lost = run is None or run is UNKNOWN or run.word != word
            known = replace(known, rc=None, stopped=known.stopped or ended)
            return self.settle(lock, name, known if lost else None, live.log)

    def is_anothers(self, name: str, run: Execution | None) -> bool:
        """Whether a job that we attend to, and whose record is not ours any more, is settled.

        It may be another worker's solver by now. Whoever settles a job moves it first, and removes
        the owner file; whoever claims it writes a record before. So a job that lies where it lay
        has lost its record, and one with another execution's record is ours still while the owner
        file names this process.
        """
        if not self.spool.lies(JobState.RUNNING, name):
            # Nor is it where all of running/ is away for a while.
            return self.spool.dirs[JobState.RUNNING].is_dir()
        if run is None or run is UNKNOWN:
            return False
        return not owner.is_mine(self.spool.owner_file(name))

    def end(self, name: str, known: Execution) -> bool:
        """End the solver by what is known of its execution; whether there was one to be ended."""
        mark, record = self.spool.lock_file(name), self.spool.result_file(name)
        if known is UNKNOWN and not owner.is_mine(self.spool.owner_file(name)):
            return False  # by the job's mark another worker's solver would be ended, too
        if not known.stopped:
            execution.note_stop(record, known)
        runtime.end_solver(self.runtime, mark, known)
        return known.wrapper is not None

    def settle(
        self, lock: Lock, name: str, lost: Execution | None = None, log: int | None = None
    ) -> Turn:
        """Settle a job whose execution has ended, or have it settled when that can be done.

        `lost` is what is known of an execution whose record is lost, `log` a descriptor of its log.
        """
        if not self.spool.lies(JobState.RUNNING, name):
            os.stat(self.spool.dirs[JobState.RUNNING])  # or nothing is known
            return Turn.GO_ON  # recovery was quicker
        try:
            settled = settlement.settle(
                self.spool, lock, name, lost=lost, log=log, interrupted=self.out_of_time()
            )
        except IllegalEdge:
            # Somebody copied files. Without an owner recovery tells of it until it is mended.
            self.spool.owner_file(name).unlink(missing_ok=True)
            raise
        except (OSError, StateUnreadable) as error:
            if isinstance(error, ReadingInterrupted) or getattr(error, "errno", 0) in EVERYBODYS:
                raise
            if name not in self.pauses:
                self.say(f"{name} stays in running/, with its result: {error}; trying again")
            if lost is not None:
                self.lost[name] = lost
            seconds = self.pauses.setdefault(name, FIRST_PAUSE)
            self.unsettled.put(name, seconds)
            self.pauses[name] = min(2 * seconds, LAST_PAUSE)
            return Turn.GO_ON
        self.pauses.pop(name, None)
        self.lost.pop(name, None)
        self.say(f"{name} {settled.outcome} -> {settled.state} {settled.reason}".rstrip())
        if settled.state is JobState.FAILED and retry.at_once(settled.reason):
            recovery.failed(self.spool, lock, name)
        if settled.started:
            return Turn.GO_ON
        self.outage = ""
        return Turn.UNAVAILABLE

    def hurried(self) -> bool:
        """Whether a signal asks for an end now, not after what is at hand."""
        return self.signals.stop or self.signals.leave

    def out_of_time(self) -> Callable[[], bool]:
        """Whether a signal asked for an end so long ago that a log must be left unread."""
        asked: list[float] = []

        def over() -> bool:
            if self.hurried():
                asked.append(time.monotonic())
            return bool(asked) and asked[-1] - asked[0] > _READING

        return over

    def settle_again(self) -> None:
        """Try again to settle the jobs that could not be, for want of one of their files."""
        for name in self.unsettled.take():
            if (lock := self.spool.lock(name)) is None:
                # Recovery is at it, or it is solved anew.
                if self.spool.lies(JobState.RUNNING, name):
                    self.unsettled.put(name, LAST_PAUSE)
                continue
            with lock:
                run = execution.read(self.spool.result_file(name))
                if (run and run.rc is not None) or owner.is_mine(self.spool.owner_file(name)):
                    self.settle(lock, name, self.lost.get(name))

    def wait_for_gate(self) -> None:
        """Return when the stop gate is gone, when a job is to be settled, or at a signal."""
        while self.config.gated and not self.signals.drain and self.unsettled.soonest() != 0:
            seconds = soonest(self.unsettled)
            self.signals.wait(seconds, self.gate_watch, polling=self.config.sleep_empty)
            self.gate_watch.take()

    def reap(self) -> None:
        """Let go of the clients that have ended."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def soonest(*awaited: Later) -> float:
    """Seconds until something is due that no watch tells of, a minute at most."""
    known = [seconds for later in awaited if (seconds := later.soonest()) is not None]
    return min([SAFETY_SECONDS, *known])
