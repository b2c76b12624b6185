"""What Podman says of the container, its image and its users. It only looks.

Whether a solver can be started is `runtime`'s question; this is for people who ask.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Any

from sagequeue.exceptions import SagequeueError

# The user that everything in the container runs as.
USER = 1000
JUPYTER_PORT = 8888
_SETTINGS = "sagequeue.settings"
_ABSENT = re.compile(r"no such|not known")


@dataclass(frozen=True)
class Container:
    """A container as Podman has it; `mounts` is source by target.

    `settings` is what it was started with, in a word, empty for one that is not ours. `started_at`
    is as Podman writes it.
    """

    running: bool
    id: str
    image_id: str
    settings: str
    mounts: dict[str, str]
    started_at: str


def environment() -> dict[str, str]:
    """What podman is run with: with the user's runtime directory, which `su` forgets."""
    directory = f"/run/user/{os.getuid()}"
    known = {"XDG_RUNTIME_DIR": directory} if os.path.isdir(directory) else {}
    return {**known, **os.environ}


def podman(*arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run `podman` and give its answer, whatever its exit status; `timeout` is seconds.

    Raises SagequeueError when there is no podman, or when it does not answer.
    """
    try:
        return subprocess.run(
            ["podman", *arguments], check=False, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, env=environment(), timeout=timeout,
        )  # fmt: skip
    except FileNotFoundError:
        raise SagequeueError(
            "podman is not installed; `sudo apt install podman`, or "
            "`ansible-playbook site.yml -e jobset=NAME`, which sets up all that it needs"
        ) from None
    except subprocess.TimeoutExpired:
        raise SagequeueError(
            f"podman did not answer within {timeout:.0f} s; when `podman ps` does, try again"
        ) from None


def said(answer: subprocess.CompletedProcess[str]) -> str:
    """The last line of what a failed command complained of."""
    lines = answer.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {answer.returncode}"


def _unreadable(command: str, answer: subprocess.CompletedProcess[str]) -> SagequeueError:
    """The error for an answer that is none; how it begins, for somebody to look at."""
    return SagequeueError(f"podman {command} answers what is no answer: {answer.stdout[:80]!r}")


def _inspect(kind: str, name: str) -> dict[str, Any] | None:
    answer = podman(kind, "inspect", name)
    if answer.returncode == 0:
        try:
            return dict(json.loads(answer.stdout)[0])
        except (ValueError, LookupError, TypeError, RecursionError):
            raise _unreadable(f"{kind} inspect", answer) from None
    if _ABSENT.search(answer.stderr):
        return None
    raise SagequeueError(f"podman cannot tell of the {kind} {name}: {said(answer)}")


def inspect(service: str) -> Container | None:
    """The container of that name, or None when there is none."""
    found = _inspect("container", service)
    if found is None:
        return None
    try:
        state, mounts = found["State"], found["Mounts"]
        return Container(
            running=bool(state["Running"]),
            id=str(found["Id"]),
            image_id=str(found["Image"]),
            settings=str((found["Config"].get("Labels") or {}).get(_SETTINGS, "")),
            mounts={str(mount["Destination"]): str(mount["Source"]) for mount in mounts},
            started_at=str(state["StartedAt"]),
        )
    except (LookupError, TypeError, AttributeError):
        raise SagequeueError(f"podman tells of the container {service} in no form known") from None


def image_id(name: str) -> str | None:
    """The id of the image of that name, None when there is none."""
    found = _inspect("image", name)
    return None if found is None else str(found.get("Id"))


def run(service: str, *argv: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a command in the container and give its answer."""
    return podman("exec", service, *argv, timeout=timeout)


def published(service: str, port: int) -> str | None:
    """Where of this machine that port of the running container is (`127.0.0.1:8888`), or None."""
    answer = podman("port", service, f"{port}/tcp")
    addresses = answer.stdout.split() if answer.returncode == 0 else []
    return addresses[0] if addresses else None


def mapped_ids() -> tuple[int, int]:
    """User and group id of this machine that the container's 1000:1000 is.

    By the user namespace that Podman has, not by a rule of thumb.
    """
    if os.getuid() == 0:
        return USER, USER  # root's containers have the machine's ids
    answer = podman("unshare", "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    if answer.returncode != 0:
        raise SagequeueError(f"podman cannot make a user namespace: {said(answer)}")
    # Both maps begin at 0, so the second begins where the inner ids go back to it.
    maps: list[list[tuple[int, int, int]]] = []
    try:
        for line in answer.stdout.splitlines():
            inner, outer, count = (int(number) for number in line.split())
            if inner == 0:
                maps.append([])
            maps[-1].append((inner, outer, count))
        users, groups = maps
    except (ValueError, LookupError):
        raise _unreadable("unshare", answer) from None
    return _mapped(users), _mapped(groups)


def _mapped(ranges: list[tuple[int, int, int]]) -> int:
    for inner, outer, count in ranges:
        if inner <= USER < inner + count:
            return outer + USER - inner
    raise SagequeueError(
        f"no id of /etc/subuid and /etc/subgid is mapped to the container's {USER}; "
        "`ansible-playbook site.yml -e jobset=NAME` adds what is missing, then `podman system "
        "migrate` once no container runs"
    )
