"""Who attends to a running job, and what becomes of it, as sentences."""

from collections.abc import Iterator

from sagequeue import census, execution, freeing, predecessor, schedule
from sagequeue.census import Solver
from sagequeue.commands import typed
from sagequeue.jobs import Job
from sagequeue.owner import held, orphan_reason, process, read_owner
from sagequeue.progress import gate_reason
from sagequeue.reasons import sentence
from sagequeue.spool import Spool


def tell(spool: Spool, job: Job) -> Iterator[str]:
    """The sentences."""
    solvers = [s for s in census.solvers(spool.config) if s.offset == job.offset]
    owner = read_owner(spool.owner_file(job.name))
    orphan = orphan_reason(spool.owner_file(job.name))
    worker = f"worker {owner.get('OWNER_WORKER_ID', '?')}"
    if held(spool.lock_file(job.name)):
        if orphan is None:
            began = f"since {owner.get('OWNER_TS')}"
            adopted = any(s.ours and _adopted(owner, s) for s in solvers)
            how = f"took it up {began}, from a worker before it" if adopted else f"has it {began}"
            yield f"{job.name} is running: {worker} (process {owner.get('OWNER_PID')}) {how}."
        else:
            yield f"{job.name} is running without a worker: {sentence(orphan)}."
        if held_on := freeing.note(spool, job.name):
            yield from _held_on(spool, held_on, worker, orphan)
            return
        if orphan is not None:
            yield "Its solver works on and holds the job's lock, so nobody else begins it."
        yield from _processes(solvers)
        yield from _while_it_lives(spool, worker, orphan)
        return
    settled = list(_without_a_solver(spool, job, worker, orphan))
    yield settled[0]
    yield from _processes(solvers)
    yield from settled[1:]


def _held_on(spool: Spool, why: str, worker: str, orphan: str | None) -> Iterator[str]:
    """Of a job whose execution has ended, and whose lock something holds."""
    who = f"{worker} ends it, then settles the job"
    if orphan is not None:
        again = schedule.with_next_pass(spool.config)
        who = f"recovery ends it and settles the job {again}"
    yield f"It is not settled: {why}."
    yield f"Next: {who}. If it cannot be ended, end it by hand: nobody else begins the job before."


def _processes(solvers: list[Solver]) -> Iterator[str]:
    for solver in solvers:
        whose = "Its solver" if solver.ours else "A solver that nobody of the runner started"
        yield f"{whose} is process {solver.pid}, for {solver.seconds:.0f} s now."


def _while_it_lives(spool: Spool, worker: str, orphan: str | None) -> Iterator[str]:
    settings = spool.config
    if (gate := gate_reason(settings)) is not None:
        yield f"The stop gate is there ({gate or 'empty'}): it ends after the case at hand."
    if orphan is None:
        yield "Next: its worker settles it when the solver ends."
    else:
        yield (
            f"Next: the next {worker} takes it up ({typed(settings, 'start')} starts it); ends the "
            f"solver before, recovery settles it {schedule.with_next_pass(settings)}."
        )


def _without_a_solver(spool: Spool, job: Job, worker: str, orphan: str | None) -> Iterator[str]:
    """What a running job without a held lock is, in the first sentence, and what comes next."""
    settings, run = spool.config, execution.read(spool.result_file(job.name))
    if run and run.rc is not None and (trouble := settings.state_trouble(job.offset)):
        yield f"{job.name} is running, but its solver ended with exit status {run.rc}."
        yield f"It cannot be settled ({sentence('state_unreadable')}): {trouble}."
        yield (
            "Next: it is settled by that result when the file can be read, by a worker that tries "
            f"again and again, or by recovery {schedule.with_next_pass(settings)}."
        )
    elif orphan is None:
        yield f"{job.name} is running, and its solver has ended; {worker} settles it at once."
        yield f"If it stays like this, {typed(settings, 'journal')} says why it cannot."
    elif run is None and predecessor.commands(settings):
        yield f"{job.name} is running: {sentence('shell_project_at_work')}, and may have it."
        yield f"Next: nothing until that has ended; {typed(settings, 'migrate')} says how."
    elif run is not None and run.rc is not None:
        yield f"{job.name} is running, but its solver ended with exit status {run.rc}."
        yield f"Its worker is gone: {sentence(orphan)}."
        yield f"Next: recovery settles it {schedule.with_next_pass(settings)}."
    else:
        why = sentence(orphan)
        yield f"{job.name} is an orphan: nothing holds its lock, no result came, {why}."
        yield f"Next: recovery gives it back to pending {schedule.with_next_pass(settings)}."


def _adopted(owner: dict[str, str], solver: Solver) -> bool:
    """Whether the owner's process is younger than the solver; in ticks, which no clock moves."""
    at_work = process(solver.pid)
    return at_work is not None and int(at_work.start) < int(owner["OWNER_START"])
