"""What a person sees: a terminal's rows, after what a program has written to it."""

import re

_PART = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b|[\r\n]|[^\x1b\r\n]+")


class Screen:
    """A terminal that knows what Ansible and its plugin use; anything else is an error.

    Raises: AssertionError for an escape sequence that it does not know.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = [""]
        self._row = self._column = 0

    def write(self, text: str) -> "Screen":
        """Take what a program has written."""
        # Colours; and what Ansible writes after a prompt, which a terminal ignores as cut off.
        text = re.sub(r"\x1b\[[0-9;]*m|\x1b\[(?=[\r\x1b])", "", text)
        for part in _PART.finditer(text):
            self._take(part[0], int(part[1] or 1), part[2])
        return self

    def _take(self, text: str, count: int, command: str | None) -> None:
        if text == "\r":
            self._column = 0
        elif text == "\n":
            self._row += 1
            if self._row == len(self.rows):
                self.rows.append("")
        elif command == "A":
            self._row -= count
            assert self._row >= 0
        elif command in ("K", "J"):
            self.rows[self._row] = self.rows[self._row][: self._column]
            if command == "J":
                del self.rows[self._row + 1 :]
        else:
            assert text.isprintable(), f"{text!r} would be acted on"
            row = self.rows[self._row].ljust(self._column)
            self.rows[self._row] = row[: self._column] + text + row[self._column + len(text) :]
            self._column += len(text)

    @property
    def below(self) -> list[str]:
        """The rows from the cursor on, where the next output goes."""
        return [row.rstrip() for row in self.rows[self._row :]]

    @property
    def fits(self) -> bool:
        """Whether no row from the cursor on is as wide as the terminal, and goes on in the next."""
        return all(len(row) < self.columns for row in self.below)

    @property
    def text(self) -> str:
        """All rows that are not below the cursor."""
        return "\n".join(row.rstrip() for row in self.rows[: self._row])
