"""The other Pythons of this machine that the project supports."""

import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


def others() -> dict[str, str]:
    """A program for each supported version but our own: one on PATH, or one of pyenv's.

    One that does not run, as a shim for a version that is not chosen, or without venv is left out.
    """
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = {}
    for version in SUPPORTED:
        name = f"python{version}"
        kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"))
        candidates = [shutil.which(name), *map(str, kept)]
        fit = [path for path in candidates if path and runs(path, version)]
        if version != own and fit:
            found[version] = fit[0]
    return found


def runs(path: str, version: str) -> bool:
    """Whether that program is a Python of the version with what bootstrap needs."""
    question = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [path, "-I", "-c", question], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return answer.stdout.strip() == version
