"""The wrapper and the ender as they run: one workload in a directory, under a shell of choice."""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from kit import waiting
from sagequeue import execution
from sagequeue.execution import Execution
from sagequeue.runtime import ENDER, WRAPPER

# What may be `sh` on a host or in an image.
SHELLS = {
    name: [path, *argv[1:]]
    for name, argv in {
        "dash": ["dash"],
        "bash": ["bash", "--posix"],
        "busybox": ["busybox", "sh"],
    }.items()
    if (path := shutil.which(argv[0]))
}


def open_to_all(path: Path) -> None:
    """Let other users come to it, through the directories that pytest keeps to ourselves."""
    for directory in (path, *path.parents):
        if not directory.stat().st_mode & stat.S_IXOTH:
            directory.chmod(0o755)


class Wrapped:
    """One execution below `root`, whose workload is a text for bash.

    The workload has the directory as `$here`. In seconds, `grace` is STOP_GRACE, and `patience` how
    long the scripts wait for what still writes the log, which is always 5 elsewhere.
    """

    patience = 5

    def __init__(self, root: Path, shell: str, grace: int = 30) -> None:
        self.root, self.shell, self.grace = root, SHELLS[shell], grace
        self.log, self.record, self.lock = root / "log", root / "record", root / "lock"
        self.script = root / "workload"
        self.link, self.left, self.nice = "", "", "10"
        self.process: psutil.Process | None = None
        self.ender: subprocess.Popen[bytes] | None = None

    def start(
        self,
        text: str = "",
        command: Sequence[str] = ("bash",),
        path: str = os.environ["PATH"],
        before: Sequence[str] = (),
    ) -> psutil.Process:
        """Start the wrapper, by the command `before`."""
        self.script.write_text(text)
        self.word = execution.begin(self.record, 1, 0, "")
        how = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        given = [os.open(file, how, 0o666) for file in (self.lock, self.log, self.record)]
        fcntl.flock(given[0], fcntl.LOCK_EX)
        # Above 5, so that no move overwrites another's source.
        held = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in given]
        gate = self.root / "gate"
        about = [self.root, self.script, self.link, gate, self.grace, self.left, self.nice]
        argv = [
            *before,
            *self.shell,
            "-c",
            self.patient(WRAPPER),
            "sagequeue-wrapper",
            self.lock,
            self.word,
            *about,
            *command,
            *([self.script] if text else ()),
        ]
        pid = os.posix_spawnp(
            argv[0],
            list(map(str, argv)),
            {**os.environ, "here": str(self.root), "PATH": path},
            setsid=True,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate(held, 3)],
        )
        for fd in (*given, *held):
            os.close(fd)
        self.process = psutil.Process(pid)
        return self.process

    def patient(self, script: str) -> str:
        """A script with this patience."""
        assert script.count("\npatience=5\n") == 1
        return script.replace("\npatience=5\n", f"\npatience={self.patience}\n")

    def run(self, text: str) -> Execution:
        """Run a workload to the end of its wrapper; its record."""
        self.start(text)
        return self.ended()

    def ended(self) -> Execution:
        """The record once the wrapper has ended."""
        assert self.process is not None
        self.process.wait(timeout=waiting.PATIENCE)
        return self.read()

    def read(self) -> Execution:
        run = execution.read(self.record)
        assert run is not None
        return run

    def stop(self, path: str = os.environ["PATH"]) -> subprocess.Popen[bytes]:
        """Start the ender, as a worker that is stopped does."""
        assert self.process is not None
        variable = f"SAGEQUEUE_EXECUTION={self.word}"
        self.ender = subprocess.Popen(
            [
                *self.shell,
                "-c",
                self.patient(ENDER),
                "sagequeue-ender",
                variable,
                str(self.process.pid),
                str(self.grace),
                self.read().group,
            ],
            env={**os.environ, "PATH": path},
        )
        return self.ender

    @property
    def lines(self) -> list[str]:
        """What the log has so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def file(self, name: str) -> str:
        """What a file has that the workload makes in one piece, once it is there."""
        path = self.root / name
        waiting.until(lambda: path.exists() and path.read_text(), name, below=self.root)
        return path.read_text().strip()

    def free(self) -> bool:
        """Whether nothing holds the lock."""
        with open(self.lock) as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def close(self) -> None:
        """End all that it started."""
        for process in (self.process, self.ender):
            if process is not None:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                process.wait()
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("here") == str(self.root):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
