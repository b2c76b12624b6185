"""What is wrong with a machine, a jobset and its queue, and what mends it. It only looks.

A check is a function that takes the patient and yields findings, none where it does not apply. Its
name is the check's id, its docstring says what is well. One that breaks, or takes too long, becomes
a finding itself, and the others go on.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sagequeue.doctor import container, machine, output, queue, resources, sharing, solving, workers
from sagequeue.doctor.finding import Finding, Level, warn
from sagequeue.doctor.patient import Patient

Check = Callable[[Patient], Iterator[Finding]]
Result = tuple[str, Finding]

CHECKS: tuple[Check, ...] = (
    *machine.CHECKS,
    *resources.CHECKS,
    *container.CHECKS,
    *sharing.CHECKS,
    *queue.CHECKS,
    *workers.CHECKS,
    *solving.CHECKS,
    *output.CHECKS,
)

# Exit statuses; 2 is a wrong command line's.
EXIT = {Level.OK: 0, Level.WARN: 3, Level.FAIL: 1}

# Seconds for one check: a filesystem that hangs, hangs whoever looks at it.
_LIMIT = 90.0


def examine(
    patient: Patient, checks: Sequence[Check] = CHECKS, limit: float = _LIMIT
) -> list[Result]:
    """Every check's findings, in order."""
    patient = replace(patient)  # what it has seen of an earlier examination is forgotten
    return [
        (check.__name__, finding) for check in checks for finding in _endure(check, patient, limit)
    ]


def _endure(check: Check, patient: Patient, limit: float) -> list[Finding]:
    """What the check finds, whatever becomes of it."""
    found: list[Finding] = []

    def look() -> None:
        try:
            for finding in check(patient):
                found.append(finding)  # noqa: PERF402 - what was found before an error stays
        except Exception as error:
            words = str(error) or type(error).__name__
            found.append(warn(f"this could not be looked at: {words}"))

    # A daemon: the command ends without one that hangs.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        return [*found, warn(f"this could not be looked at within {limit:.0f} s")]
    return found


def worst(results: Sequence[Result]) -> Level:
    """The worst level of all."""
    levels = list(Level)
    return max((finding.level for _, finding in results), key=levels.index, default=Level.OK)
