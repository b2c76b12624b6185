"""What keeps a jobset's workers alive: `systemd --user`, or supervisor on a machine without it."""

from typing import Protocol

from sagequeue.config import Config
from sagequeue.supervisor import Supervisor
from sagequeue.systemd import Systemd
from sagequeue.unit import Unit

__all__ = ["ServiceManager", "Unit", "for_config"]


class ServiceManager(Protocol):
    """Serves one jobset. What acts returns what happened, in words, and acts again harmlessly.

    All raise SagequeueError, with the remedy, when the manager cannot be asked.
    """

    def units(self) -> list[Unit]:
        """The container, recovery, the workers, and workers above WORKERS that are left."""

    def start(self) -> str:
        """Have the container run, recover once, then have workers 1 to WORKERS run."""

    def stop(self) -> str:
        """Stop the workers, those that are left, too; each ends its solver."""

    def restart(self) -> str:
        """Start workers 1 to WORKERS anew; solvers work on and are adopted."""

    def disable(self) -> str:
        """Stop the workers for good; and, when no other jobset has any, recovery and container.

        Empty when all that was done already.
        """

    def up(self) -> str:
        """Have the container run, with Jupyter in it."""

    def down(self) -> str:
        """Stop the container; Busy while a solver lives in it."""

    def journal(self, lines: int, *, follow: bool) -> None:
        """Print the last lines of what the workers said, and with `follow` all that they say."""


def for_config(config: Config) -> ServiceManager:
    """The manager that the jobset names."""
    return Systemd(config) if config.service_manager == "systemd" else Supervisor(config)
