"""Checks of the units, or of the process manager's programs, and of the runner they run."""

import os
from collections.abc import Iterator
from pathlib import Path

from sagequeue import config
from sagequeue.container import said
from sagequeue.doctor.finding import Finding, fail, ok, some, warn
from sagequeue.doctor.patient import Patient, ask, quoted
from sagequeue.exceptions import SagequeueError
from sagequeue.services import Unit


def _units(patient: Patient) -> list[Unit]:
    """What there is, nothing when the manager cannot be asked: `units` says so."""
    try:
        return patient.units
    except SagequeueError:
        return []


def units(patient: Patient) -> Iterator[Finding]:
    """Container, recovery and workers run, and start with the machine."""
    if patient.config is None:
        return
    try:
        there = patient.units
    except SagequeueError as error:
        yield fail(str(error), patient.play)
        return
    wanted = [unit for unit in there if unit.wanted]
    down = [unit.name for unit in wanted if not unit.up]
    failed = [unit.name for unit in wanted if unit.state == "failed"]
    late = [unit.name for unit in wanted if unit.state == "activating" and unit.pid is None]
    # Nothing outlives a reboot in embedded mode.
    loose = [unit.name for unit in wanted if patient.systemd and not unit.enabled]
    outside = [unit.name for unit in there if unit.outside]
    if outside:
        yield warn(
            f"they live outside {patient.config.service_manager}, which does not start them again: "
            f"{some(outside)}; to replace them disturbs no solver",
            patient.sagequeue("restart"),
        )
    if down:
        yield (fail if failed else warn)(
            f"failed: {some(failed)}" if failed else f"stopped: {some(down)}",
            _systemctl("start", down) if patient.systemd else patient.sagequeue("start"),
        )
    if late:
        yield warn(f"cannot start, and is tried again: {some(late)}", patient.sagequeue("journal"))
    if loose:
        yield warn(f"will not start with the machine: {some(loose)}", _systemctl("enable", loose))
    if not (down or late or loose or outside):
        yield ok(
            f"{len(wanted)} units run, and start with the machine"
            if patient.systemd
            else f"{len(wanted)} programs run"
        )


def _systemctl(verb: str, names: list[str]) -> str:
    return f"systemctl --user {verb} {' '.join(names)}"


def _supervisorctl(names: list[str]) -> str:
    settings = quoted(config.config_dir() / "supervisord.conf")
    return f"./bootstrap supervisorctl -c {settings} stop {' '.join(names)}"


def leftovers(patient: Patient) -> Iterator[Finding]:
    """No more workers than the settings want."""
    there = _units(patient)
    names = [unit.name for unit in there if not unit.wanted and (unit.up or unit.enabled)]
    if names:
        yield warn(
            f"more than the settings want: {some(names)}; stopped, they end their solvers and "
            "give their jobs back",
            _systemctl("disable --now", names) if patient.systemd else _supervisorctl(names),
        )
    elif there:
        yield ok("no workers but those that the settings want")


def vintage(patient: Patient) -> Iterator[Finding]:
    """What runs has the settings and the runner that are installed."""
    there = _units(patient)
    # The container has a check of its own, since its restart ends solvers.
    old = [unit.name for unit in there if unit.current is False and "container" not in unit.name]
    if old:
        yield warn(
            f"of older settings or an older runner: {some(old)}; a restart disturbs no solver",
            patient.sagequeue("restart"),
        )
    elif any(unit.current for unit in there):
        yield ok("workers run with the settings and the runner that are installed")


def reload(patient: Patient) -> Iterator[Finding]:
    """The units are as systemd has read them."""
    names = [unit.name for unit in _units(patient)]
    if not (patient.systemd and names):
        return
    show = ["systemctl", "--user", "show", "--property=Id,LoadState,NeedDaemonReload"]
    answer = ask([*show, *names])
    if answer.returncode != 0:
        yield fail(f"systemctl does not answer: {said(answer)}", "systemctl --user status")
        return
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in answer.stdout.strip().split("\n\n")
    ]
    lost = [block["Id"] for block in blocks if block.get("LoadState") != "loaded"]
    edited = [block["Id"] for block in blocks if block.get("NeedDaemonReload") == "yes"]
    if lost:
        yield fail(f"systemd has not loaded {some(lost)}", patient.play)
    if edited:
        yield warn(
            f"{some(edited)} changed since systemd read them", "systemctl --user daemon-reload"
        )
    if not (lost or edited):
        yield ok("systemd has read the units as they are")


def runner(patient: Patient) -> Iterator[Finding]:
    """The command that the units run is installed, and works."""
    if patient.config is None or not patient.systemd:
        return
    current = Path.home() / ".local/share/sagequeue/runner/current"
    command = current / "bin/sagequeue"
    if not os.access(command, os.X_OK):
        yield fail(
            f"there is no {command}, so nothing can start", patient.operation("install_units")
        )
        return
    answer = ask([str(command), "--version"])
    if answer.returncode != 0:
        yield fail(f"{command} does not work: {said(answer)}", _again(patient, current))
    else:
        yield ok(f"{answer.stdout.strip()} is installed")


def command(patient: Patient) -> Iterator[Finding]:
    """The command is where a shell finds it."""
    if patient.config is None:
        return
    link = Path.home() / ".local/bin/sagequeue"
    if os.access(link, os.X_OK):
        yield ok(f"{link} is {os.path.realpath(link)}")
    elif os.path.lexists(link):
        yield fail(f"{link} leads to {os.readlink(link)}, which is no program", patient.play)
    else:
        yield warn(f"there is no {link}", patient.play)


def _again(patient: Patient, current: Path) -> str:
    return f"rm {current.parent / os.readlink(current)}/installed && " + patient.operation(
        "install_units"
    )


CHECKS = (units, leftovers, vintage, reload, runner, command)
