"""The processes that hold a job's lock by a descriptor that they inherited: what a solver started.

A process that left the solver's session and gave up its environment holds the lock all the same,
unless it closed the descriptor. When the execution has ended, it keeps its job from being settled.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from sagequeue.jobs import printable

_SCRIPTS = resources.files("sagequeue") / "scripts"
SCRIPT = "".join((_SCRIPTS / name).read_text() for name in ("session.sh", "holders.sh"))
_LINE = re.compile(r"([0-9]+):([0-9]+) (.*)")
# Seconds beyond the grace after which the script is given up.
_MARGIN = 60.0


@dataclass(frozen=True)
class Holder:
    """A process by its number where it runs and its start in clock ticks since boot.

    `container` is the container that it runs in, empty for one of the host.
    """

    pid: int
    start: int
    name: str
    container: str = ""

    def __str__(self) -> str:
        where = f" in the container {self.container}" if self.container else ""
        return f"process {self.pid} ({self.name}){where}"


def told(found: Sequence[Holder]) -> str:
    """Which processes hold a lock, as the subject of a sentence."""
    return ", ".join(map(str, found)) or "a process that cannot be seen from here"


def ask(
    before: Sequence[str], lock: Path, grace: int, ended: Iterable[Holder], container: str = ""
) -> list[Holder]:
    """The holders of the lock that are left when those of `ended` were ended, by the script.

    `before` is the command that runs the script elsewhere, `grace` is seconds. Empty if the script
    cannot be run.
    """
    named = [f"{h.pid}:{h.start}" for h in ended if h.container == container]
    script = ["sh", "-c", SCRIPT, "sagequeue-holders", str(grace), *named]
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return []
    try:
        answer = subprocess.run(
            ["sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh", *before, *script],
            stdin=fd, capture_output=True, check=False, start_new_session=True,
            timeout=grace + _MARGIN,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    finally:
        os.close(fd)
    lines = answer.stdout.decode("utf-8", errors="replace").splitlines()
    matches = filter(None, map(_LINE.fullmatch, lines))
    return [Holder(int(m[1]), int(m[2]), printable(m[3]), container) for m in matches]
