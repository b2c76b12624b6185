"""What a workload counts, case by case, added up over all partitions.

A `DONE` line may say what its case counted: `tally=NAME:VALUE:COUNT,…`, so many of that value for
that name, or `tally=-`. The state file says which cases are done; of a case that was done twice
the last line holds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_MARK = b" tally="
_GIDX = re.compile(rb"[0-9]{1,18}")
_COUNT = re.compile(rb"([A-Za-z0-9_.-]{1,64}):([0-9]{1,18}):([0-9]{1,60})")
_CHUNK = 1 << 20
# What is longer is no line of ours.
_LONGEST = 1 << 17

Tally = dict[str, Counter[int]]


def read(logs: Iterable[Path], offset: int, stride: int, last_gidx: int) -> tuple[Tally, int]:
    """What one partition has counted so far, and in how many cases, by its logs, oldest first."""
    told: dict[int, bytes] = {}
    for log in logs:
        try:
            with open(log, "rb") as file:
                for line in _marked(file):
                    told.update(_told(line))
        except OSError:
            continue
    tally: Tally = {}
    cases = 0
    for gidx, text in told.items():
        counts = [_COUNT.fullmatch(part) for part in text.split(b",")] if text != b"-" else []
        if gidx > last_gidx or gidx % stride != offset or not all(counts):
            continue
        cases += 1
        for name, value, count in (match.groups() for match in counts if match):
            tally.setdefault(name.decode(), Counter())[int(value)] += int(count)
    return tally, cases


def add(total: Tally, other: Tally) -> None:
    """Add a partition's tally to that of all."""
    for name, counts in other.items():
        total.setdefault(name, Counter()).update(counts)


def _told(line: bytes) -> dict[int, bytes]:
    """The case of a DONE line, and its tally; nothing of another line.

    Of the last DONE in it: a solver that was killed may have left the beginning of one before.
    """
    _, done, rest = line.rpartition(b"] DONE ")
    values = dict(word.split(b"=", 1) for word in rest.split() if b"=" in word)
    gidx = values.get(b"gidx", b"")
    if not done or not _GIDX.fullmatch(gidx) or b"tally" not in values:
        return {}
    return {int(gidx): values[b"tally"]}


def _marked(file: BinaryIO) -> Iterator[bytes]:
    """The complete lines with a tally; logs without one are gone through quickly."""
    rest = b""
    while chunk := file.read(_CHUNK):
        lines, _, rest = (rest + chunk).rpartition(b"\n")
        if _MARK in lines:
            yield from (line for line in lines.split(b"\n") if _MARK in line[:_LONGEST])
        rest = rest[-_LONGEST:]
