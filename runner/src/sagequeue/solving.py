"""Which jobs of a jobset are being solved, whoever started it; and waiting until none is.

By the kernel's locks, which the runner's solvers hold, and by the list of processes, which has
those that hold none.
"""

import time

from sagequeue import census, config
from sagequeue.commands import typed
from sagequeue.config import Config
from sagequeue.exceptions import Busy, ConfigError
from sagequeue.jobs import JobState, job_name
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import held
from sagequeue.spool import Spool
from sagequeue.watch import readable, until_ended


def living(settings: Config) -> list[str]:
    """The jobs that a solver is at, by name."""
    there = {job_name(settings.jobset, solver.offset) for solver in census.solvers(settings)}
    return sorted(there | set(_locked(settings)))


def _locked(settings: Config) -> list[str]:
    """The running jobs whose lock is held."""
    spool = Spool(settings)
    if not spool.dirs[JobState.RUNNING].is_dir():
        return []
    names = spool.names(JobState.RUNNING)
    return sorted(name for name in names if held(spool.lock_file(name)))


def unsettled(settings: Config) -> bool:
    """Whether any job is in running, be it solved or not."""
    return any(settings.running_dir.glob("*.env"))


def wait(settings: Config, seconds: float) -> list[str]:
    """Return when no solver lives, or after `seconds`; the jobs that one is at then."""
    deadline = time.monotonic() + seconds
    while (jobs := living(settings)) and (left := deadline - time.monotonic()) > 0:
        _until_one_ends(settings, left)
    return jobs


def _until_one_ends(settings: Config, seconds: float) -> None:
    locked = _locked(settings)
    if locked:
        with LockWaiter(Spool(settings).lock_file(locked[0])) as waiting:
            readable(waiting.event, seconds)
        return
    for solver in census.solvers(settings)[:1]:
        until_ended(solver.pid, seconds)


def in_container() -> list[Config]:
    """The configured jobsets that a solver of lives in the container."""
    solved = []
    for path in config.env_files():
        try:
            settings = config.load(path, {})
        except ConfigError:
            continue  # none of its workers could start one
        if settings.runtime == "podman" and living(settings):
            solved.append(settings)
    return solved


def foreign(settings: Config) -> str:
    """Which solvers the runner did not start, and what ends them; empty when there are none."""
    others = [solver for solver in census.solvers(settings) if not solver.ours]
    if not others:
        return ""
    listed = ", ".join(f"{solver.pid} at offset {solver.offset}" for solver in others)
    return f"the runner did not start these solvers: {listed}. `{census.kill(others)}` ends them"


def busy(settings: Config, jobs: list[str]) -> Busy:
    """The refusal while these jobs are being solved: which, and how to stop them first."""
    text = (
        f"{settings.jobset}: solvers are at work on {', '.join(jobs)}. "
        f"{typed(settings, 'request-stop')} lets the cases at hand be finished, "
        f"{typed(settings, 'stop')} ends them now and gives the jobs back"
    )
    others = foreign(settings)
    return Busy(f"{text}; {others}" if others else text)
