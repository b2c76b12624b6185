"""The shipped workloads, each in a notebooks directory of its own."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mathematics import script
from workload import BACKENDS, FILES, Workload

CORRUPT_STATES = {
    "empty": b"",
    "blank": b"\n",
    "a word": b"three\n",
    "two integers": b"3 7\n",
    "two lines": b"3\n7\n",
    "negative": b"-1\n",
    "a fraction": b"3.0\n",
    "binary": b"\x00\xff\x00\n",
    "other digits": "\u0663\n".encode(),
    "underscore": b"1_1\n",
    "another partition's": b"4\n",
    "beyond the last case": b"1000003\n",
    "300 digits": b"3" * 300,
}


@pytest.fixture(params=CORRUPT_STATES)
def corrupt_state(request: pytest.FixtureRequest) -> bytes:
    """What no state file of offset 3, stride 4 with under 90 cases may hold."""
    return CORRUPT_STATES[request.param]


@pytest.fixture
def template(tmp_path: Path) -> Workload:
    """The template workload."""
    return Workload(Path(shutil.copy(FILES / "template.sage", tmp_path)))


@pytest.fixture
def rank(tmp_path: Path) -> Workload:
    """The rank workload."""
    return Workload(Path(shutil.copy(FILES / "rank_boundary_sat_v18.sage", tmp_path)))


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each value of --sat_backend that names a solver."""
    return str(request.param)


@pytest.fixture(scope="session")
def solver(backend: str) -> Any:
    """The rank workload's solver of that name, with one thread."""
    return script.solver_asked_for(backend, 1)


@pytest.fixture(scope="session")
def preparser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with Sage's own preparser, which plain Python can import from it."""
    target = tmp_path_factory.mktemp("preparser")
    lock = Path(__file__).with_name("preparser.lock")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--require-hashes", "--no-deps", "--no-compile", "--target", target, "-r", lock],
        check=True,
    )  # fmt: skip
    return target
