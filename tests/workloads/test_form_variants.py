"""The variants of the form encoding that bench/form.py compares."""

# ruff: noqa: N806 - matrices have the capital names of the formulas

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import form
import pytest
import workload_cases
from mathematics import ranks_by_brute_force, script
from workload import needs_pycryptosat, without

ROWS = [
    pytest.param(name, marks=needs_pycryptosat) if variant.solver == "CryptoMiniSat" else name
    for name, variant in form.ROWS.items()
]


def test_the_full_variant_is_the_formula_of_the_workload() -> None:
    A = script.petersen()
    forbidden = script.redundant_prefixes(script.automorphisms(A), len(A))
    theirs, _, _ = script.encode_form(A, 1, (), forbidden)
    ours, _ = form.encode(script, A, 1, form.FULL)
    assert vars(ours) == vars(theirs)


@pytest.mark.parametrize("name", ROWS)
def test_every_variant_finds_what_there_is_and_nothing_else(name: str) -> None:
    # A path of four vertices, and the Petersen graph.
    small = [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    least = min(ranks_by_brute_force(small).values())
    for rank in (0, 2):
        found, _ = form.run(script, small, rank, form.ROWS[name], seed=1)
        assert found == (least <= rank)
    assert form.run(script, script.petersen(), 4, form.ROWS[name], seed=2)[0]


def test_a_run_that_takes_too_long_is_killed() -> None:
    def forever() -> tuple[bool, float]:
        while True:
            pass

    assert form.bounded(1, forever) is None
    assert form.bounded(5, lambda: (True, 0.5)) == (True, 0.5)
    with pytest.raises(RuntimeError, match="ended by itself"):
        form.bounded(5, lambda: sys.exit(3))


@pytest.mark.parametrize("bench", [form, workload_cases])
def test_what_compares_with_pycryptosat_says_that_it_is_missing(
    tmp_path: Path, bench: ModuleType
) -> None:
    result = subprocess.run(
        [sys.executable, str(bench.__file__)],
        env=without(tmp_path, "pycryptosat"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("pycryptosat is needed (none here): take Python 3.13 or older")
