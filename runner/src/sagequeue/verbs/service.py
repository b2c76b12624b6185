"""Verbs that act on the container and the workers, through what keeps them alive."""

import argparse
import json
from typing import TYPE_CHECKING

from sagequeue.config import Config
from sagequeue.verbs import Add, load, tell, to_act, to_look

if TYPE_CHECKING:
    from rich.table import Table

    from sagequeue.services import ServiceManager, Unit


def register(add: Add) -> None:
    """Declare them."""
    add("start", _start, "have the container run, recover once, and have the workers run")
    add("stop", _stop, "stop the workers: their solvers end, their jobs go back")
    add("restart", _restart, "start the workers anew; solvers work on and are adopted")
    add("disable", _disable, "stop the workers, for the next start of the machine, too")
    add("up", _up, "have the container run, with Jupyter in it")
    add("down", _down, "stop the container; refused while a solver lives in it")
    status = add("status", _status, "the units, and how the jobs stand")
    status.add_argument("--json", action="store_true", help="for programs")
    journal = add("journal", _journal, "the last lines of what the workers said")
    journal.add_argument("-f", "--follow", action="store_true", help="and all that they say")
    journal.add_argument("-n", type=_count, default=20, metavar="LINES", help="so many (20)")
    idle = add("idle", _idle, "exit with 0 when no solver of the jobset lives, else with 75")
    idle.add_argument(
        "--wait", type=_seconds, default=0.0, metavar="SECONDS", help="so long for that"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise ValueError(text)
    return seconds


def _manager(settings: Config) -> "ServiceManager":
    # Imported here: a worker, which has the same command line, has no use for it.
    from sagequeue import services

    return services.for_config(settings)


def _start(arguments: argparse.Namespace) -> None:
    from sagequeue.commands import typed
    from sagequeue.exceptions import Busy

    settings = to_act(arguments)
    manager = _manager(settings)
    outside = [unit for unit in manager.units() if unit.outside]
    if in_the_way := [unit for unit in outside if unit.wanted]:
        raise Busy(
            f"{settings.jobset}: {_beside(settings, in_the_way)}, and new workers would find their "
            f"places taken. {typed(settings, 'restart')} replaces them, while their solvers work "
            f"on; {typed(settings, 'stop')} ends them and their solvers"
        )
    did = manager.start()
    _say(settings, f"{did}; {_beside(settings, outside)}" if outside else did)


def _beside(settings: Config, units: "list[Unit]") -> str:
    """Which workers live that the service manager does not have."""
    names = ", ".join(f"{unit.name} (process {unit.pid or 'not to be seen'})" for unit in units)
    return f"outside {settings.service_manager} there live {names}"


def _stop(arguments: argparse.Namespace) -> None:
    from sagequeue import solving

    settings = to_act(arguments)
    solved = bool(solving.living(settings))
    did = _stop_all(settings, _manager(settings))
    _end_solvers(settings)
    _say(settings, f"{did}; {_ended(settings, solved=solved)}")


def _disable(arguments: argparse.Namespace) -> None:
    from sagequeue import solving
    from sagequeue.unit import NONE_RAN

    settings = to_act(arguments)
    manager = _manager(settings)
    solved = bool(solving.living(settings))
    stopped = _stop_all(settings, manager)
    _end_solvers(settings)
    # Last, for it may end the container.
    did = manager.disable()
    if not did:
        did = "everything was disabled already" if stopped == NONE_RAN else stopped
    _say(settings, f"{did}; {_ended(settings, solved=solved)}")


def _stop_all(settings: Config, manager: "ServiceManager") -> str:
    """Stop the workers, those that the service manager does not have, too; what happened.

    Raises:
        SagequeueError: workers live on.

    """
    from sagequeue import outsiders
    from sagequeue.commands import typed
    from sagequeue.exceptions import SagequeueError

    did = manager.stop()
    stopped, left = outsiders.stop(settings)
    if left:
        kill = " ".join(str(worker.pid) for worker in left if worker.pid)
        remedy = f"`kill -KILL {kill}` ends them, and " if kill else "end them where they run; "
        raise SagequeueError(
            f"{settings.jobset}: {did}, but these live on: {', '.join(map(str, left))}. {remedy}"
            f"{typed(settings, 'stop')} ends their solvers then"
        )
    if stopped:
        did += f"; stopped outside {settings.service_manager}: {', '.join(map(str, stopped))}"
    return did


def _end_solvers(settings: Config) -> None:
    """End the solvers that have no worker to end them."""
    from sagequeue import operations, solving

    if solving.unsettled(settings):
        operations.requeue_running(settings, tell=tell)


def _ended(settings: Config, *, solved: bool) -> str:
    """What became of the solvers, in words; `solved`: whether there were any at first."""
    from sagequeue import solving

    ended = "solvers ended, and their jobs went back" if solved else "no solver lived"
    return solving.foreign(settings) or ended


def _restart(arguments: argparse.Namespace) -> None:
    from sagequeue import outsiders

    settings = to_act(arguments)
    manager = _manager(settings)
    outsiders.hand_over(settings, [unit for unit in manager.units() if unit.outside])
    _say(settings, manager.restart())


def _up(arguments: argparse.Namespace) -> None:
    settings = load(arguments)
    _say(settings, _manager(settings).up())


def _down(arguments: argparse.Namespace) -> None:
    settings = load(arguments)
    _say(settings, _manager(settings).down())


def _status(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from rich.console import Console

    from sagequeue import execution, progress
    from sagequeue.commands import typed

    settings = to_look(arguments)
    units = _manager(settings).units()
    facts = progress.survey(settings)
    if arguments.json:
        told = {
            "jobset": settings.jobset,
            "service_manager": settings.service_manager,
            "units": [asdict(unit) for unit in units],
            "counts": facts.counts,
            "gate": facts.gate,
            "findings": len(facts.findings),
        }
        print(json.dumps(told, indent=1))
        return
    Console(highlight=False).print(_table(settings, units))
    if facts.gate is not None:
        tell(f"stop gate: {facts.gate or '(empty)'}")
    failing = [p for p in facts.partitions if p.reason == execution.NOT_PREPARSED]
    if failing:
        others = f", and {len(failing) - 1} more" if len(failing) > 1 else ""
        tell(f"Sage's preparser fails (offset {failing[0].offset}{others}): {failing[0].note}")
    counts = ", ".join(f"{number} {state}" for state, number in facts.counts.items())
    # By the units: one that was started just now has not taken its lock yet.
    running = sum(unit.worker and unit.wanted and unit.up for unit in units)
    workers = f"{running} of {facts.workers} workers run"
    if outside := [unit for unit in units if unit.outside]:
        tell(f"{_beside(settings, outside)}; {typed(settings, 'restart')} replaces them")
    _say(settings, f"{workers}; jobs: {counts}; findings: {len(facts.findings)}")


def _table(settings: Config, units: "list[Unit]") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("unit", "state", "pid"):
        table.add_column(heading, no_wrap=True)
    table.add_column("")
    for unit in units:
        notes = []
        if unit.current is False:
            notes.append("runs with older settings or an older runner")
        if unit.outside:
            notes.append(f"lives outside {settings.service_manager}")
        if not unit.wanted:
            notes.append(f"more than the {settings.workers} workers of the settings")
        table.add_row(unit.name, unit.state, str(unit.pid or "-"), "; ".join(notes))
    return table


def _journal(arguments: argparse.Namespace) -> None:
    from sagequeue.commands import typed

    settings = load(arguments)
    _manager(settings).journal(arguments.n, follow=arguments.follow)
    if not arguments.follow:
        _say(settings, f"that is the end of the workers' journal; {typed(settings, 'journal -f')}"
             " follows it")  # fmt: skip


def _idle(arguments: argparse.Namespace) -> None:
    from sagequeue import solving

    settings = load(arguments)
    if jobs := solving.wait(settings, arguments.wait):
        raise solving.busy(settings, jobs)
    _say(settings, "no solver lives")


def _say(settings: Config, what: str) -> None:
    tell(f"{settings.jobset}: {what}")
