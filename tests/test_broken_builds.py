"""What is to catch faults catches them: each broken build fails the check that is meant for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builds import SOURCE, build

TESTS = SOURCE.parent / "tests"
BY_THE_MODEL = (
    "recovery requeues a job whose lock is held",
    "a retry is not counted",
    "an interruption counts as an attempt",
    "interruptions are not counted",
    "a solution and then a failure is retried",
    "edges do not look where the job lies",
    "a stop gate that was there is forgotten",
    "a retry by hand resets the attempts",
)
BY_THE_FUZZER = {
    "control characters are printed": "printed_text",
}
GAMES = "import model, sagequeue; print(sagequeue.__file__); model.hold(800, shrink=False)"


@pytest.mark.parametrize("name", BY_THE_MODEL)
def test_a_broken_build_is_caught_by_the_model(name: str, tmp_path: Path) -> None:
    source = build(tmp_path, name)
    path = os.pathsep.join((str(source), str(TESTS), str(Path(__file__).parent)))
    result = subprocess.run(
        [sys.executable, "-c", GAMES], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert result.stdout.startswith(f"{source}/"), "it was not this build that was tried"
    assert result.returncode != 0
    # By what the model expects, and not by an error of the build's own.
    assert "AssertionError" in result.stderr or "IllegalEdge" in result.stderr, result.stderr


@pytest.mark.parametrize("name", BY_THE_FUZZER)
def test_a_broken_build_is_caught_by_the_bytes_that_parsers_are_fed(
    name: str, tmp_path: Path
) -> None:
    tests = [sys.executable, "-m", "pytest", "-q", "-x", TESTS / "fuzz"]
    result = subprocess.run(
        [*tests, "-k", f"{BY_THE_FUZZER[name]} and not coverage"], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(build(tmp_path, name))}, timeout=240,
    )  # fmt: skip
    assert result.returncode != 0
    assert "FAILED" in result.stdout or "Timeout" in result.stdout + result.stderr
