"""A story recorded and tried out: the disks that power cuts leave, each recovered from."""

import itertools
import math
import multiprocessing
import os
import random
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from disk import Disk, Tree
from promises import Promises
from recording import Operation, record
from replay import Replay
from story import QUEUE

# Memory: a sync costs nothing there, and thousands of disks are made.
MEMORY = "/dev/shm"


Key = tuple[frozenset[tuple[str, object]], Promises]
"""A disk, as something that is compared, and what had been promised by then."""


@dataclass(frozen=True)
class Cut:
    """A disk that a power cut may leave, what had been promised by then, after which operation."""

    tree: Tree
    promised: Promises
    after: str


def tell(place: Path, chapters: Sequence[str], env: Mapping[str, str]) -> list[Operation]:
    """Record those chapters of the story in `place`, told by the runner that `env` finds."""
    queue = place / QUEUE
    watched = re.compile(rf"{queue}(/home)?$|{queue}/(var|home/(state_|demo_stop|\.config))")
    program = [sys.executable, Path(__file__).with_name("story.py"), place, *chapters]
    return record(program, watched, place / "strace", env)


def cuts(
    operations: list[Operation], place: Path, chance: random.Random, most: int
) -> tuple[int, list[Cut]]:
    """How many disks power cuts may leave, by the model, and the distinct ones to be tried.

    If an operation gives more than `most` new disks, that many are drawn. They are drawn evenly
    from the sets of file names, since most faults show by which files are there.
    """
    disk, promised = Disk(str(place)), Promises()
    considered, chosen = 0, []
    seen: set[Key] = set()
    for number, op in enumerate(operations):
        if op.kind == "said":
            heard = promised
            for line in op.data.decode("utf-8", "replace").splitlines():
                heard = heard.hear(line)
                if line.startswith("chapter "):
                    disk.sync_all()  # it is another day: the kernel has written all of it long ago
            if heard == promised:
                continue
            promised = heard
        disk.apply(op)
        fresh = {}
        for tree in disk.after_power_cut(chance, 4):
            considered += 1
            fresh[frozenset(tree.items()), promised] = tree
        new = [key for key in fresh if key not in seen]
        for key in new if len(new) <= most else _spread(new, most, chance):
            seen.add(key)
            words = f"{op.kind} {op.path} {op.to} {op.data[-60:].decode('utf-8', 'replace')}"
            chosen.append(Cut(fresh[key], promised, f"operation {number}: {words.strip()}"))
    chance.shuffle(chosen)
    return considered, chosen


def _spread(new: list[Key], most: int, chance: random.Random) -> list[Key]:
    """Draw `most` disks, evenly from all sets of file names."""
    chance.shuffle(new)
    by_names: defaultdict[frozenset[str], list[Key]] = defaultdict(list)
    for key in new:
        by_names[frozenset(path for path, _ in key[0])].append(key)
    rounds = itertools.zip_longest(*by_names.values())
    return [key for keys in rounds for key in keys if key is not None][:most]


def violations(
    recorded: Path, chosen: list[Cut], *, finished: int, enough: float = math.inf
) -> dict[str, str]:
    """What does not hold: each violation, with how often it was seen, and after what once.

    The first `finished` of the disks are worked on to the end, too; `enough` violations end it.
    """
    counts: Counter[str] = Counter()
    first: dict[str, int] = {}
    fork = multiprocessing.get_context("fork")  # the children have `chosen` without a copy
    with (
        tempfile.TemporaryDirectory(dir=recorded.parent) as places,
        fork.Pool(os.cpu_count(), _begin, (recorded, Path(places), chosen, finished)) as pool,
    ):
        for number, found in pool.imap_unordered(_try, range(len(chosen)), chunksize=8):
            counts.update(found)
            for what in found:
                first[what] = min(number, first.get(what, number))
            if counts.total() >= enough:
                break
    return {
        what: f"{times} times, once after {chosen[first[what]].after}"
        for what, times in counts.most_common()
    }


_try_number: Callable[[int], list[str]]


def _begin(recorded: Path, places: Path, chosen: list[Cut], finished: int) -> None:
    """Make a process of the pool ready: it has a place of its own."""
    replay = Replay(recorded, places / str(os.getpid()))

    def try_number(number: int) -> list[str]:
        cut = chosen[number]
        return replay.violations(cut.tree, cut.promised, finish=number < finished)

    global _try_number
    _try_number = try_number


def _try(number: int) -> tuple[int, list[str]]:
    return number, _try_number(number)
