"""What a play takes beside busy solvers, with the nice value that they have and without one.

`python bench/nice.py` sets up the embedded mode in a directory of its own. README.md says what the
rows mean.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from ops import Place, embedded
from rich.console import Console
from rich.table import Table

PLAY = ("ansible-playbook", "ops.yml", "-t", "progress")
BUSY = "while True:\n    pass\n"
RECORDS = """---
my_jobsets:
{records}"""
RECORD = """  busy{nice}:
    script: busy.py
    stride: {solvers}
    workers: {solvers}
    total_cases: {solvers}
    stop_grace: 1
    nice: {nice}
    state_file: busy{nice}_{{stride}}_{{offset}}.txt
"""
_SOON = 60.0  # seconds until all solvers are at work


def solvers(place: Place) -> int:
    """How many of the busy processes there are."""
    script = str(place.notebooks / "busy.py")
    return sum(
        script in (process.info["cmdline"] or ())
        and "python" in Path(process.info["cmdline"][0]).name
        for process in psutil.process_iter(["cmdline"])
    )


def wait_for(place: Place, count: int) -> None:
    """Return when so many solvers are at work. Raises: TimeoutError after a minute."""
    end = time.monotonic() + _SOON
    while solvers(place) != count:
        if time.monotonic() > end:
            there = f"{solvers(place)} of {count} solvers are at work"
            raise TimeoutError("; ".join([there, *place.failed]))
        time.sleep(0.1)


def measure(place: Place, count: int, rounds: int) -> Table:
    """A row for an idle machine, and one for each nice value."""
    table = Table("solvers", "nice", "seconds", "ratio")
    (place.notebooks / "busy.py").write_text(BUSY)
    records = "".join(RECORD.format(nice=nice, solvers=count) for nice in (10, 0))
    own = place.project / "group_vars" / "all" / "my.yml"
    own.write_text(RECORDS.format(records=records))
    idle = statistics.median(place.seconds(*PLAY) for _ in range(rounds))
    table.add_row("0", "", f"{idle:.2f}", "1.0")
    for nice in (10, 0):
        jobset = f"busy{nice}"
        place.seconds(
            *("ansible-playbook", "site.yml", "-e", f"jobset={jobset}"),
            *("-e", "sagequeue_mode=embedded"),
        )
        wait_for(place, count)
        took = statistics.median(place.seconds(*PLAY) for _ in range(rounds))
        place.seconds("sagequeue", "stop", "--jobset", jobset)
        wait_for(place, 0)
        table.add_row(str(count), str(nice), f"{took:.2f}", f"{took / idle:.1f}")
    return table


def main() -> int:
    """The command."""
    command_line = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command_line.add_argument(
        "--solvers", type=int, default=4 * (os.cpu_count() or 1), help="four for each processor"
    )
    command_line.add_argument("--rounds", type=int, default=3, help="of each (3)")
    arguments = command_line.parse_args()
    console = Console(highlight=False)
    # A short name: a socket's path below it must stay under 100 characters.
    with (
        tempfile.TemporaryDirectory(prefix="n", dir="/var/tmp") as name,
        embedded(Path(name)) as place,
    ):
        console.print(measure(place, arguments.solvers, arguments.rounds))
    for line in place.failed:
        console.print(line)
    return 1 if place.failed else 0


if __name__ == "__main__":
    sys.exit(main())
