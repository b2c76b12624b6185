"""Which Pythons `./test long` finds."""

import sys
from pathlib import Path

import pytest
from interpreters import SUPPORTED, others


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a directory that is all of PATH."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def put(path: Path, says: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return str(path)


def test_each_other_version_is_found_once_on_path_or_at_pyenvs(machine: Path) -> None:
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    there, missing, apart, *_ = (version for version in SUPPORTED if version != own)
    put(machine / f"bin/python{own}", f"echo {own}")
    on_path = put(machine / f"bin/python{there}", f"echo {there}")
    put(machine / f".pyenv/versions/{there}.1/bin/python{there}", f"echo {there}")
    put(machine / f"bin/python{missing}", "echo no such version >&2; exit 127")
    put(machine / f"bin/python{apart}", "echo 2.7")
    at_pyenvs = put(machine / f".pyenv/versions/{apart}.9/bin/python{apart}", f"echo {apart}")
    assert others() == {there: on_path, apart: at_pyenvs}
