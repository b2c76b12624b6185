"""How far a partition's log was read, in `ledger/<job>.position`.

One JSON object, replaced whole and not synced: after a power cut an older one, or none, may be
there. Then more of the log is read again than had to be; the ledger tells what was known already.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagequeue import durable, regular
from sagequeue.config import Config
from sagequeue.summary import Summary

# A summary has a few tallies in it, of any length that a line can have.
_LONGEST = 1 << 26


@dataclass
class Position:
    """Where reading goes on, and what is known by then.

    `inode` is the log's (0: nothing was read yet), `byte` the one that is read next, `before` the
    last bytes before it and the first of all, by which a log is known again. `execution` is the
    word of the one whose output is read, `over` whether it was settled, `lost` whether lines of it
    may have been lost. `gap` says that lines of the case at hand may have been lost. `gidx` is the
    case that was begun last, `solved` whether it printed a solution. `lines` are those of a
    solution that may have more, which begins at byte `lines_at` in case `lines_gidx`; `more` are
    those after it that belong to it if they close a bracket that it opens; `idle` is
    how many others came since. `solutions` is how many were printed in this execution, and `new`
    how many of them were new. `near` are the first few lines that look like a solution and are
    none, and `nearly` is how many there were. `ledger` is the length of the ledger that `summary`
    covers, in bytes.
    """

    summary: Summary
    inode: int = 0
    byte: int = 0
    before: str = ""
    execution: str = ""
    over: bool = True
    lost: bool = False
    gap: bool = False
    gidx: int | None = None
    solved: bool = False
    idle: int = 0
    lines: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    lines_gidx: int | None = None
    lines_at: int = 0
    solutions: int = 0
    new: int = 0
    near: list[str] = field(default_factory=list)
    nearly: int = 0
    ledger: int = 0


_TYPES: dict[str, type | tuple[type, ...]] = {
    "inode": int, "byte": int, "before": str, "execution": str, "over": bool, "lost": bool,
    "gap": bool, "gidx": (int, type(None)), "solved": bool, "idle": int, "lines": list,
    "more": list, "lines_gidx": (int, type(None)), "lines_at": int, "solutions": int, "new": int,
    "near": list, "nearly": int, "ledger": int,
}  # fmt: skip


def file(config: Config, name: str) -> Path:
    """Where a job's position is kept."""
    return config.ledger_dir / f"{name}.position"


def load(config: Config, name: str, offset: int) -> Position:
    """The position that was saved last; an empty one if there is none that can be read."""
    try:
        shape: dict[str, Any] = json.loads(regular.read(file(config, name), _LONGEST))
        if not all(isinstance(shape[key], kind) for key, kind in _TYPES.items()):
            raise TypeError("a value of another type")
        values = {key: shape[key] for key in _TYPES}
        if shape["stride"] != config.stride:  # its cases have other numbers now: all anew
            return Position(Summary(config.stride, offset), **{**values, "ledger": 0})
        return Position(Summary.from_json(config.stride, offset, shape["summary"]), **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Position(Summary(config.stride, offset))


def save(config: Config, name: str, position: Position) -> None:
    """Put it in the place of the one before."""
    shape: dict[str, Any] = {key: getattr(position, key) for key in _TYPES}
    shape |= {"stride": config.stride, "summary": position.summary.as_json()}
    path = file(config, name)
    temporary = path.with_name(f".{path.name}.tmp")
    durable.write(temporary, json.dumps(shape, separators=(",", ":")), sync=False)
    durable.rename(temporary, path)
