"""Checks of disks, filesystems, processors and memory, and of what Windows does with WSL."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from sagequeue import config as configuration
from sagequeue.config import Config
from sagequeue.doctor.finding import Finding, fail, ok, warn
from sagequeue.doctor.patient import Patient, ask, quoted
from sagequeue.exceptions import ConfigError
from sagequeue.owner import held

_MIB, _GIB = 2**20, 2**30
_FEW_BYTES, _HARDLY_ANY_BYTES = _GIB, 100 * _MIB
_FEW_FILES, _HARDLY_ANY_FILES = 10_000, 1_000
# Renames or locks do not hold there, or nobody has seen that they do.
_FOREIGN = ("9p", "drvfs", "virtiofs", "vboxsf", "vmhgfs", "cifs", "smb", "nfs", "ceph", "fuse")
_FLEETING = ("tmpfs", "ramfs")
# What a worker and a Sage with nothing to do take.
_LEAST_MEMORY = _GIB // 2
_DRIFT = 10.0  # seconds


def disk(patient: Patient) -> Iterator[Finding]:
    """There is space for queue, logs, notebooks and images."""
    seen = set()
    for what, path in _places(patient).items():
        there = _nearest(path)
        if (device := os.stat(there).st_dev) in seen:
            continue
        seen.add(device)
        status = os.statvfs(there)
        free, files = status.f_bavail * status.f_frsize, status.f_favail
        counted = status.f_files > 0  # not every filesystem counts them
        cause = f"{what}, {path}: {_size(free)} free"
        if counted:
            cause += f", and room for {files} files"
        look = f"du -xh --max-depth=2 {quoted(there)} | sort -h | tail"
        if free < _HARDLY_ANY_BYTES or (counted and files < _HARDLY_ANY_FILES):
            yield fail(f"{cause}; see what takes it, and make space", look)
        elif free < _FEW_BYTES or (counted and files < _FEW_FILES):
            yield warn(f"{cause}; see what takes it, and make space", look)
        else:
            yield ok(cause)


def _places(patient: Patient) -> dict[str, Path]:
    places: dict[str, Path] = {}
    if settings := patient.config:
        places["queue"] = settings.queue_dir
        places["logs"] = settings.log_dir
        places["notebooks"] = settings.stop_file_host.parent
    if patient.podman:
        places["Podman's storage"] = Path.home() / ".local/share/containers/storage"
    return places or {"home": Path.home()}


def _nearest(path: Path) -> Path:
    """The path, or the lowest directory above it that is there."""
    real = Path(os.path.realpath(path))
    return next(there for there in (real, *real.parents) if there.exists())


def _size(number: int) -> str:
    return f"{number / _GIB:.1f} GiB" if number >= _GIB else f"{number // _MIB} MiB"


def filesystem(patient: Patient) -> Iterator[Finding]:
    """Queue and notebooks lie on a local filesystem."""
    if (settings := patient.config) is None:
        return
    places = {
        "sagequeue_var_dir": ("the queue", settings.queue_dir),
        "sagequeue_notebooks_dir": ("the notebooks directory", settings.stop_file_host.parent),
    }
    for key, (what, path) in places.items():
        kind = _kind(patient, path)
        advice = f"set {key} in group_vars/all/my.yml to a directory elsewhere, then"
        if kind.startswith(_FOREIGN):
            yield fail(
                f"{what} {path} lies on {kind}: renames or locks may not hold; {advice}",
                patient.play,
            )
        elif kind in _FLEETING:
            yield warn(
                f"{what} {path} lies on {kind}: it ends with the machine; {advice}", patient.play
            )
        else:
            yield ok(f"{what} lies on {kind}")


def _kind(patient: Patient, path: Path) -> str:
    """The type of the filesystem, by proc(5)'s mountinfo."""
    real = os.path.realpath(path)
    best, kind = "", "a filesystem of unknown type"
    for line in patient.text("proc/self/mountinfo").splitlines():
        fields = line.split()
        # Blanks and the like are written as octal numbers.
        point = fields[4].encode().decode("unicode_escape")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        # Of two mounts at one place, the later is seen.
        if inside and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind


def cores(patient: Patient) -> Iterator[Finding]:
    """No more solver threads than processors."""
    if (settings := patient.config) is None:
        return
    there = len(os.sched_getaffinity(0))
    wanted = {settings.jobset: settings.workers * settings.threads}
    for other in _others(settings):
        alive = sum(held(path) for path in other.run_dir.glob("worker-*.lock"))
        if alive:
            wanted[other.jobset] = alive * other.threads
    total = sum(wanted.values())
    shares = ", ".join(f"{name} {threads}" for name, threads in wanted.items())
    if total <= there:
        yield ok(f"{total} solver threads on {there} cores")
        return
    yield warn(
        f"{total} solver threads ({shares}) share {there} cores: each case takes longer; "
        f"set workers of {settings.jobset} to fewer in its record (group_vars/all), then",
        patient.play,
    )


def _others(settings: Config) -> Iterator[Config]:
    for path in configuration.env_files():
        try:
            other = configuration.load(path, {})
        except ConfigError:
            continue  # another check says so
        if other.jobset != settings.jobset:
            yield other


def memory(patient: Patient) -> Iterator[Finding]:
    """Memory for all workers."""
    if (settings := patient.config) is None:
        return
    total = _usable(patient)
    largest = max((_resident(solver.pid) for solver in patient.solvers), default=0)
    each = max(largest, _LEAST_MEMORY)
    cause = f"{settings.workers} workers of {_size(each)} each, of {_size(total)}"
    if settings.workers * each <= total:
        yield ok(cause)
        return
    yield warn(
        f"{cause}: the kernel ends what takes too much; set workers of {settings.jobset} in its "
        f"record (group_vars/all) to {max(1, total // each)}, then",
        patient.play,
    )


def _usable(patient: Patient) -> int:
    """What all solvers may have together, in bytes: the machine's memory, or the container's."""
    total = psutil.virtual_memory().total
    command = ["systemctl", "--user", "show", "--property=MemoryMax", "--value"]
    try:
        limit = ask([*command, "sagequeue-container.service"]).stdout.strip()
    except OSError:
        return total
    return min(total, int(limit)) if patient.podman and limit.isdigit() else total


def _resident(pid: int) -> int:
    """What a solver and its children have in memory, in bytes."""
    try:
        process = psutil.Process(pid)
        return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


def wsl_keep_alive(patient: Patient) -> Iterator[Finding]:
    """Windows leaves this distribution running."""
    if not patient.wsl:
        return
    setting = re.compile(r"(?mi)^\s*instanceIdleTimeout\s*=\s*-1\s*$")
    users = [
        path
        for path in sorted(patient.path("mnt/c/Users").glob("*"))
        if path.name not in ("All Users", "Default", "Default User", "Public", "desktop.ini")
    ]
    files = [path / ".wslconfig" for path in users]
    if any(setting.search(patient.text(str(path.relative_to(patient.root)))) for path in files):
        yield ok("Windows leaves this distribution running when its last terminal closes")
        return
    file = files[0] if len(files) == 1 else "/mnt/c/Users/YOU/.wslconfig"
    yield warn(
        "Windows stops this distribution, and what it solves, when its last terminal closes; a "
        "new setting counts after the next `wsl.exe --shutdown` (docs/wsl.md)",
        f"{patient.play} -e sagequeue_wslconfig={quoted(file)}",
    )


def clock(patient: Patient) -> Iterator[Finding]:
    """The clock did not stay behind while the computer slept."""
    if not patient.wsl:
        return
    text = patient.text("sys/class/rtc/rtc0/since_epoch").strip()
    if not text.isdigit():
        return  # there is nothing to compare with
    drift = time.time() - int(text)
    if abs(drift) <= _DRIFT:
        yield ok("the clock agrees with the computer's")
    else:
        yield warn(
            f"the clock is {abs(drift):.0f} s {'behind' if drift < 0 else 'ahead of'} the "
            "computer's; the times in logs are wrong, and nothing else",
            "sudo hwclock --hctosys",
        )


CHECKS = (disk, filesystem, cores, memory, wsl_keep_alive, clock)
