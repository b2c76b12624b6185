"""A jobset's programs of supervisor, the process manager of a machine without systemd."""

import configparser
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from sagequeue import config, vintage
from sagequeue.commands import play, typed
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError
from sagequeue.supervisor_logs import WorkerLogs
from sagequeue.unit import Unit
from sagequeue.watch import until_ended

RECOVERY = "recover"
_STATES = {
    "RUNNING": "active",
    "STARTING": "activating",
    "BACKOFF": "activating",
    "STOPPING": "deactivating",
    "FATAL": "failed",
}
_IDLE = ("inactive", "failed")
_ANSWERED = (0, 3)  # 3: some programs do not run
# After a look at it a program that ended may be started by the manager itself.
_SO_ALREADY = "ERROR (already started)"
# Seconds that a worker may take to let go of its solver.
_PATIENCE = 60.0


class Supervisor:
    """Supervisor, for whoever is its user; see `ServiceManager`. Nothing outlives a reboot."""

    def __init__(self, settings: Config) -> None:
        self.config = settings
        self._settings = config.config_dir() / "supervisord.conf"
        self._programs = self._settings.parent / "supervisord.d" / f"{settings.jobset}.conf"

    def units(self) -> list[Unit]:
        """See `ServiceManager`."""
        wanted = [RECOVERY, *self._workers()]
        there = self._status() or {}
        listed = []
        for name in [*wanted, *(name for name in there if name not in wanted)]:
            state, pid = there.get(name, ("inactive", None))
            unit = Unit(name, state, False, pid, self._current(name, pid), name in wanted)
            if unit.wanted or unit.up:
                listed.append(unit)
        return listed

    def start(self) -> str:
        """See `ServiceManager`."""
        self._need_programs()
        wanted = [RECOVERY, *self._workers()]
        before = self._status()
        if before is None:
            self._start_manager()
            return f"the process manager was started, with recovery and {self._named()}"
        idle = {name for name, (state, _) in before.items() if state in _IDLE}
        said = dict(
            re.findall(r"(?m)^(\S+): (available|changed|disappeared)$", self._ctl("reread"))
        )
        self._remove([name for name in before if name in said and name in idle])
        left = [name for name in before if name not in wanted and name not in idle]
        if left:
            # They see the jobs that they have through, and claim no more.
            self._ctl("signal", "USR1", *left, lenient=True)
        new = [name for name in wanted if name not in before or name in idle & said.keys()]
        stopped = [name for name in wanted if name in idle - said.keys()]
        for verb, names in (("add", new), ("start", stopped)):
            if names:
                self._ctl(verb, *names)
        if new or stopped:
            return f"started: {', '.join(sorted(new + stopped))}"
        return f"everything runs already: recovery and {self._named()}"

    def stop(self) -> str:
        """See `ServiceManager`."""
        running = self._running()
        if not running:
            return "no worker ran"
        # All at once first: to stop them is to wait for one after the other.
        self._ctl("signal", "TERM", *running, lenient=True)
        left = running
        while left:
            self._ctl("stop", *left, lenient=True)
            # One that did not listen yet was killed by the signal, and may be started again by now.
            left = self._running()
        return f"workers stopped: {len(running)}"

    def restart(self) -> str:
        """See `ServiceManager`."""
        self._need_programs()
        if self._status() is not None:
            self._hand_over()
        started = self.start()
        return f"{started}; solvers work on and are adopted"

    def disable(self) -> str:
        """See `ServiceManager`."""
        self.stop()
        mine = self._status()
        self._programs.unlink(missing_ok=True)
        if list(self._programs.parent.glob("*.conf")):
            self._remove([name for name in mine or () if name != RECOVERY])
            return "the workers are stopped, and the process manager starts them no more"
        if mine is not None:
            manager = int(self._ctl("pid"))
            self._ctl("shutdown")
            # Until it is gone no other can be started.
            until_ended(manager, _PATIENCE)
        return "the workers are stopped; so are recovery and the process manager"

    def up(self) -> str:
        """See `ServiceManager`."""
        raise self._no_container()

    def down(self) -> str:
        """See `ServiceManager`."""
        raise self._no_container()

    def journal(self, lines: int, *, follow: bool) -> None:
        """See `ServiceManager`."""
        self._need_programs()
        programs = configparser.ConfigParser(interpolation=None)
        programs.read(self._programs, encoding="utf-8")
        log = Path(programs[f"program:{self.config.jobset}-1"]["stdout_logfile"])
        WorkerLogs(self.config, log.parent).show(lines, follow=follow)

    def _no_container(self) -> SagequeueError:
        return SagequeueError(
            f"{self.config.jobset}: there is no container. In the embedded mode, without systemd, "
            "solvers are processes of this machine, and Jupyter is not part of it"
        )

    def _named(self) -> str:
        return f"workers 1 to {self.config.workers}"

    def _workers(self) -> list[str]:
        return [f"{self.config.jobset}-{number}" for number in range(1, self.config.workers + 1)]

    def _mine(self) -> dict[str, tuple[str, int | None]]:
        """The jobset's workers that the manager has."""
        return {name: told for name, told in (self._status() or {}).items() if name != RECOVERY}

    def _running(self) -> list[str]:
        return [name for name, (state, _) in self._mine().items() if state not in _IDLE]

    def _current(self, name: str, pid: int | None) -> bool | None:
        number = name.rpartition("-")[2]
        if pid is None or not number.isdigit():
            return None
        return vintage.current(self.config, int(number), vintage.PACKAGE)

    def _need_programs(self) -> None:
        if not self._programs.exists():
            raise SagequeueError(
                f"{self.config.jobset} has no workers. {play(self.config, 'enable')} sets them up "
                "and has them run"
            )

    def _status(self) -> dict[str, tuple[str, int | None]] | None:
        """State and process of recovery and of the jobset's workers; None: no manager answers."""
        answer = self._call("status")
        if answer.returncode not in _ANSWERED:
            return None
        mine = re.compile(
            rf"(?m)^({RECOVERY}|{self.config.jobset}-[0-9]+) +([A-Z]+)(?: +pid ([0-9]{{1,9}}))?"
        )
        return {
            name: (_STATES.get(state, "inactive"), int(pid) if pid else None)
            for name, state, pid in mine.findall(answer.stdout)
        }

    def _start_manager(self) -> None:
        """Have a supervisord, which starts every program of its settings.

        It gets a clean environment: the runner lets variables named as its settings win, and a
        SCRIPT or STRIDE of this shell is not meant for the workers.
        """
        kept = ("HOME", "PATH", "USER", "LOGNAME")
        clean = {key: os.environ[key] for key in kept if key in os.environ}
        command = [str(_beside("supervisord")), "-c", str(self._settings)]
        try:
            answer = subprocess.run(
                command, check=False, capture_output=True, text=True,
                env={**clean, "LC_ALL": "C.UTF-8"},
            )  # fmt: skip
        except FileNotFoundError:
            raise self._no_supervisor() from None
        if answer.returncode != 0:
            said = (answer.stderr or answer.stdout).strip().partition("\n")[0]
            raise SagequeueError(
                f"the process manager does not start: {said} ({self._settings} has its settings; "
                f"{play(self.config, 'install_units')} writes them anew)"
            )

    def _hand_over(self) -> None:
        """Have the workers leave their solvers at work and end.

        One that did not listen yet is killed by it, and started again: that one is told, too.
        """
        deadline = time.monotonic() + _PATIENCE
        while pids := {name: pid for name, (_, pid) in self._mine().items() if pid}:
            if time.monotonic() > deadline:
                raise SagequeueError(
                    f"workers do not hand over: {', '.join(sorted(pids))}. "
                    f"{typed(self.config, 'stop')} ends them and their solvers"
                )
            self._ctl("signal", "HUP", *pids, lenient=True)
            for pid in pids.values():
                until_ended(pid, deadline - time.monotonic())

    def _remove(self, names: list[str]) -> None:
        """Have the manager forget programs that do not run."""
        if names:
            self._ctl("remove", *names, lenient=True)

    def _ctl(self, *arguments: str, lenient: bool = False) -> str:
        """What supervisorctl answers; `lenient`: a program may have ended meanwhile."""
        answer = self._call(*arguments)
        said = (answer.stdout + answer.stderr).strip()
        wrong = answer.returncode not in _ANSWERED or "ERROR" in said.replace(_SO_ALREADY, "")
        if wrong and not lenient:
            raise SagequeueError(
                f"supervisorctl {arguments[0]}: {said.rpartition(chr(10))[2]}. "
                f"{play(self.config, 'install_units')} writes its settings anew"
            )
        return answer.stdout

    def _call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(_beside("supervisorctl")), "-c", str(self._settings), *arguments]
        try:
            return subprocess.run(
                command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise self._no_supervisor() from None

    def _no_supervisor(self) -> SagequeueError:
        return SagequeueError(
            f"{self.config.jobset} is set up for the embedded mode, and this command's environment "
            f"({sys.prefix}) has no supervisor. Type ./bootstrap sagequeue in the clone"
        )


def _beside(name: str) -> Path:
    """A command of the environment that this one runs in."""
    return Path(sys.executable).parent / name
