"""What a tag of ops.yml costs over the command it calls, and over a play that does nothing.

`python bench/ops.py [TAG ...]` sets up the embedded mode in a directory of its own and prints a
table; with `--here` it asks the machine as it is set up, where only looking tags are tried unless
others are named. README.md says what the rows mean.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
# Tag, what it is given, and the runner's verb that does the same; without one it is the roles'.
LOOKING: dict[str, tuple[list[str], list[str]]] = {
    "print_config": ([], ["config"]),
    "check": ([], ["doctor"]),
    "status": ([], ["status"]),
    "progress": ([], ["progress"]),
    "logs": ([], ["logs"]),
    "journal": ([], ["journal"]),
    "diag": ([], ["diag"]),
}
CONTAINERS: dict[str, tuple[list[str], list[str]]] = {
    "jupyter_url": ([], ["jupyter-url"]),
    "mapped_ids": ([], ["mapped-ids"]),
}
# In an order in which each has something to do.
ACTING: dict[str, tuple[list[str], list[str]]] = {
    "setup": ([], []),
    "env": ([], []),
    "install_units": ([], []),
    "request_stop": ([], ["request-stop"]),
    "requeue_running": ([], ["requeue-running"]),
    "stop": ([], ["stop"]),
    "retry_failed": ([], ["retry-failed"]),
    "purge_queue": (["confirm=template"], ["purge", "--yes"]),
    "enqueue_one": (["offset=1"], ["enqueue", "--offset=1"]),
    "enqueue_stride": ([], ["enqueue"]),
    "clear_stop": ([], ["clear-stop"]),
    "start": ([], ["start"]),
    "restart": ([], ["restart"]),
    "enable": ([], []),
    "disable": ([], ["disable"]),
}


class Place:
    """A project and a home; `seconds` is what a command takes there."""

    def __init__(self, project: Path, home: Path) -> None:
        self.project = project
        self.environ = {**os.environ, "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.failed: list[str] = []

    def seconds(self, *command: str) -> float:
        """Wall-clock time of the command; one that fails is reported at the end."""
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=self.project, env=self.environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
        took = time.monotonic() - started
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-300:]
            self.failed.append(f"{' '.join(command)}: exit status {done.returncode}: {said}")
        return took


@contextmanager
def embedded(directory: Path) -> Iterator[Place]:
    """A copy of the project with workers of `template`, in the embedded mode."""
    names = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, text=True,
    )  # fmt: skip
    for name in names.split("\0")[:-1]:
        if os.path.lexists(ROOT / name):
            (directory / "p" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / "p" / name, follow_symlinks=False)
    (directory / "h").mkdir()
    place = Place(directory / "p", directory / "h")
    place.seconds(
        *("ansible-playbook", "site.yml", "-e", "jobset=template"),
        *("-e", "sagequeue_mode=embedded"),
    )
    try:
        yield place
    finally:
        settings = directory / "h" / ".config" / "sagequeue" / "supervisord.conf"
        # After `disable` there is none to shut down.
        subprocess.run(
            ["supervisorctl", "-c", settings, "shutdown"], env=place.environ, capture_output=True
        )


def measure(place: Place, tags: list[str], rounds: int) -> Table:
    """A row for each tag."""
    table = Table("tag", "seconds", "its command", "more", "aim", "empty play", "ratio")
    known = LOOKING | CONTAINERS | ACTING
    for tag in tags:
        given, verb = known[tag]
        options = [word for value in given for word in ("-e", value)]
        plays, commands, empties = [], [], []
        for _ in range(rounds):
            # In turn, so that all three see the same machine.
            empties.append(place.seconds("ansible-playbook", "bench/empty.yml"))
            plays.append(place.seconds("ansible-playbook", "ops.yml", "-t", tag, *options))
            commands.append(place.seconds("sagequeue", *verb) if verb else 0.0)
        play, command, empty = map(statistics.median, (plays, commands, empties))
        table.add_row(
            tag,
            f"{play:.2f}",
            f"{command:.2f}" if verb else "",
            f"{play - command:.2f}",
            "2" if verb else "",
            f"{empty:.2f}",
            f"{play / empty:.1f}",
        )
    return table


def main() -> int:
    """The command."""
    command_line = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command_line.add_argument("tags", nargs="*", metavar="TAG", help="only these")
    command_line.add_argument("--here", action="store_true", help="the machine as it is set up")
    command_line.add_argument("--rounds", type=int, default=3, help="of each (3)")
    arguments = command_line.parse_args()
    console = Console(highlight=False)
    if arguments.here:
        place = Place(ROOT, Path.home())
        tags = arguments.tags or [*LOOKING, *CONTAINERS]
        console.print(measure(place, tags, arguments.rounds))
    else:
        # A short name: a socket's path below it must stay under 100 characters.
        with (
            tempfile.TemporaryDirectory(prefix="b", dir="/var/tmp") as name,
            embedded(Path(name)) as place,
        ):
            tags = arguments.tags or [*LOOKING, *ACTING]
            console.print(measure(place, tags, arguments.rounds))
    for line in place.failed:
        console.print(line)
    return 1 if place.failed else 0


if __name__ == "__main__":
    sys.exit(main())
