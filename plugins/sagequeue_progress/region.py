"""The last lines of a terminal, drawn over and over below what scrolls by."""

import os
import select
import sys

_CLEAR_LINE = "\x1b[K"
_CLEAR_BELOW = "\x1b[J"


class Region:
    """Lines below the output. The caller holds the lock that everything takes that writes there.

    The cursor rests at the region's start, and is never hidden. So whatever is written next, by
    whomever, starts there; nothing has to be restored after a kill; and after a change of the
    window's size there is no count of rows that could be wrong.
    """

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def size(self) -> tuple[int, int]:
        """The terminal's columns and rows as they are now; 80 and 24 if it does not say."""
        try:
            columns, rows = os.get_terminal_size(sys.stdout.fileno())
        except (OSError, ValueError):
            columns = rows = 0
        return columns or 80, rows or 24

    def draw(self, lines: list[str]) -> None:
        """Show `lines`, each shorter than the terminal is wide, in place of those drawn before.

        Nothing is drawn while that would wait, or while another program has the terminal.
        Raises: OSError if the terminal is gone.
        """
        if lines == self._drawn or not self._is_ours():
            return
        text = f"{_CLEAR_LINE}\n".join(lines) + _CLEAR_BELOW
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        self._write(f"\r{text}\r{up}")
        self._drawn = lines

    def erase(self) -> None:
        """Remove the lines, so that output can be written in their place.

        Raises: OSError if the terminal is gone.
        """
        if self._drawn:
            self._drawn = []
            self._write(f"\r{_CLEAR_BELOW}")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _is_ours(self) -> bool:
        """Whether it takes output (Ctrl-S stops that), and this program is in the foreground."""
        fd = sys.stdout.fileno()
        if not select.select([], [fd], [], 0)[1]:
            return False
        try:
            return os.tcgetpgrp(fd) == os.getpgrp()
        except OSError:
            # It is not the terminal that controls this program.
            return True
