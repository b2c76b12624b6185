"""Supervisor's own commands: `supervisorctl`, what it answers, and `supervisord`."""

import os
import re
import subprocess
import sys
from pathlib import Path

from sagequeue import lost_manager
from sagequeue.commands import play
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError

RECOVERY = "recover"
_STATES = {
    "RUNNING": "active",
    "STARTING": "activating",
    "BACKOFF": "activating",
    "STOPPING": "deactivating",
    "FATAL": "failed",
}
_ANSWERED = (0, 3)  # 3: some programs do not run
# After a look at it a program that ended may be started by the manager itself.
_SO_ALREADY = "ERROR (already started)"


class Supervisorctl:
    """Asks and tells the manager with that settings file; a call is one supervisorctl command."""

    def __init__(self, config: Config, settings: Path) -> None:
        self.config = config
        self.settings = settings

    def __call__(self, *arguments: str, lenient: bool = False) -> str:
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
        command = [str(_beside("supervisorctl")), "-c", str(self.settings), *arguments]
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

    def status(self) -> dict[str, tuple[str, int | None]] | None:
        """State and process of recovery and of the jobset's workers; None: no manager answers."""
        if not _beside("supervisorctl").exists():
            raise self._no_supervisor()
        if not lost_manager.answers(self.settings):
            return None  # supervisorctl would wait for ever for one that is stopped
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

    def start_manager(self) -> None:
        """Have a supervisord, which starts every program of its settings.

        It gets a clean environment: the runner lets variables named as its settings win, and a
        SCRIPT or STRIDE of this shell is not meant for the workers.
        """
        kept = ("HOME", "PATH", "USER", "LOGNAME")
        clean = {key: os.environ[key] for key in kept if key in os.environ}
        command = [str(_beside("supervisord")), "-c", str(self.settings)]
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
                f"the process manager does not start: {said} ({self.settings} has its settings; "
                f"{play(self.config, 'install_units')} writes them anew)"
            )


def _beside(name: str) -> Path:
    """A command of the environment that this one runs in."""
    return Path(sys.executable).parent / name
