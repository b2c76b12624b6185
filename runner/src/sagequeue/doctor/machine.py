"""Checks of the machine and of what root gives a user."""

import os
import re
import shutil
import stat
from collections.abc import Iterator

from sagequeue.container import said
from sagequeue.doctor.finding import Finding, fail, ok, warn
from sagequeue.doctor.patient import Patient, ask

_IDS = 65536
_OLDEST_PODMAN = (4, 3)
# pasta is the network of rootless containers from here on, slirp4netns before.
_PASTA_PODMAN = (5, 0)
_LOST = {
    "memory": "nothing limits or counts a worker's memory",
    "pids": "nothing limits a container's processes",
}


def systemd(patient: Patient) -> Iterator[Finding]:
    """PID 1 is systemd."""
    if patient.booted:
        if patient.systemd:
            yield ok("systemd is PID 1")
    elif patient.systemd:
        yield fail("systemd is not PID 1, so no `systemd --user` keeps workers alive", patient.play)
    elif patient.config is None:
        yield warn(
            "systemd is not PID 1: workers would run in embedded mode, which does not come back "
            "after a reboot",
            f"{patient.play} -e sagequeue_mode=embedded",
        )


def session(patient: Patient) -> Iterator[Finding]:
    """The shell finds the user's systemd."""
    if not (patient.systemd and patient.booted):
        return
    if patient.session:
        yield ok("XDG_RUNTIME_DIR is set")
    else:
        yield warn(
            "XDG_RUNTIME_DIR is not set in this shell (su, cron), so that `systemctl --user` and "
            "podman do not find what is the user's",
            "export XDG_RUNTIME_DIR=/run/user/$(id -u)",
        )


def user_bus(patient: Patient) -> Iterator[Finding]:
    """The user's systemd answers on the user's bus."""
    if not (patient.systemd and patient.booted):
        return
    peer = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.DBus.Peer"]
    answer = ask(["busctl", "--user", "--timeout=10", "call", *peer, "Ping"])
    if answer.returncode == 0:
        yield ok("the user's systemd answers on the user's bus")
    elif ask(["systemctl", "--user", "show", "--property=Version"]).returncode == 0:
        # systemctl has a way of its own to the manager.
        yield fail(
            f"the user's bus is away: {said(answer)}", "systemctl --user restart dbus.socket"
        )
    else:
        yield fail(
            f"the user's systemd does not answer: {said(answer)}. To start it anew ends the cases "
            "at hand, if there are any",
            f"sudo systemctl restart user@{os.getuid()}",
        )


def linger(patient: Patient) -> Iterator[Finding]:
    """The user's services outlive the login."""
    if not (patient.systemd and patient.booted):
        return
    if patient.path(f"var/lib/systemd/linger/{patient.user}").exists():
        yield ok("the user's services outlive the login, and start with the machine")
    else:
        yield fail(
            "with the last logout the workers end, and they do not start with the machine",
            f"sudo loginctl enable-linger {patient.user}",
        )


def subordinate_ids(patient: Patient) -> Iterator[Finding]:
    """The user has ids for a container's users."""
    if not patient.podman:
        return
    options = {"subuid": "--add-subuids", "subgid": "--add-subgids"}
    texts = {name: patient.text(f"etc/{name}") for name in options}
    mine = rf"(?m)^(?:{re.escape(patient.user)}|{os.getuid()}):[0-9]+:([0-9]+)\s*$"
    missing = [
        name
        for name, text in texts.items()
        if max((int(size) for size in re.findall(mine, text)), default=0) < _IDS
    ]
    if not missing:
        yield ok("the user has ranges in /etc/subuid and /etc/subgid")
        return
    words = []
    for name in missing:
        ranges = re.findall(r"(?m)^[^:]*:([0-9]+):([0-9]+)\s*$", texts[name])
        # Behind every range that is given to somebody.
        first = max((int(start) + int(size) for start, size in ranges), default=100000)
        words.append(f"{options[name]} {first}-{first + _IDS - 1}")
    yield fail(
        f"{patient.user} has no range of {_IDS} ids in /etc/" + " and /etc/".join(missing),
        f"sudo usermod {' '.join(words)} {patient.user}",
    )


def uidmap(patient: Patient) -> Iterator[Finding]:
    """Those ids may be mapped by newuidmap and newgidmap."""
    if not patient.podman:
        return
    for name in ("newuidmap", "newgidmap"):
        path = shutil.which(name)
        if path is None:
            yield fail(f"{name} is not installed", "sudo apt-get install uidmap")
        elif not os.stat(path).st_mode & stat.S_ISUID and not _capable(path):
            yield fail(
                f"{path} has neither the setuid bit nor capabilities",
                "sudo apt-get install --reinstall uidmap",
            )
        else:
            yield ok(f"{path} may map ids")


def _capable(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def delegation(patient: Patient) -> Iterator[Finding]:
    """The kernel's controllers are handed down to the user's services."""
    if not (patient.podman and patient.booted):
        return
    advice, remedy = _unify(patient)
    whole = "sys/fs/cgroup/cgroup.controllers"
    if not patient.path(whole).exists():
        yield fail(
            "this machine has control groups of version 1, and rootless containers need version 2; "
            + advice,
            remedy,
        )
        return
    uid = os.getuid()
    manager = f"sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"
    if not patient.path(manager).exists():
        return  # the user's systemd is away, which another check says
    there, mine = patient.text(whole).split(), patient.text(manager).split()
    for name, lost in _LOST.items():
        if name in mine:
            yield ok(f"the user's systemd has the controller {name}")
        elif name in there:
            yield warn(f"the user's systemd has not the controller {name}: {lost}", patient.play)
        else:
            yield warn(
                f"version 2 of this machine's control groups has no controller {name}: {lost}; "
                + advice,
                remedy,
            )


def _unify(patient: Patient) -> tuple[str, str]:
    """What gives version 2 all controllers: in words, and as a command where it is known."""
    if patient.wsl:
        line = "kernelCommandLine = cgroup_no_v1=all"
        return f"put {line} below [wsl2] in .wslconfig, and after that `wsl.exe --shutdown`", ""
    option = "systemd.unified_cgroup_hierarchy=1"
    if patient.path("etc/default/grub").exists():
        edit = f"""sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&{option} /' /etc/default/grub"""
        return f"{option} on the kernel's command line counts after a restart", (
            f"{edit} && sudo update-grub"
        )
    return f"the kernel's command line, in a container its host's, needs {option}", ""


def podman(patient: Patient) -> Iterator[Finding]:
    """Podman is there, and new enough."""
    if not patient.podman:
        return
    found = _podman()
    if found is None:
        yield fail("podman is not installed", patient.play)
        return
    text = ".".join(map(str, found))
    if found < _OLDEST_PODMAN:
        yield fail(
            f"Podman {text} is too old: 4.3 is the least; a newer release of the system has it",
            "apt-cache policy podman",
        )
    else:
        yield ok(f"Podman {text}")


def _podman() -> tuple[int, ...] | None:
    if shutil.which("podman") is None:
        return None
    answer = ask(["podman", "--version"])
    match = re.search(r"([0-9]+)\.([0-9]+)", answer.stdout)
    if match is None:
        raise RuntimeError(f"`podman --version` said: {said(answer)}")
    return tuple(map(int, match.groups()))


def network(patient: Patient) -> Iterator[Finding]:
    """The program is there that gives containers a network."""
    if not patient.podman or (found := _podman()) is None:
        return
    new = found >= _PASTA_PODMAN
    program, package = ("pasta", "passt") if new else ("slirp4netns", "slirp4netns")
    if shutil.which(program):
        yield ok(f"the container's network is {program}'s")
    else:
        yield fail(f"{program} is not installed", f"sudo apt-get install {package}")


def storage(patient: Patient) -> Iterator[Finding]:
    """Podman overlays the layers of images."""
    if not patient.podman or _podman() is None:
        return
    answer = ask(["podman", "info", "--format={{.Store.GraphDriverName}}"])
    driver = answer.stdout.strip()
    if answer.returncode != 0:
        yield fail(f"podman does not work: {said(answer)}", "podman info")
    elif driver == "vfs":
        yield warn(
            "Podman's storage has the driver vfs: every container is a copy of its whole image. "
            "Made anew it overlays; this removes every image and container of yours",
            f"podman system reset && {patient.play}",
        )
    else:
        yield ok(f"Podman's storage has the driver {driver}")


CHECKS = (
    systemd,
    session,
    user_bus,
    linger,
    subordinate_ids,
    uidmap,
    delegation,
    podman,
    network,
    storage,
)
