"""Which failed jobs go back to pending by themselves. Pure policy: no files, no clock."""

from dataclasses import dataclass
from enum import StrEnum

from sagequeue.execution import LAST_SIGNAL
from sagequeue.jobs import RETRY, Job, Outcome

# It would end the same way again, until somebody mends what it says.
_HOPELESS = ("state_corrupt", "command_too_long")


class Verdict(StrEnum):
    """What recovery does with a failed job."""

    RETRY = "retry"
    HOLD = "hold"


@dataclass(frozen=True)
class Decision:
    """A verdict with its reason in a word."""

    verdict: Verdict
    reason: str


def at_once(reason: str) -> bool:
    """Whether a failure of this reason is retried, if at all, as soon as it is settled.

    An end by a signal that nobody here sent says nothing of the workload, and the partition is to
    go on. What fails by itself waits for recovery's next pass: a trouble that passes (a disk away
    for a minute) must not cost all retries at once.
    """
    digits = reason.removeprefix("signal_")
    return digits != reason and digits.isdecimal() and 1 <= int(digits) <= LAST_SIGNAL


def decide(job: Job, max_retries: int) -> Decision:
    """Retry a job after its own failure `max_retries` times; hold what a retry cannot help."""
    if job.last_outcome == Outcome.FOUND:
        return Decision(Verdict.HOLD, "found_then_failed")
    if job.last_outcome == Outcome.INTERRUPTED:
        return Decision(Verdict.HOLD, job.last_reason or "no_progress")
    if job.last_outcome == RETRY:
        # The retry was counted, and cut off before its rename: only the rename is left to do.
        return Decision(Verdict.RETRY, "retry_cut_off")
    if job.last_reason in _HOPELESS:
        return Decision(Verdict.HOLD, job.last_reason)
    if job.count("ATTEMPTS") >= max_retries:
        return Decision(Verdict.HOLD, "attempts_exhausted")
    return Decision(Verdict.RETRY, job.last_reason or "failed")
