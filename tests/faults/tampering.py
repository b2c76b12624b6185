"""The kinds of faults that are done to files: spoilt, replaced, taken away, and a disk that fails.

What is spoilt is put right again after some more faults. The suite puts a good job file only under
the job's lock, as a careful person does, or it would itself be the one who loses jobs.
"""

import errno
import fcntl
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from faults import Kind
from ground import JOBSET, STATES, overwrite, put
from processes import identify
from stage import Stage

_GETFLAGS, _SETFLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
_BAD = (b"", b"\0" * 64, b"OFFSET=", b"OFFSET=99999\n", b"OFFSET=" + b"9" * 300 + b"\n",
        b"x" * 70000, b"OFFSET=1\nOFFSET=2\n", b"\xff\xfe", b"OFFSET=0\nATTEMPTS=-3\n")  # fmt: skip


def _offset(stage: Stage, draw: Random, *states: str) -> int | None:
    lying = sorted(stage.ground.lying(*states))
    return draw.choice(lying) if lying else None


def job_spoilt(stage: Stage, draw: Random) -> bool:
    """A job file gets other content, is cut short, replaced by something else, or goes away."""
    ground, offset = stage.ground, _offset(stage, draw, *STATES)
    if offset is None or not (places := ground.places(offset)):
        return False
    path = ground.file(places[0], offset)
    stage.books.tampered[offset] += 1
    stage.later(lambda: ground.rewrite(offset), draw.randint(1, 4))
    how = draw.choice(("content", "content", "cut", "link", "directory", "gone"))
    if how == "content":
        return overwrite(path, draw.choice(_BAD))
    if how == "cut":
        with suppress(OSError):
            os.truncate(path, draw.randint(1, 12))
        return True
    with ground.locked(offset) as mine:
        if not mine or not path.is_file():
            return overwrite(path, b"")
        path.unlink()
        if how == "link":
            path.symlink_to("nowhere")
        elif how == "directory":
            path.mkdir()
    return True


def job_crlf(stage: Stage, draw: Random) -> bool:
    """A job file gets the line ends of Windows, which are read."""
    offset = _offset(stage, draw, "pending", "failed")
    if offset is None or stage.books.tampered[offset]:
        return False
    with stage.ground.locked(offset) as mine, suppress(OSError):
        if mine and (places := stage.ground.places(offset)):
            path = stage.ground.file(places[0], offset)
            put(path, path.read_bytes().replace(b"\r", b"").replace(b"\n", b"\r\n"))
            return True
    return False


def job_copied(stage: Stage, draw: Random) -> bool:
    """Somebody copies a job file into another directory; later the copy is taken away."""
    ground, offset = stage.ground, _offset(stage, draw, *STATES)
    if offset is None or len(places := ground.places(offset)) != 1:
        return False
    copy = ground.file(draw.choice([s for s in STATES if s not in places]), offset)
    stage.books.tampered[offset] += 1

    def take_away() -> bool:
        if len(ground.places(offset)) > 1:
            copy.unlink(missing_ok=True)
        return True

    with suppress(OSError):
        put(copy, ground.file(places[0], offset).read_bytes())
        stage.later(take_away, draw.randint(1, 4))
        return True
    return False


def owner_spoilt(stage: Stage, draw: Random) -> bool:
    """An owner file gets other content, or goes away."""
    offset = _offset(stage, draw, "running")
    if offset is None:
        return False
    path = stage.ground.owner_file(offset)
    stage.books.forged.add(offset)
    if draw.random() < 0.3:
        with suppress(FileNotFoundError):
            path.unlink()
            return True
        return False
    return overwrite(path, draw.choice((*_BAD, b"OWNER_PID=1\n", b"OWNER_PID=-7\n")))


def process_id_reused(stage: Stage, draw: Random) -> bool:
    """An owner file names a living process that is not that worker."""
    offset = _offset(stage, draw, "running")
    if offset is None or not stage.workers:
        return False
    path = stage.ground.owner_file(offset)
    number = draw.choice(sorted(stage.workers))
    other = draw.choice((identify(os.getpid()), stage.workers[number]))
    assert other is not None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    start = draw.choice((other.ticks, other.ticks - 1))
    text = (
        f"OWNER_PID={other.pid}\nOWNER_WORKER_ID={number}\nOWNER_TS=2024-01-01T00:00:00Z\n"
        f"OWNER_START={start}\nOWNER_BOOT={boot}\n"
    )
    stage.books.forged.add(offset)

    def take_away() -> bool:
        with suppress(OSError):
            if path.read_bytes() == text.encode():
                path.unlink()
        return True

    stage.later(take_away, draw.randint(1, 4))
    return overwrite(path, text.encode())


def state_spoilt(stage: Stage, draw: Random) -> bool:
    """A workload's state file gets other content, goes back in time, or goes away."""
    ground = stage.ground
    offset = draw.randrange(ground.plan.stride)
    path = ground.state_file(offset)
    try:
        before = path.read_bytes()
    except OSError:
        return False
    stage.books.tampered[offset] += 1
    bad = draw.choice((b"", b"\n", b"three\n", b"9" * 300, b"1 2\n", b"\xff", b"-5\n"))
    how = draw.choice(("content", "older", "gone"))
    if how == "gone":
        path.unlink(missing_ok=True)
        return True
    put(path, bad if how == "content" else f"{offset}\n")

    def restore() -> bool:
        with suppress(FileNotFoundError):
            if path.read_bytes() == bad:
                put(path, before)
        return True

    stage.later(restore, draw.randint(1, 4))
    return True


def env_spoilt(stage: Stage, draw: Random) -> bool:
    """The env file gets other content or goes away; who is at work has read it already."""
    path = stage.ground.env_file
    good = path.read_bytes()
    if stage.unsound:
        return False
    stage.unsound += 1
    began = time.monotonic_ns()

    def restore() -> bool:
        with stage.sound_again("env", began):
            put(path, good)
        return True

    stage.later(restore, draw.randint(0, 2))
    how = draw.choice((b"", b"STRIDE=\n", good[: len(good) // 2], b"\0", None))
    if how is None:
        path.unlink()
    else:
        path.write_bytes(how)
    return True


def stray_file(stage: Stage, draw: Random) -> bool:
    """Something that is no job lies in a queue directory for a while."""
    name = draw.choice(
        ("notes.txt", "core", "other_off1.env", f"{JOBSET}_off3.env~", f".{JOBSET}_off2.env.swp",
         f"{JOBSET}_offx.env", f"{JOBSET}_off7000.env", f"{JOBSET}_off-1.env",
         f"{JOBSET}_off01.env", f"{JOBSET}_off9000.env.owner")
    )  # fmt: skip
    path = stage.ground.queue / draw.choice(STATES) / name
    if os.path.lexists(path):
        return False
    with suppress(OSError):
        if draw.random() < 0.3:
            path.mkdir()
        else:
            path.write_bytes(draw.choice(_BAD))
        return True
    return False


def times_shifted(stage: Stage, draw: Random) -> bool:
    """Files get times hours off, as after the clock was set."""
    ground, offset = stage.ground, _offset(stage, draw, "pending", "running")
    if offset is None:
        return False
    hours = draw.choice((-30, -1, 1, 30)) * 3600
    lock = ground.run / f"{ground.name(offset)}.lock"
    files = (ground.file(state, offset) for state in STATES)
    for path in (lock, ground.record(offset), ground.owner_file(offset), *files):
        with suppress(OSError):
            when = path.stat().st_mtime + hours
            os.utime(path, (when, when))
    return True


def gate(stage: Stage, draw: Random) -> bool:
    """The stop gate is set, and cleared as it should be."""
    stage.ground.gate.write_text("for a moment\n")

    def clear() -> bool:
        stage.verb("clear-stop")
        return True

    stage.later(clear, draw.randint(0, 2))
    return True


def gate_by_hand(stage: Stage, draw: Random) -> bool:
    """The stop gate comes and goes, by rm: who was not there cannot know of it."""
    stage.look()
    stage.books.gates |= {solver.offset for solver in stage.living()}
    stage.books.gates |= stage.ground.lying("running", "pending")
    stage.ground.gate.write_text("for a moment\n")
    stage.moment(draw)
    stage.ground.gate.unlink(missing_ok=True)
    return True


def read_only(stage: Stage, draw: Random) -> bool:
    """A directory takes no new name for a while."""
    if not stage.ground.plan.tiny:
        return False  # what is left when we are killed must go away with the namespace
    path = draw.choice([stage.ground.run, *(stage.ground.queue / state for state in STATES)])
    began = time.monotonic_ns()
    stage.strike_all("read-only")
    if not set_read_only(path, True):
        return False
    stage.unsound += 1

    def again() -> bool:
        with stage.sound_again("read-only", began):
            set_read_only(path, False)
        return True

    stage.later(again, draw.randint(0, 2))
    return True


def set_read_only(path: Path, wanted: bool) -> bool:
    """Make a directory immutable, which binds root, too; False when it cannot be done here."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (now,) = struct.unpack("l", fcntl.ioctl(fd, _GETFLAGS, struct.pack("l", 0)))
        new = now | _IMMUTABLE if wanted else now & ~_IMMUTABLE
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("l", new))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EPERM, errno.EOPNOTSUPP):
            raise
        return False
    finally:
        os.close(fd)
    return True


def disk_full(stage: Stage, draw: Random) -> bool:
    """The queue's disk is full for a while."""
    if not stage.ground.plan.tiny or stage.unsound:
        return False
    ballast = stage.ground.project / f"ballast{draw.random()}"
    stage.unsound += 1
    began = time.monotonic_ns()
    stage.strike_all("disk full")
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass

    def again() -> bool:
        with stage.sound_again("disk full", began):
            ballast.unlink(missing_ok=True)
        return True

    stage.later(again, draw.randint(0, 2))
    return True


KINDS = [
    Kind("job file spoilt", 3, job_spoilt),
    Kind("job file CRLF", 1, job_crlf),
    Kind("job file copied", 2, job_copied),
    Kind("owner file spoilt", 4, owner_spoilt),
    Kind("process id reused", 3, process_id_reused),
    Kind("state file spoilt", 3, state_spoilt),
    Kind("env file spoilt", 1, env_spoilt),
    Kind("stray file", 2, stray_file),
    Kind("file times shifted", 2, times_shifted),
    Kind("stop gate", 3, gate),
    Kind("stop gate by hand", 2, gate_by_hand),
    Kind("read-only directory", 3, read_only),
    Kind("disk full", 3, disk_full),
]
