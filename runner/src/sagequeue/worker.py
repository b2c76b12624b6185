"""A worker: claims the lowest pending offset, has it solved, settles it, and again.

Its life is one loop of `run_once`. It can be killed and started anew at any time: the solver works
on, holding the job's lock, and worker N takes up again what worker N left.
"""

import contextlib
import errno
import functools
import os
import sys
import time
from enum import Enum, auto

from sagequeue import execution, predecessor, recovery, retry, runtime, settlement, vintage, worklog
from sagequeue.candidates import Candidates
from sagequeue.config import Config
from sagequeue.exceptions import Busy, ConfigError, IllegalEdge, MalformedJob
from sagequeue.execution import Execution
from sagequeue.jobs import Job, JobState, Outcome, printable
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock, read_owner, try_lock, write_owner
from sagequeue.runtime import Descriptors, Marks
from sagequeue.spool import Spool
from sagequeue.watch import SAFETY_SECONDS, Signals, Watch

# Seconds before what went wrong is tried again; doubled each time.
_FIRST_PAUSE, LAST_PAUSE = 0.005, 10.0
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
# What is wrong with the machine is wrong with every job; other errors are of one job's files.
_EVERYBODYS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLCK),
)


class Turn(Enum):
    """What one turn of the loop came to, and so what to wait for before the next."""

    GO_ON = auto()
    IDLE = auto()
    GATED = auto()
    BUSY = auto()
    UNAVAILABLE = auto()


class Worker:
    """Worker N of a jobset."""

    def __init__(self, config: Config, number: int) -> None:
        """Take the worker's place; Busy when another process has it.

        Or the shell project has the queue. ConfigError when the jobset can start nothing.
        """
        self.config = config
        self.number = number
        self.spool = Spool(config)
        self.spool.create()
        predecessor.refuse(self.spool)
        self.runtime = runtime.for_config(config)
        # Why nothing could be started when we last looked; empty: look before the next claim;
        # None: nothing speaks against one.
        self.outage = None if self.runtime.unavailable() is None else ""
        noted = vintage.text(config)
        held = try_lock(vintage.lock_file(config, number))
        if held is None:
            raise Busy(f"worker {number} of {config.jobset} is running already")
        self.held = held
        vintage.note(held, noted)
        self.signals = Signals(hand_over=True)
        self.candidates = Candidates(self.spool)
        # Kept open: closing an inotify instance takes the kernel 10 ms and more.
        self.gate_watch = Watch(config.stop_file_host.parent, goes=True)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; a solver at work then is ended and its job given back.

        Or until SIGUSR1: the job at hand is seen through, and no other is claimed. Or until SIGHUP:
        the solver is left at work, for the next worker of this number to adopt.
        """
        pause = _FIRST_PAUSE
        left_over = True
        while not self.signals.drain:
            try:
                if left_over:
                    recovery.recover(self.spool)
                    self.adopt()
                    left_over = False
                turn = self.run_once()
            except IllegalEdge as error:
                self.say(f"{error}; left as it is")
                continue
            except OSError as error:
                # A full or read-only disk: what we hold stays as it is until it is mended.
                self.say(f"{error}; trying again")
                left_over = True
                self.candidates.forget()
                turn = Turn.UNAVAILABLE
            if turn in (Turn.GO_ON, Turn.IDLE, Turn.GATED):
                pause = _FIRST_PAUSE
            if self.signals.drain or turn is Turn.GO_ON:
                continue  # the signal may have ended a wait within the turn, and would end no other
            if turn is Turn.IDLE:
                self.signals.wait(None, self.candidates.watch, polling=self.config.sleep_empty)
            elif turn is Turn.GATED:
                self.wait_for_gate()
            else:
                watched = (self.candidates.watch,) if turn is Turn.BUSY else ()
                self.signals.wait(pause, *watched, polling=pause)
                pause = min(2 * pause, LAST_PAUSE)

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
        for name in sorted(self.spool.owners()):
            owner = read_owner(self.spool.owner_file(name))
            mine = owner.get("OWNER_WORKER_ID") == str(self.number)
            if mine and self.spool.lies(JobState.RUNNING, name) and not self.signals.drain:
                recovery.say(recovery.line("adopt", job=name, worker=self.number))
                self.own(name)
                run = execution.read(self.spool.result_file(name))
                self.attend(name, _word(run))

    def own(self, name: str) -> None:
        """Write the owner file. It is for people: a full disk must not stop the work for it."""
        with contextlib.suppress(OSError):
            write_owner(self.spool.owner_file(name), self.number)

    def run_once(self) -> Turn:
        """Claim one job and see it through, or say why there is none to be had."""
        self.reap()
        self.gate_watch.take()  # a gate that came and went before this is of no account
        if self.config.gated:
            return Turn.GATED
        if self.outage is not None:
            told, self.outage = self.outage, self.unavailable()
            if self.outage is not None:
                if self.outage != told:
                    self.say(f"nothing can be started: {self.outage}; waiting")
                return Turn.UNAVAILABLE
        self.candidates.refresh()
        while (name := self.candidates.take()) is not None:
            with contextlib.ExitStack() as stack:
                try:
                    lock = self.spool.lock(name)
                except OSError as error:
                    self.put_aside(name, error)
                    continue
                if lock is None:
                    self.candidates.put_aside(name)
                    continue
                stack.enter_context(lock)
                word = self.start(lock, name)
                if word is None:
                    if self.candidates.is_aside(name):
                        continue
                    return Turn.GO_ON
            # Closed here, the lock is the solver's alone: getting it again means it has ended.
            return self.attend(name, word)
        return Turn.BUSY if self.candidates.take_back() else Turn.IDLE

    def unavailable(self) -> str | None:
        """Why nothing can be started now: the container is out, the script's disk away."""
        try:
            return self.runtime.unavailable()
        except ConfigError as error:
            return str(error)

    def start(self, lock: Lock, name: str) -> str | None:
        """Claim the job and start its solver; the execution's word, None when the job is not ours.

        Another took it, or it went elsewhere.
        """
        try:
            job = self.spool.read(JobState.PENDING, name)
        except FileNotFoundError:
            return None
        except MalformedJob as error:
            self.say(f"{name} goes to failed/, {error}")
            self.spool.reject(lock, JobState.PENDING)
            return None
        record_file = self.spool.result_file(name)
        with contextlib.ExitStack() as stack:
            try:
                log = worklog.begin(self.config, job.offset)
                stack.callback(os.close, log)
                self.spool.claimable(lock)
                gidx = settlement.state_word(self.config, job.offset)
                word = execution.begin(record_file, self.number, os.fstat(log).st_size, gidx)
                record = os.open(record_file, _APPEND)
                stack.callback(os.close, record)
            except OSError as error:
                self.put_aside(name, error)
                return None
            self.spool.claim(lock)
            self.own(name)
            if self.config.gated or self.signals.drain:
                self.spool.release(lock)
                return None
            launched = self.launch(lock, job, word, Descriptors(lock.fd, log, record))
            return word if launched else None

    def put_aside(self, name: str, error: OSError) -> None:
        """Leave a job whose own files are at fault; raises what is wrong with every job."""
        if error.errno in _EVERYBODYS:
            raise error
        self.say(f"{name} cannot be claimed: {error}; going on with the others")
        self.candidates.put_aside(name)

    def launch(self, lock: Lock, job: Job, word: str, given: Descriptors) -> bool:
        """Start the solver of a claimed job; False when it could not be, and the job has gone."""
        try:
            settlement.log_line(self.config, job.offset, self.number, "start", job=job.name)
            self.runtime.launch(job, Marks(self.spool.lock_file(job.name), word), given)
        except OSError as error:
            if error.errno == errno.E2BIG:
                self.say(f"{job.name} goes to failed/: its command is too long to be executed")
                self.spool.fail(lock, job, Outcome.FAILED, "command_too_long")
                return False
            self.spool.release(lock)
            self.outage = ""
            raise
        return True

    def attend(self, name: str, word: str | None) -> Turn:
        """Wait until nothing of the execution of that word holds the job's lock, then settle it."""
        mark, record = self.spool.lock_file(name), self.spool.result_file(name)
        gate, noted, looked = self.config.stop_file_host, False, time.monotonic()
        # What goes wrong in this block must not leave the lock with this process for ever.
        with LockWaiter(mark) as waiting:
            wait = functools.partial(self.signals.wait, None, waiting.event, self.gate_watch)
            while not waiting.over:
                run = execution.read(record)
                if _word(run) != word:
                    # Somebody settled it, and it may be another worker's solver by now.
                    return Turn.GO_ON
                came = self.gate_watch.take() or ()
                if run is not None and time.monotonic() - looked >= SAFETY_SECONDS:
                    looked = time.monotonic()
                    with contextlib.suppress(OSError):  # a full disk waits for the next look
                        settlement.record_findings(self.config, name, run, live=True)
                if not noted and (gate.name in came or self.config.gated):
                    with contextlib.suppress(OSError):  # a full disk; at the next look, then
                        execution.note_gate(record)
                        noted = True
                if self.signals.stop:
                    runtime.end_solver(self.runtime, mark, run)
                    waiting.join(LockWaiter.AGAIN)
                elif self.signals.leave:
                    return Turn.GO_ON
                else:
                    wait(polling=self.config.sleep_empty)
            taken = waiting.taken()
        with taken as lock:
            if not self.spool.lies(JobState.RUNNING, name):
                return Turn.GO_ON  # recovery was quicker
            try:
                settled = settlement.settle(self.spool, lock, name)
            except IllegalEdge:
                # Somebody copied files. Without an owner recovery tells of it until it is mended.
                self.spool.owner_file(name).unlink(missing_ok=True)
                raise
            self.say(f"{name} {settled.outcome} -> {settled.state} {settled.reason}".rstrip())
            if settled.state is JobState.FAILED and retry.at_once(settled.reason):
                recovery.failed(self.spool, lock, name)
        if settled.started:
            return Turn.GO_ON
        self.outage = ""
        return Turn.UNAVAILABLE

    def wait_for_gate(self) -> None:
        """Return when the stop gate is gone, or at a signal."""
        while self.config.gated and not self.signals.drain:
            self.signals.wait(None, self.gate_watch, polling=self.config.sleep_empty)
            self.gate_watch.take()

    def reap(self) -> None:
        """Let go of the clients that have ended."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _word(run: Execution | None) -> str | None:
    return None if run is None else run.word
