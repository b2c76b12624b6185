"""The log of an execution that is at work, read while it grows."""

import os
from collections.abc import Callable

from sagequeue import logfile
from sagequeue.config import Config
from sagequeue.execution import Execution
from sagequeue.reading import Reader


class LiveLog:
    """Keeps the log open, so that it can lose its name."""

    def __init__(self, config: Config, name: str, offset: int) -> None:
        self._config, self._name, self._offset = config, name, offset
        self._size = -1
        self.log: int | None = None

    def look(self, run: Execution, interrupted: Callable[[], bool]) -> None:
        """Read what was added since the last look; OSError when that cannot be kept.

        The first look only opens the log: most solvers have printed nothing yet.
        """
        if self.log is None:
            inode = run.log_inode or logfile.written(self._config, self._offset, run.log_start)
            if inode is not None:
                self.log = logfile.find(self._config, self._offset, inode)
            return
        size = os.fstat(self.log).st_size
        if size == self._size:
            return
        reader = Reader.open(self._config, self._name, self._offset, wait=False)
        if reader is not None:
            with reader:
                if reader.read(run, self.log, over=False, interrupted=interrupted):
                    self._size = size

    def close(self) -> None:
        """Let go of it."""
        if self.log is not None:
            os.close(self.log)
            self.log = None
