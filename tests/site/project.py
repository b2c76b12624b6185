"""Where the project is, and the type of the fixture that copies it."""

from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CopyProject = Callable[[Path], Path]
