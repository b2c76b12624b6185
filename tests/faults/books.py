"""What the suite did, and saw with its own eyes; nothing here comes from the runner."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Books:
    """The records of one round."""

    faults: Counter[str] = field(default_factory=Counter)
    stopped: list[tuple[int, int, int]] = field(default_factory=list)  # worker, process, when
    tampered: Counter[int] = field(default_factory=Counter)  # offset: how often its files were
    forged: set[int] = field(default_factory=set)  # offsets whose owner file was
    gates: set[int] = field(default_factory=set)  # offsets that a gate removed by hand concerns
    spans: list[tuple[str, int, int]] = field(default_factory=list)  # what, from when to when
    by_hand: bool = False  # retry-failed was used
    signalled: set[int] = field(default_factory=set)  # processes that were told to end
    violations: list[str] = field(default_factory=list)
    executions: int = 0
