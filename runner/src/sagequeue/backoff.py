"""How long a job waits in pending after executions that came to nothing, one after the other.

The moment is in the job file, so that a worker that starts keeps to it. It is one of the clock that
counts from the boot, sleep included: nobody can set that clock, so no change of the time of day
stretches or shortens a wait. In another boot the wait is over.
"""

import math
import re
import time

from sagequeue.jobs import Job
from sagequeue.owner import boot_id

FIRST, LONGEST = 1.0, 300.0
"""Seconds of the first wait and of the longest; each is twice the one before."""

_MOMENT = re.compile(r"[0-9]{1,12}\.[0-9]{3}")


def seconds(times: int) -> float:
    """How long to wait after so many executions in a row that came to nothing; not after one."""
    return min(LONGEST, FIRST * 2.0 ** min(times - 2, 30)) if times > 1 else 0.0


def before_a_start(times: int) -> float:
    """The same after attempts that did not come to start the workload.

    It is shorter, since what kept all jobs from being started may have passed.
    """
    return min(60.0, seconds(times))


def wait(job: Job, length: float) -> Job:
    """The job with a wait of so many seconds from now on, or with none."""
    if not length:
        return job.with_(NOT_BEFORE=None, NOT_BEFORE_BOOT=None)
    return job.with_(NOT_BEFORE=f"{_now() + length:.3f}", NOT_BEFORE_BOOT=boot_id())


def left(job: Job) -> float:
    """Seconds that the job is still to wait, 0 if it may be claimed.

    A moment farther away than the longest wait was never written by us, or in another clock.
    """
    moment = job.extra.get("NOT_BEFORE", "")
    if not _MOMENT.fullmatch(moment) or job.extra.get("NOT_BEFORE_BOOT") != boot_id():
        return 0.0
    more = float(moment) - _now()
    return more if 0 < more <= LONGEST else 0.0


def note(job: Job) -> str:
    """For people: how long the job still waits and why; empty if it may be claimed."""
    if not (more := left(job)):
        return ""
    times, what = job.count("INTERRUPTS"), "it came to nothing"
    if started := job.count("NOT_STARTED"):
        times, what = started, "it could not be started"
    return (
        f"waits {math.ceil(more)} s more before it is claimed again, since {what} "
        f"{times} times in a row"
    )


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
