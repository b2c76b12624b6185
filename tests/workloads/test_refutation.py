"""What confirms the workload's refutations: other solvers, checked proofs, the symmetry's count."""

# ruff: noqa: N803, N806 - matrices and sets have the capital names of the formulas

import itertools
import random
import shutil
import subprocess
import sys
from pathlib import Path

import cnf
import drup
import pytest
import refutation
import symmetry
from hypothesis import given, settings
from hypothesis import strategies as st
from mathematics import Matrix, graphs, ranks_by_brute_force, script
from pysat.solvers import Solver

Clauses = list[list[int]]
VARIABLES = 5
SQUARE = [[1, 2], [1, -2], [-1, 2], [-1, -2]]  # the least formula that propagation cannot refute

literals = st.integers(1, VARIABLES).flatmap(lambda v: st.sampled_from([v, -v]))
clauses = st.lists(literals, min_size=1, max_size=3)
formulas = st.lists(clauses, min_size=1, max_size=40)
lines = st.tuples(st.booleans(), st.lists(literals, max_size=3)).map(
    lambda pair: " ".join([*["d"] * pair[0], *map(str, pair[1]), "0"])
)


def satisfiable(formula: Clauses, variables: int = VARIABLES) -> bool:
    """By trying every assignment."""
    return any(
        all(any((n > 0) == values[abs(n) - 1] for n in clause) for clause in formula)
        for values in itertools.product((True, False), repeat=variables)
    )


def written(directory: Path, formula: Clauses, proof: list[str]) -> tuple[Path, Path]:
    """The two files, the proof with the line that says what it is for."""
    paths = directory / "formula.cnf", directory / "proof.drup"
    paths[0].write_text(cnf.dimacs(cnf.Plain(VARIABLES, formula)))
    paths[1].write_text("\n".join([f"c sha256 {drup.digest(paths[0])}", *proof]) + "\n")
    return paths


def accepted(directory: Path, formula: Clauses, proof: list[str]) -> bool:
    """The checker's verdict."""
    try:
        drup.check(*written(directory, formula, proof))
    except drup.RefusedError:
        return False
    return True


def glucose(directory: Path, formula: Clauses) -> list[str] | None:
    """Glucose's proof as refutation.py has it written, or None for a satisfiable formula."""
    path = directory / "glucose.cnf"
    if refutation.refute(cnf.Plain(VARIABLES, formula), path) is not None:
        return None
    return path.with_suffix(".drup").read_text().splitlines()[1:]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the files of many examples, one after the other."""
    return tmp_path_factory.mktemp("proofs")


# --- the checker ----------------------------------------------------------------------------------


def test_a_proof_of_the_least_formula_is_accepted(tmp_path: Path) -> None:
    assert accepted(tmp_path, SQUARE, ["1 0", "0"])
    assert accepted(tmp_path, SQUARE, ["1 0", "d 1 2 0", "0"])


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (["3 0", "1 0", "0"], "line 2: does not follow"),
        (["0"], "line 2: does not follow"),
        (["d 1 2 0", "1 0", "0"], "line 3: does not follow"),
        (["1 0"], "ends without the empty clause"),
        ([], "ends without the empty clause"),
        (["1 0", "0", "2 0"], "line 3: the empty clause is not the last line"),
        (["1 0", "d 1 3 0", "0"], "line 3: deletes a clause that is not there"),
        (["1 0", "d 1 2 0", "d 2 1 0", "0"], "line 4: deletes a clause that is not there"),
        (["6 0", "1 0", "0"], "line 2: a variable that the formula has not"),
        (["1", "0"], "line 2: a clause has one 0, at its end"),
        (["1 0 2 0", "0"], "line 2: a clause has one 0, at its end"),
        (["", "1 0", "0"], "line 2: a clause has one 0, at its end"),
        (["one 0", "0"], "line 2: not integers"),
    ],
)
def test_what_is_no_proof_is_refused_and_says_where(
    tmp_path: Path, proof: list[str], reason: str
) -> None:
    with pytest.raises(drup.RefusedError, match=reason):
        drup.check(*written(tmp_path, SQUARE, proof))


def test_a_proof_is_for_one_formula_only(tmp_path: Path) -> None:
    formula, proof = written(tmp_path, SQUARE, ["1 0", "0"])
    assert drup.check(formula, proof) == 2
    formula.write_text(cnf.dimacs(cnf.Plain(VARIABLES, [*SQUARE, [3]])))
    with pytest.raises(drup.RefusedError, match="line 1: the proof does not say"):
        drup.check(formula, proof)
    proof.write_text("1 0\n0\n")
    with pytest.raises(drup.RefusedError, match="line 1: the proof does not say"):
        drup.check(formula, proof)


@pytest.mark.parametrize(
    "text",
    ["", "c nothing\n", "p cnf 2\n", "p cnf 2 x\n", "p cnf 2 1\n1 2\n", "p cnf 2 2\n1 2 0\n",
     "p cnf 2 1\n1 3 0\n", "1 2 0\n", "p cnf 2 1\n1 0 2 0\n", "p cnf 2 1\n1 2 0\n1 0\n"],
)  # fmt: skip
def test_what_is_no_formula_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "formula.cnf"
    path.write_text(text)
    with pytest.raises(drup.RefusedError, match=r"formula\.cnf"):
        drup.read_formula(path)


def test_a_literal_stays_true_when_its_reason_is_deleted(tmp_path: Path) -> None:
    formula = [[1], [-1, 2], [-2, 3, 4], [-2, 3, -4], [-3, 5, 4], [-3, 5, -4], [-3, -5]]
    assert accepted(tmp_path, formula, ["d -1 2 0", "d 1 0", "3 0", "5 0", "0"])


@settings(max_examples=150, deadline=None)
@given(formula=formulas)
def test_every_refutation_of_glucose_is_accepted(place: Path, formula: Clauses) -> None:
    proof = glucose(place, formula)
    assert (proof is None) == satisfiable(formula)
    if proof is not None:
        assert accepted(place, formula, proof)
        assert not accepted(place, formula, proof[:-1])


@settings(max_examples=150, deadline=None)
@given(formula=formulas, data=st.data())
def test_no_proof_refutes_what_is_satisfiable(
    place: Path, formula: Clauses, data: st.DataObject
) -> None:
    # A proof of a longer formula, of which some lines are changed: close to one and none.
    longer = formula + data.draw(st.lists(clauses, max_size=20))
    proof = glucose(place, longer) or [*data.draw(st.lists(lines, max_size=5)), "0"]
    for _ in range(data.draw(st.integers(0, 3))):
        where = data.draw(st.integers(0, len(proof)))
        proof[where : where + data.draw(st.integers(0, 1))] = data.draw(st.lists(lines, max_size=1))
    if accepted(place, formula, proof):
        assert not satisfiable(formula)


def test_the_checker_is_a_command_with_an_exit_code(tmp_path: Path) -> None:
    for proof, code, said in ((["1 0", "0"], 0, "VERIFIED"), (["0"], 1, "REFUSED: line 2")):
        files = written(tmp_path, SQUARE, proof)
        command = [sys.executable, drup.__file__, *map(str, files)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (code, "")
        assert result.stdout.startswith(said)


# --- clauses for XORs -----------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [3, 4, 6])
@pytest.mark.parametrize("size", range(2, 9))
def test_xors_as_clauses_have_the_solutions_of_the_xor(size: int, longest: int) -> None:
    formula = script.Formula()
    variables = [formula.new() for _ in range(size)]
    formula.sum_is_zero(variables)
    plain = cnf.without_xors(formula, longest)
    assert max(map(len, plain.clauses)) <= longest
    with Solver(name="cadical195", bootstrap_with=plain.clauses) as solver:
        for values in itertools.product((1, -1), repeat=size):
            even = values.count(1) % 2 == 0
            given = [value * v for value, v in zip(values, variables, strict=True)]
            assert solver.solve(assumptions=given) == even


@settings(max_examples=40, deadline=None)
@given(A=graphs(6), planes=st.integers(0, 2), depth=st.integers(0, 2))
def test_the_plain_clauses_have_the_verdict_of_brute_force(
    A: Matrix, planes: int, depth: int
) -> None:
    agree(A, planes, min(depth, len(A)))


@pytest.mark.parametrize("seed", range(2))
def test_the_plain_clauses_have_the_verdict_of_brute_force_on_7_vertices(seed: int) -> None:
    chance = random.Random(seed)
    A = [[0] * 7 for _ in range(7)]
    for u, v in itertools.combinations(range(7), 2):
        A[u][v] = A[v][u] = chance.choice([0, 1])
    for planes in range(4):
        agree(A, planes, 1)


def agree(A: Matrix, planes: int, depth: int) -> None:
    """CaDiCaL and brute force, of each cube."""
    low = {perm[:depth] for perm, rank in ranks_by_brute_force(A).items() if rank <= 2 * planes}
    group = script.automorphisms(A)
    forbidden = script.redundant_prefixes(group, len(A))
    for begin in script.cubes(group, len(A), depth):
        formula, _, _ = script.encode_form(A, planes, begin, forbidden)
        plain = cnf.without_xors(formula, 4)
        with Solver(name="cadical195", bootstrap_with=plain.clauses) as solver:
            assert solver.solve() == (begin in low)


# --- symmetry -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(A=graphs(6), data=st.data())
def test_cubes_and_forbidden_beginnings_leave_every_least_ordering(
    A: Matrix, data: st.DataObject
) -> None:
    order = len(A)
    depth = data.draw(st.integers(0, min(3, order)))
    group = script.automorphisms(A)
    assert set(map(tuple, symmetry.automorphisms(A).tolist())) == set(group)
    cubes, forbidden = script.cubes(group, order, depth), script.redundant_prefixes(group, order)
    assert symmetry.faults_in_reduction(A, depth, cubes, forbidden) == []
    missing = data.draw(st.integers(0, len(cubes) - 1))
    fewer = [*cubes[:missing], *cubes[missing + 1 :]]
    assert symmetry.faults_in_reduction(A, depth, fewer, forbidden) != []
    least = tuple(range(order))
    assert f"forbidden beginning {least} is the least of its class" in (
        symmetry.faults_in_reduction(A, depth, cubes, [least])
    )


# --- the command ----------------------------------------------------------------------------------


def test_petersen_is_refuted_by_two_solvers_a_proof_and_a_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = refutation.examine(script, "petersen", 3, 3, tmp_path)
    assert (found.faults, found.refuted) == ([], 8)
    assert "no ordering of rank <= 3, proved" in capsys.readouterr().out
    proofs = sorted(tmp_path.glob("*.drup"))
    assert len(proofs) == 8
    for proof in proofs:
        assert drup.check(proof.with_suffix(".cnf"), proof) > 0
        lemmas = proof.read_text().splitlines()
        proof.write_text("\n".join([lemmas[0], lemmas[-1]]) + "\n")
        with pytest.raises(drup.RefusedError, match="does not follow"):
            drup.check(proof.with_suffix(".cnf"), proof)
    shutil.copy(proofs[0].with_suffix(".cnf"), proofs[1].with_suffix(".cnf"))
    with pytest.raises(drup.RefusedError, match="for this formula"):
        drup.check(proofs[1].with_suffix(".cnf"), proofs[1])


def test_an_ordering_of_rank_4_is_found_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = refutation.examine(script, "petersen", 4, 1, tmp_path)
    assert (found.faults, found.refuted) == ([], 0)
    assert "orderings of rank <= 4 in 1 cubes, verified" in capsys.readouterr().out


def test_a_disagreement_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["refutation.py", "--graph", "petersen", "--cube_depth", "1"])
    monkeypatch.setattr(refutation, "load", lambda: script)
    monkeypatch.setattr(script, "orderings", lambda *_: iter([(list(range(10)), 2)]))
    assert refutation.main() == 1
    shown = capsys.readouterr()
    assert "DISAGREEMENT" in shown.out
    assert "satisfiable? {'CaDiCaL': False, 'Glucose': False, 'prefix': True}" in shown.err
