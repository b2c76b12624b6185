"""What still runs here of the shell project, whose queues are taken over as they lie.

Its workers and solvers hold no lock, and its recovery takes every owner but its own workers for
dead. So while one of them works on a queue, nothing of ours may start there, and a running job
without a record of ours is theirs. Only the list of processes tells of them.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sagequeue.config import Config
from sagequeue.exceptions import Busy
from sagequeue.jobs import JobState
from sagequeue.spool import Spool

_SCRIPTS = ("sagequeue-worker.sh", "sagequeue-recover.sh")
_UNIT_SCRIPTS = (*_SCRIPTS, "sagequeue-ensure-container.sh")
_SHELLS = ("bash", "dash", "sh")
_TIMER = "sagequeue-recover.timer"
_UNIT = re.compile(r"/(sagequeue[^/\n]*\.service)")


@dataclass(frozen=True)
class Script:
    """A process of the shell project; `unit` is the user's service that it is of, or empty."""

    pid: int
    unit: str


def scripts(pending: Path | None = None) -> list[Script]:
    """The processes that run its worker or its recovery: on that queue, or of this user's home."""
    parents = {int(n): _parent(n) for n in os.listdir("/proc") if n.isdigit() and _runs_script(n)}
    return [
        Script(pid, _unit(pid))
        for pid, parent in sorted(parents.items())
        # A subshell has its parent's command line.
        if parent not in parents and _concerns(pid, pending)
    ]


def units() -> list[str]:
    """Its units, if any is up: those, and those that start with the machine.

    Without a process of its own such a unit, the container's say, still stands in the way of ours
    of the same name: systemd would take it for started.
    """
    directory = _unit_directory()

    def is_its(unit: str) -> bool:
        # A template's instance, or a timer, which is of the service that it starts.
        name = re.sub(r"@[^.]*\.", "@.", unit).replace(".timer", ".service")
        try:
            text = (directory / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return any(script in text for script in _UNIT_SCRIPTS)

    if not any(is_its(path.name) for path in directory.glob("sagequeue*.service")):
        return []
    query = ["systemctl", "--user", "list-units", "--plain", "--no-legend"]
    with contextlib.suppress(FileNotFoundError):
        answer = subprocess.run(
            [*query, "--state=active,activating", "sagequeue*"],
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        up = [line.split()[0] for line in answer.stdout.splitlines() if line.strip()]
        if its := list(filter(is_its, up)):
            linked = (path.name for path in directory.glob("*.target.wants/sagequeue*"))
            return [*its, *filter(is_its, linked)]
    return []


def commands(config: Config) -> list[str]:
    """The commands that end what of it works on the jobset; none when nothing does."""
    from sagequeue import census  # and psutil, which a worker has no other use for

    foreign = [solver.pid for solver in census.solvers(config) if not solver.ours]
    return ending(scripts(config.pending_dir), foreign)


def ending(found: Sequence[Script], solvers: Sequence[int], up: Sequence[str] = ()) -> list[str]:
    """The commands that end these, in the order in which they are to be typed."""
    named = sorted({*up, *(script.unit for script in found if script.unit)})
    # The timer would start its recovery, which would take our jobs for orphans.
    if named and (_unit_directory() / _TIMER).exists() and _TIMER not in named:
        named.append(_TIMER)
    by_hand = [script.pid for script in found if not script.unit]
    mine = [pid for pid in solvers if _uid(pid) == os.getuid()]
    typed = (
        ("systemctl --user disable --now", named),
        # TERM would have a worker put the job that it is at into failed/.
        ("kill -KILL", by_hand),
        ("kill", mine),
        # In a rootless container they are another user's.
        ("podman unshare kill", [pid for pid in solvers if pid not in mine]),
    )
    return [f"{verb} {' '.join(dict.fromkeys(map(str, what)))}" for verb, what in typed if what]


def refuse(spool: Spool) -> None:
    """Busy while it works on the queue. Its solvers are asked for when a job could be theirs."""
    config = spool.config
    names = spool.names(JobState.RUNNING)
    if any(not spool.result_file(name).exists() for name in names):
        end = commands(config)
    else:
        end = ending(scripts(config.pending_dir), ())
    if end:
        raise Busy(sentence(config.jobset, end))


def sentence(what: str, end: Sequence[str]) -> str:
    """Says that it is at work, and how to end it."""
    typed = "".join(f"\n  {command}" for command in end)
    return f"{what}: the shell project is at work, and holds no lock. End it first:{typed}"


def _unit_directory() -> Path:
    return Path.home() / ".config" / "systemd" / "user"


def _runs_script(number: str) -> bool:
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            argv = os.fsdecode(file.read()).split("\0")
        mine = _uid(int(number)) == os.getuid()
    except OSError:
        return False  # it ended
    words = argv[1:] if os.path.basename(argv[0]) in _SHELLS else argv
    script = next((word for word in words if not word.startswith("-")), "")
    return mine and os.path.basename(script) in _SCRIPTS


def _parent(number: str) -> int:
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def _concerns(pid: int, pending: Path | None) -> bool:
    """By a directory in its environment; without a queue there, its scripts do nothing."""
    try:
        variables = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
    except OSError:
        # One that cannot be read may be of this queue. One that ended meanwhile is of none: Linux
        # gives its empty command line, but no environment any more.
        return _runs_script(str(pid))
    theirs = dict(variable.partition("=")[::2] for variable in variables)
    if pending is None:
        return os.path.realpath(theirs.get("HOME", Path.home())) == os.path.realpath(Path.home())
    queue = theirs.get("PENDING_DIR")
    return queue is not None and os.path.realpath(queue) == os.path.realpath(pending)


def _unit(pid: int) -> str:
    try:
        match = _UNIT.search(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    except OSError:
        return ""
    return match[1] if match else ""


def _uid(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return os.getuid()
