"""Where the project is, the type of the fixture that copies it, and a mark for parameters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CopyProject = Callable[[Path], Path]


def long(*values: Any) -> list[Any]:
    """Return parameters that only `./test long` tries; a tuple has one value for each name."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.long)
        for value in values
    ]
