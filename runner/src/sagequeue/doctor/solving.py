"""Checks of the solvers that run."""

from collections import defaultdict
from collections.abc import Iterator

import psutil

from sagequeue import census, freeing
from sagequeue.doctor.finding import Finding, fail, ok, warn
from sagequeue.doctor.patient import Patient
from sagequeue.doctor.queue import queue
from sagequeue.jobs import JobState, job_name
from sagequeue.owner import held


def solvers(patient: Patient) -> Iterator[Finding]:
    """Every solver belongs to a running job, and no offset has two."""
    if (spool := queue(patient)) is None:
        return
    by_offset: dict[int, list[census.Solver]] = defaultdict(list)
    for solver in patient.solvers:
        by_offset[solver.offset].append(solver)
    well = True
    for offset, alike in by_offset.items():
        name = job_name(spool.config.jobset, offset)
        strange = [solver for solver in alike if not solver.ours]
        pids = " and ".join(str(solver.pid) for solver in alike)
        if len(alike) > 1:
            well = False
            # The runner starts no second one; of two that say to be its, the older has the lock.
            wrong = strange or sorted(alike, key=lambda solver: solver.seconds)[:-1]
            ended = " and ".join(str(solver.pid) for solver in wrong)
            yield fail(
                f"{len(alike)} solvers work on offset {offset}: {pids}. To be ended: {ended}",
                census.kill(wrong),
            )
        elif strange:
            well = False
            yield fail(
                f"solver {pids} of offset {offset} was not started by the runner, and holds no "
                "lock: a worker may start a second one beside it",
                census.kill(strange),
            )
        elif not held(spool.lock_file(name)) and psutil.pid_exists(alike[0].pid):
            well = False
            yield fail(f"solver {pids} of offset {offset} holds no lock", census.kill(alike))
    if well:
        yield ok(f"{len(by_offset)} solvers, each of a job of its own")


def ended(patient: Patient) -> Iterator[Finding]:
    """No job waits for a process that its solver left."""
    if (spool := queue(patient)) is None:
        return
    notes = {name: freeing.note(spool, name) for name in sorted(spool.names(JobState.RUNNING))}
    kept = {name: note for name, note in notes.items() if note}
    for name, note in kept.items():
        yield warn(
            f"{name} is not settled: {note}",
            patient.sagequeue(f"explain {name}"),
        )
    if not kept:
        yield ok("no job waits for a process that its solver left")


CHECKS = (solvers, ended)
