"""Names that are to be looked at again after a while."""

import time


class Later:
    """Names with the moment at which each is due; a machine that sleeps does not stop the time."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def put(self, name: str, seconds: float) -> None:
        """Have the name due after so many seconds, whenever it was due before."""
        self._due[name] = _now() + seconds

    def __contains__(self, name: str) -> bool:
        return name in self._due

    def take(self) -> list[str]:
        """The names that are due, each once."""
        if not self._due:
            return []
        now = _now()
        due = [name for name, moment in self._due.items() if moment <= now]
        for name in due:
            del self._due[name]
        return due

    def soonest(self) -> float | None:
        """Seconds until the first name is due, 0 if one is; None without names."""
        return max(0.0, min(self._due.values()) - _now()) if self._due else None


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
