"""A program in a terminal of its own, its window's size included, and what a person sees there."""

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping

from kit.screen import Screen

PATIENCE = 60


class Terminal:
    """A program in a terminal; its screen is up to date after `until`."""

    def __init__(
        self, argv: list[str], env: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.columns = columns
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            self._resize(0, columns, rows)
            os.execvpe(argv[0], argv, env)

    def _resize(self, fd: int, columns: int, rows: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int = 24) -> None:
        """Change the window's size; what is read from now on goes to a new screen."""
        self.raw, self.columns = "", columns
        self._resize(self.fd, columns, rows)

    @property
    def screen(self) -> Screen:
        """What is to be seen now."""
        return Screen(self.columns).write(self.raw)

    def read(self, seconds: float) -> bool:
        """Take in what comes; False at the end of it."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            got = os.read(self.fd, 1 << 16)
        except OSError:
            # EIO: the other side is closed.
            return False
        self.raw += self._decoder.decode(got)
        return bool(got)

    def until(self, seen: Callable[[Screen], object]) -> Screen:
        """Read until `seen` is true of the screen. Raises: AssertionError at the end, or late."""
        end = time.monotonic() + PATIENCE
        while not seen(screen := self.screen):
            assert self.read(1), f"it ended: {self.raw}"
            assert time.monotonic() < end, f"not seen: {self.raw}"
        return screen

    def is_quiet(self) -> bool:
        """Whether nothing comes for as long as the plugin takes to draw four times."""
        before = self.raw
        return all(self.read(0.25) and self.raw == before for _ in range(4))

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.fd, text.encode())

    def end(self) -> int:
        """Read to the end; the exit status."""
        while self.read(PATIENCE):
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        """Remove what is left of the program."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        os.waitpid(self.pid, 0)
