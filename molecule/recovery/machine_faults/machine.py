"""The machine under attack, as its host sees it: switch, files, processes, the solvers' journal.

The machine is a container, so its processes are the host's, too, and its clock is the host's.
"""

import os
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from kit.journal import Journal, Line

JOBSET = "attacked"
_PODMAN = Path(__file__).resolve().parents[2] / "machine/podman"
_BOOTED = _PODMAN.with_name("booted")
_TMPFS = "size=64m,mode=0755,uid=1000,gid=1000"
_AT_WORK = ("start", "case", "kept")


@dataclass(frozen=True)
class Role:
    """What a process of the machine does: its role, the offset or worker number, itself."""

    role: str
    number: int
    process: psutil.Process


class Machine:
    """One machine; inside a `with` its queue is on a small filesystem of its own."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.notebooks = home / "Jupyter"
        self.spool = home / "sagequeue/var" / JOBSET
        self.gate = self.notebooks / f"{JOBSET}_stop.txt"
        self.settings = home / f".config/sagequeue/{JOBSET}.env"
        self.journal = Journal(self.notebooks / f"{JOBSET}_journal")
        values = dict(
            line.strip().split("=", 1) for line in self.settings.read_text().splitlines()[1:]
        )
        self.workers, self.stride = (int(values[k].strip('"')) for k in ("WORKERS", "STRIDE"))
        self.total = int(values["TOTAL_CASES"].strip('"'))
        self.own_filesystem = False
        self.failed: Counter[int] = Counter()  # what we did to whose solvers
        self.told: list[str] = []  # what was seen to be wrong in the middle of a fault
        self._pid = 0

    def __enter__(self) -> Self:
        """Move the queue to a filesystem that can be filled; the machine sees it when it boots."""
        self.switch("stop", "--time=120")
        kept = self.spool.with_name("kept")
        self.spool.rename(kept)
        self.spool.mkdir()
        os.chown(self.spool, 1000, 1000)
        mount = ["mount", "-t", "tmpfs", "-o", _TMPFS, "sagequeue-attacked", str(self.spool)]
        self.own_filesystem = subprocess.run(mount, check=False).returncode == 0
        subprocess.run(["cp", "-aT", str(kept), str(self.spool)], check=True)
        self.switch("start")
        self.booted()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Let go of that filesystem: the machine's directory is to be removed."""
        if self.own_filesystem:
            subprocess.run(["umount", "--lazy", str(self.spool)], check=True)

    # What is done to it

    def switch(self, *how: str) -> None:
        """Podman's own `start`, `stop` or `kill` of the machine."""
        subprocess.run([_PODMAN, *how, self.name], check=True, stdout=subprocess.DEVNULL)
        self._pid = self._first_process() if how[0] == "start" else 0

    def booted(self) -> None:
        """Wait until it is up."""
        command = [str(_PODMAN), "exec", "-i", self.name, "timeout", "120", "sh", "-s"]
        with open(_BOOTED, "rb") as program:
            subprocess.run(command, check=True, stdin=program)

    def root(self, command: str) -> bool:
        """Run a command line in the machine; whether it succeeded."""
        return self._exec("sh", "-c", command)

    def user(self, command: str) -> bool:
        """The same as its user, in a login session, in the project's directory."""
        return self._exec("runuser", "-l", "user", "-c", f"cd sagequeue && {command}")

    def _exec(self, *argv: str) -> bool:
        done = subprocess.run(
            [_PODMAN, "exec", self.name, *argv], check=False, capture_output=True, text=True
        )
        if done.returncode:
            print(f"       exit status {done.returncode} of {argv[-1]}: {done.stderr.strip()}")
        return done.returncode == 0

    def recover(self) -> None:
        """Start recovery, as its timer does every 5 minutes."""
        self.user("systemctl --user start sagequeue-recover")

    def hurry(self) -> None:
        """Have the solvers come to their ends."""
        (self.notebooks / f"{JOBSET}_hurry").touch()

    # What is seen of it

    def at_work(self, since: int) -> dict[int, int]:
        """The offsets whose solvers are at work and have said so since then, and when first."""
        first: dict[int, int] = {}
        last: dict[int, Line] = {}
        for line in self.journal.read():
            last[line.offset] = line
            if line.at >= since and line.event in _AT_WORK:
                first.setdefault(line.offset, line.at)
        return {k: at for k, at in first.items() if last[k].event in _AT_WORK}

    def _first_process(self) -> int:
        """The machine's PID 1, as the host numbers it."""
        command = [str(_PODMAN), "inspect", "--format={{.State.Pid}}", self.name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return int(done.stdout)

    def processes(self, role: str) -> list[Role]:
        """The processes of the machine that have that role."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    known = _role(process.cmdline(), process)
                    if known is not None and known.role == role:
                        found.append(known)
        return sorted(found, key=lambda known: known.number)

    def container_began(self) -> int:
        """When the running container was started, in nanoseconds of the journal's clock."""
        shift = time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)
        ticks = os.sysconf("SC_CLK_TCK")
        for found in self.processes("container"):
            with suppress(OSError):
                stat = Path(f"/proc/{found.process.pid}/stat").read_text()
                began = int(stat.rpartition(")")[2].split()[19]) / ticks
                return int((began + shift) * 1e9)
        return 0

    def places(self, offset: int) -> list[Path]:
        """Where the job's file lies."""
        queue = self.spool / "queue"
        states = ("pending", "running", "done", "failed")
        paths = [queue / state / f"{JOBSET}_off{offset}.env" for state in states]
        return [path for path in paths if os.path.lexists(path)]

    def lying(self, state: str) -> list[int]:
        """The offsets of the jobs in one directory."""
        begin, end = f"{JOBSET}_off", ".env"
        return sorted(
            int(name[len(begin) : -len(end)])
            for name in os.listdir(self.spool / "queue" / state)
            if name.startswith(begin) and name.endswith(end)
        )

    def jobs_of(self, worker: int) -> frozenset[int]:
        """The offsets that worker has, by the owner files."""
        found = set()
        for path in (self.spool / "queue/running").glob("*.owner"):
            with suppress(FileNotFoundError):
                lines = path.read_text(errors="replace").replace('"', "").splitlines()
                if f"OWNER_WORKER_ID={worker}" in lines:
                    found.add(int(path.name.removesuffix(".env.owner").rpartition("_off")[2]))
        return frozenset(found)

    def unfinished(self) -> set[int]:
        """The offsets whose jobs are not done."""
        return set(range(self.stride)) - set(self.lying("done"))


def _role(argv: list[str], process: psutil.Process) -> Role | None:
    match argv:
        case [podman, "exec", *rest] if podman.endswith("podman"):
            return _wrapper("client", rest, process)
        case ["sh", "-c", _, "sagequeue-wrapper", *rest]:
            parent = process.parent()
            if parent is None or "sagequeue-wrapper" in parent.cmdline():
                return None  # a command of its own, about to be executed
            return _wrapper("wrapper", ["sagequeue-wrapper", *rest], process)
        case [conmon, *rest] if conmon.endswith("conmon"):
            if "--exec-attach" not in rest:
                return Role("container's conmon", 0, process)
            for child in process.children():
                if (wrapper := _wrapper("conmon", child.cmdline(), process)) is not None:
                    return wrapper
        case ["/run/podman-init", *_]:
            return Role("container", 0, process)
        case [*_, "worker", "--env-file", _, number] if number.isdigit():
            return Role("worker", int(number), process)
        case [*_, "--offset", number] if any(word.endswith(f"/{JOBSET}.py") for word in argv):
            return Role("solver", int(number), process)
    return None


def _wrapper(role: str, argv: list[str], process: psutil.Process) -> Role | None:
    if "sagequeue-wrapper" not in argv:
        return None
    mark = argv[argv.index("sagequeue-wrapper") + 1]
    digits = Path(mark).stem.rpartition("_off")[2]
    return Role(role, int(digits), process) if digits.isdigit() else None
