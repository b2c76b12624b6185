"""Types of fixtures, importable by name (every test directory has a conftest)."""

from collections.abc import Callable

Put = Callable[..., str]
