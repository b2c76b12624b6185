"""Where solvers run, and the only module that starts or ends one.

Both runtimes run the same two shell programs, `scripts/wrapper.sh` around the workload and
`scripts/ender.sh` to end it; `podman` puts `podman exec` before them. The client that starts a
solver is no evidence of anything afterwards: the lock tells whether the solver lives, the record
of the execution how it ended.
"""

import fcntl
import hashlib
import math
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

from sagequeue import autogroup, execution, holders
from sagequeue.config import Config
from sagequeue.exceptions import ConfigError
from sagequeue.execution import Execution
from sagequeue.holders import Holder
from sagequeue.jobs import Job

_SCRIPTS = resources.files("sagequeue") / "scripts"
_SESSION = (_SCRIPTS / "session.sh").read_text(encoding="utf-8")
_PROGRAM = (_SCRIPTS / "program.sh").read_text(encoding="utf-8")
WRAPPER = _SESSION + _PROGRAM + (_SCRIPTS / "wrapper.sh").read_text(encoding="utf-8")
ENDER = _SESSION + (_SCRIPTS / "ender.sh").read_text(encoding="utf-8")
# First in the PYTHONPATH of solvers, it makes their output line-buffered; see the file in it.
_LINES = str(_SCRIPTS / "python")


def lines_in_container(places: str = "/tmp /var/tmp /dev/shm") -> str:  # noqa: S108
    """Shell text to run before the wrapper where no file of the host is seen.

    `places`: directories of the container to put a copy of that directory in, the first that can
    be written to.
    """
    text = (_SCRIPTS / "python" / "sitecustomize.py").read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    given = f"sq_hash={digest} sq_places={shlex.quote(places)} sq_text={shlex.quote(text)}\n"
    return given + (_SCRIPTS / "lines.sh").read_text(encoding="utf-8")


IN_CONTAINER = lines_in_container() + WRAPPER

# What a service manager tells its service is not for the solver: it would answer in our name, look
# like the worker, or, where a journal is promised, write there and not into the log, where we look
# for findings. INVOCATION_ID stays: by it podman knows to leave conmon in the unit's cgroup.
_PRIVATE = re.compile(
    "NOTIFY_SOCKET|WATCHDOG_.*|LISTEN_.*|FDSTORE|MANAGERPID.*|SYSTEMD_EXEC_PID|JOURNAL_STREAM"
    "|MEMORY_PRESSURE_.*|CREDENTIALS_DIRECTORY|SUPERVISOR_.*|SAGEQUEUE_.*"
)
# Above every number that the descriptors are moved to, so that no move overwrites another's source.
_FIRST_FREE = 16


@dataclass(frozen=True)
class Descriptors:
    """What a solver is handed: the job's lock, the log, the execution's record."""

    lock: int
    log: int
    record: int


@dataclass(frozen=True)
class Marks:
    """What a solver's processes can be told by: the job's lock file, the execution's word.

    `left` is the `Execution.group` of the job's last execution, of which something may be left.
    """

    job: Path
    execution: str
    left: str = ""


class Runtime(Protocol):
    """Starts and ends solvers.

    `linger` is how many seconds what started a solver may hold the lock after the solver's end.
    """

    linger: float

    def launch(self, job: Job, marks: Marks, given: Descriptors) -> int:
        """Start the job's solver; the process id of the client, for the caller to reap.

        OSError when the client itself cannot be started.
        """

    def renice(self, group: str) -> bool:
        """Have the session of an `Execution.group` yield to others, as NICE says.

        Returns whether no more is to be done.
        """

    def end(self, variable: str, wrapper: int, group: str = "") -> None:
        """End what has `variable` in its environment, gracefully at first; returns when it is gone.

        `wrapper` is the wrapper's process id, or 0, and `group` the `Execution.group`.
        """

    def holders(
        self, lock: Path, ended: Sequence[Holder] = (), *, patient: bool = True
    ) -> list[Holder]:
        """The processes that inherited the lock and hold it, when those of `ended` were ended.

        These have STOP_GRACE to end by themselves, or no time without `patient`.
        """

    def unavailable(self) -> str | None:
        """Why nothing can be started at the moment, or None."""


def for_config(config: Config) -> Runtime:
    """The runtime that the jobset names."""
    return Podman(config) if config.runtime == "podman" else Local(config)


def end_solver(solvers: Runtime, mark: Path, run: Execution | None) -> None:
    """End that execution and no later one of the job; nothing, as long as it has not begun."""
    if run is None or run.wrapper is None:
        return
    if run is execution.UNKNOWN:
        solvers.end(f"SAGEQUEUE_JOB={mark}", 0)
    else:
        solvers.end(f"SAGEQUEUE_EXECUTION={run.word}", run.wrapper, run.group)


def _arguments(
    config: Config, job: Job, marks: Marks, directory: str, program: str = WRAPPER
) -> list[str]:
    """The argv for one job of the wrapper, `program`."""
    script, link = config.script, ""
    if script.endswith(".sage") and not os.path.basename(config.sage_bin).startswith("python"):
        link = os.path.join(os.path.dirname(script), f".{job.name}.sage")
    what = ["-python", f"{link}.py"] if link else [script]
    workload = [config.sage_bin, *what, *config.sage_base_args]
    partition = ["--stride", str(config.stride), "--offset", str(job.offset)]
    wrapper = ["sh", "-c", program, "sagequeue-wrapper", str(marks.job), marks.execution]
    nice = str(config.nice or "")
    about = [directory, script, link, config.stop_file_cont, _grace(config), marks.left, nice]
    return [*wrapper, *about, *workload, *partition]


def _threads(config: Config) -> dict[str, str]:
    names = ("SAGE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: str(config.threads) for name in names}


def _environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not _PRIVATE.fullmatch(k)} | more


def _spawn(argv: list[str], given: Descriptors, environ: Mapping[str, str]) -> int:
    """Start `argv` in a session of its own, with the descriptors as 3, 4 and 5."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    sources = [null, given.log, given.log, given.lock, given.log, given.record]
    held: list[int] = []
    try:
        for fd in sources:  # one by one, so that those that were made are closed after an error
            held.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE))  # noqa: PERF401
        moves = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(held)]
        # Python ignores these two; a program expects them to end it.
        default = (signal.SIGPIPE, signal.SIGXFSZ)
        return os.posix_spawnp(
            argv[0], argv, environ, file_actions=moves, setsid=True, setsigdef=default
        )
    finally:
        for fd in (null, *held):
            os.close(fd)


class Local:
    """Solvers are processes of this host, in the directory of their script."""

    linger = 2.0

    def __init__(self, config: Config) -> None:
        self.config = config

    def launch(self, job: Job, marks: Marks, given: Descriptors) -> int:
        """See `Runtime`."""
        argv = _arguments(self.config, job, marks, os.path.dirname(self.config.script))
        # An empty entry would be the current directory.
        path = os.pathsep.join(filter(None, (_LINES, os.environ.get("PYTHONPATH"))))
        return _spawn(argv, given, _environment(**_threads(self.config), PYTHONPATH=path))

    def renice(self, group: str) -> bool:
        """See `Runtime`."""
        return autogroup.set_nice(group, self.config.nice)

    def end(self, variable: str, wrapper: int, group: str = "") -> None:
        """See `Runtime`."""
        command = _ender(self.config, variable, wrapper, group)
        subprocess.run(command, check=False, start_new_session=True)

    def holders(
        self, lock: Path, ended: Sequence[Holder] = (), *, patient: bool = True
    ) -> list[Holder]:
        """See `Runtime`."""
        return holders.ask((), lock, _seconds(self.config, patient=patient), ended)

    def unavailable(self) -> str | None:
        """See `Runtime`: never, but a configuration that can start nothing is a ConfigError."""
        config = self.config
        if not config.script.startswith("/") or not os.path.isfile(config.script):
            raise ConfigError(
                f"SCRIPT {config.script!r} is not a file on this host; put it there, or run "
                f"`ansible-playbook site.yml -e jobset={config.jobset}` again"
            )
        if not os.path.isfile(config.sage_bin) or not os.access(config.sage_bin, os.X_OK):
            raise ConfigError(
                f"SAGE_BIN {config.sage_bin!r} is not a program on this host; run "
                f"`ansible-playbook site.yml -e jobset={config.jobset}` again"
            )
        return None


class Podman:
    """Solvers are processes of a running container."""

    linger = 10.0

    def __init__(self, config: Config) -> None:
        self.config = config

    def launch(self, job: Job, marks: Marks, given: Descriptors) -> int:
        """See `Runtime`."""
        workdir = self.config.container_workdir
        argv = _arguments(self.config, job, marks, workdir, IN_CONTAINER)
        threads = [f"--env={name}={value}" for name, value in _threads(self.config).items()]
        command = self._exec("--preserve-fds=3", *threads)
        return _spawn([*command, *argv], given, _environment())

    def _exec(self, *options: str) -> list[str]:
        workdir = f"--workdir={self.config.container_workdir}"
        return ["podman", "exec", *options, workdir, self.config.service]

    def renice(self, group: str) -> bool:
        """See `Runtime`: the container's own share of the processor, CPUWeight, is its unit's."""
        return True

    def end(self, variable: str, wrapper: int, group: str = "") -> None:
        """See `Runtime`. A container that is not running has no solver left."""
        command = [*self._exec(), *_ender(self.config, variable, wrapper, group)]
        subprocess.run(
            command, check=False, start_new_session=True, stdin=subprocess.DEVNULL,
            capture_output=True, env=_environment(),
        )  # fmt: skip

    def holders(
        self, lock: Path, ended: Sequence[Holder] = (), *, patient: bool = True
    ) -> list[Holder]:
        """See `Runtime`. On the host, too: Podman's own processes there inherit the lock."""
        grace, command = _seconds(self.config, patient=patient), self._exec("--preserve-fds=1")
        outside = holders.ask((), lock, grace, ended)
        return [*outside, *holders.ask(command, lock, grace, ended, self.config.service)]

    def unavailable(self) -> str | None:
        """See `Runtime`."""
        query = [
            "podman",
            "container",
            "inspect",
            "--format={{.State.Status}}",
            self.config.service,
        ]
        try:
            answer = subprocess.run(
                query, check=False, capture_output=True, text=True, env=_environment()
            )
        except FileNotFoundError:
            return "podman is not installed"
        if answer.returncode != 0:
            said = answer.stderr.strip().rpartition("\n")[2]
            return f"podman shows no container {self.config.service}: {said}"
        status = answer.stdout.strip()
        return None if status == "running" else f"container {self.config.service} is {status}"


def _ender(config: Config, variable: str, wrapper: int, group: str) -> list[str]:
    return ["sh", "-c", ENDER, "sagequeue-ender", variable, str(wrapper), _grace(config), group]


def _grace(config: Config) -> str:
    """STOP_GRACE in whole seconds."""
    return str(_seconds(config, patient=True))


def _seconds(config: Config, *, patient: bool) -> int:
    return math.ceil(config.stop_grace) if patient else 0
