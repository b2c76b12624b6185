"""The form method: one formula for the ordering and the planes whose sum its boundary is."""

# ruff: noqa: N803, N806 - matrices have the capital names of the formulas

import itertools
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mathematics import (
    Matrix,
    boundary_straight,
    graphs,
    permuted,
    rank_of_row_space,
    ranks_by_brute_force,
    script,
)
from pysat.solvers import Solver
from workload import Workload, done_cases

pytestmark = pytest.mark.slow

FORM = ("--method", "form", "--scan")


def models(formula: Any) -> list[list[int]]:
    """All models of a small formula."""
    with Solver(name="glucose4", bootstrap_with=formula.without_xors()) as solver:
        return list(solver.enum_models())


@st.composite
def alternating(draw: st.DrawFn) -> Matrix:
    """An alternating matrix of 2 to 5 rows."""
    size = draw(st.integers(2, 5))
    B = [[0] * size for _ in range(size)]
    for u, v in itertools.combinations(range(size), 2):
        B[u][v] = B[v][u] = draw(st.integers(0, 1))
    return B


@settings(max_examples=60, deadline=None)
@given(B=alternating(), planes=st.integers(1, 2))
def test_an_alternating_matrix_has_one_normal_form_or_too_high_a_rank(
    B: Matrix, planes: int
) -> None:
    # Planes alone: a T whose boundary would be B is not needed, so B's entries are given.
    formula = script.Formula()
    W = formula.new_matrix(len(B), 2 * planes)
    one = formula.new()
    formula.clause(one)
    for u, v in itertools.combinations(range(len(B)), 2):
        terms = [one] if B[u][v] else []
        for i in range(0, 2 * planes, 2):
            terms += [formula.product(W[u][i], W[v][i + 1]), formula.product(W[u][i + 1], W[v][i])]
        formula.sum_is_zero(terms)
    script.encode_normal_planes(formula, W)
    rank = rank_of_row_space(tuple(map(tuple, B)))
    assert rank % 2 == 0
    assert len(models(formula)) == int(rank <= 2 * planes)


@settings(max_examples=15, deadline=None)
@given(A=graphs(), data=st.data())
def test_every_cube_has_the_verdict_of_brute_force(
    solver: Any, A: Matrix, data: st.DataObject
) -> None:
    order = len(A)
    planes, depth = data.draw(st.integers(0, 2)), data.draw(st.integers(0, order))
    group = script.automorphisms(A)
    forbidden = script.redundant_prefixes(group, order)
    low = [perm for perm, rank in ranks_by_brute_force(A).items() if rank <= 2 * planes]
    for begin in script.cubes(group, order, depth):
        expected = any(perm[:depth] == begin for perm in low)
        for prefixes, normal in itertools.product((forbidden, ()), (True, False)):
            formula, x, W = script.encode_form(A, planes, begin, prefixes, normal=normal)
            value = solver.solve(formula)
            assert (value is not None) == expected
            if value:
                perm = script.ordering_in(value, x)
                vectors = [[value(bit) for bit in row] for row in W]
                assert script.faults_in_form(A, 2 * planes, begin, perm, vectors) == []
                assert tuple(perm) in low


@settings(max_examples=40, deadline=None)
@given(A=graphs())
def test_reversed_orderings_have_the_same_rank_and_one_of_each_pair_stays(
    solver: Any, A: Matrix
) -> None:
    ranks = ranks_by_brute_force(A)
    assert all(ranks[perm[::-1]] == rank for perm, rank in ranks.items())
    order = len(A)
    kept = set()
    for perm in itertools.permutations(range(order)):
        T = permuted(A, perm)
        formula = script.Formula()
        names: Matrix = [[0] * order for _ in range(order)]
        for u, v in itertools.combinations(range(order), 2):
            names[u][v] = names[v][u] = formula.new()
            formula.clause(names[u][v] if T[u][v] else -names[u][v])
        script.encode_reversal(formula, names)
        if solver.solve(formula):
            kept.add(perm)
    assert all(perm in kept or perm[::-1] in kept for perm in ranks)


@settings(max_examples=100, deadline=None)
@given(A=graphs(7), data=st.data())
def test_the_complement_has_the_same_boundary_when_the_order_is_even(
    A: Matrix, data: st.DataObject
) -> None:
    order = len(A)
    perm = tuple(data.draw(st.permutations(range(order))))
    other = [[int(u != v) - A[u][v] for v in range(order)] for u in range(order)]
    ours, theirs = (boundary_straight(permuted(M, perm)) for M in (A, other))
    for u, v in itertools.permutations(range(order - 1), 2):
        assert theirs[u][v] == (ours[u][v] + order) % 2


def test_a_forged_form_is_refused(solver: Any) -> None:
    A = script.petersen()
    formula, x, W = script.encode_form(A, 2, (0, 1))
    value = solver.solve(formula)
    perm, vectors = script.ordering_in(value, x), [[value(bit) for bit in row] for row in W]
    assert script.faults_in_form(A, 4, (0, 1), perm, vectors) == []

    def faults(perm: list[int], W: Matrix, rank: int = 4, begin: tuple[int, ...] = (0, 1)) -> str:
        return "; ".join(script.faults_in_form(A, rank, begin, perm, W))

    assert "not a permutation" in faults([perm[0], *perm[:-1]], vectors)
    assert "more than 2" in faults(perm, vectors, rank=2)
    assert "begin with [1, 0]" in faults(perm, vectors, begin=(1, 0))
    for u, place in itertools.product(range(9), range(4)):
        forged = [[*row] for row in vectors]
        forged[u][place] ^= 1
        partner = place ^ 1
        if any(row[partner] for w, row in enumerate(vectors) if w != u):
            assert "vectors' sum" in faults(perm, forged)


# --- the command --------------------------------------------------------------------------------


def test_petersen_has_no_ordering_of_rank_3_and_one_of_rank_4(rank: Workload, backend: str) -> None:
    asked = (*FORM, "--sat_backend", backend)
    for depth, cubes in ((0, 1), (1, 1), (2, 2), (3, 8)):
        arguments = ("--graph", "petersen", "--rank", 3, *asked, "--cube_depth", depth)
        result = rank.run(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert done_cases(result.stdout) == list(range(cubes))
        assert "sat=True" not in result.stdout
        assert f"COMPLETE off=0 stride=1 cases={cubes}" in result.stdout
    state = rank.directory / "state_petersen_form_r3_depth3_stride1_off0.txt"
    assert state.read_text() == "7\n"
    stop = rank.directory / "stop"
    found = rank.run("--graph", "petersen", "--rank", 4, *asked, "--stop_file", stop)
    shown = re.search(r"Found perm: (\[.*\])", found.stdout)
    assert shown
    perm = tuple(int(v) for v in re.findall(r"\d+", shown[1]))
    A = script.petersen()
    assert rank_of_row_space(boundary_straight(permuted(A, perm))) == 4
    assert "SAT found for cube = [0, 1]\n" in found.stdout
    assert "Verified boundary rank: 4\n" in found.stdout
    numbers = shown[1].replace(" ", "")
    assert stop.read_text() == f"SAT gidx=0 off=0 stride=1 cube=[0,1] perm={numbers}\n"


@pytest.mark.parametrize("method", ["form", "prefix"])
def test_its_partitions_resume_and_drain_like_those_of_gauge(rank: Workload, method: str) -> None:
    arguments = ("--graph", "petersen", "--rank", 3, "--method", method, "--scan", "--resume")
    part = (*arguments, "--cube_depth", 4, "--stride", 2, "--offset", 1)
    state = rank.directory / f"state_petersen_{method}_r3_depth4_stride2_off1.txt"
    seen: list[int] = []
    for lines in (1, 3, None):
        before = int(state.read_text()) if state.exists() else -1
        done = done_cases(rank.read_until_killed_at(lines, *part))
        assert done == list(range(before + 2, done[-1] + 1, 2))
        seen += done
    assert seen[-1] == int(state.read_text()) == 43
    stop = rank.directory / "stop"
    stop.touch()
    drained = rank.run(*arguments, "--cube_depth", 4, "--stop_file", stop)
    assert (drained.returncode, done_cases(drained.stdout)) == (0, [])


@pytest.mark.parametrize("rank_bound", range(2, 7))
def test_all_methods_have_the_same_answer_for_petersen(rank: Workload, rank_bound: int) -> None:
    answers = {}
    for method in ("gauge", "form", "prefix"):
        arguments = ("--graph", "petersen", "--rank", rank_bound, "--method", method, "--scan")
        result = rank.run(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        answers[method] = "sat=True" in result.stdout
    assert set(answers.values()) == {rank_bound >= 4}


@pytest.mark.parametrize("seed", range(6))
def test_all_methods_agree_with_brute_force_on_random_graphs(rank: Workload, seed: int) -> None:
    chance = random.Random(seed)
    order = 6 + seed % 3
    A = [[0] * order for _ in range(order)]
    for u, v in itertools.combinations(range(order), 2):
        A[u][v] = A[v][u] = chance.choice([0, 1])
    path = rank.directory / "graph.txt"
    path.write_text("\n".join(" ".join(map(str, row)) for row in A))
    least = min(ranks_by_brute_force(A).values())
    for method in ("form", "prefix"):
        result = rank.run("--adjacency", path, "--min_rank", "--method", method)
        assert (result.returncode, result.stderr) == (0, "")
        assert f"LEAST RANK {least}" in result.stdout
    for bound in range(order - 1):
        result = rank.run("--adjacency", path, "--rank", bound, "--scan_all_J")
        assert ("sat=True" in result.stdout) == (least <= bound)


@pytest.mark.parametrize("graph", ["rook", "shrikhande"])
def test_the_16_vertex_graphs_have_no_ordering_of_rank_3(
    rank: Workload, graph: str, backend: str
) -> None:
    for method in ("form", "prefix"):
        arguments = ("--graph", graph, "--rank", 3, "--method", method, "--scan")
        result = rank.run(*arguments, "--sat_backend", backend)
        assert (result.returncode, result.stderr) == (0, "")
        assert "COMPLETE off=0 stride=1" in result.stdout
        assert "sat=True" not in result.stdout


@pytest.mark.parametrize("graph", ["rook", "shrikhande"])
def test_the_16_vertex_graphs_have_an_ordering_of_rank_4(
    rank: Workload, graph: str, backend: str
) -> None:
    arguments = ("--graph", graph, "--rank", 4, *FORM, "--sat_backend", backend)
    result = rank.run(*arguments, timeout=300)
    shown = re.search(r"Found perm: (\[.*\])", result.stdout)
    assert shown
    perm = tuple(int(v) for v in re.findall(r"\d+", shown[1]))
    A = script.GRAPHS[graph]()
    assert sorted(perm) == list(range(16))
    assert rank_of_row_space(boundary_straight(permuted(A, perm))) == 4


def test_the_least_rank_has_a_witness_above_and_a_refutation_below(rank: Workload) -> None:
    result = rank.run("--graph", "petersen", "--min_rank", "--want_solution")
    assert (result.returncode, result.stderr) == (0, "")
    assert "REFUTED rank=2 cases=2 method=form" in result.stdout
    lines = result.stdout.splitlines()
    assert lines[-1] == "LEAST RANK 4"
    assert "Vectors u, v of the form, by rows: [[" in result.stdout
    assert [path.name for path in rank.directory.iterdir()] == [rank.script.name]


def test_a_graph_whose_orderings_all_have_full_rank_says_so(rank: Workload) -> None:
    # A triangle: all orderings have the same boundary, and 2 is as much as two rows can have.
    result = rank.run("--graph6", "Bw", "--min_rank")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "LEAST RANK 2, as of every ordering"
