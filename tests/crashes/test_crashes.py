"""Whatever a power cut leaves of the disk, recovery makes a whole queue of it."""

import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import build
from disk import Directory, Disk, Link, Tree
from recording import record
from story import CHAPTERS, QUEUE
from trial import MEMORY, cuts, tell, violations

TEMPLATE = Path(__file__).parents[2] / "roles" / "jobset" / "files" / "template.sage"
SEED = int(os.environ.get("CRASH_SEED", "1"))
AGAIN = f"CRASH_SEED={SEED} ./bootstrap pytest tests/crashes"
# New disks to try after each operation, more with a seed of one's own, as `./test long` has it; and
# how many of all are worked on to the end.
EACH, FINISHED = 20 if "CRASH_SEED" in os.environ else 4, 40
# Of a broken build more disks are tried, until one shows that it is broken.
EACH_OF_BROKEN = 30
CAUGHT = {
    "no fsync": "enqueue",
    "files are not synced": "enqueue",
    "directories are not synced": "enqueue",
    "new directories are not synced": "enqueue",
    "job files are rewritten in place": "enqueue first_run",
    "a result is acted upon before it is synced": "enqueue first_run",
    "the record goes before the rename is synced": "enqueue first_run",
    "a new log's name is not synced": "enqueue first_run",
    "the record of an execution is not synced": "enqueue first_run",
    "the stop gate is not synced": "enqueue pause",
    "what is purged is not synced": "enqueue first_run anew",
}
"""Builds that these tests catch, each with the chapters that it takes."""


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        yield Path(place)


def there(queue: Path) -> Tree:
    """What the recorded part of the real disk holds."""
    home = queue / "home"
    paths = [queue, home, *home.glob("state_*"), queue / "var", *queue.glob("var/**/*")]
    return {str(p): node(p) for p in (*paths, home / ".config", *home.glob(".config/**/*"))}


def node(path: Path) -> bytes | Directory | Link:
    if path.is_symlink():
        return Link(os.fsencode(os.readlink(path)))
    return Directory() if path.is_dir() else path.read_bytes()


def plain(tree: Tree) -> dict[str, object]:
    return {p: "directory" if isinstance(n, Directory) else n for p, n in tree.items()}


@pytest.mark.timeout(1200)
def test_no_power_cut_costs_a_job_a_result_or_an_attempt(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queue, chance = place / QUEUE, random.Random(SEED)
    operations = tell(place, list(CHAPTERS), os.environ)
    disk = Disk(str(place))
    for operation in operations:
        disk.apply(operation)
    assert plain(disk.now()) == plain(there(queue)), "the recording is not all that was done"

    considered, chosen = cuts(operations, place, chance, EACH)
    found = violations(queue, chosen, finished=FINISHED)
    with capsys.disabled():
        print(
            f"\ncrashes: {len(operations)} operations recorded, {considered} disk states "
            f"considered, {len(chosen)} distinct ones recovered from, {FINISHED} of them worked on "
            f"to the end, {len(found)} violations (seed {SEED})"
        )
    assert not found, "\n".join((*(f"{k}: {v}" for k, v in found.items()), f"again: {AGAIN}"))


def test_a_solution_is_on_the_disk_before_its_case_counts_as_done(place: Path) -> None:
    """In the template, which users fill in."""
    text = TEMPLATE.read_text()
    assert text.count("    return False\n") == 1
    solve = '    print(f"FOUND case: {gidx}", flush=True)\n    return True\n'
    script, log, state = place / "template.py", place / "log", place / "state"
    script.write_text(text.replace("    return False\n", solve))
    options = f"--total_cases 3 --work_secs 0 --state_file {state}"
    command = f": >{log}; sync; exec {sys.executable} {script} {options} >>{log}"
    watched = re.compile(f"{place}$|{state}|{log}")
    operations = record(["sh", "-c", command], watched, place / "strace", os.environ)
    begun = next(k for k, operation in enumerate(operations) if operation.kind == "sync_all")
    disk, states = Disk(str(place)), 0
    for number, operation in enumerate(operations):
        disk.apply(operation)
        for tree in disk.after_power_cut(random.Random(SEED), 4) if number >= begun else ():
            states += 1
            done = int(tree.get(str(state), b"-1"))  # type: ignore[arg-type]
            for gidx in range(done + 1):
                assert f"FOUND case: {gidx}\n".encode() in tree[str(log)], operation
    assert states
    assert (int(state.read_text()), log.read_text().count("FOUND")) == (2, 3)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_broken_build_is_caught(name: str, place: Path, tmp_path: Path) -> None:
    source = build(tmp_path, name)
    operations = tell(place, CAUGHT[name].split(), {**os.environ, "PYTHONPATH": str(source)})
    _, chosen = cuts(operations, place, random.Random(SEED), EACH_OF_BROKEN)
    found = violations(place / QUEUE, chosen, finished=0, enough=1)
    assert found
    assert not any(what.startswith("Traceback") for what in found), found
