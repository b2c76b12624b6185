"""A jobset's units of `systemd --user`: the container, recovery, and its workers."""

import os
import re
import subprocess
from collections.abc import Collection
from pathlib import Path

from sagequeue import config, container, outsiders, solving, vintage
from sagequeue.commands import play
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError
from sagequeue.unit import NONE_RAN, Unit

CONTAINER = "sagequeue-container.service"
TIMER = "sagequeue-recover.timer"
RECOVERY = "sagequeue-recover.service"
_EVERYBODYS = ("sagequeue@*.service", "sagequeue-*@*.service")
_PROPERTIES = "--property=Id,ActiveState,UnitFileState,MainPID,RestartKillSignal,ExecStart"
# What a unit has of which nothing is told.
_ABSENT = dict.fromkeys(("Id", "ActiveState", "UnitFileState", "ExecStart"), "") | {"MainPID": "0"}
_PID = re.compile(r"[0-9]{1,9}")
_OWN = re.compile(r"^sagequeue-?(.*)@")
_SIGHUP = "1"
# As ExecStart of the container's unit has them.
_SETTINGS = re.compile(r"--label=sagequeue[.]settings=(\S+)")
_IMAGE = re.compile(r"(\S+) sh -c ")


class Systemd:
    """`systemd --user`; see `ServiceManager`."""

    def __init__(self, settings: Config) -> None:
        self.config = settings
        self._directory = Path.home() / ".config" / "systemd" / "user"

    def units(self) -> list[Unit]:
        """See `ServiceManager`."""
        wanted = [CONTAINER, TIMER, *self._workers()]
        template = self._need()
        names = [*wanted, *self._patterns(f"{template}@*.service")]
        return outsiders.with_outsiders(
            self.config, lambda: self._look(names, wanted), lambda n: f"{template}@{n}.service"
        )

    def start(self) -> str:
        """See `ServiceManager`."""
        workers = self._workers()
        ran = self._all_run(CONTAINER, TIMER, *workers)
        self._run("start", CONTAINER)
        try:
            self._run("start", RECOVERY)
            recovered = "recovery was run"
        except SagequeueError as error:
            # It is of every jobset; each worker does it for its own when it starts.
            recovered = f"recovery failed: {error}"
        self._run("start", TIMER, *workers)
        named = f"the container and workers 1 to {len(workers)}"
        if ran:
            return f"everything runs already: {named}; {recovered}"
        return f"{recovered}; {named} run"

    def stop(self) -> str:
        """See `ServiceManager`."""
        running = [unit.name for unit in self._mine() if unit.up]
        if not running:
            return NONE_RAN
        self._run("stop", *running)
        return f"workers stopped: {len(running)}"

    def restart(self) -> str:
        """See `ServiceManager`."""
        workers = self._workers()
        if any(facts.get("RestartKillSignal") != _SIGHUP for facts in self._show(workers)):
            raise SagequeueError(
                f"{self.config.jobset}: the units are of an earlier release, by which a restart "
                f"ends solvers. {play(self.config, 'install_units')} renews them and disturbs "
                "nothing; then try again"
            )
        self._run("restart", *workers)
        return f"workers 1 to {len(workers)} started anew; solvers work on and are adopted"

    def disable(self) -> str:
        """See `ServiceManager`."""
        mine = [unit.name for unit in self._mine()]
        if mine:
            self._run("disable", "--now", *mine)
        did = f"workers stopped and disabled: {len(mine)}"
        units = self._look(self._patterns(*_EVERYBODYS))
        # The shared units are the active jobset's.
        others = {_OWN.findall(unit.name)[0] or _active() for unit in units}
        others |= {settings.jobset for settings in solving.in_container()} - {self.config.jobset}
        if others and not mine:
            return ""
        if others:
            return f"{did}; container and recovery go on for {', '.join(sorted(others))}"
        shared = [unit for unit in (TIMER, CONTAINER) if (self._directory / unit).exists()]
        there = self._look(shared) if shared else []
        if shared:
            self._run("disable", "--now", *shared)
        return f"{did}; so are container and recovery" if mine or there else ""

    def up(self) -> str:
        """See `ServiceManager`."""
        ran = self._all_run(CONTAINER)
        self._run("start", CONTAINER)
        return "the container ran already" if ran else "the container runs"

    def down(self) -> str:
        """See `ServiceManager`."""
        for settings in solving.in_container():
            raise solving.busy(settings, solving.living(settings))
        ran = self._all_run(CONTAINER)
        self._run("stop", CONTAINER)
        return "the container is stopped" if ran else "the container did not run"

    def journal(self, lines: int, *, follow: bool) -> None:
        """See `ServiceManager`."""
        command = ["journalctl", "--user", "--no-pager", f"--lines={lines}"]
        command += ["--output=cat", f"--unit={self._need()}@*", *(["--follow"] if follow else [])]
        try:
            subprocess.run(command, check=True, env=_session())
        except (OSError, subprocess.CalledProcessError) as error:
            raise SagequeueError(f"the journal cannot be read: {error}") from None

    def _prefix(self) -> str | None:
        """What stands before the `@` of the jobset's workers; None when it has no units."""
        own = f"sagequeue-{self.config.jobset}"
        if (self._directory / f"{own}@.service").exists():
            return own
        shared = (self._directory / "sagequeue@.service").exists()
        return "sagequeue" if shared and _active() == self.config.jobset else None

    def _need(self) -> str:
        jobset = self.config.jobset
        if (prefix := self._prefix()) is not None:
            return prefix
        if _active() == jobset:
            raise SagequeueError(
                f"{jobset} has no units; {play(self.config, 'enable')} writes them and has them run"
            )
        raise SagequeueError(
            f"{jobset} has no workers: it is not the active jobset, and has no units of its own. "
            f"{play(self.config, 'switch')} makes it the active one; `ansible-playbook site.yml "
            f"-e jobset={jobset}` runs it beside an active one that has work"
        )

    def _workers(self) -> list[str]:
        prefix = self._need()
        return [f"{prefix}@{number}.service" for number in range(1, self.config.workers + 1)]

    def _mine(self) -> list[Unit]:
        """The jobset's workers that run or are enabled; none when it has no units."""
        prefix = self._prefix()
        return [] if prefix is None else self._look(self._patterns(f"{prefix}@*.service"))

    def _patterns(self, *patterns: str) -> list[str]:
        """The patterns, which mean what systemd has loaded, and the names that are enabled."""
        links = self._directory / "default.target.wants"
        return [*patterns, *(path.name for pattern in patterns for path in links.glob(pattern))]

    def _look(self, names: list[str], wanted: Collection[str] = ()) -> list[Unit]:
        """Those that are wanted, run or are enabled."""
        found: dict[str, Unit] = {}
        for facts in self._show(names):
            name, pid = facts["Id"], int(facts["MainPID"]) or None
            enabled = facts["UnitFileState"] == "enabled"
            current = self._current(facts) if pid and name in wanted else None
            unit = Unit(name, facts["ActiveState"], enabled, pid, current, name in wanted)
            if unit.wanted or unit.up or unit.enabled:
                found[name] = unit
        return list(found.values())

    def _all_run(self, *names: str) -> bool:
        """Whether each of these units runs."""
        return {unit.name for unit in self._look([*names]) if unit.up} >= set(names)

    def _current(self, facts: dict[str, str]) -> bool | None:
        if facts["Id"] == CONTAINER:
            return self._container_is_current(facts["ExecStart"])
        number = re.search(r"@([0-9]+)[.]", facts["Id"])
        command = re.search(r"path=(\S+)", facts["ExecStart"])
        if number is None or command is None:
            return None
        # Each version of the runner has a directory, and the unit's path leads to one by a link.
        installed = Path(command[1]).parent.parent.resolve()
        package = next(installed.glob("lib/python3*/site-packages/sagequeue"), None)
        return vintage.current(self.config, int(number[1]), package)

    def _container_is_current(self, command: str) -> bool | None:
        wanted, image = _SETTINGS.search(command), _IMAGE.search(command)
        try:
            running = container.inspect(self.config.service)
            if running is None or wanted is None or image is None:
                return None
            return (wanted[1], container.image_id(image[1])) == (running.settings, running.image_id)
        except SagequeueError:
            return None

    def _show(self, names: list[str]) -> list[dict[str, str]]:
        shown = self._run("show", _PROPERTIES, *names).strip()
        blocks = shown.split("\n\n") if shown else []
        told = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
        return [_ABSENT | facts for facts in told if _PID.fullmatch(facts.get("MainPID", "0"))]

    def _run(self, *arguments: str) -> str:
        """What `systemctl --user` answers; SagequeueError with the remedy when it fails."""
        command = ["systemctl", "--user", *arguments]
        try:
            answer = subprocess.run(
                command, check=False, capture_output=True, text=True, env=_session()
            )
        except FileNotFoundError:
            raise SagequeueError(
                f"{self.config.jobset} is set up for systemd, and there is no systemctl on this "
                f"machine. `ansible-playbook site.yml -e jobset={self.config.jobset}` sets it up "
                "for what there is"
            ) from None
        if answer.returncode == 0:
            return answer.stdout
        said = answer.stderr.strip().partition("\n")[0]
        if "connect to" in said:
            remedy = f"`ansible-playbook site.yml -e jobset={self.config.jobset}` starts it"
            raise SagequeueError(f"the user's systemd does not answer ({said}); {remedy}")
        raise SagequeueError(
            f"systemctl --user {arguments[0]}: {said} {play(self.config, 'enable')} writes the "
            "units anew and has them run; `systemctl --user status 'sagequeue*'` tells more"
        )


def _active() -> str:
    """The active jobset's name; empty when there is none."""
    try:
        return Path(os.readlink(config.config_dir() / f"{config.ACTIVE}.env")).stem
    except OSError:
        return ""


def _session() -> dict[str, str]:
    """The environment, with the user's bus, which a shell after `su`, or a cron job, lacks."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
    return os.environ | {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": bus}
