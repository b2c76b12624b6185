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


def _inspect(kind: str, name: str) -> dict[str, Any] | None:
    answer = podman(kind, "inspect", name)
    if answer.returncode == 0:
        found: dict[str, Any] = json.loads(answer.stdout)[0]
        return found
    if _ABSENT.search(answer.stderr):
        return None
    raise SagequeueError(f"podman cannot tell of the {kind} {name}: {said(answer)}")


def inspect(service: str) -> Container | None:
    """The container of that name, or None when there is none."""
    found = _inspect("container", service)
    if found is None:
        return None
    state, mounts = found["State"], found["Mounts"]
    return Container(
        running=state["Running"],
        id=found["Id"],
        image_id=found["Image"],
        settings=(found["Config"].get("Labels") or {}).get(_SETTINGS, ""),
        mounts={mount["Destination"]: mount["Source"] for mount in mounts},
        started_at=state["StartedAt"],
    )


def image_id(name: str) -> str | None:
    """The id of the image of that name, None when there is none."""
    found = _inspect("image", name)
    return None if found is None else str(found["Id"])


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
    for line in answer.stdout.splitlines():
        inner, outer, count = (int(number) for number in line.split())
        if inner == 0:
            maps.append([])
        maps[-1].append((inner, outer, count))
    uid, gid = (_mapped(one) for one in maps)
    return uid, gid


def _mapped(ranges: list[tuple[int, int, int]]) -> int:
    for inner, outer, count in ranges:
        if inner <= USER < inner + count:
            return outer + USER - inner
    raise SagequeueError(
        f"no id of /etc/subuid and /etc/subgid is mapped to the container's {USER}; "
        "`ansible-playbook site.yml -e jobset=NAME` adds what is missing, then `podman system "
        "migrate` once no container runs"
    )
