"""Checks of the units, or of the process manager's programs, and of the runner they run."""

import os
from collections.abc import Iterator
from pathlib import Path

from sagequeue import services
from sagequeue.container import said
from sagequeue.doctor.finding import Finding, fail, ok, some, warn
from sagequeue.doctor.patient import Patient, ask
from sagequeue.services import Unit


def _units(patient: Patient) -> list[Unit]:
    return [] if patient.config is None else services.for_config(patient.config).units()


def units(patient: Patient) -> Iterator[Finding]:
    """Container, recovery and workers run, and start with the machine."""
    wanted = [unit for unit in _units(patient) if unit.wanted]
    if not wanted:
        return
    down = [unit.name for unit in wanted if unit.state in ("inactive", "failed")]
    failed = [unit.name for unit in wanted if unit.state == "failed"]
    late = [unit.name for unit in wanted if unit.state == "activating"]
    loose = [unit.name for unit in wanted if not unit.enabled]
    if down:
        yield (fail if failed else warn)(
            f"{some(failed)} failed" if failed else f"{some(down)} stopped",
            _systemctl("start", down) if patient.systemd else patient.play,
        )
    if late:
        yield warn(
            f"{some(late)} cannot start, and is tried again",
            f"journalctl --user -n 20 -u {late[0]}",
        )
    if loose:
        yield warn(
            f"{some(loose)} will not start with the machine",
            _systemctl("enable", loose) if patient.systemd else patient.play,
        )
    if not (down or late or loose):
        yield ok(f"{len(wanted)} units run, and start with the machine")


def _systemctl(verb: str, names: list[str]) -> str:
    return f"systemctl --user {verb} {' '.join(names)}"


def leftovers(patient: Patient) -> Iterator[Finding]:
    """No more workers than the settings want."""
    there = _units(patient)
    names = [u.name for u in there if not u.wanted and (u.enabled or u.state != "inactive")]
    if names:
        yield warn(
            f"{some(names)} are more than the settings want; stopped, they end their solvers and "
            "give their jobs back",
            _systemctl("disable --now", names) if patient.systemd else patient.play,
        )
    elif there:
        yield ok("no workers but those that the settings want")


def current(patient: Patient) -> Iterator[Finding]:
    """What runs has the settings and the runner that are installed."""
    there = _units(patient)
    # The container has a check of its own, since its restart ends solvers.
    old = [unit.name for unit in there if unit.current is False and "container" not in unit.name]
    if old:
        yield warn(
            f"{some(old)} run with older settings or an older runner; a restart ends the cases "
            "that they are at",
            _systemctl("restart", old) if patient.systemd else patient.play,
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
        yield fail(f"there is no {command}, so nothing can start", patient.play)
        return
    answer = ask([str(command), "--version"])
    if answer.returncode != 0:
        yield fail(f"{command} does not work: {said(answer)}", _again(patient, current))
    else:
        yield ok(f"{answer.stdout.strip()} is installed")


def _again(patient: Patient, current: Path) -> str:
    return f"rm {current.parent / os.readlink(current)}/installed && {patient.play}"


CHECKS = (units, leftovers, current, reload, runner)
