"""What each part of the form encoding is worth: the whole instance with it and without it.

    python bench/form.py [--rank R ...] [--graph GRAPH ...] [--seeds S] [--bound SECONDS]

The first row is the formula as the workload gives it to CryptoMiniSat; every other row changes one
thing in it, or in CaDiCaL's row where it is indented. PyCryptoSat takes no seed, and chance decides
much: so a seed renames the variables and shuffles the clauses at random. Seconds are processor
time to load and to solve, the median of the seeds, then their range, then the ratio to the first
row. Each run has a process of its own, which the kernel kills after --bound seconds; a row is
given up when its median is known to be longer. The ordering of a solution is verified; two rows
that answer differently end the program.
"""

# ruff: noqa: N803, N806 - matrices have the capital names of the formulas

import argparse
import functools
import itertools
import math
import multiprocessing
import random
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

import cnf
from pysat.solvers import Solver
from workload_cases import cryptominisat, load

FORK = multiprocessing.get_context("fork")
Result = tuple[bool, float]  # whether there is an ordering, and the seconds to find out
PYSAT = {"CaDiCaL": "cadical195", "Glucose": "glucose4"}


@dataclass(frozen=True)
class Variant:
    """A way to put the question; the defaults are the workload's."""

    prefixes: str = "chain"  # forbidden beginnings: none, those of one vertex, or all
    normal: bool = True
    reversal: bool = False
    table: str = "long"  # clauses of T: long ones, those of three literals, or both
    xors: str = "native"  # or written out as clauses: whole, or cut
    solver: str = "CryptoMiniSat"
    shuffled: bool = True


FULL = Variant()
PLAIN = Variant(xors="whole")
CADICAL = replace(PLAIN, solver="CaDiCaL")
ROWS = {
    "as the workload has it, shuffled": FULL,
    "not shuffled": replace(FULL, shuffled=False),
    "lex-leader: first vertex only": replace(FULL, prefixes="first"),
    "lex-leader: none": replace(FULL, prefixes="none"),
    "no normal planes": replace(FULL, normal=False),
    "one of an ordering and its reverse": replace(FULL, reversal=True),
    "T: three-literal clauses, too": replace(FULL, table="both"),
    "T: three-literal clauses only": replace(FULL, table="three"),
    "XORs as clauses": PLAIN,
    "XORs as clauses, cut at 3 variables": replace(FULL, xors="cut"),
    "Glucose, XORs as clauses": replace(PLAIN, solver="Glucose"),
    "CaDiCaL, XORs as clauses": CADICAL,
    "  and lex-leader: none": replace(CADICAL, prefixes="none"),
    "  and no normal planes": replace(CADICAL, normal=False),
    "  and one of an ordering and its reverse": replace(CADICAL, reversal=True),
    "  and T: three-literal clauses, too": replace(CADICAL, table="both"),
    "  and T: three-literal clauses only": replace(CADICAL, table="three"),
}


def three_literals(
    A: list[list[int]], x: list[list[int]], T: list[list[int]]
) -> Iterator[list[int]]:
    """Clauses "u at i and v at j gives T[i][j]", for all of them."""
    for i, j in itertools.combinations(range(len(A)), 2):
        for u, v in itertools.permutations(range(len(A)), 2):
            yield [-x[i][u], -x[j][v], T[i][j] if A[u][v] else -T[i][j]]


def encode(
    script: ModuleType, A: list[list[int]], planes: int, variant: Variant
) -> tuple[Any, list[list[int]]]:
    """The formula of the whole instance, and its x."""
    formula = script.Formula()
    x, T = script.encode_ordering(formula, A)
    if variant.table == "three":
        entries = {entry for row in T for entry in row if entry}
        formula.clauses = [c for c in formula.clauses if entries.isdisjoint(map(abs, c))]
    if variant.table != "long":
        formula.clauses += three_literals(A, x, T)
    W = script.encode_planes(formula, T, planes)
    if variant.normal and planes:
        script.encode_normal_planes(formula, W)
    if variant.reversal:
        script.encode_reversal(formula, T)
    forbidden = script.redundant_prefixes(script.automorphisms(A), len(A))
    longest = {"none": 0, "first": 1, "chain": len(A)}[variant.prefixes]
    for prefix in forbidden:
        if len(prefix) <= longest:
            formula.clause(*[-x[i][v] for i, v in enumerate(prefix)])
    return formula, x


def shuffle(formula: Any, seed: int) -> list[int]:
    """Rename and reorder the formula at random, in place; returns the new name of each variable."""
    chance = random.Random(seed)
    names = list(range(1, formula.variables + 1))
    chance.shuffle(names)
    names.insert(0, 0)
    for lists in (formula.clauses, formula.xors):
        for literals in lists:
            literals[:] = [names[n] if n > 0 else -names[-n] for n in literals]
            chance.shuffle(literals)
        chance.shuffle(lists)
    return names


def native(formula: Any) -> Callable[[int], bool] | None:
    """Ask CryptoMiniSat, with its own XORs: the value of each variable, or None."""
    solver = cryptominisat().Solver(threads=1)
    for clause in formula.clauses:
        solver.add_clause(clause)
    for variables in formula.xors:
        solver.add_xor_clause(variables, False)
    satisfiable, model = solver.solve()
    assert satisfiable is not None
    return (lambda variable: bool(model[variable])) if satisfiable else None


def by_pysat(plain: cnf.Plain, name: str) -> Callable[[int], bool] | None:
    """Ask a solver of PySAT: the value of each variable, or None."""
    with Solver(name=name, bootstrap_with=plain.clauses) as solver:
        if not solver.solve():
            return None
        true = set(solver.get_model())
        return lambda variable: variable in true


def run(script: ModuleType, A: list[list[int]], rank: int, variant: Variant, seed: int) -> Result:
    """Whether there is an ordering of that rank, and the seconds to find out."""
    formula, x = encode(script, A, rank // 2, variant)
    names = shuffle(formula, seed) if variant.shuffled else range(formula.variables + 1)
    if variant.xors != "native":
        plain = cnf.without_xors(formula, 3 if variant.xors == "cut" else cnf.LONGEST)
        formula.variables, formula.clauses, formula.xors = plain.variables, plain.clauses, []
        if variant.shuffled:  # or the clauses of an XOR stand together
            random.Random(seed).shuffle(formula.clauses)
    began = time.process_time()
    if variant.solver == "CryptoMiniSat":
        value = native(formula)
    else:
        value = by_pysat(cnf.Plain(formula.variables, formula.clauses), PYSAT[variant.solver])
    seconds = time.process_time() - began
    if value:
        perm = script.ordering_in(lambda variable: value(names[variable]), x)
        assert script.faults_in_ordering(A, rank, perm) == []
    return value is not None, seconds


def bounded(bound: int, measure: Callable[[], Result]) -> Result | None:
    """The result, from a process of its own; None when that was killed after `bound` seconds."""

    def child(sender: Connection) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (bound, bound))
        sender.send(measure())

    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=child, args=(sender,))
    process.start()
    sender.close()  # or the end of the child would not be the end of the pipe
    try:
        result: Result | None = receiver.recv()
    except EOFError:
        result = None
    process.join()
    if result is None and process.exitcode not in (-signal.SIGXCPU, -signal.SIGKILL):
        raise RuntimeError(f"the run ended by itself, with exit code {process.exitcode}")
    return result


def table(script: ModuleType, graph: str, rank: int, seeds: int, bound: int) -> None:
    """The rows for one graph and rank."""
    A, answers, full = script.GRAPHS[graph](), set(), math.nan
    print(f"{graph}, rank <= {rank}, no cube; seconds, median of {seeds}")
    for name, variant in ROWS.items():
        taken: list[float] = []
        lost = 0  # runs that were killed; the median is lost with half of them
        for seed in range(seeds if variant.shuffled else 1):
            if lost >= seeds - seeds // 2:
                break
            result = bounded(bound, functools.partial(run, script, A, rank, variant, seed))
            if result is None:
                lost += 1
            else:
                answers.add(result[0])
                taken.append(result[1])
        taken += [math.inf] * lost
        median = statistics.median_high(taken)
        if variant == FULL:
            full = median
        if math.isinf(median):
            print(f"  {name:<40} {f'> {bound}':>8} {'':>18} given up", flush=True)
        else:
            spread = f"{min(taken):.2f} to {max(taken):.2f}"
            print(f"  {name:<40} {median:>8.2f} {spread:>18} {median / full:>8.2f}", flush=True)
        if len(answers) > 1:
            sys.exit(f"{name}: answers differ from row to row or seed to seed")
    found = " and ".join("an ordering, verified" if yes else "no ordering" for yes in answers)
    print(f"  every run that ended: {found or 'none did'}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What each part of the form encoding is worth.")
    parser.add_argument("--rank", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--graph", nargs="+", default=["rook", "shrikhande"])
    parser.add_argument("--seeds", type=int, default=3, help="runs of a row (default: 3)")
    parser.add_argument("--bound", type=int, default=60, help="seconds for a run (default: 60)")
    args = parser.parse_args()
    cryptominisat()
    script = load()
    for rank, graph in itertools.product(args.rank, args.graph):
        table(script, graph, rank, args.seeds, args.bound)


if __name__ == "__main__":
    main()
