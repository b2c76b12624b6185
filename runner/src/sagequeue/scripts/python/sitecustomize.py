"""Makes a solver's Python write its output line by line; Python imports this when it starts.

What a Python program prints into a file stays in the program until 8 KiB have come together. A
solver that is killed meanwhile takes the line with it, although its state file is past the case.
This directory is first in the PYTHONPATH of solvers, and stays in the environment, so that the
Pythons which a solver starts write by lines, too. PYTHONUNBUFFERED would not do: it writes one
line in several pieces, which mingle with what others write.

It must run in any Python that a solver starts, however old.
"""

import os
import sys

for _stream in (sys.stdout, sys.stderr):
    try:  # noqa: SIM105 - contextlib would cost every start more than this does
        _stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    except Exception:  # noqa: S110 - None, or of a kind that has no lines: it stays as it is
        pass

# From here on Python behaves as it does without this directory.
sys.path[:] = [_path for _path in sys.path if _path != os.path.dirname(__file__)]
# Kept: an old Python empties a module that nothing refers to.
_this = sys.modules.pop("sitecustomize", None)
# The user's, or the distribution's. If there is none, or if it fails, the exception passes through
# here to Python's `site`, which treats it as it would without this file.
__import__("sitecustomize")
