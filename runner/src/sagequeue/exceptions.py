"""What can go wrong, as sentences for the person who reads them.

SagequeueError (exit 1)        an operation was refused or failed
|-- ConfigError (exit 78)      the configuration is wrong; restarting does not help
|-- Busy (exit 75)             somebody else is at it; trying again later does help
|-- IllegalEdge                a transition that the state diagram does not have
|-- MalformedJob               a job file that cannot be read as a job
|-- StateCorrupt               a workload's state file that is not one integer of its partition
`-- StateUnreadable            a workload's state file that cannot be read now

ReadingInterrupted is an OSError: what was begun is taken up again later.
"""

# The numbers are sysexits.h's: EX_TEMPFAIL and EX_CONFIG.
EXIT_REFUSED = 1
EXIT_BUSY = 75
EXIT_CONFIG = 78


class SagequeueError(Exception):
    """A refused or failed operation; the message names the remedy."""

    exit_code = EXIT_REFUSED


class ConfigError(SagequeueError):
    """A configuration that no restart mends."""

    exit_code = EXIT_CONFIG


class Busy(SagequeueError):
    """Something is held by another process."""

    exit_code = EXIT_BUSY


class IllegalEdge(SagequeueError):
    """A job is not where the transition starts, or something lies where it ends."""


class MalformedJob(SagequeueError):
    """A job file that cannot be read; `reason` is one word for logs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StateCorrupt(SagequeueError):
    """A state file whose content cannot be the last gidx of its partition."""


class ReadingInterrupted(OSError):
    """A signal came while a log was read; whoever comes next reads on."""


class StateUnreadable(SagequeueError):
    """A state file that the system does not let us read now; its content may be sound."""
