"""Graphs beside the named ones: graph6 strings and adjacency files."""

# ruff: noqa: N803, N806 - matrices have the capital names of the formulas

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mathematics import Matrix, script
from workload import Workload


def to_graph6(A: Matrix) -> str:
    """The graph6 string of a graph on fewer than 63 vertices, by the format's definition."""
    bits = "".join(str(A[u][v]) for v in range(len(A)) for u in range(v))
    bits += "0" * (-len(bits) % 6)
    sixes = (bits[i : i + 6] for i in range(0, len(bits), 6))
    return chr(63 + len(A)) + "".join(chr(63 + int(six, 2)) for six in sixes)


@given(data=st.data())
def test_graph6_is_read_as_it_is_written(data: st.DataObject) -> None:
    order = data.draw(st.integers(2, 20))
    A = [[0] * order for _ in range(order)]
    for u, v in itertools.combinations(range(order), 2):
        A[u][v] = A[v][u] = data.draw(st.integers(0, 1))
    assert script.from_graph6(to_graph6(A)) == A


def test_published_strings_are_the_graphs_they_stand_for() -> None:
    # The format's own example: 0-2, 0-4, 1-3, 3-4. And the complete graph on four vertices.
    edges = {(0, 2), (0, 4), (1, 3), (3, 4)}
    example = script.adjacency(5, lambda u, v: (min(u, v), max(u, v)) in edges)
    assert script.from_graph6("DQc") == example
    assert script.from_graph6(">>graph6<<C~\n") == script.adjacency(4, lambda u, v: True)


@pytest.mark.parametrize("name", ["petersen", "rook"])
def test_a_graph_by_any_way_in_has_the_same_answer(rank: Workload, name: str) -> None:
    A = script.GRAPHS[name]()
    path = rank.directory / "graph.txt"
    path.write_text("\n".join("".join(map(str, row)) for row in A) + "\n\n")
    ways = (("--graph", name), ("--graph6", to_graph6(A)), ("--adjacency", path))
    asked = ("--rank", 3, "--method", "prefix", "--scan", "--cube_depth", 1)
    outputs = [rank.run(*way, *asked) for way in ways]
    assert [result.returncode for result in outputs] == [0, 0, 0]
    assert all("cases=1" in result.stdout for result in outputs)
    states = sorted(path.name for path in rank.directory.glob("state_*"))
    assert len(states) == 2
    assert f"state_{name}_prefix_r3_depth1_stride1_off0.txt" in states


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "wants characters"),
        ("D Q", "wants characters"),
        ("DQ", "take 3 characters"),
        ("DQcc", "take 3 characters"),
        ("DQd", "must be zero"),
        ("?", "2 to 62 vertices"),
        ("@", "2 to 62 vertices"),
        ("~??~?????", "2 to 62 vertices"),
    ],
)
def test_a_wrong_graph6_string_is_refused(rank: Workload, text: str, named: str) -> None:
    result = rank.run("--graph6", text, "--min_rank")
    assert (result.returncode, result.stdout) == (2, "")
    assert named in result.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "0 rows"),
        ("0\n", "1 rows"),
        ("0 1\n1\n", "row 1"),
        ("0 1\n1 2\n", "row 1"),
        ("0 1\n1 1\n", "own neighbour"),
        ("000\n000\n0\n", "row 2"),
        ("0 1 0\n1 0 1\n1 1 0\n", "differs from column"),
        ("0 \u0661\n1 0\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_adjacency_file_is_refused(
    rank: Workload, tmp_path: Path, text: str | None, named: str
) -> None:
    path = tmp_path / "graph"
    if text is not None:
        path.write_text(text)
    result = rank.run("--adjacency", path, "--min_rank")
    assert (result.returncode, result.stdout) == (2, "")
    assert named in result.stderr
    assert str(path) in result.stderr
