"""The rank workload answers its question, proves what it finds, and loses nothing."""

# ruff: noqa: N803, N806 - matrices and sets have the capital names of the formulas

import itertools
import random
import re
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mathematics import boundary_straight, graphs, script
from workload import Workload, done_cases

PETERSEN_3 = ("--graph", "petersen", "--rank", 3, "--scan_all_J")
PETERSEN_4 = ("--graph", "petersen", "--rank", 4, "--scan_all_J")


# --- the mathematics ----------------------------------------------------------------------------


def kernel_cases(order: int, rank: int) -> list[list[int]]:
    """All cases in lexicographic order, by enumeration."""
    return [list(J) for J in itertools.combinations(range(order - 1), order - 1 - rank)]


def has_gauged_kernel(B: tuple[tuple[int, ...], ...], J: list[int]) -> bool:
    """Whether B Y = 0 has a solution with Y_J = identity, column by column, trying every Y."""
    free = [k for k in range(len(B)) if k not in J]

    def column_exists(j: int) -> bool:
        return any(
            all((row[j] + sum(row[k] for k in chosen)) % 2 == 0 for row in B)
            for size in range(len(free) + 1)
            for chosen in itertools.combinations(free, size)
        )

    return all(column_exists(j) for j in J)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(A=graphs(), data=st.data())
def test_every_case_of_a_small_graph_has_the_verdict_of_brute_force(
    solver: Any, A: list[list[int]], data: st.DataObject
) -> None:
    order = len(A)
    rank = data.draw(st.integers(0, order - 2))
    boundaries = {
        boundary_straight([[A[u][v] for v in perm] for u in perm])
        for perm in itertools.permutations(range(order))
    }
    forbidden = script.redundant_prefixes(script.automorphisms(A), order)
    for gidx, J in enumerate(kernel_cases(order, rank)):
        assert script.subset_at(order - 1, len(J), gidx) == J
        assert script.index_of_subset(order - 1, J) == gidx
        expected = any(has_gauged_kernel(B, J) for B in boundaries)
        for prefixes in (forbidden, ()):
            witness = script.solve_case(solver, A, J, prefixes)
            assert (witness is not None) == expected
            if witness:
                assert script.faults_in_witness(A, rank, J, *witness) == []
                perm = tuple(witness[0])
                assert not any(perm[:size] in prefixes for size in range(order))


@settings(max_examples=60, deadline=None)
@given(A=graphs())
def test_formula_and_definition_of_the_boundary_agree(A: list[list[int]]) -> None:
    B = script.boundary(A)
    assert tuple(map(tuple, B)) == boundary_straight(A)
    for u, v in itertools.combinations(range(len(B)), 2):
        terms = script.boundary_terms(len(A), u, v)
        assert sum(A[i][j] for i, j in terms) % 2 == B[u][v] == B[v][u]
    assert all(B[u][u] == 0 for u in range(len(B)))


@settings(max_examples=40, deadline=None)
@given(A=graphs())
def test_breaking_symmetry_leaves_one_ordering_of_each_class(A: list[list[int]]) -> None:
    order = len(A)
    group = script.automorphisms(A)
    brute = [
        g
        for g in itertools.permutations(range(order))
        if all(A[g[u]][g[v]] == A[u][v] for u in range(order) for v in range(order))
    ]
    assert sorted(group) == brute
    forbidden = set(script.redundant_prefixes(group, order))
    kept = [
        perm
        for perm in itertools.permutations(range(order))
        if not any(perm[:size] in forbidden for size in range(1, order + 1))
    ]
    least = {
        min(tuple(g[v] for v in perm) for g in group)
        for perm in itertools.permutations(range(order))
    }
    assert set(kept) == least
    assert len(kept) == len(least)


@given(rows=st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_rank_is_the_logarithm_of_the_row_space(rows: list[list[int]]) -> None:
    space: set[tuple[int, ...]] = {(0, 0, 0, 0)}
    for row in rows:
        space |= {tuple((a + b) % 2 for a, b in zip(row, v, strict=True)) for v in space}
    assert 2 ** script.rank_gf2(rows) == len(space)


def test_the_graphs_are_the_ones_they_are_called_after() -> None:
    for name, order, degree, symmetries, adjacent, apart in (
        ("petersen", 10, 3, 120, 0, 1),
        ("rook", 16, 6, 1152, 2, 2),
        ("shrikhande", 16, 6, 192, 2, 2),
    ):
        A = script.GRAPHS[name]()
        assert len(A) == order
        assert all(sum(row) == degree for row in A)
        for u, v in itertools.combinations(range(order), 2):
            common = sum(A[u][w] * A[w][v] for w in range(order))
            assert A[u][v] == A[v][u]
            assert common == (adjacent if A[u][v] else apart)
        assert len(script.automorphisms(A)) == symmetries
    assert script.rook()[0][3] == script.rook()[0][12] == 1 == script.shrikhande()[0][5]
    assert script.rook()[0][5] == 0 == script.shrikhande()[0][7]


def test_the_known_rook_ordering_has_boundary_rank_6() -> None:
    perm = [5, 13, 6, 10, 8, 4, 7, 11, 9, 1, 15, 3, 0, 12, 14, 2]
    assert script.rank_gf2(script.boundary(script.permuted(script.rook(), perm))) == 6


def test_the_16_vertex_graphs_have_455_cases_at_rank_3() -> None:
    cases = kernel_cases(16, 3)
    assert len(cases) == 455
    assert [script.subset_at(15, 12, gidx) for gidx in range(455)] == cases
    assert [script.index_of_subset(15, J) for J in cases] == list(range(455))


@pytest.fixture(scope="module")
def row_spaces() -> set[frozenset[int]]:
    """The row spaces of all boundaries of Petersen's graph, without zero, as words of bits."""
    A = script.petersen()
    found = set()
    for perm, _ in script.orderings(A, 6):
        space = {0}
        for row in boundary_straight([[A[u][v] for v in perm] for u in perm]):
            word = sum(entry << place for place, entry in enumerate(row))
            space |= {word ^ other for other in space}
        found.add(frozenset(space - {0}))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("bound", range(2, 7))
def test_every_case_of_petersen_has_the_verdict_of_all_its_orderings(
    solver: Any, bound: int, row_spaces: set[frozenset[int]]
) -> None:
    # A kernel has a basis that is the identity on J iff its vectors take all values there: iff
    # the row space, which it is orthogonal to, has no vector but zero that vanishes outside J.
    A = script.petersen()
    forbidden = script.redundant_prefixes(script.automorphisms(A), 10)
    low = [space for space in row_spaces if len(space) < 2**bound]
    for J in kernel_cases(10, bound):
        outside = sum(1 << k for k in range(9) if k not in J)
        expected = any(all(word & outside for word in space) for space in low)
        witness = script.solve_case(solver, A, J, forbidden)
        assert (witness is not None) == expected
        if witness:
            assert script.faults_in_witness(A, bound, J, *witness) == []


def test_a_forged_witness_is_refused(solver: Any) -> None:
    A, J = script.petersen(), script.subset_at(9, 5, 0)
    perm, Y = script.solve_case(solver, A, J)
    assert script.faults_in_witness(A, 4, J, perm, Y) == []

    def faults(perm: list[int], Y: list[list[int]], rank: int = 4) -> str:
        return "; ".join(script.faults_in_witness(A, rank, J, perm, Y))

    assert "not a permutation" in faults(perm[:-1], Y)
    assert "not a permutation" in faults([perm[0], *perm[:-1]], Y)
    assert "more than 3" in faults(perm, Y, rank=3)
    assert "not a 9 x 5 matrix" in faults(perm, Y[:-1])
    assert "identity" in faults(perm, [[0] * 5 for _ in range(9)])
    assert "not zero" in faults(perm, [[int(u == j) for j in J] for u in range(9)])
    for seed in range(20):
        other = random.Random(seed).sample(range(10), 10)
        rank = script.rank_gf2(boundary_straight([[A[u][v] for v in other] for u in other]))
        assert rank <= 4 or "more than 4" in faults(other, Y)


# --- the command: known answers -----------------------------------------------------------------


def test_petersen_has_no_ordering_of_boundary_rank_3(rank: Workload, backend: str) -> None:
    gidx: list[int] = []
    for offset in range(4):
        partition = ("--stride", 4, "--offset", offset)
        chosen = ("--sat_backend", backend, "--progress_every", offset + 1)
        result = rank.run(*PETERSEN_3, *partition, *chosen)
        starts = [int(gidx) for gidx in re.findall(r"\] START gidx=(\d+) ", result.stdout)]
        assert starts == list(range(offset, 84, 4 * (offset + 1)))
        assert (result.returncode, result.stderr) == (0, "")
        assert f"COMPLETE off={offset} stride=4 cases=21" in result.stdout
        assert "sat=True" not in result.stdout
        assert done_cases(result.stdout) == list(range(offset, 84, 4))
        gidx += done_cases(result.stdout)
        state = rank.directory / f"state_petersen_r3_stride4_off{offset}.txt"
        assert state.read_text() == f"{80 + offset}\n"
    assert sorted(gidx) == list(range(84))


def test_petersen_at_rank_4_finds_in_its_first_case_and_closes_the_gate(
    rank: Workload, backend: str
) -> None:
    stop = rank.directory / "stop.txt"
    arguments = (*PETERSEN_4, "--resume", "--stop_file", stop, "--sat_backend", backend)
    result = rank.run(*arguments, "--want_solution")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()[1:]
    assert lines[1] == "SAT found for J = [0, 1, 2, 3, 4]"
    perm = [int(v) for v in re.findall(r"\d+", lines[2])]
    assert lines[2] == f"Found perm: {perm}"
    A = script.petersen()
    found = script.rank_gf2(boundary_straight([[A[u][v] for v in perm] for u in perm]))
    assert lines[3] == f"Verified boundary rank: {found}"
    assert found <= 4
    assert lines[4].startswith("Kernel basis Y")
    assert re.search(r"DONE  gidx=0 local=0 off=0 stride=1 sat=True dt=\d+\.\d+s$", lines[5])
    assert len(lines) == 6
    shown = str(perm).replace(" ", "")
    assert stop.read_text() == f"SAT gidx=0 off=0 stride=1 J=[0,1,2,3,4] perm={shown}\n"
    assert (rank.directory / "state_petersen_r4_stride1_off0.txt").read_text() == "0\n"
    again = rank.run(*arguments)
    assert (again.returncode, done_cases(again.stdout)) == (0, [])
    assert f"STOP  stop file present: {stop}; last gidx done=0" in again.stdout


def test_the_stop_file_keeps_what_stood_in_it(rank: Workload) -> None:
    stop = rank.directory / "stop.txt"
    for text in ("", "a line\n", "no end of line"):
        stop.write_text(text)
        script.add_to_stop_file(str(stop), "SAT gidx=0")
        begin = text if text.endswith("\n") or not text else text + "\n"
        assert stop.read_text() == begin + "SAT gidx=0\n"
    assert [path.name for path in rank.directory.glob("*.tmp")] == []


def test_a_single_case_can_be_asked_and_keeps_no_state(rank: Workload) -> None:
    unsat = rank.run("--graph", "petersen", "--rank", 3, "--J", "8,7,6,5,4,3")
    assert (unsat.returncode, done_cases(unsat.stdout)) == (0, [83])
    assert "sat=False" in unsat.stdout
    sat = rank.run("--graph", "petersen", "--rank", 4, "--J", "0,1,2,3,4")
    assert "SAT found for J = [0, 1, 2, 3, 4]" in sat.stdout
    assert [path.name for path in rank.directory.iterdir()] == [rank.script.name]


def test_rank_0_asks_for_a_vanishing_boundary(rank: Workload) -> None:
    result = rank.run("--graph", "petersen", "--rank", 0, "--scan_all_J")
    assert result.returncode == 0
    assert "COMPLETE off=0 stride=1 cases=1" in result.stdout


# --- the command: state, stop, failures ---------------------------------------------------------


def test_killed_again_and_again_it_skips_no_case(rank: Workload) -> None:
    state = rank.directory / "state_petersen_r3_stride2_off1.txt"
    arguments = (*PETERSEN_3, "--stride", 2, "--offset", 1, "--resume")
    seen: list[int] = []
    for lines in (1, 7, 2, 12, None):
        before = int(state.read_text()) if state.exists() else -1
        done = done_cases(rank.read_until_killed_at(lines, *arguments))
        assert done == list(range(before + 2, done[-1] + 1, 2))
        seen += done
    # A kill can fall between the DONE line and the new state: that case is done again. What must
    # never happen is that a case counts without its line.
    assert sorted(set(seen)) == list(range(1, 84, 2))
    assert seen == sorted(seen)


def test_a_case_in_progress_does_not_count(rank: Workload) -> None:
    with rank.start("--graph", "rook", "--rank", 5, "--scan_all_J") as process:
        assert process.stdout is not None
        assert " SOLVER " in process.stdout.readline()
        assert " START gidx=0 " in process.stdout.readline()
        process.kill()
        assert process.stdout.read() == ""
    assert [path.name for path in rank.directory.iterdir()] == [rank.script.name]


def test_the_stop_file_ends_the_scan_between_two_cases(rank: Workload) -> None:
    stop = rank.directory / "stop"
    with rank.start(*PETERSEN_3, "--stop_file", stop) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " DONE  gidx=1 " in line:
                stop.touch()
                break
        rest = process.stdout.read()
    assert process.returncode == 0
    last = (rank.directory / "state_petersen_r3_stride1_off0.txt").read_text().strip()
    assert f"STOP  stop file present: {stop}; last gidx done={last}" in rest
    assert int(last) < 83
    assert stop.read_text() == ""


def test_a_corrupt_state_file_is_refused_and_left_alone(
    rank: Workload, corrupt_state: bytes
) -> None:
    state = rank.directory / "state_petersen_r3_stride4_off3.txt"
    state.write_bytes(corrupt_state)
    result = rank.run(*PETERSEN_3, "--stride", 4, "--offset", 3, "--resume")
    assert (result.returncode, result.stdout) == (2, "")
    assert str(state) in result.stderr
    assert "remove it" in result.stderr
    assert state.read_bytes() == corrupt_state


def test_the_state_advances_only_after_the_witness_is_printed(rank: Workload) -> None:
    state, stop = rank.directory / "state_petersen_r4_stride1_off0.txt", rank.directory / "stop"
    state.write_text("0\n")
    # With no START line for gidx 1, the witness comes right after the first line, the solver's.
    arguments = (*PETERSEN_4, "--resume", "--stop_file", stop, "--progress_every", 7)
    log = rank.directory / "log"

    def run(limit: int) -> "subprocess.CompletedProcess[str]":
        """Run it with a log that takes so many bytes, all there are for a limit of -1."""
        sizes = (resource.RLIMIT_FSIZE, (limit, limit))
        with open(log, "w") as file:
            return rank.run(
                *arguments, preexec_fn=lambda: resource.setrlimit(*sizes),
                capture_output=False, stdout=file, stderr=subprocess.PIPE,
            )  # fmt: skip

    stop.touch()
    run(-1)
    first = log.read_text().splitlines(keepends=True)[0]
    stop.unlink()
    result = run(len(first))
    assert result.returncode not in (0, 2, 3)
    assert "File too large" in result.stderr
    assert log.read_text()[-1:] == "\n"
    assert log.read_text().count("\n") == 1
    assert state.read_text() == "0\n"
    assert not stop.exists()
    result = rank.run(*arguments)
    assert "SAT found for J" in result.stdout
    assert done_cases(result.stdout) == [1]
    assert (state.read_text(), stop.exists()) == ("1\n", True)


def test_when_the_gate_cannot_be_closed_the_witness_is_out_and_the_case_not_counted(
    rank: Workload,
) -> None:
    result = rank.run(*PETERSEN_4, "--stop_file", rank.directory / "no_such_directory" / "stop")
    assert result.returncode == 1
    assert "Verified boundary rank: " in result.stdout
    assert "no_such_directory" in result.stderr
    assert not list(rank.directory.glob("state_*"))


def test_state_and_stop_file_can_be_read_by_the_other_user_id(rank: Workload) -> None:
    stop = rank.directory / "stop"
    rank.run(*PETERSEN_4, "--stop_file", stop, umask=0o002)
    state = rank.directory / "state_petersen_r4_stride1_off0.txt"
    assert [path.stat().st_mode & 0o777 for path in (state, stop)] == [0o664, 0o664]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--graph petersen --rank 9 --scan_all_J", "--rank 9"),
        ("--graph rook --rank 15 --scan_all_J", "--rank 15"),
        ("--graph petersen --rank -1 --scan_all_J", "--rank -1"),
        ("--graph petersen --rank 3 --scan_all_J --stride 4 --offset 4", "--offset 4"),
        ("--graph petersen --rank 3 --scan_all_J --stride 4 --offset -1", "--offset -1"),
        ("--graph petersen --rank 3 --scan_all_J --stride 0", "--stride 0"),
        ("--graph petersen --rank 3 --scan_all_J --off 1", "--off"),
        ("--graph petersen --rank 3 --scan_all_J --solver magma", "--solver"),
        ("--graph petersen --rank 3 --scan_all_J --sat_backend glucose", "--sat_backend"),
        ("--graph petersen --rank 3 --scan_all_J --heartbeat nan", "--heartbeat"),
        ("--graph petersen --rank 3 --scan_all_J --J 0,1,2,3,4,5", "--J"),
        ("--graph petersen --rank 3", "--scan_all_J"),
        ("--graph petersen --scan_all_J", "--rank"),
        ("--graph heawood --rank 3 --scan_all_J", "--graph"),
        ("--graph petersen --rank 3 --J 0,1,2,3,4", "--J"),
        ("--graph petersen --rank 3 --J 0,1,2,3,4,4", "--J"),
        ("--graph petersen --rank 3 --J 0,1,2,3,4,9", "--J"),
        ("--graph petersen --rank 3 --J 0,1,2,3,4,x", "--J"),
        ("--graph petersen --rank 3 --J 0,1,2,3,4,5 --resume", "--J"),
        ("--graph petersen --rank 3 --J 0,1,2,3,4,5 --stride 4", "--J"),
        ("--graph rook --graph6 DQc --rank 2 --scan", "no more"),
        ("--graph rook --graph petersen --rank 2 --scan", "more than one"),
        ("--graph rook --graph rook --distribution --samples 9", "twice"),
        ("--graph rook --rank 3 --method form --J 1,2", "--J"),
        ("--graph rook --rank 3 --scan --cube_depth 2", "--cube_depth"),
        ("--graph rook --rank 3 --method form --scan --cube_depth 17", "--cube_depth 17"),
        ("--graph rook --rank 3 --min_rank", "--rank"),
        ("--graph rook --min_rank --method gauge", "--min_rank"),
        ("--graph rook --min_rank --resume", "--min_rank"),
        ("--graph rook --distribution --samples 0", "--samples 0"),
        ("--graph rook --distribution --samples 9 --seed -1", "--seed -1"),
        ("--graph rook --distribution --rank 16", "--rank 16"),
        ("--graph rook --rank 2 --scan --samples 9", "--samples"),
        ("--graph rook --rank 2 --scan --seed 9", "--seed"),
        ("--graph rook --distribution --method form", "--method"),
        ("--graph rook --min_rank --rank 0", "--rank"),
        ("--graph rook --rank 3 --scan --cube_depth 0", "--cube_depth"),
        ("--graph rook --distribution --seed 0", "--seed"),
        ("--graph rook --min_rank --stop_file stop", "--stop_file"),
        ("--graph rook --distribution --samples 9 --batch 10000001", "--batch 10000001"),
        ("--graph rook --rank 3 --scan --method form --cube_depth 12", "--cube_depth 12"),
    ],
)
def test_a_wrong_argument_is_named_and_ends_with_2(
    rank: Workload, arguments: str, named: str
) -> None:
    result = rank.run(*arguments.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert named in result.stderr.splitlines()[-1]


def test_it_survives_sages_preparser(rank: Workload, backend: str, preparser: Path) -> None:
    preparsed, chosen = rank.preparsed(preparser), ("--sat_backend", backend)
    assert preparsed.run("--selftest", *chosen).stdout.endswith("\nselftest OK\n")
    stop = rank.directory / "stop"
    sat = preparsed.run(
        *PETERSEN_4, *chosen, "--resume", "--stop_file", stop, "--want_solution", "--heartbeat", 1
    )
    assert (sat.returncode, sat.stderr) == (0, "")
    assert sat.stdout.splitlines()[2:5] == rank.run(*PETERSEN_4, *chosen).stdout.splitlines()[2:5]
    assert stop.read_text().startswith("SAT gidx=0 off=0 stride=1 J=[0,1,2,3,4] perm=[")
    unsat = preparsed.run(*PETERSEN_3, *chosen, "--stride", 28, "--offset", 27, "--resume")
    assert done_cases(unsat.stdout) == [27, 55, 83]
    assert (rank.directory / "state_petersen_r3_stride28_off27.txt").read_text() == "83\n"


def test_all_its_methods_survive_sages_preparser(
    rank: Workload, backend: str, preparser: Path
) -> None:
    preparsed = rank.preparsed(preparser)
    for arguments in (
        ("--graph", "petersen", "--rank", 3, "--method", "form", "--scan"),
        ("--graph6", "IheA@GUAo", "--rank", 4, "--method", "form", "--scan", "--want_solution"),
        ("--graph", "petersen", "--rank", 3, "--method", "prefix", "--scan", "--cube_depth", 3),
        ("--graph", "petersen", "--min_rank"),
        ("--graph", "rook", "--distribution", "--samples", 500, "--batch", 300, "--seed", 2),
        ("--graph6", "F?zPw", "--distribution"),
    ):
        ours, theirs = (
            re.sub(r"\[20.*?\]|dt=\S+", "", script.run(*arguments, "--sat_backend", backend).stdout)
            for script in (rank, preparsed)
        )
        assert "COMPLETE" in ours or "LEAST RANK" in ours or "SAT found" in ours
        assert ours == theirs
