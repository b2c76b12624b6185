"""Time per case of the rank workload, beside its aim and beside peers measured in the same run.

    python bench/workload_cases.py [--bound SECONDS]

Petersen r=3, stride 4, offset 0 is 21 cases, all UNSAT, one thread.  A reference through Sage's
polynomial-to-CNF conversion takes 93 s for them; the aim is a tenth, 9.3 s or 0.443 s per case.
The first row is the command as the queue starts it, interpreter and state files included.  The
peers solve the same formulas with one idea taken away: XORs written out as clauses instead of
native ones, and every ordering allowed instead of one for each class under automorphisms.  Then
single cases of the 16-vertex graphs, each given up after --bound seconds; the same graphs' whole
question by the methods form and prefix; and the ranks of random orderings, all of a batch at once
beside one by one.
"""

# ruff: noqa: N806 - matrices and sets have the capital names of the formulas

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from cnf import clauses_of_xor

FILES = Path(__file__).resolve().parents[1] / "roles" / "jobset" / "files"
SCRIPT = FILES / "rank_boundary_sat_v18.sage"
PETERSEN = ("--graph", "petersen", "--rank", "3", "--scan_all_J", "--stride", "4", "--offset", "0")
AIM_TOTAL = 9.3
CASES = range(0, 84, 4)
FEW = range(0, 84, 28)  # without symmetry breaking a case takes long
ENVIRONMENT = {**os.environ, "SAGE_NUM_THREADS": "1"}


def load() -> ModuleType:
    """The workload as a module."""
    loader = SourceFileLoader("rank_boundary", str(SCRIPT))
    spec = spec_from_loader("rank_boundary", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.dont_write_bytecode = True  # or the roles directory would get a cache
    loader.exec_module(module)
    return module


def cryptominisat() -> ModuleType:
    """pycryptosat; ends the program where this Python has none."""
    try:
        import pycryptosat
    except ImportError as error:
        sys.exit(f"pycryptosat is needed ({error}): take Python 3.13 or older, by PYTHON=...")
    library: ModuleType = pycryptosat
    return library


def row(what: str, value: str, aim: str = "") -> None:
    """One line of the table."""
    print(f"{what:<62} {value:>22}  {aim}", flush=True)


def times_in_log(log: str) -> list[float]:
    """The dt of every DONE line, in seconds."""
    return [float(seconds) for seconds in re.findall(r" DONE .* dt=([0-9.]+)s", log)]


def command(directory: Path, *arguments: str, timeout: float) -> tuple[float, str]:
    """Wall time and output of the workload; raises TimeoutExpired."""
    began = time.perf_counter()
    result = subprocess.run(
        [sys.executable, shutil.copy(SCRIPT, directory), *arguments],
        env=ENVIRONMENT, timeout=timeout, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return time.perf_counter() - began, result.stdout


def solve(formula: Any, native_xor: bool) -> bool | None:
    """Whether the formula is satisfiable, by one solver thread."""
    solver = cryptominisat().Solver(threads=1)
    for clause in formula.clauses:
        solver.add_clause(clause)
    for variables in formula.xors:
        if native_xor:
            solver.add_xor_clause(variables, False)
            continue
        for clause in clauses_of_xor(variables):
            solver.add_clause(clause)
    satisfiable: bool | None = solver.solve()[0]
    return satisfiable


def peer(script: ModuleType, cases: range, symmetry: bool, native_xor: bool) -> list[float]:
    """Seconds for each of these Petersen cases, encoding included."""
    A = script.petersen()
    forbidden = script.redundant_prefixes(script.automorphisms(A), len(A)) if symmetry else ()
    taken = []
    for gidx in cases:
        began = time.perf_counter()
        formula, _, _ = script.encode_case(A, script.subset_at(9, 6, gidx), forbidden)
        assert solve(formula, native_xor) is False
        taken.append(time.perf_counter() - began)
    return taken


def petersen_rows(script: ModuleType, directory: Path) -> None:
    """The figure with an aim, and the peers."""
    whole = []
    for turn in range(3):
        (directory / str(turn)).mkdir()
        seconds, log = command(directory / str(turn), *PETERSEN, timeout=600)
        assert len(times_in_log(log)) == len(CASES)
        assert "sat=True" not in log
        whole.append(seconds)
    total, single = statistics.median(whole), times_in_log(log)
    row("petersen r=3 stride 4 offset 0, the command, median of 3", f"{total:.2f} s",
        f"aim {AIM_TOTAL} s: {'met' if total <= AIM_TOTAL else 'MISSED'}")  # fmt: skip
    row("  per case, the command's time / 21", f"{total / len(CASES):.4f} s",
        f"aim {AIM_TOTAL / len(CASES):.3f} s")  # fmt: skip
    row("  per case, as the log has it: median, longest",
        f"{statistics.median(single):.3f} s, {max(single):.3f} s")  # fmt: skip
    variants: list[tuple[str, range, Callable[[range], list[float]]]] = [
        ("XORs as plain clauses", CASES, lambda some: peer(script, some, True, False)),
        ("no symmetry breaking", FEW, lambda some: peer(script, some, False, True)),
        ("neither", FEW, lambda some: peer(script, some, False, False)),
    ]
    for name, cases, measure in variants:
        ours, theirs = sum(peer(script, cases, True, True)), sum(measure(cases))
        row(f"peer: {name}, per case over {len(cases)} cases",
            f"{theirs / len(cases):.4f} s", f"{theirs / ours:.1f} times ours")  # fmt: skip


def large_rows(script: ModuleType, directory: Path, bound: float) -> None:
    """First, middle and last case of the 16-vertex graphs, and of a rank that is harder."""
    for graph, rank in (("rook", 3), ("shrikhande", 3), ("rook", 4)):
        total = script.math.comb(15, rank)
        for gidx in (0, total // 2, total - 1):
            J = ",".join(map(str, script.subset_at(15, 15 - rank, gidx)))
            arguments = ("--graph", graph, "--rank", str(rank), "--J", J)
            try:
                _, log = command(directory, *arguments, timeout=bound)
            except subprocess.TimeoutExpired:
                row(f"{graph} r={rank} gidx={gidx}", f"more than {bound:.0f} s", "given up")
            else:
                verdict = "SAT" if "sat=True" in log else "UNSAT"
                row(f"{graph} r={rank} gidx={gidx}", f"{times_in_log(log)[0]:.2f} s", verdict)


def whole_rows(directory: Path) -> None:
    """The whole question of the 16-vertex graphs, by the methods that answer it in seconds."""
    for graph in ("rook", "shrikhande"):
        seconds = {}
        for method in ("form", "prefix"):
            arguments = ("--graph", graph, "--rank", "3", "--method", method, "--scan")
            seconds[method], log = command(directory, *arguments, timeout=600)
            assert "COMPLETE" in log
            assert "sat=True" not in log
        row(f"{graph} r=3, all cases, by form", f"{seconds['form']:.2f} s")
        ratio = seconds["prefix"] / seconds["form"]
        row("  peer: by prefix", f"{seconds['prefix']:.2f} s", f"{ratio:.1f} times form")


def sample_rows(script: ModuleType) -> None:
    """Random orderings a second of the rook graph."""
    A, many, few = script.rook(), 100000, 2000
    began = time.perf_counter()
    script.sampled_ranks(A, many, 0, 0)
    together = (time.perf_counter() - began) / many
    orderings = [random.Random(seed).sample(range(16), 16) for seed in range(few)]
    began = time.perf_counter()
    for perm in orderings:
        script.rank_gf2(script.boundary(script.permuted(A, perm)))
    single = (time.perf_counter() - began) / few
    row("ranks of random orderings of rook, a second", f"{1 / together:,.0f}")
    row("  peer: one by one, by definition", f"{1 / single:,.0f}",
        f"{single / together:.0f} times the time")  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time per case of the rank workload.")
    parser.add_argument("--bound", type=float, default=60, help="seconds for each large case")
    bound = parser.parse_args().bound
    cryptominisat()
    script = load()
    with tempfile.TemporaryDirectory() as directory:
        petersen_rows(script, Path(directory))
        large_rows(script, Path(directory), bound)
        whole_rows(Path(directory))
    sample_rows(script)


if __name__ == "__main__":
    main()
