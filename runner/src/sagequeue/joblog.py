"""What the log of a job says at its end."""

import os
from pathlib import Path

from sagequeue.jobs import printable

# Bytes of the end that are read, and characters of a line that are kept.
_END, _LONGEST = 65536, 400
_OURS = "[worker "
_WRAPPER = "sagequeue: "


def last_words(log: Path) -> str:
    """The last line at the log's end that the runner did not write, else its wrapper's.

    It is one line that is harmless to a terminal; empty if there is none.
    """
    try:
        with open(os.open(log, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _END))
            lines = file.read(_END).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = ""
    for line in reversed(lines):
        text = printable(line).strip()
        if not text:
            continue
        if text.startswith(_OURS):
            if said or " start offset=" in text:
                break  # what is before it is of another execution
        elif not text.startswith(_WRAPPER):
            return text[:_LONGEST]
        said = said or text[:_LONGEST]
    return said.removeprefix(_WRAPPER)
