"""What a workload counts, case by case, added up over all partitions.

A `DONE` line may say what its case counted: `tally=NAME:VALUE:COUNT,…`, so many of that value for
that name, or `tally=-`. The state file says which cases are done; of a case that was done twice
the last line holds.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_LINE = re.compile(rb"\[[^]]*\] DONE .*?\bgidx=([0-9]{1,18})\b.*? tally=(\S{1,65536})")
_COUNT = re.compile(r"([A-Za-z0-9_.-]{1,64}):([0-9]{1,18}):([0-9]{1,60})")
# What is longer is no line of ours.
_LONGEST = 1 << 17

Tally = dict[str, Counter[int]]


def read(logs: Iterable[Path], offset: int, stride: int, last_gidx: int) -> tuple[Tally, int]:
    """What one partition has counted so far, and in how many cases, by its logs, oldest first."""
    told: dict[int, bytes] = {}
    for log in logs:
        try:
            with open(log, "rb") as file:
                while line := file.readline(_LONGEST):
                    if b" tally=" in line and (match := _LINE.match(line)):
                        told[int(match[1])] = match[2]
        except OSError:
            continue
    tally: Tally = {}
    cases = [gidx for gidx in told if gidx <= last_gidx and gidx % stride == offset]
    for gidx in cases:
        for name, value, count in _COUNT.findall(told[gidx].decode("ascii", "replace")):
            tally.setdefault(name, Counter())[int(value)] += int(count)
    return tally, len(cases)


def add(total: Tally, other: Tally) -> None:
    """Add a partition's tally to that of all."""
    for name, counts in other.items():
        total.setdefault(name, Counter()).update(counts)
