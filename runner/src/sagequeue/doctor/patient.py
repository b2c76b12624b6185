"""The machine, the user and the jobset that are looked at; every check is handed this."""

import os
import pwd
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sagequeue import census, config
from sagequeue.config import Config

# Not a few, since a machine that needs a doctor may be slow.
PATIENCE = 30.0


@dataclass(frozen=True)
class Patient:
    """`config` is None before anything is configured, or when it is wrong: `complaint` then.

    `session` is whether this shell is of a login, `root` the root of the filesystem that the
    machine's own files are looked up in.
    """

    config: Config | None
    complaint: str = ""
    session: bool = True
    root: Path = Path("/")

    def path(self, relative: str) -> Path:
        """A file of the machine."""
        return self.root / relative

    def text(self, relative: str) -> str:
        """What that file holds, nothing if it is not there."""
        try:
            return self.path(relative).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @cached_property
    def user(self) -> str:
        """Who asks, by name."""
        return pwd.getpwuid(os.getuid()).pw_name

    @property
    def booted(self) -> bool:
        """Whether systemd is PID 1, as sd_booted(3) asks."""
        return self.path("run/systemd/system").is_dir()

    @property
    def wsl(self) -> bool:
        """Whether this is WSL, by the kernel's name."""
        release = self.text("proc/sys/kernel/osrelease").lower()
        return "microsoft" in release or "wsl" in release

    @property
    def systemd(self) -> bool:
        """Whether workers are, or would be, kept alive by the user's systemd."""
        if self.config is None:
            return self.booted or self.wsl
        return self.config.runtime == "podman"

    @property
    def podman(self) -> bool:
        """Whether solvers run, or would run, in the container."""
        return self.systemd if self.config is None else self.config.runtime == "podman"

    @cached_property
    def solvers(self) -> list[census.Solver]:
        """The jobset's solvers, looked for once."""
        return [] if self.config is None else census.solvers(self.config)

    @property
    def play(self) -> str:
        """The command that provisions."""
        name = self.config.jobset if self.config else "petersen_r3"
        return f"./bootstrap ansible-playbook site.yml -e jobset={name}"

    def sagequeue(self, verb: str) -> str:
        """A verb of the command; it names the jobset unless that is the active one."""
        command = f"./bootstrap sagequeue {verb}"
        if self.config is None or self._is_active(self.config):
            return command
        return f"{command} --jobset {self.config.jobset}"

    @staticmethod
    def _is_active(settings: Config) -> bool:
        active = config.config_dir() / f"{config.ACTIVE}.env"
        return os.path.realpath(active) == os.path.realpath(settings.env_file)


def ask(argv: Sequence[str], timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a command that only looks."""
    return subprocess.run(
        argv, check=False, capture_output=True, text=True, errors="replace", timeout=timeout,
        stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as it is typed."""
    return shlex.quote(os.fspath(path))
