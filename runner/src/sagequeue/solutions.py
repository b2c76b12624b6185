"""What a line of a workload's output says: a solution, a detail of one, a case's start or end.

No I/O. Lines reach us as people's programs print them: behind the time and the level that a logging
library puts before them, behind a progress bar that was drawn on the same line, with colours. So a
line is first cleaned (`text`), then what stands before the keyword is judged (`_is_prefix`): a
delimiter, a number or a level may stand there, a word of a sentence may not.
"""

import json
import re
import signal
from dataclasses import dataclass
from itertools import islice
from types import FrameType
from typing import Any

from sagequeue import negation

# ECMA-48: control sequences (colours among them), strings (titles, links), two-character escapes.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].{0,256}?(?:\x07|\x1b\\)|[ -/]*[0-~])"
    r"|[\x00-\x08\x0b-\x1f\x7f\ufeff]"
)
_SOLUTION = re.compile(
    r"(?:SAT found for\b|FOUND(?=[\s:=])|Found(?=:))(?:\s*[:=])?+\s*(\S.*)", re.DOTALL
)
# Not within a word; a number may have been printed without a line end, as a counter does.
_KEYWORD = re.compile(r"(?<![^\W\d_])(?:SAT found for|FOUND(?=[\s:=])|Found:)")
_DETAIL = re.compile(r"(?:Found|Verified)\s+(\S.*)", re.DOTALL)
_DETAIL_WORD = re.compile(r"(?<![^\W_])(?:Found|Verified)\s")
# Characters before a keyword that are looked at: a line can have megabytes.
_NEARBY = 80
# Places of a keyword in a line that are looked at.
_MOST = 100
# What R's `print` makes of a line.
_R = re.compile(r'\[1\] "(.*)"', re.DOTALL)
# The last word before the keyword: none, a level, the zone or the half of the day behind a time, or
# one with a number or a delimiter in it and no quotation mark, which source code has that is shown
# in a traceback.
_DELIMITED = re.compile(
    r"(?:^|(?<!\S)(?:(?i:DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)"
    r"|(?i:TRACE|VERBOSE|SUCCESS)|DBG|INF|WRN|ERR"
    r"|\S*[0-9]:[0-9]{2}(?:[:.,][0-9]+)*\s+(?:[AP]M\s+)?(?:[AP]M|UTC|[A-Z]{1,3}T)"
    r"|(?![^\W\d_]+\s*$)[^\s'\"`]+))\s*$"
)
_ROW = re.compile(r"\[([^][]{1,10000})\]$")
_START = re.compile(r"\[[^]]*\] START .*?\bgidx=([0-9]{1,18})\b")
_EVENTS = ("] START ", "] DONE ")
_DONE = re.compile(r"\[([^]]*)\] DONE .*?\bgidx=([0-9]{1,18})\b")
_PAIR = re.compile(r"([^=:]+)[=:](.+)", re.DOTALL)
_WORD = re.compile(r"\b([A-Za-z_]+)=(\S+)")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")

# A line that has none of these bytes says nothing of all this; most lines have none. In UTF-16,
# which programs of Windows write, the words have a zero byte before or after each letter.
_MARKS = (b"START", b"DONE", b"FOUND", b"ound", b"olution", b"OLUTION", b"\0")


@dataclass(frozen=True)
class Case:
    """A `DONE` line: the case, and what the line says of it (None: nothing)."""

    gidx: int
    time: str
    verdict: bool | None
    seconds: float | None
    tally: str | None


def text(line: bytes) -> str:
    """The line as a terminal shows it: what follows the last carriage return, without escapes.

    The line end, leading blanks, control characters and what R's `print` puts around a line are
    left out. Bytes that are no UTF-8 become replacement characters; without its zero bytes, UTF-16
    is the same text as long as that is ASCII.
    """
    return _plain(_bytes(line).rpartition(b"\r")[2])


def overwritten(line: bytes) -> list[str]:
    """What the line has before its last carriage return: solutions, details, starts and ends.

    A progress bar of another thread, say, was drawn over it. Of solutions and their details that is
    one at most: what is drawn again and again is a display.
    """
    body = _bytes(line)
    parts = body.split(b"\r")[:-1] if any(mark in body for mark in _MARKS) else []
    told = [_plain(part) for part in parts if any(mark in part for mark in _MARKS)]
    said = [shown for shown in told if solution(shown) or detail(shown)]
    return [shown for shown in told if _event(shown) or said == [shown]]


def _event(shown: str) -> bool:
    _, end = cut(shown)
    return start(end) is not None or done(end) is not None


def _bytes(line: bytes) -> bytes:
    return line.replace(b"\0", b"").rstrip(b"\r\n")


def _plain(shown: bytes) -> str:
    plain = _ESCAPES.sub("", shown.decode("utf-8", errors="replace")).lstrip()
    printed = _R.fullmatch(plain)
    return re.sub(r"\\([\"\\])", r"\1", printed[1]) if printed else plain


def solution(shown: str) -> str | None:
    """The solution that the line prints, from its keyword on; None if it prints none."""
    for match in islice(_KEYWORD.finditer(shown), _MOST):
        before = shown[: match.start()]
        said = _SOLUTION.fullmatch(shown, match.start()) if _is_prefix(before) else None
        if said and not negation.counts_none(before, said[1]):
            return said[0]
    return None


def detail(shown: str) -> str | None:
    """What the line adds to the solution before it, from its keyword on; None if nothing."""
    for match in islice(_DETAIL_WORD.finditer(shown), _MOST):
        if _is_prefix(shown[: match.start()]) and _DETAIL.fullmatch(shown, match.start()):
            return shown[match.start() :]
    return None


def is_open(lines: list[str]) -> bool:
    """Whether a bracket that was opened in the lines is not closed in them."""
    opened = sum(line.count(bracket) for line in lines for bracket in "([{")
    return opened > sum(line.count(bracket) for line in lines for bracket in ")]}")


def is_row(last: str, shown: str) -> bool:
    """Whether the line is a matrix's row and the one before ends in another, of as many entries."""
    row, before = _ROW.fullmatch(shown), _ROW.search(last)
    return bool(row and before and len(row[1].split()) == len(before[1].split()))


def _is_prefix(before: str) -> bool:
    """Whether what stands before a keyword is what programs put before their messages."""
    return bool(_DELIMITED.search(before[-_NEARBY:])) and not negation.denies(before)


def value(said: str) -> dict[str, Any]:
    """The name and value of a solution's or detail's line: `Found perm: [1,0]` gives perm.

    A value that is JSON is parsed. Empty if the line is no pair.
    """
    match = _SOLUTION.fullmatch(said) or _DETAIL.fullmatch(said)
    # Blanks are stripped, not matched: of a line of blanks, matching would never come to an end.
    pair = _PAIR.fullmatch(match[1]) if match else None
    name, rest = (pair[1].strip(), pair[2].lstrip()) if pair else ("", "")
    if not name or not rest:
        return {}
    try:
        parsed = json.loads(rest)
        json.dumps(parsed, allow_nan=False)
    except (ValueError, RecursionError):
        parsed = rest
    return {name.replace(" ", "_"): parsed}


def cut(shown: str) -> tuple[str, str]:
    """The line as two: what stands before its last `[TIME] START` or `[TIME] DONE`, and the rest.

    That may be what `ts` or a logging library puts before it, or a solution without a line end.
    """
    at = shown.rfind("[", 0, max(0, *map(shown.rfind, _EVENTS)))
    if at <= 0 or not (_START.match(shown, at) or _DONE.match(shown, at)):
        return "", shown
    return shown[:at], shown[at:]


def start(shown: str) -> int | None:
    """The case that a `START` line begins; None for another line."""
    match = _START.match(shown)
    return int(match[1]) if match else None


def done(shown: str) -> Case | None:
    """The case that a `DONE` line ends; None for another line.

    Of the last DONE in it: a solver that was killed may have left the beginning of one before.
    """
    match = _DONE.match(shown, shown.rfind("[", 0, max(0, shown.rfind("] DONE "))))
    if match is None:
        return None
    words = dict(_WORD.findall(match.string[match.start() :]))
    seconds = words.get("dt", "").removesuffix("s")
    return Case(
        gidx=int(match[2]),
        time=match[1],
        verdict={"True": True, "False": False}.get(words.get("sat", "")),
        seconds=float(seconds) if _SECONDS.fullmatch(seconds) else None,
        tally=words.get("tally"),
    )


class Marked:
    """The lines of a block that may say something, found by their bytes and not one by one."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        # Where each mark comes next; the block's length if it does not.
        self._next = dict.fromkeys(_MARKS, -1)

    def line(self, begin: int) -> int:
        """Where the first such line begins, from byte `begin` (a line's beginning) on, or -1."""
        block = self._block
        for mark, at in self._next.items():
            if at < begin:
                found = block.find(mark, begin)
                self._next[mark] = found if found >= 0 else len(block)
        nearest = min(self._next.values())
        return block.rfind(b"\n", begin, nearest) + 1 or begin if nearest < len(block) else -1


class Pattern:
    """The jobset's own `FOUND_PATTERN`, searched for in a line for at most so many seconds.

    A regular expression can take for ever on some line. Python's engine looks for signals while it
    works, so an alarm ends it; this must be called in the main thread.
    """

    LIMIT = 1.0

    def __init__(self, pattern: str) -> None:
        """Compile it; `re.error` for what is no regular expression."""
        self._pattern = re.compile(pattern)

    def matches(self, shown: str) -> bool:
        """Whether the line has it; TimeoutError when that took too long to tell."""
        before = signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, self.LIMIT)
        try:
            return self._pattern.search(shown) is not None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError
