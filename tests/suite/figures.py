"""What a run took: a table of the steps, the slowest tests, and both as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from lanes import Outcome

_SLOWEST = 10


@dataclass(frozen=True)
class Test:
    """One test of pytest's; `seconds` has its fixtures in it."""

    name: str
    seconds: float


def read_tests(report: Path) -> list[Test]:
    """The tests in a JUnit report of pytest's; none if it wrote no report."""
    if not report.exists():
        return []
    # Our own pytest wrote the file.
    cases = ElementTree.parse(report).iter("testcase")
    return [
        Test(f"{case.get('classname')}::{case.get('name')}", float(case.get("time", "0")))
        for case in cases
    ]


def slowest(tests: Sequence[Test]) -> list[Test]:
    """The tests that took longest, the slowest first."""
    return sorted(tests, key=lambda test: -test.seconds)[:_SLOWEST]


def verdict(outcome: Outcome) -> str:
    """`passed`, `FAILED` or `not run`."""
    if outcome.status is None:
        return "not run"
    return "passed" if outcome.passed else "FAILED"


def table(outcomes: Sequence[Outcome], tests: Sequence[Test], seconds: float) -> str:
    """The lines that a run ends with."""
    lines = [f"{'seconds':>8}{'cpu':>8}  step"]
    for outcome in sorted(outcomes, key=lambda outcome: -outcome.seconds):
        mark = "" if outcome.passed else f"  {verdict(outcome)}"
        lines.append(f"{outcome.seconds:8.1f}{outcome.cpu:8.1f}  {outcome.step.name}{mark}")
    lines.append(f"{seconds:8.1f}{sum(o.cpu for o in outcomes):8.1f}  from start to end")
    if tests:
        lines += ["", f"{'seconds':>8}  the slowest of {len(tests)} tests"]
        lines += [f"{test.seconds:8.1f}  {test.name}" for test in slowest(tests)]
    return "\n".join(lines)


def as_json(
    size: str, lanes: int, outcomes: Sequence[Outcome], tests: Sequence[Test], seconds: float
) -> str:
    """The same for programs."""
    rows = [
        {
            "step": outcome.step.name,
            "verdict": verdict(outcome),
            "seconds": round(outcome.seconds, 1),
            "cpu_seconds": round(outcome.cpu, 1),
        }
        for outcome in outcomes
    ]
    named = [{"test": test.name, "seconds": round(test.seconds, 2)} for test in slowest(tests)]
    found = {
        "size": size or "whole",
        "lanes": lanes,
        "seconds": round(seconds, 1),
        "steps": rows,
        "slowest_tests": named,
    }
    return json.dumps(found, indent=1) + "\n"
