"""The queue on disk, and the only module that moves a job file.

State is the directory that a file lies in; every transition is one rename inside one filesystem.
Each edge is a method that takes the job's lock, checks that the job lies where the edge starts and
nowhere else, and refuses otherwise. When the content changes too, it is replaced where the job
lies, before the rename, so that a crash between the two leaves a whole job in its old state whose
edge can be taken again. Lettered edges: docs/queue.md.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sagequeue import durable, jobs, owner, queue_format, regular
from sagequeue.config import Config
from sagequeue.exceptions import IllegalEdge, MalformedJob, SagequeueError
from sagequeue.jobs import RETRY, Job, JobState, Outcome
from sagequeue.owner import Lock
from sagequeue.regular import NoRegularFile

SUFFIX = ".env"
_OWNER = ".env.owner"
# From so many files on, one sync of every filesystem is cheaper than one fsync each.
_SYNC_ALL = 100


class Spool:
    """One jobset's queue."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dirs = {
            JobState.PENDING: config.pending_dir,
            JobState.RUNNING: config.running_dir,
            JobState.DONE: config.done_dir,
            JobState.FAILED: config.failed_dir,
        }
        # Strings: in an operation on 100,000 jobs, joining Paths would be most of its time.
        self._begin = {state: f"{path}/" for state, path in self.dirs.items()}
        self._run = f"{config.run_dir}/"
        self._unsynced: set[Path] | None = None
        self._ended: list[str] = []

    # Looking

    def create(self) -> None:
        """Make the directories; refuse a queue that is spread over filesystems.

        Raises ConfigError for a queue of a newer release.
        """
        config = self.config
        queue_format.check(config)
        beside = (config.run_dir, config.log_dir, config.ledger_dir, config.results_dir)
        for path in (*self.dirs.values(), *beside):
            durable.make_directory(path)
        if len({os.stat(path).st_dev for path in self.dirs.values()}) > 1:
            raise SagequeueError(
                f"{config.queue_dir}: pending, running, done and failed must lie in one "
                "filesystem, since a job changes its state by a rename"
            )
        queue_format.note(config)

    def names(self, state: JobState) -> list[str]:
        """The jobs of a state, unsorted: the files whose names begin as a job's does."""
        begin, cut = jobs.job_name(self.config.jobset, ""), -len(SUFFIX)
        found = os.listdir(self.dirs[state])
        return [name[:cut] for name in found if name.endswith(SUFFIX) and name.startswith(begin)]

    def file(self, state: JobState, name: str) -> Path:
        """Where a job's file lies in that state."""
        return Path(self._path(state, name))

    def owner_file(self, name: str) -> Path:
        """The owner file beside a running job."""
        return self.dirs[JobState.RUNNING] / f"{name}{_OWNER}"

    def owners(self) -> list[str]:
        """The jobs that have an owner file."""
        begin, cut = jobs.job_name(self.config.jobset, ""), -len(_OWNER)
        found = os.listdir(self.dirs[JobState.RUNNING])
        return [name[:cut] for name in found if name.endswith(_OWNER) and name.startswith(begin)]

    def result_file(self, name: str) -> Path:
        """The record of the job's last execution, see `execution`."""
        return Path(self._record(name))

    def group_file(self, name: str) -> Path:
        """The session of the job's last execution, see `execution.keep_group`."""
        return Path(f"{self._run}{name}.group")

    def lock_file(self, name: str) -> Path:
        """The job's lock, which also is the solver's mark, see `runtime`."""
        return Path(f"{self._run}{name}.lock")

    def _record(self, name: str) -> str:
        return f"{self._run}{name}.result"

    def _path(self, state: JobState, name: str) -> str:
        return f"{self._begin[state]}{name}{SUFFIX}"

    def lies(self, state: JobState, name: str) -> bool:
        """Whether the job is in that state."""
        return os.path.lexists(self._path(state, name))

    def locate(self, name: str) -> list[JobState]:
        """Every state that the job is in: one, unless somebody copied files."""
        return [state for state in JobState if self.lies(state, name)]

    def read(self, state: JobState, name: str) -> Job:
        """The job; MalformedJob for a file that is none, FileNotFoundError when it is not there."""
        try:
            content = regular.read(self._path(state, name), jobs.MAX_BYTES + 1)
        except FileNotFoundError:
            raise
        except NoRegularFile:
            raise MalformedJob("no_regular_file", "it is not a regular file") from None
        except OSError as error:
            raise MalformedJob("unreadable", f"it cannot be read: {error.strerror}") from None
        return jobs.parse(name, content, self.config.jobset, self.config.stride)

    def lock(self, name: str) -> Lock | None:
        """The job's lock, or None while an execution or another operation holds it."""
        return owner.try_lock(self.lock_file(name))

    # Edges

    def stage(self, staged: Sequence[Job]) -> None:
        """Write the files of jobs to be enqueued, complete and synced, out of sight.

        The caller holds `run/enqueue.lock`, so nobody else stages.
        """
        few = len(staged) < _SYNC_ALL
        for job in staged:
            self._write(JobState.PENDING, job, sync=few)
        if not few:
            os.sync()

    def unstage(self, name: str) -> None:
        """Remove a staged file whose job turned out to be there."""
        _unlink(self._temporary(JobState.PENDING, name))

    def enqueue(self, lock: Lock | None, job: Job) -> None:
        """A: nowhere -> pending, for a job that was staged.

        Without a lock it must never have been locked, that is, have no lock file: then it never
        was in any state but pending, and nobody can move it before it is there.
        """
        if lock is not None:
            self._same(lock, job)
            self._expect(lock, [])
        elif os.path.lexists(f"{self._run}{job.name}.lock") or self.lies(
            JobState.PENDING, job.name
        ):
            raise IllegalEdge(f"{job.name} is not new")
        temporary = self._temporary(JobState.PENDING, job.name)
        os.rename(temporary, self._path(JobState.PENDING, job.name))
        self._sync(JobState.PENDING)

    def claim(self, lock: Lock) -> None:
        """B: pending -> running. The caller has begun the execution's record."""
        self._move(lock, JobState.PENDING, JobState.RUNNING)

    def claimable(self, lock: Lock) -> None:
        """Refuse, before anything is written for it, a job that cannot be claimed."""
        self._expect(lock, [JobState.PENDING])

    def release(self, lock: Lock, job: Job | None = None) -> None:
        """C: running -> pending as it was, or saying why in `job`: nothing was started for it."""
        self._move(lock, JobState.RUNNING, JobState.PENDING, job)

    def finish(self, lock: Lock, job: Job, outcome: Outcome) -> None:
        """D: running -> done."""
        changed = job.with_(LAST_OUTCOME=outcome, LAST_REASON=None, FINISHED_AT=jobs.now())
        self._move(lock, JobState.RUNNING, JobState.DONE, changed)

    def fail(self, lock: Lock, job: Job, outcome: Outcome, reason: str) -> None:
        """E: running -> failed. With `found` as the outcome it is held there."""
        changed = job.with_(LAST_OUTCOME=outcome, LAST_REASON=reason)
        self._move(lock, JobState.RUNNING, JobState.FAILED, changed)

    def pause(self, lock: Lock, job: Job, outcome: Outcome) -> None:
        """F: running -> pending, because of the stop gate."""
        changed = job.without_waits().with_(LAST_OUTCOME=outcome, LAST_REASON="stop_gate")
        self._move(lock, JobState.RUNNING, JobState.PENDING, changed)

    def interrupt(self, lock: Lock, job: Job) -> None:
        """G: running -> pending, with the interruption counted in `job`; costs no attempt."""
        self._move(lock, JobState.RUNNING, JobState.PENDING, job)

    def hold(self, lock: Lock, job: Job) -> None:
        """H: running -> failed, held: interrupted again and again without getting on."""
        self._move(lock, JobState.RUNNING, JobState.FAILED, job)

    def reject(self, lock: Lock, state: JobState) -> None:
        """I: pending or running -> failed, a malformed file, as it is."""
        if state not in (JobState.PENDING, JobState.RUNNING):
            raise IllegalEdge(f"a job is not rejected from {state}")
        self._move(lock, state, JobState.FAILED)

    def retry(self, lock: Lock, job: Job) -> Job:
        """J: failed -> pending by recovery, counted in ATTEMPTS."""
        # The mark is written with the count: a retry cut off before its rename isn't counted twice.
        if job.last_outcome != RETRY:
            attempts = job.count("ATTEMPTS") + 1
            job = job.with_(ATTEMPTS=attempts, LAST_RETRY_TS=jobs.now(), LAST_OUTCOME=RETRY)
        self._move(lock, JobState.FAILED, JobState.PENDING, job)
        return job

    def retry_by_hand(self, lock: Lock, job: Job, *, reset: bool) -> None:
        """K: failed -> pending by hand; ATTEMPTS stay unless `reset`."""
        job = job.without_waits().with_(LAST_RETRY_TS=jobs.now(), LAST_OUTCOME=RETRY)
        self._move(
            lock, JobState.FAILED, JobState.PENDING, job.with_(ATTEMPTS=None) if reset else job
        )

    def redo(self, lock: Lock, state: JobState, job: Job) -> None:
        """L: done or failed -> pending, as a new job."""
        if state not in (JobState.DONE, JobState.FAILED):
            raise IllegalEdge(f"{job.name} is {state}: only done and failed jobs are done again")
        fresh = job.without_waits().with_(ENQUEUED_AT=jobs.now(), ATTEMPTS=None, LAST_RETRY_TS=None)
        fresh = fresh.with_(LAST_OUTCOME=None, LAST_REASON=None, FINISHED_AT=None)
        self._move(lock, state, JobState.PENDING, fresh)

    def discard(self, lock: Lock, state: JobState) -> None:
        """M: any state -> nowhere (purge)."""
        name = self._name(lock)
        if not self.lies(state, name):
            raise IllegalEdge(f"{name} is not {state}")
        self.file(state, name).unlink()
        _unlink(f"{self._begin[JobState.RUNNING]}{name}{_OWNER}")
        _unlink(self._record(name))
        self._sync(state)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Inside, directories are synced once at the end instead of after each edge.

        For operations on many jobs: what a crash takes back is taken back whole, edge by edge.
        """
        self._unsynced = set()
        self._ended = []
        try:
            yield
        finally:
            unsynced, self._unsynced = self._unsynced, None
            for path in sorted(unsynced):
                durable.sync_directory(path)
            for name in self._ended:
                # By now it may be running again, and the record another execution's.
                if os.path.lexists(self._record(name)) and (lock := self.lock(name)):
                    with lock:
                        if not self.lies(JobState.RUNNING, name):
                            self._forget(name)

    # The mechanism

    def _name(self, lock: Lock) -> str:
        if lock.fd < 0 or not str(lock.path).startswith(self._run):
            raise IllegalEdge(f"{lock.path} is not a held lock of this queue")
        return lock.path.stem

    def _expect(self, lock: Lock, states: list[JobState]) -> str:
        name = self._name(lock)
        if (found := self.locate(name)) != states:
            where = " and ".join(found) or "nowhere"
            raise IllegalEdge(f"{name} is {where}, not {' and '.join(states) or 'nowhere'}")
        return name

    def _same(self, lock: Lock, job: Job) -> None:
        if self._name(lock) != job.name:
            raise IllegalEdge(f"{lock.path} is not the lock of {job.name}")

    def _move(self, lock: Lock, start: JobState, end: JobState, changed: Job | None = None) -> None:
        name = self._expect(lock, [start])
        if changed is not None:
            self._same(lock, changed)
            os.rename(self._write(start, changed), self._path(start, name))
        os.rename(self._path(start, name), self._path(end, name))
        if start is JobState.RUNNING:
            _unlink(f"{self._begin[start]}{name}{_OWNER}")
        self._sync(end, start)
        if start is JobState.RUNNING:
            self._forget(name)

    def _temporary(self, state: JobState, name: str) -> str:
        return f"{self._begin[state]}.{name}{SUFFIX}.tmp"

    def _write(self, state: JobState, job: Job, *, sync: bool = True) -> str:
        """A complete file under a temporary name that no listing shows."""
        path = self._temporary(state, job.name)
        durable.write(path, job.render(), sync=sync)
        return path

    def _forget(self, name: str) -> None:
        """Remove the record of an execution that is settled, when no crash can undo that.

        Were the record gone and the job running again, nobody would know how it had ended.
        """
        if self._unsynced is None:
            _unlink(self._record(name))
        else:
            self._ended.append(name)

    def _sync(self, *states: JobState) -> None:
        for state in states:
            if self._unsynced is None:
                durable.sync_directory(self.dirs[state])
            else:
                self._unsynced.add(self.dirs[state])


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
