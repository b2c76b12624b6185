"""Campaigns as tests run them, and their closing lines at the end of what pytest prints."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CLOSING = pytest.StashKey[list[str]]()


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Runs one with these options; what it printed. `announce`: tell its last line at the end."""

    def run(faults: int, *options: str, seed: int, announce: bool = False) -> str:
        command = [sys.executable, Path(__file__).parent, f"--seed={seed}", f"--faults={faults}"]
        done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=False)
        assert done.returncode in (0, 1), done.stdout
        if announce:
            lines = request.config.stash.setdefault(CLOSING, [])
            lines += [s for s in done.stdout.splitlines() if s.startswith(("faults:", "again:"))]
        return done.stdout

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(CLOSING, []):
        terminalreporter.write_line(line)
