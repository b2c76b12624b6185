"""What a tag of ops.yml costs over the command it calls, and over a play that does nothing.

`python bench/ops.py [TAG ...]` sets up the embedded mode in a directory of its own and prints a
table. With `--here` it asks the machine as it is set up; then `--all` tries the tags that act as
well, for the jobset template, and ends with teardown. README.md says what the rows mean.
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
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Row:
    """A tag beside what it calls.

    Attributes:
        calls: the runner's verbs that it calls; without any it is the roles'.
        given: what it needs on its command line.
        before: the verb that puts back what it did, so that each round has something to do.
        looks: whether it changes nothing.
        systemd: whether the embedded mode, without a container or Sage, has no use for it.
        once: whether a second round would have nothing to do.
    """

    calls: tuple[tuple[str, ...], ...] = ()
    given: str = ""
    before: str = ""
    looks: bool = False
    systemd: bool = False
    once: bool = False


# In an order in which each has something to do.
ROWS = {
    "print_config": Row((("config",),), looks=True),
    "check": Row((("migrate", "--check"), ("doctor",)), looks=True),
    "status": Row((("status",),), looks=True),
    "progress": Row((("progress",),), looks=True),
    "logs": Row((("logs",),), looks=True),
    "journal": Row((("journal",),), looks=True),
    "diag": Row((("diag",),), looks=True),
    "jupyter_url": Row((("jupyter-url",),), looks=True, systemd=True),
    "mapped_ids": Row((("mapped-ids",),), looks=True, systemd=True),
    "down": Row((("down",),), before="up", systemd=True),
    "up": Row((("up",),), before="down", systemd=True),
    "setup": Row(),
    "env": Row(),
    "install_units": Row(),
    "request_stop": Row((("request-stop",),), before="clear-stop"),
    "requeue_running": Row((("requeue-running",),)),
    "stop": Row((("stop",),), before="start"),
    "retry_failed": Row((("retry-failed",),)),
    "purge_queue": Row((("purge", "--yes"),), given="confirm=template", before="enqueue"),
    "enqueue_one": Row((("enqueue", "--offset=1"),), given="offset=1"),
    "enqueue_stride": Row((("enqueue",),)),
    "clear_stop": Row((("clear-stop",),), before="request-stop"),
    "start": Row((("start",),), before="stop"),
    "restart": Row((("restart",),)),
    "enable": Row(before="disable"),
    "rebuild_image": Row(given="cached=true", systemd=True, once=True),
    "switch": Row(given="jobset=petersen_r3", systemd=True, once=True),
    "disable": Row((("disable",),), before="start"),
    "uninstall_units": Row(once=True),
    "teardown": Row(once=True),
}


class Place:
    """A project, a home and its notebooks; `seconds` is what a command takes there."""

    def __init__(self, project: Path, home: Path) -> None:
        self.project = project
        self.notebooks = home / "Jupyter"
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
        # 3: the doctor has warnings.
        if done.returncode not in (0, 3):
            said = (done.stderr.strip() or done.stdout.strip())[-300:]
            self.failed.append(f"{' '.join(command)}: exit status {done.returncode}: {said}")
        return took

    def prepare(self, row: Row) -> None:
        """Undo what the row's tag does."""
        if row.before:
            self.seconds("sagequeue", row.before)


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
    table = Table("tag", "seconds", "its commands", "more", "aim", "empty play", "ratio")
    for tag in tags:
        row = ROWS[tag]
        options = ["-e", row.given] if row.given else []
        plays, commands, empties = [], [], []
        for _ in range(1 if row.once else rounds):
            # In turn, so that all three see the same machine.
            empties.append(place.seconds("ansible-playbook", "bench/empty.yml"))
            place.prepare(row)
            plays.append(place.seconds("ansible-playbook", "ops.yml", "-t", tag, *options))
            place.prepare(row)
            commands.append(sum(place.seconds("sagequeue", *verb) for verb in row.calls))
        play, command, empty = map(statistics.median, (plays, commands, empties))
        table.add_row(
            tag,
            f"{play:.2f}",
            f"{command:.2f}" if row.calls else "",
            f"{play - command:.2f}" if row.calls else "",
            "2" if row.calls else "",
            f"{empty:.2f}",
            f"{play / empty:.1f}",
        )
    return table


def main() -> int:
    """The command."""
    command_line = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command_line.add_argument("tags", nargs="*", metavar="TAG", help="only these")
    command_line.add_argument("--here", action="store_true", help="the machine as it is set up")
    command_line.add_argument("--all", action="store_true", help="there, those that act, too")
    command_line.add_argument("--rounds", type=int, default=3, help="of each (3)")
    arguments = command_line.parse_args()
    if unknown := [tag for tag in arguments.tags if tag not in ROWS]:
        command_line.error(f"no row for {', '.join(unknown)}; there are {', '.join(ROWS)}")
    console = Console(highlight=False)
    if arguments.here:
        place = Place(ROOT, Path.home())
        tags = arguments.tags or [tag for tag, row in ROWS.items() if arguments.all or row.looks]
        console.print(measure(place, tags, arguments.rounds))
    else:
        # A short name: a socket's path below it must stay under 100 characters.
        with (
            tempfile.TemporaryDirectory(prefix="b", dir="/var/tmp") as name,
            embedded(Path(name)) as place,
        ):
            tags = arguments.tags or [tag for tag, row in ROWS.items() if not row.systemd]
            console.print(measure(place, tags, arguments.rounds))
    for line in place.failed:
        console.print(line)
    return 1 if place.failed else 0


if __name__ == "__main__":
    sys.exit(main())
