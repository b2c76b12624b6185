"""Who holds a job: the kernel's lock, which is the truth, and the owner file, which is for people.

The lock is `flock` on `run/<job>.lock`. A worker takes it before the claiming rename and hands the
descriptor to the solver, so the kernel holds it as long as anything of the execution lives. It is
given back by closing, never by LOCK_UN, which would free it for every holder, and the file is
never unlinked: a new file of that name would be a second lock.
"""

import contextlib
import errno
import fcntl
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sagequeue import durable, keyvalue, regular
from sagequeue.jobs import now


class Lock:
    """An exclusive `flock`, held until `close` and by whoever inherited its descriptor.

    `is_new` is whether its file was made for it: nobody had the lock before.
    """

    def __init__(self, path: Path, fd: int, *, is_new: bool = False) -> None:
        self.path = path
        self.fd = fd
        self.is_new = is_new

    def close(self) -> None:
        """Let go of it here; other holders keep it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


def open_lock(path: Path) -> tuple[int, bool]:
    """A descriptor of the lock file that no child inherits; whether the file was made for it."""
    how = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, how), False
    try:
        return os.open(path, how | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:  # somebody made it at this moment; nobody removes it
        return os.open(path, how), False


def try_lock(path: Path) -> Lock | None:
    """The lock, or None while anybody holds it. A question by `held` does not count as holding."""
    fd, is_new = open_lock(path)
    try:
        while not _flock(fd, fcntl.LOCK_EX):
            # Whoever holds the lock has it exclusively. Where a shared one is granted, nobody holds
            # it: `held` asked at that moment, or another process tries as we do.
            if not _flock(fd, fcntl.LOCK_SH):
                os.close(fd)
                return None
            # Only we have this descriptor, so this frees nobody else's lock.
            fcntl.flock(fd, fcntl.LOCK_UN)
    except BaseException:
        os.close(fd)
        raise
    return Lock(path, fd, is_new=is_new)


def _flock(fd: int, kind: int) -> bool:
    """Whether the lock of that kind was granted at once."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EINTR):
            return False
        raise
    return True


def wait_lock(path: Path) -> Lock:
    """The lock, waited for as long as it takes."""
    fd, is_new = open_lock(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except BaseException:
        os.close(fd)
        raise
    return Lock(path, fd, is_new=is_new)


def held(path: Path) -> bool:
    """Whether anybody holds the lock: asked by trying for a shared one, for a moment.

    `try_lock` is not disturbed by it. The kernel's list, /proc/locks, cannot tell: it has the
    filesystem's device number, which is not the one that `stat` shows on btrfs and overlayfs, and
    it lacks locks whose taker is dead, wherever process ids are a container's own, and so on WSL.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


@dataclass(frozen=True)
class Process:
    """One process for ever: its number can come again, its start tick in this boot cannot."""

    pid: int
    start: str
    boot: str


def process(pid: int) -> Process | None:
    """The living process with that number, or None (a zombie is not alive).

    The start is field 22 of proc(5)'s `stat`, in clock ticks since boot: unlike a start time in
    seconds it does not move when the wall clock is set.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return Process(pid, fields[19], boot_id())


@functools.cache
def _myself(pid: int) -> Process:
    me = process(pid)
    assert me is not None, "this process is alive"
    return me


@functools.cache
def boot_id() -> str:
    """What tells this boot of the machine from every other one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def write_owner(path: Path, worker: int) -> None:
    """Say in the owner file that this process, worker N, has the job."""
    me = _myself(os.getpid())
    text = keyvalue.render(
        {
            "OWNER_PID": str(me.pid),
            "OWNER_WORKER_ID": str(worker),
            "OWNER_TS": now(),
            "OWNER_START": me.start,
            "OWNER_BOOT": me.boot,
        }
    )
    temporary = path.with_name(f".{path.name}.tmp")
    durable.write(temporary, text, sync=False)
    temporary.rename(path)


def is_mine(path: Path) -> bool:
    """Whether the owner file names this process."""
    me, named = _myself(os.getpid()), read_owner(path)
    said = tuple(named.get(key) for key in ("OWNER_PID", "OWNER_START", "OWNER_BOOT"))
    return said == (str(me.pid), me.start, me.boot)


def read_owner(path: Path) -> dict[str, str]:
    """The owner file's keys; empty when it is missing or not readable as KEY=value text."""
    with contextlib.suppress(OSError, ValueError):
        return keyvalue.parse(regular.read(path, 4096).decode("utf-8"))
    return {}


def orphan_reason(path: Path) -> str | None:
    """Why the owner file names nobody who works on the job; None when its worker is alive."""
    if not os.path.lexists(path):
        return "owner_file_missing"
    owner = read_owner(path)
    pid = owner.get("OWNER_PID", "")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", pid):
        return "no_valid_owner_pid"
    alive = process(int(pid))
    if alive is None:
        return "owner_pid_dead"
    if alive != Process(int(pid), owner.get("OWNER_START", ""), owner.get("OWNER_BOOT", "")):
        return "owner_pid_not_that_worker"
    return None
