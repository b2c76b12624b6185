"""How many orderings have which boundary rank: counted exactly, or sampled from a seed."""

# ruff: noqa: N803, N806 - matrices have the capital names of the formulas

import math
import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mathematics import Matrix, graphs, permuted, ranks_by_brute_force, script
from workload import Workload, done_cases

SAMPLED = ("--distribution", "--samples", 2500, "--batch", 300, "--seed", 7)


def tallies(output: str) -> Counter[str]:
    """The counts of all tallies added up, by what they say before the count."""
    total: Counter[str] = Counter()
    for told in re.findall(r"\btally=(\S+)", output):
        for part in told.split(",") if told != "-" else ():
            name, number = part.rsplit(":", 1)
            total[name] += int(number)
    return total


@settings(max_examples=40, deadline=None)
@given(A=graphs(7))
def test_the_ranks_of_many_orderings_are_those_of_each(A: Matrix) -> None:
    ranks = ranks_by_brute_force(A) if len(A) < 7 else {
        tuple(perm): script.rank_gf2(script.boundary(permuted(A, perm)))
        for perm in (random.Random(seed).sample(range(7), 7) for seed in range(50))
    }  # fmt: skip
    perms = list(ranks)
    together = script.ranks_of_orderings(A, np.array(perms))
    assert together.tolist() == [ranks[perm] for perm in perms]


@given(
    rows=st.lists(
        st.lists(st.integers(0, 2**62 - 1), min_size=3, max_size=3), min_size=1, max_size=7
    )
)
def test_the_ranks_of_words_are_those_by_elimination(rows: list[list[int]]) -> None:
    together = script.ranks_of_words([np.array(row, dtype=np.uint64) for row in rows])
    for place, rank in enumerate(together.tolist()):
        matrix = [[row[place] >> bit & 1 for bit in range(62)] for row in rows]
        assert rank == script.rank_gf2(matrix)


def test_all_orderings_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(script, "ranks_of_orderings", lambda A, perms: drawn.append(perms))
    A = script.adjacency(4, lambda u, v: u + v == 3)
    script.sampled_ranks(A, 24000, 5, 0)
    counts = Counter(map(tuple, drawn[0].tolist()))
    assert len(counts) == math.factorial(4)
    assert all(sorted(perm) == [0, 1, 2, 3] for perm in counts)
    # A thousand expected of each: chi-squared with 23 degrees of freedom, beyond 60 in 10^-5.
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 60


def test_all_of_petersens_orderings_are_counted(rank: Workload) -> None:
    arguments = ("--graph", "petersen", "--distribution", "--cube_depth", 3)
    parts = [rank.run(*arguments, "--stride", 3, "--offset", offset) for offset in range(3)]
    total = sum((tallies(part.stdout) for part in parts), Counter())
    assert sum(total.values()) == math.factorial(10)
    assert total == tallies(rank.run("--graph", "petersen", "--distribution").stdout)
    few = tallies(rank.run("--graph", "petersen", "--distribution", "--rank", 5).stdout)
    assert few == {"petersen:4": total["petersen:4"]}


@settings(max_examples=20, deadline=None)
@given(A=graphs(), data=st.data())
def test_an_exact_count_is_that_of_brute_force(A: Matrix, data: st.DataObject) -> None:
    bound = data.draw(st.integers(0, len(A) - 1))
    question = script.Exact("g", A, bound, data.draw(st.integers(0, len(A))))
    told = "\n".join(question.answer(gidx)[0] for gidx in range(question.total))
    wanted = Counter(rank for rank in ranks_by_brute_force(A).values() if rank <= bound)
    assert tallies(told) == {f"g:{rank}": number for rank, number in wanted.items()}


@pytest.mark.slow
def test_a_sample_is_the_same_however_it_is_divided(rank: Workload) -> None:
    both = ("--graph", "rook", "--graph", "shrikhande", *SAMPLED)
    whole = rank.run(*both)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert done_cases(whole.stdout) == list(range(18))
    total = tallies(whole.stdout)
    for name in ("rook", "shrikhande"):
        assert sum(n for key, n in total.items() if key.startswith(f"{name}:")) == 2500
    parts = [rank.run(*both, "--stride", 4, "--offset", offset).stdout for offset in range(4)]
    assert sum((tallies(part) for part in parts), Counter()) == total
    other = rank.run(*both, "--seed", 8)
    assert tallies(other.stdout) != total


def test_a_sample_goes_on_where_it_was_killed_and_repeats_a_batch_exactly(rank: Workload) -> None:
    arguments = ("--graph", "rook", *SAMPLED, "--resume")
    output = "".join(rank.read_until_killed_at(lines, *arguments) for lines in (2, 3, None))
    by_case: dict[str, set[str]] = {}
    for gidx, told in re.findall(r"\] DONE  gidx=(\d+) .* tally=(\S+) dt=", output):
        by_case.setdefault(gidx, set()).add(told)
    assert len(by_case) == 9
    assert all(len(told) == 1 for told in by_case.values())


def test_no_ordering_of_the_rook_graph_has_rank_2_by_count_either(rank: Workload) -> None:
    result = rank.run("--graph", "rook", "--distribution", "--rank", 2)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("tally=- ") == 2
    assert "COMPLETE off=0 stride=1 cases=2" in result.stdout


def test_without_numpy_it_says_how_to_get_it(rank: Workload, tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "numpy.py").write_text("raise ImportError('no such module')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "absent")}
    result = rank.run("--graph", "rook", *SAMPLED, env=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert "pip install numpy" in result.stderr
