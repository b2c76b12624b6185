"""Which solvers of a jobset run on this machine, whoever started them.

A rootless container's processes are processes of the host, too, so one list has them all. It is
read from /proc, where nothing can be hidden or forgotten; the queue is not asked.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from sagequeue.config import Config
from sagequeue.jobs import job_name

# They hand the solver's arguments on, and are none themselves.
_CARRIERS = ("podman", "conmon", "setsid", "systemd-run", "docker", "sudo", "timeout")
_SHELLS = ("sh", "bash", "dash")
_WRAPPER = "sagequeue-wrapper"


@dataclass(frozen=True)
class Solver:
    """One solver: its process id on the host, its offset, whether the runner's wrapper started it.

    `seconds` is how long it has been running.
    """

    pid: int
    offset: int
    ours: bool
    seconds: float


def solvers(config: Config) -> list[Solver]:
    """Every solver of the jobset, by offset; a process and its descendants count as one."""
    found: dict[int, tuple[psutil.Process, int]] = {}
    for process in psutil.process_iter():
        try:
            offset = _offset(config, process.name(), process.cmdline())
        except psutil.Error:
            continue  # it ended, or is nobody's business
        if offset is not None:
            found[process.pid] = process, offset
    listed = []
    for process, offset in found.values():
        try:
            parents = process.parents()
            if any(parent.pid in found for parent in parents):
                continue
            mine = str(config.run_dir / f"{job_name(config.jobset, offset)}.lock")
            mark = _mark(process, parents)
            if mark is not None and os.path.basename(mark) != os.path.basename(mine):
                continue  # another jobset's, with the same script and more arguments
            age = psutil.boot_time() + _uptime() - process.create_time()
            listed.append(Solver(process.pid, offset, mark == mine, max(0.0, age)))
        except psutil.Error:
            continue
    return sorted(listed, key=lambda solver: (solver.offset, solver.pid))


def kill(ended: Sequence[Solver]) -> str:
    """The command that ends them: a container's user is another of this machine's, and podman's."""
    owners = set()
    for solver in ended:
        with suppress(psutil.Error):  # it ended meanwhile
            owners.add(psutil.Process(solver.pid).uids().real)
    command = "kill"
    if os.getuid() != 0 and not owners <= {os.getuid()}:
        command = "sudo kill" if 0 in owners else "podman unshare kill"
    return f"{command} {' '.join(str(solver.pid) for solver in ended)}"


def _uptime() -> float:
    """Seconds since boot: `create_time` is boot time and as many, so the wall clock is left out."""
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0])


def _offset(config: Config, name: str, argv: list[str]) -> int | None:
    """The offset of the solver with that command line; None for other programs."""
    if name in _CARRIERS or _WRAPPER in argv:
        return None
    if name in _SHELLS and "-c" in argv:
        return None  # what the shell starts is the solver
    words = [word for argument in argv for word in argument.split("=", 1)]
    offset, stride = _after(words, "--offset"), _after(words, "--stride")
    if offset is None or stride != config.stride or not set(config.sage_base_args) <= set(argv):
        return None
    script = os.path.basename(config.script)
    link = f".{job_name(config.jobset, offset)}.sage.py"
    mine = {script, f"{script}.py", link}
    return offset if any(os.path.basename(word) in mine for word in argv) else None


def _after(words: list[str], option: str) -> int | None:
    if option not in words[:-1]:
        return None
    value = words[words.index(option) + 1]
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def _mark(process: psutil.Process, parents: list[psutil.Process]) -> str | None:
    """The lock file of the job that the runner started it for, None when it did not."""
    try:
        if mark := process.environ().get("SAGEQUEUE_JOB"):
            return mark
    except psutil.Error:
        pass  # another user's; its parents tell
    for parent in parents:
        argv = parent.cmdline()
        if _WRAPPER in argv[:-1]:
            return argv[argv.index(_WRAPPER) + 1]
    return None
