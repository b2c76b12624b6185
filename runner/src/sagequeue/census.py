"""Which solvers of a jobset run on this machine, whoever started them.

A rootless container's processes are processes of the host, too, so one list has them all. It is
read from /proc, where nothing can be hidden or forgotten; the queue is not asked.
"""

import os
from dataclasses import dataclass

import psutil

from sagequeue.config import Config
from sagequeue.jobs import job_name

# They hand the solver's arguments on, and are none themselves.
_CARRIERS = ("podman", "conmon", "setsid", "systemd-run", "docker")


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
    """Every solver of the jobset, by offset; a process and its children count as one."""
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
            if process.ppid() in found:
                continue
            ours = _is_ours(config, process, offset)
            age = psutil.boot_time() + _now() - process.create_time()
            listed.append(Solver(process.pid, offset, ours, max(0.0, age)))
        except psutil.Error:
            continue
    return sorted(listed, key=lambda solver: (solver.offset, solver.pid))


def _now() -> float:
    """Seconds since boot: `create_time` is boot time and as many, so the wall clock is left out."""
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0])


def _offset(config: Config, name: str, argv: list[str]) -> int | None:
    """The offset of the solver with that command line; None for other programs."""
    if name in _CARRIERS or "sagequeue-wrapper" in argv:
        return None
    if name in ("sh", "bash", "dash") and "-c" in argv[1:3] + argv[:1]:
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


def _is_ours(config: Config, process: psutil.Process, offset: int) -> bool:
    mark = str(config.run_dir / f"{job_name(config.jobset, offset)}.lock")
    try:
        if process.environ().get("SAGEQUEUE_JOB") == mark:
            return True
    except psutil.Error:
        pass  # another user's; its parents tell
    return any("sagequeue-wrapper" in parent.cmdline() for parent in process.parents())
