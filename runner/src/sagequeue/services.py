"""What the service manager says of a jobset's units: asked, never changed."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sagequeue.config import ACTIVE, Config, config_dir
from sagequeue.exceptions import SagequeueError

_SHARED = ("sagequeue-container.service", "sagequeue-recover.timer")
# Supervisor's states, as systemd calls them.
_STATES = {
    "RUNNING": "active",
    "STARTING": "activating",
    "BACKOFF": "activating",
    "STOPPING": "deactivating",
    "FATAL": "failed",
}
_SETTINGS = re.compile(r"(?:^|[\s\0])SAGEQUEUE_SETTINGS=([^\s\0]*)")


@dataclass(frozen=True)
class Unit:
    """One unit: `state` as systemd calls it, `wanted` whether the settings have it.

    `enabled` is whether it starts with its manager.
    `current` is False when it runs with older settings, or an older runner, than those that are
    installed now; None when that is not known, or it does not run.
    """

    name: str
    state: str
    enabled: bool
    pid: int | None
    current: bool | None
    wanted: bool


class ServiceManager(Protocol):
    """Knows the units of one jobset."""

    def units(self) -> list[Unit]:
        """The container, recovery, the workers, and workers above WORKERS that are left."""


def for_config(config: Config) -> ServiceManager:
    """The manager that serves the jobset: solvers in the container have systemd's workers."""
    return Systemd(config) if config.runtime == "podman" else Supervisor(config)


def session() -> dict[str, str]:
    """The environment, with the user's bus where a shell after `su`, or a cron job, lacks it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
    return os.environ | {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": bus}


def _ask(argv: list[str], allowed: tuple[int, ...] = (0,)) -> str:
    try:
        answer = subprocess.run(
            argv, check=False, capture_output=True, text=True, env=session(), timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SagequeueError(f"{argv[0]} does not answer: {error}") from None
    if answer.returncode not in allowed:
        said = (answer.stderr or answer.stdout).strip().rpartition("\n")[2]
        raise SagequeueError(f"{' '.join(argv[:2])} says: {said}")
    return answer.stdout


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return ""


class Systemd:
    """`systemd --user`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        directory = Path.home() / ".config" / "systemd" / "user"
        own = f"sagequeue-{config.jobset}"
        self.unit = own if (directory / f"{own}@.service").exists() else "sagequeue"
        if self.unit == "sagequeue" and _active() != config.jobset:
            raise SagequeueError(
                f"{config.jobset} has no units: it is not the active jobset, and none of its own "
                f"are there. `ansible-playbook site.yml -e jobset={config.jobset}` makes them"
            )

    def units(self) -> list[Unit]:
        """See `ServiceManager`."""
        workers = [f"{self.unit}@{n}.service" for n in range(1, self.config.workers + 1)]
        wanted = [*_SHARED, *workers]
        properties = "--property=Id,ActiveState,UnitFileState,MainPID,Environment"
        links = Path.home() / ".config/systemd/user/default.target.wants"
        left = [path.name for path in links.glob(f"{self.unit}@*.service")]
        asked = [*wanted, *left, f"{self.unit}@*.service"]
        shown = _ask(["systemctl", "--user", "show", properties, *asked])
        listed: dict[str, Unit] = {}
        for block in shown.strip().split("\n\n"):
            facts = dict(line.partition("=")[::2] for line in block.splitlines())
            name, enabled = facts.get("Id", ""), facts.get("UnitFileState") == "enabled"
            pid = int(facts.get("MainPID") or 0) or None
            state = facts.get("ActiveState", "unknown")
            if name in wanted or enabled or state not in ("inactive", "unknown"):
                current = self._current(name, pid, facts.get("Environment", ""))
                listed[name] = Unit(name, state, enabled, pid, current, name in wanted)
        return list(listed.values())

    def _current(self, name: str, pid: int | None, environment: str) -> bool | None:
        """Whether a worker runs with what its unit says now, and with the current runner."""
        if pid is None or name in _SHARED:
            return None
        now, then = _SETTINGS.search(environment), _SETTINGS.search(_proc(pid, "environ"))
        argv = _proc(pid, "cmdline")
        runner = Path.home() / ".local/share/sagequeue/runner/current"
        installed = f"/{os.path.basename(os.path.realpath(runner))}/"
        if now is None or then is None or not argv:
            return None
        return now[1] == then[1] and installed in argv


def _active() -> str:
    """The active jobset's name; empty when there is none."""
    try:
        return Path(os.readlink(config_dir() / f"{ACTIVE}.env")).stem
    except OSError:
        return ""


class Supervisor:
    """The process manager of the embedded mode; it starts all its programs with itself."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def units(self) -> list[Unit]:
        """See `ServiceManager`."""
        command = os.path.join(os.path.dirname(sys.executable), "supervisorctl")
        settings = str(config_dir() / "supervisord.conf")
        # 3: some programs do not run.
        status = _ask([command, "-c", settings, "status"], allowed=(0, 3))
        numbers = range(1, self.config.workers + 1)
        wanted = ["recover", *(f"{self.config.jobset}-{n}" for n in numbers)]
        listed = {name: Unit(name, "inactive", False, None, None, True) for name in wanted}
        mine = re.compile(rf"recover|{re.escape(self.config.jobset)}-[0-9]+")
        for line in status.splitlines():
            name, state, *rest = [*line.split(), ""]
            if mine.fullmatch(name):
                pid = re.search(r"pid ([0-9]+)", " ".join(rest))
                number = int(pid[1]) if pid else None
                told = _STATES.get(state, "inactive")
                listed[name] = Unit(name, told, True, number, None, name in wanted)
        return list(listed.values())
