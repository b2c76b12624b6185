"""Workers that live and that the service manager does not have: found by their locks, and ended.

They are left when the process manager was killed or lost its socket, or somebody started them by
hand. A worker holds `run/worker-N.lock` as long as it lives, and hands it to nobody.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from sagequeue import vintage
from sagequeue.commands import typed
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError
from sagequeue.owner import held
from sagequeue.unit import Unit
from sagequeue.watch import until_ended

# Seconds that a worker may take to settle a job, beyond STOP_GRACE for its solver, and the same for
# a process that left the solver and holds the job.
_MARGIN = 30.0
# Seconds that a worker may take to let go of its solver.
_HAND_OVER = 60.0
# The command line of a worker, and that of a supervisor's program in the pause before it.
_COMMAND = re.compile(
    r"sagequeue\0worker\0([0-9]{1,9})\0|"
    r'exec "\$0" worker "\$1" --env-file "\$2"\0[^\0]*sagequeue\0([0-9]{1,9})\0'
)
_TAKEN = re.compile(r"(?m)^[0-9]+: FLOCK +\S+ +WRITE +([0-9]+) ")


@dataclass(frozen=True)
class Living:
    """Worker N; `pid` is None when its process cannot be seen from here.

    One that has not `begun` has no lock yet: it is about to be a worker.
    """

    number: int
    pid: int | None
    begun: bool = True

    def __str__(self) -> str:
        where = f"process {self.pid}" if self.pid else "its process cannot be seen from here"
        return f"worker {self.number} ({where})"


def living(settings: Config) -> list[Living]:
    """The jobset's workers that live, by number."""
    found = []
    for path in settings.run_dir.glob("worker-*.lock"):
        number = path.stem.removeprefix("worker-")
        if number.isascii() and number.isdigit() and held(path):
            found.append(Living(int(number), holder(path)))
    return sorted(found, key=lambda worker: worker.number)


def holder(path: Path) -> int | None:
    """The process that took the lock and has it open; None if nobody has, or it cannot be seen.

    The kernel's list names who took which lock, but by device numbers that `stat` does not always
    show; what a process has open tells the rest.
    """
    try:
        listed = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    pids = dict.fromkeys(int(pid) for pid in _TAKEN.findall(listed))
    return next((pid for pid in pids if _holds(pid, path)), None)


def _holds(pid: int, path: Path) -> bool:
    with suppress(OSError):
        wanted = os.stat(path)
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # closed meanwhile
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), wanted):
                    told = Path(f"/proc/{pid}/fdinfo/{fd}").read_text(encoding="ascii")
                    if re.search(r"(?m)^lock:.* FLOCK ", told):
                        return True
    return False


def with_outsiders(
    settings: Config, ask: Callable[[], list[Unit]], name: Callable[[int], str]
) -> list[Unit]:
    """The units that the manager tells by `ask`, and workers that it does not have.

    `name` gives a worker's unit. A worker may be replaced by its manager between two looks: only
    one that is seen twice is an outsider.
    """
    units = ask()
    if not (first := _outside(settings, units)):
        return units
    units = ask()
    found = {unit.name: unit for unit in units}
    for worker in _outside(settings, units):
        if worker in first:
            unit = Unit(name(worker.number), "", False, None, None, False)
            found[unit.name] = replace(
                found.get(unit.name, unit), state="active", pid=worker.pid, outside=True,
                current=vintage.current(settings, worker.number, vintage.PACKAGE),
            )  # fmt: skip
    return list(found.values())


def _outside(settings: Config, units: Iterable[Unit]) -> list[Living]:
    pids = {unit.number: unit.pid for unit in units if unit.worker}

    def is_outside(worker: Living) -> bool:
        its = pids.get(worker.number)
        # One that cannot be seen is taken for the manager's, if that has a process for it.
        return its is None if worker.pid is None else worker.pid != its

    return [worker for worker in living(settings) if is_outside(worker)]


def _beginning(settings: Config, begun: Iterable[Living]) -> list[Living]:
    """Processes that are not these, and will be workers: a manager's programs pause at first."""
    mine = os.path.realpath(settings.env_file)
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        number = _COMMAND.search("\0".join(words))
        if number and any(os.path.realpath(w) == mine for w in words if w.endswith(".env")):
            found.append(Living(int(number[1] or number[2]), process.pid, begun=False))
    known = {worker.pid for worker in begun}
    return [worker for worker in found if worker.pid not in known]


def stop(settings: Config) -> tuple[list[Living], list[Living]]:
    """End every worker that lives, with its solver; those that were told, those that live on.

    Returns after twice STOP_GRACE and half a minute at the latest.
    """
    deadline = time.monotonic() + 2 * settings.stop_grace + _MARGIN
    told: list[Living] = []

    def look() -> list[Living]:
        there = living(settings)
        return [*there, *_beginning(settings, there)]

    while (left := look()) and time.monotonic() < deadline:
        told += [worker for worker in left if worker not in told]
        if not tell(settings, left, signal.SIGTERM, deadline - time.monotonic()):
            break
    return told, left


def hand_over(settings: Config, units: Iterable[Unit]) -> None:
    """Have the wanted ones of these outsiders end and leave their solvers at work, to be adopted.

    Raises:
        SagequeueError: they do not end in a minute.

    """
    workers = [Living(unit.number or 0, unit.pid) for unit in units if unit.wanted]
    tell(settings, workers, signal.SIGHUP, _HAND_OVER)
    if left := [worker for worker in living(settings) if worker in workers]:
        raise SagequeueError(
            f"{settings.jobset}: these workers do not hand over: {', '.join(map(str, left))}. "
            f"{typed(settings, 'stop')} ends them and their solvers"
        )


def tell(settings: Config, workers: list[Living], what: signal.Signals, seconds: float) -> bool:
    """Signal these workers, and wait for their end, at most so many seconds.

    Returns whether one of them could be told.
    """
    deadline = time.monotonic() + seconds
    told = [worker.pid for worker in workers if _signal(settings, worker, what)]
    for pid in told:
        until_ended(pid or 0, max(0.0, deadline - time.monotonic()))
    return bool(told)


def _signal(settings: Config, worker: Living, what: signal.Signals) -> bool:
    """Signal the worker, and nobody who has its number by now; whether that could be done."""
    if worker.pid is None:
        return False
    try:
        process = os.pidfd_open(worker.pid)
    except OSError:
        return True  # it has ended
    try:
        # The descriptor stands for one process for ever, and that one has the lock now.
        path = vintage.lock_file(settings, worker.number)
        if _holds(worker.pid, path) if worker.begun else worker in _beginning(settings, ()):
            signal.pidfd_send_signal(process, what)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    finally:
        os.close(process)
    return True
