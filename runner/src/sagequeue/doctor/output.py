"""Checks of what the solvers printed."""

from collections.abc import Iterator

from sagequeue import position
from sagequeue.doctor.finding import Finding, ok, some, warn
from sagequeue.doctor.patient import Patient
from sagequeue.jobs import job_name

_LENGTH = 120


def near_misses(patient: Patient) -> Iterator[Finding]:
    """No line that looks like a solution was passed over."""
    if (config := patient.config) is None or not config.ledger_dir.is_dir():
        return
    lines, count, first = [], 0, 0
    for offset in range(config.stride):
        name = job_name(config.jobset, offset)
        if not position.file(config, name).exists():
            continue
        at = position.load(config, name, offset)
        if at.nearly and not count:
            first = offset
        count += at.nearly
        lines += [f"offset {offset}: {line[:_LENGTH]!r}" for line in at.near]
    if not count:
        yield ok("no line that looks like a solution was passed over")
        return
    yield warn(
        f"{count} lines look like solutions and are not recorded as such, among them "
        f"{some(lines)}. If they are, a `found_pattern` in the jobset's record has such lines "
        "recorded from then on",
        patient.sagequeue(f"logs --offset {first} -n 100"),
    )


CHECKS = (near_misses,)
