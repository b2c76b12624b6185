"""What a worker does while its solver works, and when that has ended: wait, note, end, settle."""

import contextlib
import functools
import os
import time
from dataclasses import replace

from sagequeue import execution, owner, recovery, runtime, settlement
from sagequeue.execution import UNKNOWN, Execution
from sagequeue.jobs import JobState
from sagequeue.later import Later
from sagequeue.live_log import LiveLog
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock, read_owner, write_owner
from sagequeue.settling import LAST_PAUSE, Settling, Turn
from sagequeue.watch import SAFETY_SECONDS, Watch

# Seconds between looks into the log of the solver at work.
_LOOK = 2.0


class Attending(Settling):
    """The part of a worker that attends to jobs whose solvers were started."""

    gate_watch: Watch

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
        gated, noted, reniced, known, ended, since = False, False, False, UNKNOWN, False, None
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
                with contextlib.suppress(OSError):  # a full disk waits for the next look
                    live.look(known, self.hurried)
                gated = self.gate_came() or gated
                if gated and not noted:
                    with contextlib.suppress(OSError):  # a full disk; at the next look, then
                        execution.note_gate(record)
                        noted = True
                reniced = reniced or bool(known.group and self.runtime.renice(known.group))
                if self.signals.stop:
                    if not known.over:  # else it ended by itself
                        ended = self.end(name, known) or ended
                    waiting.join(LockWaiter.AGAIN)
                elif self.signals.leave:
                    return Turn.GO_ON
                else:
                    wait(polling=self.config.sleep_empty)
                if not (known.over or ended):
                    continue
                since = since or time.monotonic()
                late = time.monotonic() - since > self.runtime.linger
                if late and not self.freed(name, known, waiting):
                    return Turn.GO_ON
            taken = waiting.taken()
        with taken as lock:
            run = execution.read(record)
            lost = run is None or run is UNKNOWN or run.word != word
            # The solver may have ended for a gate that came and went since the last look.
            gated = self.gate_came() or gated
            if gated and not (noted or lost):
                execution.note_gate(record)
            known = replace(known, rc=None, stopped=known.stopped or ended)
            return self.settle(lock, name, known if lost else None, live.log)

    def gate_came(self) -> bool:
        """Whether the stop gate is there, or was at any time since this was last asked."""
        came = self.gate_watch.take() or ()
        return self.config.stop_file_host.name in came or self.config.gated

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
