"""What cases counted: a `DONE` line may say `tally=NAME:VALUE:COUNT,…`, or `tally=-`.

So many of that value for that name. They are added up over all cases and partitions.
"""

import re
from collections import Counter
from collections.abc import Iterable

from sagequeue.ledger import CASE, Line

_COUNT = re.compile(r"([A-Za-z0-9_.-]{1,64}):([0-9]{1,18}):([0-9]{1,60})")

Tally = dict[str, Counter[int]]


def count(lines: Iterable[Line], offset: int, stride: int, last: int) -> tuple[Tally, int]:
    """What a partition's cases up to local number `last` counted; of each the last line holds."""
    told: dict[int, Tally] = {}
    for line in lines:
        gidx, said = line.get("gidx"), line.get("tally")
        if line.get("kind") != CASE or not isinstance(gidx, int) or not isinstance(said, str):
            continue
        parsed = parse(said)
        if gidx % stride == offset and gidx // stride <= last and parsed is not None:
            told[gidx] = parsed
    total: Tally = {}
    for parsed in told.values():
        add(total, parsed)
    return total, len(told)


def parse(said: str) -> Tally | None:
    """`NAME:VALUE:COUNT,…`, or `-` for nothing; None for what is neither."""
    tally: Tally = {}
    for part in said.split(",") if said != "-" else ():
        match = _COUNT.fullmatch(part)
        if match is None:
            return None
        tally.setdefault(match[1], Counter())[int(match[2])] += int(match[3])
    return tally


def add(total: Tally, other: Tally, sign: int = 1) -> None:
    """Add a tally to that of all, or take it out with `sign` -1."""
    for name, counts in other.items():
        here = total.setdefault(name, Counter())
        for value, number in counts.items():
            here[value] += sign * number
