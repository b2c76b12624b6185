"""The machine, the user and the jobset that are looked at; every check is handed this."""

import os
import pwd
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sagequeue import census, commands, container, services
from sagequeue.config import Config
from sagequeue.container import Container
from sagequeue.services import Unit

# Not a few, since a machine that needs a doctor may be slow.
PATIENCE = 30.0


@dataclass(frozen=True)
class Patient:
    """`config` is None before anything is configured, or when it is wrong: `complaint` then.

    `session` is whether this shell is of a login, `root` the root of the filesystem that the
    machine's own files are looked up in. What takes long to see is looked for once.
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
        return self.config.service_manager == "systemd"

    @property
    def podman(self) -> bool:
        """Whether solvers run, or would run, in the container."""
        return self.systemd if self.config is None else self.config.runtime == "podman"

    @cached_property
    def solvers(self) -> list[census.Solver]:
        """The jobset's solvers."""
        return [] if self.config is None else census.solvers(self.config)

    @cached_property
    def units(self) -> list[Unit]:
        """The jobset's units; SagequeueError when the service manager does not say."""
        return [] if self.config is None else services.for_config(self.config).units()

    @cached_property
    def container(self) -> Container | None:
        """The jobset's container, if there is one."""
        return container.inspect(self.config.service) if self.config and self.podman else None

    @property
    def contained(self) -> bool:
        """Whether the jobset's container runs."""
        return self.container is not None and self.container.running

    @cached_property
    def mapped_ids(self) -> tuple[int, int]:
        """User and group id of this machine that the container's user is."""
        return container.mapped_ids()

    @property
    def play(self) -> str:
        """The command that provisions."""
        return f"./bootstrap ansible-playbook site.yml -e jobset={self._jobset}"

    def operation(self, tag: str, jobset: str = "") -> str:
        """The command for one operation on this jobset, or on another."""
        return f"./bootstrap ansible-playbook ops.yml -t {tag} -e jobset={jobset or self._jobset}"

    @property
    def _jobset(self) -> str:
        return self.config.jobset if self.config else "petersen_r3"

    def sagequeue(self, verb: str) -> str:
        """A verb of the command; it names the jobset unless that is the active one."""
        if self.config is None:
            return f"./bootstrap sagequeue {verb}"
        return f"./bootstrap {commands.command(self.config, verb)}"


def ask(argv: Sequence[str], timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a command that only looks."""
    return subprocess.run(
        argv, check=False, capture_output=True, text=True, errors="replace", timeout=timeout,
        stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as it is typed."""
    return shlex.quote(os.fspath(path))
