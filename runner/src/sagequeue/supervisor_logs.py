"""What supervisor keeps of what workers say: a log of each, which it rotates."""

import re
from pathlib import Path

from sagequeue import logs
from sagequeue.config import Config
from sagequeue.jobs import printable
from sagequeue.logs import Logs
from sagequeue.recovery import say
from sagequeue.watch import Signals


class WorkerLogs(Logs):
    """The logs of a jobset's workers, each line with its worker."""

    def __init__(self, config: Config, directory: Path) -> None:
        super().__init__(config, None, say)
        self.jobset = config.jobset
        self.directory = directory
        self.pattern = re.compile(rf"{re.escape(config.jobset)}-([0-9]+)\.log")

    def show(self, lines: int, *, follow: bool) -> None:
        """Print the last lines of each, and with `follow` all that comes until a signal does."""
        if follow:
            logs.follow(self, lines, Signals())
        else:
            self.last(lines)
            self.finish()

    def _line(self, offset: int, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode("utf-8", errors="replace")
        self.tell(f"[{self.jobset}-{offset}] {printable(text)}")
