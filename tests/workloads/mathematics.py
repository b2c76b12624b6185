"""The rank workload as a module, and its mathematics once more, written apart from it."""

# ruff: noqa: N803, N806 - matrices and sets have the capital names of the formulas

import itertools
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType

from hypothesis import strategies as st
from workload import FILES

Matrix = list[list[int]]


def load() -> ModuleType:
    """The script as a module."""
    loader = SourceFileLoader("rank_boundary", str(FILES / "rank_boundary_sat_v18.sage"))
    spec = spec_from_loader("rank_boundary", loader)
    assert spec is not None
    module = module_from_spec(spec)
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = bytecode
    return module


script = load()


def boundary_straight(T: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    """The boundary once more, written apart from the script: deletions, added up."""
    n = len(T) - 1
    parts = [
        [[row[v] for v in range(n + 1) if v != k] for u, row in enumerate(T) if u != k]
        for k in range(n + 1)
    ]
    return tuple(tuple(sum(part[u][v] for part in parts) % 2 for v in range(n)) for u in range(n))


def rank_of_row_space(B: tuple[tuple[int, ...], ...]) -> int:
    """The rank over GF(2): the logarithm of how many sums the rows have."""
    space = {0}
    for row in B:
        word = sum(entry << place for place, entry in enumerate(row))
        space |= {word ^ other for other in space}
    return len(space).bit_length() - 1


def permuted(A: Matrix, perm: tuple[int, ...]) -> Matrix:
    """T of an ordering."""
    return [[A[u][v] for v in perm] for u in perm]


def ranks_by_brute_force(A: Matrix) -> dict[tuple[int, ...], int]:
    """The boundary rank of each of the N! orderings."""
    orderings = itertools.permutations(range(len(A)))
    return {p: rank_of_row_space(boundary_straight(permuted(A, p))) for p in orderings}


@st.composite
def graphs(draw: st.DrawFn, most: int = 6) -> list[list[int]]:
    """The adjacency matrix of a graph on 2 to `most` vertices."""
    order = draw(st.integers(2, most))
    A = [[0] * order for _ in range(order)]
    for u, v in itertools.combinations(range(order), 2):
        A[u][v] = A[v][u] = draw(st.integers(0, 1))
    return A
