"""The findings, for people and for programs."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from sagequeue.doctor import Result, worst
from sagequeue.doctor.finding import Level
from sagequeue.jobs import printable

_STYLE = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def as_json(jobset: str | None, directory: str | None, results: Sequence[Result]) -> dict[str, Any]:
    """Plain values; `directory` is where the remedies are typed."""
    return {
        "jobset": jobset,
        "directory": directory,
        "level": worst(results),
        "findings": [
            {"check": check, "level": f.level, "cause": f.cause, "remedy": f.remedy}
            for check, f in results
        ],
    }


def draw(jobset: str | None, directory: str | None, results: Sequence[Result]) -> Text:
    """A line a finding, its remedy below it, and a sentence as the last line.

    Without a table's columns, so that a remedy stays one line to be copied.
    """
    text = Text()
    for check, finding in results:
        text.append(f"{finding.level:<6}", _STYLE[finding.level])
        text.append(f"{check:<17}{printable(finding.cause)}\n")
        if finding.remedy:
            text.append(f"{'':<23}$ {printable(finding.remedy)}\n", "bold")
    counts = Counter(finding.level for _, finding in results)
    told = ", ".join(f"{counts[level]} {level}" for level in reversed(Level) if counts[level])
    if any(finding.remedy for _, finding in results):
        text.append(f"Commands after $ are typed in {directory or 'the clone of the project'}.\n")
    return text.append(f"{jobset or 'this machine'}: {told}")
