"""What a check found, and how bad it is."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """From good to bad."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One result: the cause in a sentence, and the remedy as it is typed in the clone."""

    level: Level
    cause: str
    remedy: str = ""


def ok(cause: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, cause)


def warn(cause: str, remedy: str = "") -> Finding:
    """Work goes on, but not as well or as safely as it could; or nobody knows."""
    return Finding(Level.WARN, cause, remedy)


def fail(cause: str, remedy: str) -> Finding:
    """Something does not work, or a promise does not hold."""
    return Finding(Level.FAIL, cause, remedy)


def some(names: list[str], most: int = 3) -> str:
    """A list for a sentence: the first few, and how many more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
