"""What a worker does when its solver has ended: have the lock come free, and settle the job."""

import errno
import functools
import os
import sys
import time
from collections.abc import Callable
from enum import Enum, auto

from sagequeue import execution, freeing, owner, recovery, retry, settlement
from sagequeue.config import Config
from sagequeue.exceptions import IllegalEdge, ReadingInterrupted, StateUnreadable
from sagequeue.execution import UNKNOWN, Execution
from sagequeue.holders import Holder, told
from sagequeue.jobs import JobState, printable
from sagequeue.later import Later
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock
from sagequeue.runtime import Runtime
from sagequeue.spool import Spool
from sagequeue.watch import Signals

# What is wrong with the machine is wrong with every job; other errors are of one job's files.
EVERYBODYS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLCK),
)
# Seconds before what went wrong is tried again; doubled each time.
FIRST_PAUSE, LAST_PAUSE = 0.005, 10.0
# Seconds that a worker which is told to end may still read its solver's log.
_READING = 5.0


class Turn(Enum):
    """What one turn of the loop came to, and so what to wait for before the next."""

    GO_ON = auto()
    IDLE = auto()
    GATED = auto()
    BUSY = auto()
    UNAVAILABLE = auto()


class Settling:
    """The part of a worker that settles jobs, at once or later."""

    config: Config
    number: int
    spool: Spool
    runtime: Runtime
    signals: Signals
    # Why nothing could be started when we last looked; empty: look before the next claim;
    # None: jobs can be started.
    outage: str | None

    def __init__(self) -> None:
        # Running jobs that cannot be settled for want of one of their files, and the seconds after
        # which each is tried again; of those whose record is lost, what is known of the execution.
        self.unsettled, self.pauses = Later(), dict[str, float]()
        self.lost: dict[str, Execution] = {}
        # Those whose lock something holds that cannot be ended, and what was said of it.
        self.kept: dict[str, str] = {}

    def say(self, text: str) -> None:
        """A line for whoever runs the worker."""
        try:
            print(f"[worker {self.number}] {self.config.jobset}: {printable(text)}", flush=True)
        except BrokenPipeError:
            # The process manager that read it is gone. The work goes on without being told of.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError:
            pass  # a full disk, say, which is not to end the worker

    def freed(self, name: str, known: Execution, waiting: LockWaiter) -> bool:
        """End what holds the lock of an execution that has ended; whether the lock is free then."""

        def still() -> bool:
            lost = execution.read(self.spool.result_file(name)) in (None, UNKNOWN)
            if lost and not owner.is_mine(self.spool.owner_file(name)):
                return False
            return freeing.is_last(self.spool, name, "" if lost else known.word)

        left = freeing.end(self.runtime, self.spool.lock_file(name), still)
        waiting.join(LockWaiter.AGAIN if left else self.runtime.linger)
        if not waiting.over:
            self.keep(name, known, left)
        return waiting.over

    def keep(self, name: str, run: Execution, left: list[Holder]) -> None:
        """Leave a job running whose lock something holds that cannot be ended, and say so once."""
        said = f"{freeing.ending(run)}, but {told(left)} holds its lock and cannot be ended"
        if self.kept.get(name) != said:
            self.kept[name] = said
            self.say(f"{name} stays in running/: {said}; trying again")
        self.unsettled.put(name, LAST_PAUSE)

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
        self.kept.pop(name, None)
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
        """Try again to settle the jobs that could not be settled before."""
        for name in self.unsettled.take():
            record = self.spool.result_file(name)
            owned = self.spool.owner_file(name)
            if not owner.is_mine(owned) and owner.orphan_reason(owned) is None:
                self.lost.pop(name, None)  # it was settled, and another worker has it
                continue
            if (lock := self.spool.lock(name) or self.freed_again(name)) is None:
                # Recovery is at it, or it is solved anew.
                if self.spool.lies(JobState.RUNNING, name):
                    self.unsettled.put(name, LAST_PAUSE)
                continue
            with lock:
                run = execution.read(record) or UNKNOWN
                lost = self.lost.get(name, UNKNOWN) if run is UNKNOWN else None
                if run.over or owner.is_mine(owned):
                    self.settle(lock, name, lost)

    def freed_again(self, name: str) -> Lock | None:
        """The lock of a job whose execution has ended, if what holds it can be ended now."""
        run = execution.read(self.spool.result_file(name))
        if run is None or not run.over:
            return None
        still = functools.partial(freeing.is_last, self.spool, name, run.word)
        left = freeing.end(self.runtime, self.spool.lock_file(name), still, patient=False)
        if (lock := self.spool.lock(name)) is None and still():
            self.keep(name, run, left)
        return lock
