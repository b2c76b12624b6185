"""One round's ground: its directories, its settings, what its partitions are to do."""

import ctypes
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from kit import jobset

JOBSET = "demo"
STATES = ("pending", "running", "done", "failed")
CASE_SECONDS = 0.002
DOOMED = 99  # so many failures are more than anybody retries
# The disk that a fault fills. The queue alone must not fill it: with 1 MB it did.
TINY = "8m"


@dataclass(frozen=True)
class Plan:
    """What a round has: `fails` says how often an offset fails by itself before it does not."""

    stride: int
    cases: int
    workers: int
    retries: int
    grace: int
    tiny: bool
    fails: dict[int, int] = field(default_factory=dict)
    finds: frozenset[int] = frozenset()
    children: frozenset[int] = frozenset()

    @property
    def total(self) -> int:
        """Cases of all partitions."""
        return self.stride * self.cases

    def orders(self, offset: int) -> dict[str, object]:
        """What the offset's solver is to do, see kit/solver.py."""
        found = {"find": offset + self.stride * (self.cases - 1)} if offset in self.finds else {}
        return {"fails": self.fails.get(offset, 0), "writer": offset in self.children, **found}

    @property
    def doomed(self) -> frozenset[int]:
        """The offsets that can never succeed."""
        return frozenset(offset for offset, times in self.fails.items() if times == DOOMED)


def draw_plan(draw: Random, *, tiny: bool) -> Plan:
    """A round's plan."""
    stride, retries = draw.randint(30, 50), draw.choice((3, 50, 50))
    offsets = draw.sample(range(stride), 12)
    fails = {offset: draw.randint(1, 2) for offset in offsets[:3]}
    if retries == 3:
        fails[offsets[3]] = DOOMED
    return Plan(
        stride=stride, cases=draw.choice((4, 8, 16, 32)), workers=draw.choice((2, 4, 8, 8, 16)),
        retries=retries, grace=draw.choice((0, 1)), tiny=tiny, fails=fails,
        finds=frozenset(offsets[4:6]), children=frozenset(offsets[6:]),
    )  # fmt: skip


class Ground:
    """`home` is the suite's own; everything below `project` is the runner's."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        self.home, self.project, self.notebooks = (
            root / name for name in ("suite", "project", "notebooks")
        )
        for path in (self.home, self.project, self.notebooks):
            path.mkdir(parents=True)
        if plan.tiny:
            mount("tmpfs", self.project, f"size={TINY}")
        self.state_dir = self.project / "var" / JOBSET
        self.queue, self.run = self.state_dir / "queue", self.state_dir / "run"
        self.results, self.log = self.state_dir / "results", self.state_dir / "log"
        self.journal, self.out = self.home / "journal", self.home / "out"
        self.gate = self.notebooks / f"{JOBSET}_stop.txt"
        self.env_file = root / ".config" / "sagequeue" / f"{JOBSET}.env"
        self.env_file.parent.mkdir(parents=True)
        self.env_file.write_text(self._settings())
        (self.env_file.parent / "sagequeue.env").symlink_to(self.env_file.name)
        for state in STATES:
            (self.queue / state).mkdir(parents=True)
        for path in (self.run, self.log, self.results):
            path.mkdir()
        self.journal.touch()

    def _settings(self) -> str:
        plan = self.plan
        for offset in plan.fails.keys() | plan.finds | plan.children:
            jobset.orders(self.home, offset, **plan.orders(offset))
        return jobset.render(
            jobset.solving(
                self.project, self.home, self.notebooks, ("--pace", str(CASE_SECONDS)),
                SAGE_BIN=jobset.bare_python(self.home / "python"), STRIDE=plan.stride,
                TOTAL_CASES=plan.total, WORKERS=plan.workers, SLEEP_EMPTY=1, STOP_GRACE=plan.grace,
                MAX_FAILED_RETRIES=plan.retries,
            )
        )  # fmt: skip

    # The queue as it lies, read without the runner

    def name(self, offset: int) -> str:
        """The job of an offset."""
        return f"{JOBSET}_off{offset}"

    def file(self, state: str, offset: int) -> Path:
        """Its file in a state."""
        return self.queue / state / f"{self.name(offset)}.env"

    def owner_file(self, offset: int) -> Path:
        """Its owner file."""
        return self.queue / "running" / f"{self.name(offset)}.env.owner"

    def record(self, offset: int) -> Path:
        """The record of its execution."""
        return self.run / f"{self.name(offset)}.result"

    def state_file(self, offset: int) -> Path:
        """The workload's own."""
        return self.notebooks / f"state_{JOBSET}_stride{self.plan.stride}_off{offset}.txt"

    def places(self, offset: int) -> list[str]:
        """The states in which the job lies."""
        return [state for state in STATES if os.path.lexists(self.file(state, offset))]

    def lying(self, *states: str) -> set[int]:
        """The offsets whose jobs lie in one of these states."""
        plan = self.plan
        found = {name for state in states for name in os.listdir(self.queue / state)}
        return {k for k in range(plan.stride) if f"{self.name(k)}.env" in found}

    def attempts(self, offset: int, state: str) -> int:
        """The job file's ATTEMPTS; 0 for a file that is spoilt, as a round may end."""
        with suppress(OSError, ValueError):
            for line in self.file(state, offset).read_text().splitlines():
                if line.startswith("ATTEMPTS="):
                    return int(line.partition("=")[2])
        return 0

    def found(self) -> set[tuple[int, int]]:
        """Offset and case of each recorded finding."""
        texts = (path.read_text() for path in self.results.glob("[!.]*.json"))
        return {(r["offset"], r["gidx"]) for r in map(json.loads, texts)}

    @contextmanager
    def locked(self, offset: int) -> Iterator[bool]:
        """Take the job's lock, as a careful person does before touching the file; whether we do."""
        how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(self.run / f"{self.name(offset)}.lock", how, 0o600)
        held = False
        try:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            yield held
        finally:
            os.close(lock)

    def rewrite(self, offset: int) -> bool:
        """Put a good job file where it lies, or into pending when it lies nowhere; under its lock.

        False while somebody holds that.
        """
        with self.locked(offset) as mine:
            if not mine:
                return False
            places = self.places(offset) or ["pending"]
            put(
                self.file(places[0], offset), f"OFFSET={offset}\nENQUEUED_AT=2024-01-01T00:00:00Z\n"
            )
            return True

    def close(self) -> None:
        """Give the disk back."""
        if self.plan.tiny:
            with suppress(OSError):
                unmount(self.project)


def put(path: Path, text: str | bytes) -> None:
    """A complete file, in place of whatever is there."""
    new = path.with_name(f".suite.{path.name}")
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    new.rename(path)


def overwrite(path: Path, content: bytes) -> bool:
    """Other content in the same file, which is not made when it is not there."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    except OSError:
        return False
    with open(fd, "wb") as file, suppress(OSError):
        file.write(content)
    return True


_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(kind: str, where: Path, options: str) -> None:
    """Mount a filesystem, for this process and what it starts."""
    if _LIBC.mount(b"none", os.fsencode(where), kind.encode(), 0, options.encode()):
        raise OSError(ctypes.get_errno(), f"cannot mount {kind} at {where}")


def unmount(where: Path) -> None:
    """Take it away, even while somebody uses it."""
    if _LIBC.umount2(os.fsencode(where), 2):
        raise OSError(ctypes.get_errno(), f"cannot unmount {where}")
