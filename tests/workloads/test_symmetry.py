"""Cubes and prefixes: every ordering is looked at, up to automorphism once."""

# ruff: noqa: N803, N806 - matrices have the capital names of the formulas

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mathematics import Matrix, graphs, ranks_by_brute_force, script


@settings(max_examples=60, deadline=None)
@given(A=graphs(), data=st.data())
def test_every_beginning_is_the_image_of_exactly_one_cube(A: Matrix, data: st.DataObject) -> None:
    order = len(A)
    depth = data.draw(st.integers(0, order))
    group = script.automorphisms(A)
    cubes = script.cubes(group, order, depth)
    assert cubes == sorted(cubes)
    images = [tuple(g[v] for v in cube) for cube in cubes for g in group]
    assert set(images) == set(itertools.permutations(range(order), depth))
    orbits = {frozenset(tuple(g[v] for v in cube) for g in group) for cube in cubes}
    assert len(orbits) == len(cubes)
    assert sum(map(len, orbits)) == math.perm(order, depth)


@pytest.mark.parametrize("name", ["petersen", "rook", "shrikhande"])
@pytest.mark.parametrize("depth", range(5))
def test_the_orbits_of_the_cubes_add_up_to_all_beginnings(name: str, depth: int) -> None:
    A = script.GRAPHS[name]()
    group = script.automorphisms(A)
    orbits = 0
    for cube in script.cubes(group, len(A), depth):
        fixing = sum(all(g[v] == v for v in cube) for g in group)
        orbits += len(group) // fixing
    assert orbits == math.perm(len(A), depth)


@settings(max_examples=40, deadline=None)
@given(A=graphs(), data=st.data())
def test_the_search_by_prefix_finds_each_class_once(A: Matrix, data: st.DataObject) -> None:
    order = len(A)
    rank, depth = data.draw(st.integers(0, order - 1)), data.draw(st.integers(0, order))
    group = script.automorphisms(A)
    ranks = ranks_by_brute_force(A)
    least = {
        min(tuple(g[v] for v in perm) for g in group)
        for perm, found in ranks.items()
        if found <= rank
    }
    found = [
        (tuple(perm), its_rank)
        for begin in script.cubes(group, order, depth)
        for perm, its_rank in script.orderings(A, rank, begin, group)
    ]
    assert sorted(found) == sorted((perm, ranks[perm]) for perm in least)


@settings(max_examples=40, deadline=None)
@given(A=graphs())
def test_of_a_large_group_a_subgroup_is_taken(A: Matrix) -> None:
    whole = set(script.automorphisms(A))
    few = set(script.automorphisms(A, most=2))
    assert len(few) <= 2
    assert few <= whole
    assert {tuple(g[v] for v in h) for g in few for h in few} == few
    ranks = ranks_by_brute_force(A)
    wanted = sum(found <= 2 for found in ranks.values())
    assert len(list(script.orderings(A, 2, (), list(few)))) * len(few) == wanted


@pytest.mark.slow
def test_vertices_may_be_numbered_in_any_way() -> None:
    # A path whose even places come first, so that no vertex is near those before it.
    places = [*range(0, 60, 2), *range(1, 60, 2)]
    path = script.adjacency(60, lambda u, v: abs(places[u] - places[v]) == 1)
    ladder = script.adjacency(60, lambda u, v: (places[u] - places[v]) % 60 in (1, 30, 59))
    for A in (path, ladder):
        far = [[int(u != v) - A[u][v] for v in range(60)] for u in range(60)]
        group = script.automorphisms(A)
        assert len(group) == (2 if A is path else 120)
        assert sorted(group) == sorted(script.automorphisms(far))


def test_a_graph_with_all_symmetries_is_no_trouble() -> None:
    empty = script.adjacency(script.LARGEST, lambda u, v: False)
    assert len(script.automorphisms(empty)) == math.factorial(7)
    complete = script.adjacency(16, lambda u, v: True)
    assert len(script.automorphisms(complete)) == math.factorial(7)


def test_where_most_vertices_are_fixed_the_clauses_have_an_end() -> None:
    # A path with two more leaves at one end: the three leaves alone can change places.
    twins = script.adjacency(24, lambda u, v: abs(u - v) == 1 if max(u, v) < 22 else min(u, v) == 0)
    group = script.automorphisms(twins)
    assert len(group) == 2
    redundant = script.redundant_prefixes(group, 24)
    assert (23,) in redundant
    assert (5, 7, 23) in redundant
    assert all(len(prefix) <= 3 for prefix in redundant)
