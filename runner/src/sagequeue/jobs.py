"""A job (one offset of a jobset), where it may lie, and what may happen to it. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from sagequeue import keyvalue
from sagequeue.exceptions import MalformedJob

# Four keys of digits and a few words fit in far less; the bound keeps a stray file out of memory.
MAX_BYTES = 65536
# Control characters, and those that turn the order of a line's text around.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BLANKS = "\t\n\v\f\r"
_COUNT = re.compile(r"[0-9]{1,18}")


class JobState(StrEnum):
    """The queue directory that a job file lies in."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Outcome(StrEnum):
    """What happened to one execution, as against where the job lies."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PAUSED = "paused"
    FOUND = "found"


_WAITS = (
    *("INTERRUPTS", "INTERRUPT_RUN", "INTERRUPT_LOG", "NOT_BEFORE", "NOT_BEFORE_BOOT"),
    *("NOT_STARTED", "LAST_ERROR"),
)
"""What is noted of executions that came to nothing, INTERRUPT_LOG by an older release."""

RETRY = "retry"
"""LAST_OUTCOME of a job that was given back to pending after its own failure."""


def now() -> str:
    """The local time with its offset, in ISO 8601, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def printable(text: str) -> str:
    """The text as one line with control characters as escapes, so that no terminal obeys it.

    Tabs and line ends become blanks. Bytes of a file name that are no UTF-8 come out as escapes.
    """
    return _CONTROL.sub(_escape, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def printable_lines(text: str) -> str:
    """The same of a text of several lines, which stay several."""
    return "\n".join(map(printable, text.split("\n")))


def _escape(match: re.Match[str]) -> str:
    return " " if match[0] in _BLANKS else ascii(match[0])[1:-1]


def job_name(jobset: str, offset: object) -> str:
    """The name that a job has in file names and messages."""
    return f"{jobset}_off{offset}"


@dataclass(frozen=True)
class Job:
    """A job file's content; `extra` holds every key but OFFSET, unknown ones included."""

    jobset: str
    offset: int
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """See `job_name`."""
        return job_name(self.jobset, self.offset)

    def count(self, key: str) -> int:
        """A counter, ATTEMPTS, INTERRUPTS or NOT_STARTED; 0 when it is not there."""
        return int(self.extra.get(key) or 0)

    @property
    def last_outcome(self) -> str:
        """LAST_OUTCOME, or an empty string."""
        return self.extra.get("LAST_OUTCOME", "")

    @property
    def last_reason(self) -> str:
        """LAST_REASON, or an empty string."""
        return self.extra.get("LAST_REASON", "")

    def with_(self, **changes: str | int | None) -> "Job":
        """A copy with keys set, or taken out where the value is None."""
        merged = {**self.extra, **{k: str(v) for k, v in changes.items() if v is not None}}
        for key in (key for key, value in changes.items() if value is None):
            merged.pop(key, None)
        return replace(self, extra=merged)

    def without_waits(self) -> "Job":
        """A copy that no execution in the past keeps from being claimed, or counts against."""
        return self.with_(**dict.fromkeys(_WAITS))

    def render(self) -> str:
        """The job file's text."""
        return keyvalue.render({"OFFSET": str(self.offset), **self.extra})


def parse(name: str, content: bytes, jobset: str, stride: int) -> Job:
    """Read a job file strictly; MalformedJob says in a word and in a sentence what is wrong."""
    if len(content) > MAX_BYTES:
        raise MalformedJob("too_large", f"it is longer than {MAX_BYTES} bytes")
    try:
        values = keyvalue.parse(content.decode("utf-8"))
    except ValueError as error:
        raise MalformedJob("not_key_value", f"it is not KEY=value text: {error}") from None
    offset_text = values.pop("OFFSET", None)
    if offset_text is None:
        raise MalformedJob("no_offset", "it has no OFFSET= line")
    # Digits are counted before int() sees them: a long number is an error of its own there.
    if not _COUNT.fullmatch(offset_text) or int(offset_text) >= stride:
        raise MalformedJob(
            "bad_offset", f"its OFFSET {offset_text[:24]!r} is not a number from 0 to {stride - 1}"
        )
    job = Job(jobset, int(offset_text), values)
    if job.name != name:
        raise MalformedJob("name_mismatch", f"its OFFSET says {job.name}, its file name {name}")
    for key in ("ATTEMPTS", "INTERRUPTS", "NOT_STARTED"):
        if not _COUNT.fullmatch(values.get(key) or "0"):
            raise MalformedJob("bad_count", f"its {key} is not a number")
    return job
