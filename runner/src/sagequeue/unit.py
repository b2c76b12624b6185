"""One unit of a service manager, as it is now."""

import re
from dataclasses import dataclass

# What `ServiceManager.stop` returns when it had nothing to stop.
NONE_RAN = "no worker ran"
_WORKER = re.compile(r"[@-]([0-9]+)(?:[.]service)?$")


@dataclass(frozen=True)
class Unit:
    """`state` is one of systemd's words; `enabled`: it starts with the machine.

    `current` is False when it runs with older settings, or an older runner, than those that are
    installed now; None when that is not known, or it does not run. `wanted`: the settings have it.
    `outside`: a worker that lives, and that the manager does not have; see `outsiders`.
    """

    name: str
    state: str
    enabled: bool
    pid: int | None
    current: bool | None
    wanted: bool
    outside: bool = False

    @property
    def worker(self) -> bool:
        """Whether it is a worker, by the number that its name ends with."""
        return self.number is not None

    @property
    def number(self) -> int | None:
        """The number of a worker; None of other units."""
        found = _WORKER.search(self.name)
        return int(found[1]) if found else None

    @property
    def up(self) -> bool:
        """Whether it runs, or is about to, or is about to end."""
        return self.state not in ("inactive", "failed")
