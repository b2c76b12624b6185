"""A worker: claims the lowest pending offset, has it solved, settles it, and again.

Its life is one loop of `run_once`. It can be killed and started anew at any time: the solver works
on, holding the job's lock, and worker N takes up again what worker N left.
"""

import contextlib
import errno
import os

from sagequeue import (
    backoff,
    durable,
    execution,
    predecessor,
    queue_format,
    recovery,
    runtime,
    settlement,
    vintage,
    worklog,
)
from sagequeue.attending import Attending, soonest
from sagequeue.candidates import Candidates
from sagequeue.config import Config
from sagequeue.exceptions import (
    Busy,
    ConfigError,
    IllegalEdge,
    MalformedJob,
    StateUnreadable,
)
from sagequeue.jobs import Job, JobState, Outcome
from sagequeue.owner import Lock, try_lock
from sagequeue.runtime import Descriptors, Marks
from sagequeue.settling import EVERYBODYS, FIRST_PAUSE, LAST_PAUSE, Turn
from sagequeue.spool import Spool
from sagequeue.watch import Signals, Watch

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Worker(Attending):
    """Worker N of a jobset."""

    def __init__(self, config: Config, number: int) -> None:
        """Take the worker's place; Busy when another process has it.

        Or the shell project has the queue. ConfigError when the jobset can start nothing.
        """
        super().__init__()
        self.config = config
        self.number = number
        self.spool = Spool(config)
        self.spool.create()
        predecessor.refuse(self.spool)
        self.runtime = runtime.for_config(config)
        self.outage = None if self.runtime.unavailable() is None else ""
        noted = vintage.text(config)
        held = try_lock(vintage.lock_file(config, number))
        if held is None:
            raise Busy(f"worker {number} of {config.jobset} is running already")
        self.held = held
        vintage.note(held, noted)
        self.signals = Signals(hand_over=True)
        self.candidates = Candidates(self.spool)
        # What was said last of each job that cannot be claimed.
        self.told: dict[str, str] = {}
        # Kept open: closing an inotify instance takes the kernel 10 ms and more.
        self.gate_watch = Watch(config.stop_file_host.parent, goes=True)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; a solver at work then is ended and its job given back.

        Or until SIGUSR1: the job at hand is seen through, and no other is claimed. Or until SIGHUP:
        the solver is left at work, for the next worker of this number to adopt.
        """
        pause = FIRST_PAUSE
        left_over = True
        while not self.signals.drain:
            try:
                if left_over:
                    recovery.recover(self.spool, interrupted=self.hurried)
                    self.adopt()
                    left_over = False
                turn = self.run_once()
            except IllegalEdge as error:
                self.say(f"{error}; left as it is")
                left_over = True  # other jobs may have been at hand
                continue
            except OSError as error:
                # A full or read-only disk: what we hold stays as it is until it is mended.
                self.say(f"{error}; trying again")
                left_over = True
                self.candidates.forget()
                turn = Turn.UNAVAILABLE
            if turn in (Turn.GO_ON, Turn.IDLE, Turn.GATED):
                pause = FIRST_PAUSE
            if self.signals.drain or turn is Turn.GO_ON:
                continue  # the signal may have ended a wait within the turn, and would end no other
            if turn is Turn.GATED:
                self.wait_for_gate()
                continue
            due = soonest(self.unsettled, self.candidates.later)
            if turn is Turn.IDLE:
                polling = self.config.sleep_empty
                self.signals.wait(due, self.candidates.watch, polling=polling)
                continue
            if turn is Turn.BUSY:
                self.signals.wait(min(pause, due), self.candidates.watch, polling=pause)
            else:
                self.signals.wait(pause)
            pause = min(2 * pause, LAST_PAUSE)

    def run_once(self) -> Turn:
        """Claim one job and see it through, or say why there is none to be had.

        Raises ConfigError if the queue's format is a newer one by now.
        """
        self.reap()
        self.settle_again()
        self.gate_watch.take()  # a gate that came and went before this is of no account
        if self.config.gated:
            return Turn.GATED
        # A newer release may have come to the queue since this worker began.
        queue_format.check(self.config)
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
                    if self.candidates.is_away(name):
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
        if left := backoff.left(job):
            self.candidates.put_off(name, left)
            return None
        record_file = self.spool.result_file(name)
        with contextlib.ExitStack() as stack:
            try:
                gidx = settlement.state_word(self.config, job.offset)
                log = worklog.begin(self.config, job.offset)
                stack.callback(os.close, log)
                self.spool.claimable(lock)
                group = self.left_group(name)
                status = os.fstat(log)
                word = execution.begin(
                    record_file, self.number, status.st_size, gidx, status.st_ino,
                    first=lock.is_new,
                )  # fmt: skip
                record = os.open(record_file, _APPEND)
                stack.callback(os.close, record)
            except (OSError, StateUnreadable) as error:
                self.put_aside(name, error)
                return None
            self.told.pop(name, None)
            self.spool.claim(lock)
            # After the claim, whose sync has it on the disk already on most filesystems.
            if not status.st_size:
                durable.sync_directory(self.config.log_dir)
            self.own(name)
            if self.config.gated or self.signals.drain:
                self.spool.release(lock)
                return None
            marks = Marks(self.spool.lock_file(name), word, group)
            launched = self.launch(lock, job, marks, Descriptors(lock.fd, log, record))
            return word if launched else None

    def put_aside(self, name: str, error: OSError | StateUnreadable) -> None:
        """Leave a job whose own files are at fault; raises what is wrong with every job."""
        if isinstance(error, OSError) and error.errno in EVERYBODYS:
            raise error
        if self.told.get(name) != str(error):
            self.told[name] = str(error)
            self.say(f"{name} cannot be claimed: {error}; going on with the others")
        self.candidates.put_aside(name)

    def left_group(self, name: str) -> str:
        """The session of the job's last execution; it is kept until the next one is settled."""
        if (last := execution.read(self.spool.result_file(name))) is not None:
            # Somebody moved the job by hand: nobody settled it.
            execution.keep_group(self.spool.group_file(name), last)
        return execution.kept_group(self.spool.group_file(name))

    def launch(self, lock: Lock, job: Job, marks: Marks, given: Descriptors) -> bool:
        """Start the solver of a claimed job; False when it could not be, and the job has gone."""
        try:
            settlement.log_line(self.config, job.offset, self.number, "start", job=job.name)
            self.runtime.launch(job, marks, given)
        except OSError as error:
            if error.errno == errno.E2BIG:
                self.say(f"{job.name} goes to failed/: its command is too long to be executed")
                self.spool.fail(lock, job, Outcome.FAILED, "command_too_long")
                return False
            self.spool.release(lock)
            self.outage = ""
            raise
        return True
