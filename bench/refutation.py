"""That the graphs have no ordering of low boundary rank, by programs which the workload has not.

    python bench/refutation.py [--graph GRAPH ...] [--rank R] [--cube_depth D] [--directory DIR]

The workload's refutations rest on one solver and on its own symmetry breaking. Here each cube's
formula, its XORs written out as clauses, is given to CaDiCaL and to Glucose; Glucose writes a
DRUP proof, which bench/drup.py checks; the workload's exhaustive search (`prefix`) goes through
the same cube; and bench/symmetry.py tries what the cubes leave out. An ordering that a solver
finds is verified instead. What is left to believe: that the formula says what it should, which
tests/workloads holds against brute force on small graphs.

The seconds are processor time of this process, encoding left out. Formulas and proofs stay in
--directory, if given, in the standard formats. The exit code is 1 when anything disagrees.
"""

# ruff: noqa: N806 - matrices have the capital names of the formulas

import argparse
import collections
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cnf
import drup
import symmetry
from pysat.solvers import Solver
from workload_cases import load

PEERS = {"CaDiCaL": "cadical195", "Glucose": "glucose4"}  # as PySAT calls them
PROVER = "Glucose"
COLUMNS = (
    ("graph", 11), ("rank", 5), ("depth", 6), ("cubes", 6), ("variables", 10), ("clauses", 8),
    *((f"{name} s", 10) for name in PEERS), ("lemmas", 8), ("check s", 8), ("prefix s", 9),
    ("symmetry s", 11),
)  # fmt: skip


class Instance(NamedTuple):
    """What all cubes of a graph have in common."""

    script: ModuleType
    A: list[list[int]]
    rank: int
    group: list[tuple[int, ...]]
    forbidden: list[tuple[int, ...]]


@dataclass
class Findings:
    """What became of a graph's cubes."""

    seconds: dict[str, float] = field(default_factory=lambda: collections.defaultdict(float))
    variables: int = 0  # of the largest cube
    clauses: int = 0  # of the largest cube
    lemmas: int = 0  # of all proofs
    refuted: int = 0
    faults: list[str] = field(default_factory=list)

    @contextmanager
    def clock(self, what: str) -> Iterator[None]:
        """Add the body's processor time to what is spent on that."""
        began = time.process_time()
        yield
        self.seconds[what] += time.process_time() - began


def ask(solver: Any, plain: cnf.Plain) -> list[int] | None:
    """A model as true literals, or None when the solver refutes the formula."""
    # Glucose's proof lacks what it simplified in clauses that its constructor was given.
    solver.append_formula(plain.clauses)
    if not solver.solve():
        return None
    model: list[int] = solver.get_model()
    return model


def refute(plain: cnf.Plain, formula: Path) -> list[int] | None:
    """Ask Glucose; when it refutes, leave its proof beside the formula's file, which is written."""
    formula.write_text(cnf.dimacs(plain), encoding="ascii")
    with Solver(name=PEERS[PROVER], with_proof=True) as solver:
        model = ask(solver, plain)
        lines = solver.get_proof()
    if model is None:
        # Without a search Glucose leaves the empty clause out, or goes on after it.
        lines = [*itertools.takewhile(lambda line: line != "0", lines), "0"]
        text = "\n".join([f"c sha256 {drup.digest(formula)}", *lines]) + "\n"
        formula.with_suffix(".drup").write_text(text, encoding="ascii")
    return model


def settle(instance: Instance, begin: tuple[int, ...], path: Path, found: Findings) -> None:
    """One cube, in each of the ways."""
    script, A, rank, group, forbidden = instance
    formula, x, _ = script.encode_form(A, rank // 2, begin, forbidden)
    plain = cnf.without_xors(formula)
    found.variables = max(found.variables, plain.variables)
    found.clauses = max(found.clauses, len(plain.clauses))
    models = {}
    for name, solver_name in PEERS.items():
        with found.clock(name):
            if name == PROVER:
                models[name] = refute(plain, path)
            else:
                with Solver(name=solver_name) as solver:
                    models[name] = ask(solver, plain)
    with found.clock("prefix"):
        searched = next(script.orderings(A, rank, begin, group), None)
    answers = {name: model is not None for name, model in models.items()}
    answers["prefix"] = searched is not None
    if len(set(answers.values())) > 1:
        found.faults.append(f"cube {begin}: satisfiable? {answers}")
    for name, model in models.items():
        if model is not None:
            true = set(model)
            perm = script.ordering_in(lambda variable, true=true: variable in true, x)
            faults = script.faults_in_form(A, rank, begin, perm, None)
            found.faults += [f"cube {begin}: {name}: {fault}" for fault in faults]
    if models[PROVER] is None:
        try:
            with found.clock("check"):
                found.lemmas += drup.check(path, path.with_suffix(".drup"))
        except drup.RefusedError as error:
            found.faults.append(f"cube {begin}: the proof is refused: {error}")
        else:
            found.refuted += 1


def examine(script: ModuleType, graph: str, rank: int, depth: int, directory: Path) -> Findings:
    """All cubes of a graph; prints its row."""
    A, found = script.GRAPHS[graph](), Findings()
    group = script.automorphisms(A)
    cubes = script.cubes(group, len(A), depth)
    forbidden = script.redundant_prefixes(group, len(A))
    instance = Instance(script, A, rank, group, forbidden)
    with found.clock("symmetry"):
        found.faults += symmetry.faults_in_reduction(A, depth, cubes, forbidden)
    for number, begin in enumerate(cubes):
        path = directory / f"{graph}_r{rank}_depth{depth}_cube{number:04d}.cnf"
        settle(instance, begin, path, found)
    if found.faults:
        verdict = "DISAGREEMENT"
    elif found.refuted == len(cubes):
        verdict = f"no ordering of rank <= {rank}, proved"
    else:
        verdict = f"orderings of rank <= {rank} in {len(cubes) - found.refuted} cubes, verified"
    spent = [f"{found.seconds[name]:.2f}" for name in (*PEERS, "check", "prefix", "symmetry")]
    spent.insert(len(PEERS), str(found.lemmas))
    row(graph, rank, depth, len(cubes), found.variables, found.clauses, *spent, verdict)
    return found


def row(*cells: object) -> None:
    """One line of the table; what the columns have no width for, at its end."""
    sized = [f"{cell!s:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=False)]
    print(" ".join([*sized, " ", *map(str, cells[len(COLUMNS) :])]), flush=True)


def main() -> int:
    """Print the table; returns the exit code."""
    script = load()
    parser = argparse.ArgumentParser(description="Refute low boundary ranks with other programs.")
    parser.add_argument("--graph", nargs="+", choices=sorted(script.GRAPHS), help="default: all")
    parser.add_argument("--rank", type=int, default=3)
    parser.add_argument(
        "--cube_depth", type=int, default=3, help="vertices that a cube begins with"
    )
    parser.add_argument("--directory", type=Path, help="keep formulas and proofs here")
    args = parser.parse_args()
    row(*(name for name, _ in COLUMNS), "verdict")
    faults = []
    with tempfile.TemporaryDirectory() as temporary:
        directory = args.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        for graph in args.graph or sorted(script.GRAPHS):
            found = examine(script, graph, args.rank, args.cube_depth, directory)
            faults += [f"{graph}: {fault}" for fault in found.faults]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
