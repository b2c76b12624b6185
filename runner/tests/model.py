"""A model of the queue, held against the real one: workers, solvers, recovery and an operator who
act in any order.

The queue is real: `spool`, `settlement`, `recovery`, `operations` and `owner` work on files, with
the kernel's locks. Workers and solvers are played: a worker is a generator that takes one step at a
time and may die at any of them, a solver is the descriptor of a lock that it inherited and a record
that it may write a result into. The model is a few words for each job, changed by the rules of
docs/queue.md. After every step each job must lie where the model has it, and nowhere else.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from kit import jobset
from kit.waiting import PATIENCE
from sagequeue import config, execution, operations, owner, recovery, settlement
from sagequeue.exceptions import Busy, IllegalEdge, MalformedJob
from sagequeue.jobs import Job, JobState, Outcome
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
STRIDE, TOTAL, WORKERS, MAX_RETRIES = 3, 9, 3, 2
LAST = {k: k + 2 * STRIDE for k in range(STRIDE)}
OFFSETS, NUMBERS = st.integers(0, STRIDE - 1), st.integers(1, WORKERS)
RCS = st.sampled_from([0, 0, 0, 1, 137])
GARBAGE = st.sampled_from([b"", b"OFFSET=\n", b"\x00\xff", b"OFFSET=7\n", b"OFFSET=$(id)\n"])

taken: Counter[str] = Counter()
"""How often each edge was taken, by its letter."""


@dataclass
class Run:
    """One execution. `solver` is the lock's descriptor, None when no solver lives."""

    gidx: str
    solver: int | None = None
    began: bool = False
    rc: int | None = None
    stopped: bool = False
    gate: bool = False
    printed: int = 0


@dataclass
class Entry:
    """One job: where it lies, what its file says, which worker is at it and alive."""

    state: JobState | None = None
    attempts: int = 0
    interrupts: int = 0
    last: str = ""
    malformed: bool = False
    hopeless: bool = False
    run: Run | None = None
    worker: int | None = None
    locked: bool = False  # by a worker that has not handed the lock to a solver yet
    left_by: int | None = None  # the worker that the owner file names, dead or alive
    case: str = ""  # what the state file holds
    solutions: int = 0
    recorded: int = 0

    @property
    def held(self) -> bool:
        return self.locked or (self.run is not None and self.run.solver is not None)

    def go(self, edge: str, state: JobState | None) -> None:
        """Take an edge."""
        taken[edge] += 1
        if self.state is RUNNING:
            self.run = self.worker = self.left_by = None
        self.state = state


class Queue(RuleBasedStateMachine):
    """The rules."""

    def __init__(self) -> None:
        super().__init__()
        self.tmp = TemporaryDirectory(prefix="sagequeue-model-")
        root = Path(self.tmp.name)
        (root / "demo.py").touch()
        keys = jobset.keys(
            root, STRIDE=STRIDE, TOTAL_CASES=TOTAL, MAX_FAILED_RETRIES=MAX_RETRIES, WORKERS=WORKERS
        )
        env_file = root / "demo.env"
        env_file.write_text(jobset.render(keys))
        self.config = config.load(env_file, {})
        self.spool = Spool(self.config)
        self.spool.create()
        self.jobs = {k: Entry() for k in range(STRIDE)}
        self.claims: dict[int, Generator[None]] = {}
        self.at: dict[int, int] = {}  # the offset that a worker is at
        self.gated = False

    def teardown(self) -> None:
        for entry in self.jobs.values():
            if entry.run and entry.run.solver is not None:
                os.close(entry.run.solver)
        self.claims.clear()
        self.tmp.cleanup()

    @initialize()
    def enqueued(self) -> None:
        self.enqueue(None, force=False)

    # Workers, step by step

    @rule(number=NUMBERS, offset=OFFSETS, steps=st.integers(0, 4))
    def worker_claims(self, number: int, offset: int, steps: int) -> None:
        self._begin_claim(number, offset)
        self.claim_goes_on(number, steps)

    def _begin_claim(self, number: int, offset: int) -> None:
        entry = self.jobs[offset]
        if number in self.at or self.gated or entry.state is not PENDING:
            return
        lock = self.spool.lock(self._name(offset))
        assert (lock is None) == entry.held
        if lock is not None:
            entry.locked, entry.worker = True, number
            self.at[number] = offset
            self.claims[number] = self._claim(number, offset, lock)
            next(self.claims[number])

    def _claim(self, number: int, offset: int, lock: Lock) -> Generator[None]:
        """What a worker does with a pending job that it has the lock of; it may die at a yield."""
        name, entry = self._name(offset), self.jobs[offset]
        try:
            yield
            try:
                job = self.spool.read(PENDING, name)
            except MalformedJob:
                assert entry.malformed
                self.spool.reject(lock, PENDING)
                entry.go("I", FAILED)
                return
            gidx = settlement.state_word(self.config, offset)
            log = self.config.log_file(offset)
            log.touch()
            record = self.spool.result_file(name)
            execution.begin(record, number, log.stat().st_size, gidx)
            yield
            self.spool.claim(lock)
            entry.go("B", RUNNING)
            entry.run, entry.worker = Run(gidx), number
            yield
            owner.write_owner(self.spool.owner_file(name), number)
            entry.left_by = number
            yield
            if self.config.gated:
                self.spool.release(lock)
                entry.go("C", PENDING)
                return
            settlement.log_line(self.config, offset, number, "start", job=job.name)
            self._append(offset, "PID=1\nRUN=1\n")
            assert entry.run is not None
            assert entry.run.solver is None, f"a second solver for {name}"
            entry.run.solver, entry.run.began = os.dup(lock.fd), True
        finally:
            entry.locked = False
            lock.close()

    @rule(number=NUMBERS, steps=st.integers(1, 4))
    def claim_goes_on(self, number: int, steps: int) -> None:
        for _ in range(steps):
            if number in self.claims and next(self.claims[number], "through") == "through":
                del self.claims[number]
                if (run := self.jobs[self.at[number]].run) is None or run.solver is None:
                    self._let_go(number)

    @rule(number=NUMBERS)
    def worker_dies(self, number: int) -> None:
        if number not in self.at:
            return
        if number in self.claims:
            self.claims.pop(number).close()
        self._disown(self.at[number])
        self._let_go(number)

    @rule(number=NUMBERS)
    def worker_is_started_anew_and_adopts(self, number: int) -> None:
        if number in self.at:
            return
        for offset, entry in self.jobs.items():
            path = self.spool.owner_file(self._name(offset))
            named = owner.read_owner(path).get("OWNER_WORKER_ID") == str(number)
            assert named == (entry.state is RUNNING and entry.left_by == number)
            if named and number not in self.at:
                owner.write_owner(path, number)
                entry.worker = number
                self.at[number] = offset

    @rule(number=NUMBERS)
    def worker_gets_the_lock_and_settles(self, number: int) -> None:
        if number not in self.at or number in self.claims:
            return
        offset = self.at[number]
        entry = self.jobs[offset]
        lock = self.spool.lock(self._name(offset))
        assert (lock is None) == entry.held
        if lock is None:
            return
        with lock:
            if entry.state is RUNNING and entry.worker == number:
                settled = settlement.settle(self.spool, lock, self._name(offset))
                self._settle(offset)
                assert settled.state is entry.state
        self._let_go(number)

    # Solvers

    @rule(
        number=NUMBERS, offset=OFFSETS, rc=RCS, prints=st.booleans(), through=st.booleans(),
        gate=st.sampled_from(["", "is there", "came and went"]), steps=st.sampled_from([2, 4, 4]),
    )  # fmt: skip
    def an_execution_is_seen_to_its_end(
        self, number: int, offset: int, rc: int, prints: bool, through: bool, gate: str, steps: int
    ) -> None:
        self.gate_is_cleared()
        self.worker_claims(number, offset, steps)
        if self.at.get(number) != offset:
            return
        if gate:
            self.gate_is_set()
            self.claim_goes_on(number, 4)
        if gate == "came and went":
            self.gate_is_cleared()
        if prints:
            self.solver_prints_a_solution(offset)
        if through:
            self._state_file(offset, str(LAST[offset]))
        self.solver_ends(offset, rc)
        self.worker_gets_the_lock_and_settles(number)

    @rule(number=NUMBERS, offset=OFFSETS, gate=st.sampled_from(["is there", "came and went"]))
    def an_execution_pauses(self, number: int, offset: int, gate: str) -> None:
        """What hardly ever comes together by itself."""
        self.state_file_is_moved_away(offset)
        self.enqueue(offset, force=True)
        self.an_execution_is_seen_to_its_end(
            number, offset, 0, prints=False, through=False, gate=gate, steps=4
        )

    @rule(offset=OFFSETS, times=st.integers(1, MAX_RETRIES + 2))
    def failures_and_recoveries_follow_each_other(self, offset: int, times: int) -> None:
        for _ in range(times):
            self.an_execution_is_seen_to_its_end(
                WORKERS, offset, 1, prints=False, through=False, gate="", steps=4
            )
            self.recover()

    @rule(offset=OFFSETS)
    def solver_does_a_case(self, offset: int) -> None:
        if self._solver(offset) is None:
            return
        case = self.jobs[offset].case
        if case.isdigit() and int(case) == LAST[offset]:
            return
        self._state_file(offset, str(int(case) + STRIDE if case.isdigit() else offset))

    @rule(offset=OFFSETS)
    def solver_prints_a_solution(self, offset: int) -> None:
        if (run := self._solver(offset)) is None:
            return
        entry = self.jobs[offset]
        entry.solutions += 1
        run.printed += 1
        with open(self.config.log_file(offset), "a") as log:
            log.write(f"[now] START gidx={offset}\nSAT found for J={entry.solutions}\n[now] DONE\n")

    @rule(offset=OFFSETS, rc=RCS)
    def solver_ends(self, offset: int, rc: int) -> None:
        if (run := self._solver(offset)) is not None:
            run.rc = rc
            self._append(offset, f"RC={rc}\n")
            self._close(run, offset)

    @rule(offset=OFFSETS)
    def solver_and_wrapper_are_killed(self, offset: int) -> None:
        if (run := self._solver(offset)) is not None:
            self._close(run, offset)

    @rule(offset=OFFSETS, times=st.integers(1, 5))
    def executions_come_to_nothing(self, offset: int, times: int) -> None:
        """Claimed, begun and killed with all that belongs to it, so many times in a row."""
        for _ in range(times):
            self.worker_claims(WORKERS, offset, 4)
            if self.at.get(WORKERS) != offset:
                return
            self.solver_and_wrapper_are_killed(offset)
            self.worker_gets_the_lock_and_settles(WORKERS)

    # The stop gate, the files

    @rule()
    def gate_is_set(self) -> None:
        operations.request_stop(self.config, "by hand", tell=_silent)
        self.gated = True

    @rule()
    def gate_is_cleared(self) -> None:
        operations.clear_stop(self.config, tell=_silent)
        if self.gated:
            for entry in self.jobs.values():
                if entry.run is not None:
                    entry.run.gate = True
        self.gated = False

    @rule(offset=OFFSETS, garbage=GARBAGE)
    def job_file_is_spoilt(self, offset: int, garbage: bytes) -> None:
        entry = self.jobs[offset]
        if entry.state in (PENDING, RUNNING, FAILED):
            self._path(offset).write_bytes(garbage)
            entry.malformed = True

    @rule(offset=OFFSETS)
    def job_file_is_mended(self, offset: int) -> None:
        entry = self.jobs[offset]
        if entry.malformed:
            self._path(offset).write_text(f"OFFSET={offset}\n")
            fresh = {"attempts": 0, "interrupts": 0, "last": "", "malformed": False}
            self.jobs[offset].__dict__.update(fresh, hopeless=False)

    @rule(offset=OFFSETS, garbage=st.sampled_from(["", "x", "99999", "1 2"]))
    def state_file_is_spoilt(self, offset: int, garbage: str) -> None:
        self._state_file(offset, garbage)
        self.jobs[offset].case = "corrupt"

    @rule(offset=OFFSETS)
    def state_file_is_moved_away(self, offset: int) -> None:
        self._state_path(offset).unlink(missing_ok=True)
        self.jobs[offset].case = ""

    # The operator

    @rule(offset=st.none() | OFFSETS, force=st.booleans())
    def enqueue(self, offset: int | None, force: bool) -> None:
        operations.enqueue(self.config, offset, force=force, tell=_silent)
        for k in range(STRIDE) if offset is None else [offset]:
            entry = self.jobs[k]
            if entry.state is None and not entry.held:
                entry.go("A", PENDING)
            elif force and entry.state in (DONE, FAILED) and not entry.malformed:
                entry.go("L", PENDING)
            else:
                continue
            entry.attempts, entry.interrupts, entry.last = 0, 0, ""

    @rule(reset=st.booleans())
    def retry_failed(self, reset: bool) -> None:
        operations.retry_failed(self.config, reset=reset, tell=_silent)
        for entry in self.jobs.values():
            if entry.state is FAILED and not entry.malformed:
                entry.go("K", PENDING)
                entry.interrupts, entry.last = 0, "retry"
                entry.attempts = 0 if reset else entry.attempts

    @precondition(lambda self: not any(entry.locked for entry in self.jobs.values()))
    @rule()
    def requeue_running(self) -> None:
        solvers = SimpleNamespace(end=lambda variable, *rest: self._end_solver(variable))
        with mock.patch.object(operations.runtime, "for_config", return_value=solvers):
            operations.requeue_running(self.config, tell=_silent)
        for offset, entry in self.jobs.items():
            if entry.state is RUNNING:
                self._settle(offset)

    @precondition(lambda self: not any(entry.locked for entry in self.jobs.values()))
    @rule(surely=st.sampled_from([False, False, False, True]))
    def purge(self, surely: bool) -> None:
        if not surely:
            return  # an empty queue is soon told
        if any(entry.held for entry in self.jobs.values()):
            try:
                operations.purge(self.config, {}, tell=_silent)
            except Busy:
                return
            raise AssertionError("purged under a living solver")
        operations.purge(self.config, {}, tell=_silent)
        for offset, entry in self.jobs.items():
            if entry.state is RUNNING:
                self._settle(offset)
            if entry.state is not None:
                entry.go("M", None)
                cleared = {"attempts": 0, "interrupts": 0, "last": "", "malformed": False}
                entry.__dict__.update(cleared)

    # Recovery

    @rule()
    def recover(self) -> None:
        said: list[str] = []
        assert recovery.recover(self.spool, said.append)
        counts: Counter[str] = Counter()
        for offset, entry in self.jobs.items():
            if entry.state is RUNNING:
                counts["scanned_running"] += 1
                counts[self._recover_running(offset)] += 1
        for entry in self.jobs.values():
            if entry.state is FAILED:
                counts["scanned_failed"] += 1
                counts[_recover_failed(entry)] += 1
        summary = dict(pair.split("=") for pair in said[-1].split() if "=" in pair)
        assert {key: int(summary[key]) for key in recovery.COUNTS} == {
            key: counts[key] for key in recovery.COUNTS
        }

    @rule()
    def recover_beside_another_recovery(self) -> None:
        with owner.wait_lock(self.config.run_dir / "recover.lock"):
            assert not recovery.recover(self.spool, _silent)

    # What the diagram does not have

    @rule(offset=OFFSETS, edge=st.integers(0, 14))
    def edges_that_do_not_start_here_are_refused(self, offset: int, edge: int) -> None:
        entry, name = self.jobs[offset], self._name(offset)
        start, take = _EDGES[edge]
        lock = self.spool.lock(name)
        assert (lock is None) == entry.held
        if lock is not None and entry.state is start:
            lock.close()
            return
        before = self._snapshot()
        with lock or Lock(self.spool.lock_file(name), -1) as given:
            try:
                take(self.spool, given, Job("demo", offset))
            except IllegalEdge:
                pass
            except OSError as error:
                raise AssertionError(f"{name}: edge {edge} tried from {entry.state}") from error
            else:
                raise AssertionError(f"{name} took edge {edge} from {entry.state}")
        assert self._snapshot() == before

    # What must hold after every step

    @invariant()
    def every_job_lies_where_the_model_has_it(self) -> None:
        for state, path in self.spool.dirs.items():
            there = {p.name for p in path.iterdir() if not p.name.endswith(".owner")}
            wanted = {f"{self._name(k)}.env" for k, e in self.jobs.items() if e.state is state}
            assert there == wanted, f"{state}: {there}, by the model {wanted}"

    @invariant()
    def every_job_file_says_what_the_model_has(self) -> None:
        for offset, entry in self.jobs.items():
            if entry.state is None:
                continue
            try:
                job = self.spool.read(entry.state, self._name(offset))
            except MalformedJob:
                assert entry.malformed
                continue
            told = (job.count("ATTEMPTS"), job.count("INTERRUPTS"), job.last_outcome)
            assert told == (entry.attempts, entry.interrupts, entry.last), self._name(offset)
            assert entry.attempts <= MAX_RETRIES

    @invariant()
    def every_lock_is_held_by_whom_the_model_has(self) -> None:
        for offset, entry in self.jobs.items():
            assert owner.held(self.spool.lock_file(self._name(offset))) == entry.held

    @invariant()
    def every_settled_solution_is_on_record(self) -> None:
        for offset, entry in self.jobs.items():
            records = list(self.config.results_dir.glob(f"{self._name(offset)}_*.json"))
            at_work = entry.run.printed if entry.run else 0
            assert entry.solutions - at_work <= len(records) <= entry.solutions

    # The model's side

    def _settle(self, offset: int) -> None:
        """What the contract makes of the execution of a running job."""
        entry = self.jobs[offset]
        run = entry.run
        assert run is not None
        found = run.printed
        if entry.malformed:
            entry.go("I", FAILED)
        elif not run.began:
            entry.go("C", PENDING)
        elif run.rc is None:
            entry.last = Outcome.INTERRUPTED
            got_on = _got_on(run.gidx, _word(entry.case))
            entry.interrupts = 0 if got_on else entry.interrupts + 1
            entry.go(*(("H", FAILED) if entry.interrupts >= 5 else ("G", PENDING)))
        elif run.rc == 0 and entry.case == str(LAST[offset]):
            entry.interrupts, entry.last = 0, Outcome.FOUND if found else Outcome.DONE
            entry.go("D", DONE)
        elif run.stopped:
            entry.last = Outcome.INTERRUPTED
            entry.go("G", PENDING)
        elif run.rc == 0 and (run.gate or self.gated):
            entry.interrupts, entry.last = 0, Outcome.FOUND if found else Outcome.PAUSED
            entry.go("F", PENDING)
        else:
            entry.interrupts, entry.last = 0, Outcome.FOUND if found else Outcome.FAILED
            entry.hopeless = entry.case == "corrupt"
            entry.go("E", FAILED)

    def _recover_running(self, offset: int) -> str:
        entry = self.jobs[offset]
        run = entry.run
        assert run is not None
        if entry.held:
            run.gate = run.gate or self.gated
            return "left alone"
        if run.rc is not None:
            self._settle(offset)
            return "finished"
        if entry.worker is not None and entry.left_by == entry.worker:
            return "attended"
        self._settle(offset)
        return "held_failed" if entry.state is FAILED else "requeued_orphans"

    # Files and descriptors

    def _name(self, offset: int) -> str:
        return f"demo_off{offset}"

    def _path(self, offset: int) -> Path:
        state = self.jobs[offset].state
        assert state is not None
        return self.spool.file(state, self._name(offset))

    def _state_path(self, offset: int) -> Path:
        path = self.config.state_file(offset)
        assert path is not None
        return path

    def _state_file(self, offset: int, text: str) -> None:
        self._state_path(offset).write_text(text)
        self.jobs[offset].case = text

    def _solver(self, offset: int) -> Run | None:
        run = self.jobs[offset].run
        return run if run is not None and run.solver is not None else None

    def _append(self, offset: int, text: str) -> None:
        with open(self.spool.result_file(self._name(offset)), "a") as record:
            record.write(text)

    def _close(self, run: Run, offset: int) -> None:
        assert run.solver is not None
        os.close(run.solver)
        run.solver = None
        # A waiter that was given up gets the lock now, and lets it go at once.
        path = self.spool.lock_file(self._name(offset))
        for thread in threading.enumerate():
            if isinstance(thread, LockWaiter) and thread.path == path:
                thread.join(PATIENCE)
                assert not thread.is_alive()

    def _end_solver(self, variable: str) -> None:
        """What the ender does: the solver of that execution ends, and its record says by whom."""
        for offset in self.jobs:
            there = execution.read(self.spool.result_file(self._name(offset)))
            if there and variable == f"SAGEQUEUE_EXECUTION={there.word}":
                run = self._solver(offset)
                if run is not None:
                    run.rc, run.stopped = 143, True
                    self._append(offset, "STOPPED=1\nRC=143\n")
                    self._close(run, offset)

    def _disown(self, offset: int) -> None:
        """The process that the owner file names is another by now."""
        path = self.spool.owner_file(self._name(offset))
        if path.exists():
            path.write_text(path.read_text().replace("OWNER_START=", "OWNER_START=1"))

    def _let_go(self, number: int) -> None:
        entry = self.jobs[self.at.pop(number)]
        if entry.worker == number:
            entry.worker = None

    def _snapshot(self) -> dict[Path, bytes]:
        places = (*self.spool.dirs.values(), self.config.run_dir)
        return {path: path.read_bytes() for place in places for path in place.iterdir()}


def _silent(line: str) -> None:
    pass


def _word(case: str) -> str:
    return case or "-1"


def _got_on(before: str, after: str) -> bool:
    """Whether the state file moved on; `corrupt` is less than every number."""
    least = {"corrupt": -2}
    return int(least.get(after, after)) > int(least.get(before, before))


def _recover_failed(entry: Entry) -> str:
    if entry.malformed:
        return "skipped_failed"
    stuck = entry.last in (Outcome.FOUND, Outcome.INTERRUPTED) or entry.hopeless
    if stuck or entry.attempts >= MAX_RETRIES:
        return "held_failed"
    entry.attempts, entry.last = entry.attempts + 1, "retry"
    entry.go("J", PENDING)
    return "retried_failed"


Take = Callable[[Spool, Lock, Job], object]
_EDGES: list[tuple[JobState | None, Take]] = [
    (None, lambda s, lock, job: s.enqueue(lock, job)),
    (PENDING, lambda s, lock, job: s.claim(lock)),
    (RUNNING, lambda s, lock, job: s.release(lock)),
    (RUNNING, lambda s, lock, job: s.finish(lock, job, Outcome.DONE)),
    (RUNNING, lambda s, lock, job: s.fail(lock, job, Outcome.FAILED, "rc_1")),
    (RUNNING, lambda s, lock, job: s.pause(lock, job, Outcome.PAUSED)),
    (RUNNING, lambda s, lock, job: s.interrupt(lock, job)),
    (RUNNING, lambda s, lock, job: s.hold(lock, job)),
    (PENDING, lambda s, lock, job: s.reject(lock, PENDING)),
    (RUNNING, lambda s, lock, job: s.reject(lock, RUNNING)),
    (FAILED, lambda s, lock, job: s.retry(lock, job)),
    (FAILED, lambda s, lock, job: s.retry_by_hand(lock, job, reset=True)),
    (DONE, lambda s, lock, job: s.redo(lock, DONE, job)),
    (FAILED, lambda s, lock, job: s.redo(lock, FAILED, job)),
    (DONE, lambda s, lock, job: s.discard(lock, DONE)),
]


def hold(examples: int = 150, steps: int = 60, *, shrink: bool = True) -> None:
    """Play that many games of so many steps; an error names the steps that lead to it."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    # Nothing is killed with the machine here, and fsync would be most of the time.
    with mock.patch("os.fsync"), mock.patch("os.sync"):
        run_machine(Queue, settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, phases=phases,
            suppress_health_check=list(HealthCheck), derandomize=not shrink, database=None,
        ))  # fmt: skip
