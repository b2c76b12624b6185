"""A jobset's programs of supervisor, the process manager of a machine without systemd."""

import configparser
import re
import time
from pathlib import Path

from sagequeue import config, lost_manager, outsiders, vintage
from sagequeue.commands import play, typed
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError
from sagequeue.supervisor_logs import WorkerLogs
from sagequeue.supervisorctl import RECOVERY, Supervisorctl
from sagequeue.unit import NONE_RAN, Unit
from sagequeue.watch import until_ended

_IDLE = ("inactive", "failed")
# Seconds that a worker may take to let go of its solver.
_PATIENCE = 60.0


class Supervisor:
    """Supervisor, for whoever is its user; see `ServiceManager`. Nothing outlives a reboot."""

    def __init__(self, settings: Config) -> None:
        self.config = settings
        self._settings = config.config_dir() / "supervisord.conf"
        self._ctl = Supervisorctl(settings, self._settings)
        self._programs = self._settings.parent / "supervisord.d" / f"{settings.jobset}.conf"

    def units(self) -> list[Unit]:
        """See `ServiceManager`."""
        return outsiders.with_outsiders(
            self.config, self._units, lambda number: f"{self.config.jobset}-{number}"
        )

    def _units(self) -> list[Unit]:
        """What the manager has, and what it should have."""
        wanted = [RECOVERY, *self._workers()]
        there = self._ctl.status() or {}
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
        before = self._ctl.status()
        if before is None:
            self._refuse_beside_a_lost_one()
            self._ctl.start_manager()
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
        if self._ctl.status() is None:
            self._end_lost_manager()  # it would start workers that end before they listen again
        running = self._running()
        if not running:
            return NONE_RAN
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
        if self._ctl.status() is not None:
            self._hand_over()
        else:
            self._end_lost_manager()
        started = self.start()
        return f"{started}; solvers work on and are adopted"

    def disable(self) -> str:
        """See `ServiceManager`."""
        there = self._programs.exists()
        self.stop()
        mine = self._ctl.status()
        self._programs.unlink(missing_ok=True)
        if not there and (mine is None or list(self._programs.parent.glob("*.conf"))):
            return ""
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
        return {name: told for name, told in (self._ctl.status() or {}).items() if name != RECOVERY}

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

    def _refuse_beside_a_lost_one(self) -> None:
        if lost := lost_manager.find(self._settings):
            raise SagequeueError(
                f"the process manager (process {lost[0].pid}) does not answer: its socket is gone, "
                f"or it is stopped. {typed(self.config, 'restart')} replaces it, and solvers work "
                "on"
            )

    def _end_lost_manager(self) -> None:
        """End a manager that does not answer; every jobset's workers live on, and their solvers."""
        if lost := lost_manager.find(self._settings):
            lost_manager.end(lost)

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
