"""A copy of the project as a clone has it, to run in without touching the real one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from project import ROOT, CopyProject


@pytest.fixture(scope="session")
def copy_project() -> CopyProject:
    """Call it with a directory that does not exist; the project's files are then in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    names = listed.stdout.split("\0")[:-1]

    def copy(to: Path) -> Path:
        # Not those that are gone from the working tree, committed or not.
        for name in filter(lambda name: os.path.lexists(ROOT / name), names):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)
        return to

    return copy
