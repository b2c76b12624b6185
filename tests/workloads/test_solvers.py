"""The rank workload's two solvers: which one it takes, XORs as clauses, heartbeats and signals."""

import itertools
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from kit.waiting import until
from mathematics import script
from workload import Workload, done_cases, needs_pycryptosat, with_modules, without

PETERSEN_3 = ("--graph", "petersen", "--rank", 3, "--scan_all_J")
ONE_CASE = ("--graph", "petersen", "--rank", 3, "--J", "0,1,2,3,4,5")
# Rank 5 of the rook's graph: far longer than a test.
LONG = ("--graph", "rook", "--rank", 5, "--J", ",".join(map(str, range(10))))
TITLES = {"cryptominisat": r"CryptoMiniSat \(pycryptosat \S+\)", "cadical": r"CaDiCaL \S+ \(.*\)"}

# Each claims that the first permutation, with Y = 0 outside J, solves everything.
FORGED_CRYPTOMINISAT = """
__version__ = "forged"


class Solver:
    def __init__(self, threads=1):
        pass

    def add_clause(self, clause):
        pass

    def add_xor_clause(self, variables, rhs):
        pass

    def solve(self):
        return True, (None, *[n % {period} == 0 for n in range(100)])
"""
FORGED_CADICAL = """
class Cadical195:
    def __init__(self, bootstrap_with):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def conf_budget(self, conflicts):
        pass

    def solve_limited(self):
        return True

    def get_model(self):
        return [n + 1 if n % {period} == 0 else -n - 1 for n in range(100)]
"""


def solver_line(output: str) -> str:
    """What the log says of the solver: once, and before anything else."""
    said = re.findall(r"^\[20\S+\] SOLVER (.*)$", output, re.MULTILINE)
    assert len(said) == 1
    assert " SOLVER " in output.splitlines()[0]
    return str(said[0])


# --- which solver ---------------------------------------------------------------------------------


def test_the_log_says_first_which_solver_it_is(rank: Workload, backend: str) -> None:
    for arguments in (ONE_CASE, ("--graph", "petersen", "--min_rank"), ("--selftest",)):
        result = rank.run(*arguments, "--sat_backend", backend)
        assert (result.returncode, result.stderr) == (0, "")
        assert re.fullmatch(TITLES[backend] + ", threads=1", solver_line(result.stdout))


def test_what_needs_no_solver_names_none_and_runs_without(rank: Workload, tmp_path: Path) -> None:
    environment = without(tmp_path, "pycryptosat", "pysat")
    for arguments in (
        ("--rank", 3, "--method", "prefix", "--scan"),
        ("--distribution", "--rank", 2),
    ):
        result = rank.run("--graph", "petersen", *arguments, env=environment)
        assert (result.returncode, result.stderr) == (0, "")
        assert "SOLVER" not in result.stdout


@needs_pycryptosat
def test_auto_takes_cryptominisat_where_it_is(rank: Workload) -> None:
    for chosen in ((), ("--sat_backend", "auto")):
        assert re.match(TITLES["cryptominisat"], solver_line(rank.run(*ONE_CASE, *chosen).stdout))


def test_auto_takes_cadical_where_there_is_no_cryptominisat(rank: Workload, tmp_path: Path) -> None:
    result = rank.run(*PETERSEN_3, "--stride", 9, env=without(tmp_path, "pycryptosat"))
    assert (result.returncode, result.stderr) == (0, "")
    assert re.match(TITLES["cadical"], solver_line(result.stdout))
    assert done_cases(result.stdout) == list(range(0, 84, 9))


@pytest.mark.parametrize(
    ("chosen", "missing", "named", "unnamed"),
    [
        (
            "auto",
            ("pycryptosat", "pysat"),
            ("pip install pycryptosat", "pip install python-sat"),
            "--sat_backend c",
        ),
        (
            "cryptominisat",
            ("pycryptosat",),
            ("pip install pycryptosat", "--sat_backend auto or cadical"),
            "python-sat",
        ),
        (
            "cadical",
            ("pysat",),
            ("pip install python-sat", "--sat_backend auto or cryptominisat"),
            "pycryptosat",
        ),
    ],
)
def test_without_the_solver_it_says_how_to_get_it(
    rank: Workload,
    tmp_path: Path,
    chosen: str,
    missing: Sequence[str],
    named: Sequence[str],
    unnamed: str,
) -> None:
    for arguments in (PETERSEN_3, ("--selftest",), ("--graph", "petersen", "--min_rank")):
        result = rank.run(*arguments, "--sat_backend", chosen, env=without(tmp_path, *missing))
        assert (result.returncode, result.stdout) == (2, "")
        assert f"--sat_backend {chosen} needs " in result.stderr
        assert "none here" in result.stderr
        assert all(words in result.stderr for words in named)
        assert unnamed not in result.stderr
        assert result.stderr.count("\n") == 1


def test_the_selftest_passes(rank: Workload, backend: str) -> None:
    result = rank.run("--selftest", "--sat_backend", backend)
    assert (result.returncode, result.stdout.splitlines()[1:]) == (0, ["selftest OK"])


def test_solver_threads_come_from_the_environment(rank: Workload, backend: str) -> None:
    one = (*ONE_CASE, "--sat_backend", backend)
    two = rank.run(*one, env={**os.environ, "SAGE_NUM_THREADS": "2"})
    assert (two.returncode, done_cases(two.stdout)) == (0, [0])
    said = {
        "cryptominisat": "threads=2",
        "cadical": "threads=1; it has no more, and SAGE_NUM_THREADS=2 changes nothing",
    }
    assert solver_line(two.stdout).endswith(f", {said[backend]}")
    bad = rank.run(*one, env={**os.environ, "SAGE_NUM_THREADS": "all"})
    assert bad.returncode == 2
    assert "SAGE_NUM_THREADS='all'" in bad.stderr


@pytest.mark.parametrize("period", [11, 1000], ids=["wrong permutation", "no permutation"])
@pytest.mark.parametrize("forged", ["cryptominisat", "cadical"])
def test_a_solver_that_lies_is_caught(
    rank: Workload, tmp_path: Path, forged: str, period: int
) -> None:
    stop = tmp_path / "stop"
    modules = {
        "pycryptosat.py": FORGED_CRYPTOMINISAT.format(period=period),
        "pysat/__init__.py": "__version__ = 'forged'",
        "pysat/solvers.py": FORGED_CADICAL.format(period=period),
    }
    result = rank.run(
        *PETERSEN_3, "--want_solution", "--stop_file", stop, "--sat_backend", forged,
        env=with_modules(tmp_path, modules),
    )  # fmt: skip
    assert result.returncode == 3
    assert "forged" in solver_line(result.stdout)
    assert "WITNESS REJECTED gidx=0" in result.stdout
    assert not re.search("SAT found|Found perm|DONE", result.stdout)
    assert not stop.exists()
    assert not list(rank.directory.glob("state_*"))


# --- while it solves ------------------------------------------------------------------------------


def test_heartbeats_show_during_a_long_solve(rank: Workload, backend: str) -> None:
    with rank.start(*LONG, "--heartbeat", "0.2", "--sat_backend", backend) as process:
        assert process.stdout is not None
        beats = (re.search(r"HEARTBEAT gidx=0 .*elapsed=(\d+)s$", line) for line in process.stdout)
        # By then it solves: to make the formula takes a fraction of a second.
        assert any(beat and int(beat[1]) >= 2 for beat in beats)
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_solve_at_once(
    rank: Workload, backend: str, number: signal.Signals
) -> None:
    with rank.start(*LONG, "--sat_backend", backend, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        used = psutil.Process(process.pid).cpu_times
        until(lambda: used().user > 1, "a second of work, of which the formula is a small part")
        process.send_signal(number)
        rest = process.stdout.read()
        said = process.stderr.read()
    assert process.returncode == -number
    assert "Traceback" not in said
    assert not re.search("DONE|COMPLETE", rest)


# --- XORs as clauses ------------------------------------------------------------------------------


def solutions(clauses: list[list[int]], variables: int, of: int) -> set[tuple[int, ...]]:
    """What the first `of` variables are in all solutions, by trying every assignment."""
    return {
        values[:of]
        for values in itertools.product((0, 1), repeat=variables)
        if all(any(values[abs(n) - 1] == (n > 0) for n in clause) for clause in clauses)
    }


@pytest.mark.parametrize("size", range(1, 12))
def test_xors_as_clauses_have_the_solutions_of_the_xor(size: int) -> None:
    formula = script.Formula()
    formula.sum_is_zero([formula.new() for _ in range(size)])
    clauses = formula.without_xors()
    assert max(map(len, clauses)) <= script.LONGEST_XOR
    assert formula.variables == size
    used = max(abs(literal) for clause in clauses for literal in clause)
    even = {values for values in itertools.product((0, 1), repeat=size) if sum(values) % 2 == 0}
    assert solutions(clauses, used, of=size) == even


def test_the_fresh_variables_of_two_xors_are_not_the_same(solver: Any) -> None:
    formula = script.Formula()
    long = [formula.new() for _ in range(9)]
    formula.sum_is_zero(long)
    formula.sum_is_zero([*long[1:], formula.new()])
    formula.clause(long[0])
    before = vars(formula).copy()
    # The first and the last variable have the sum of those between them, whatever that is.
    for value in solver.solve(formula), solver.solve(formula):
        assert value is not None
        assert value(long[0]) == value(formula.variables) == 1
        assert sum(map(value, long)) % 2 == 0
    assert vars(formula) == before
    formula.clause(-formula.variables)
    assert solver.solve(formula) is None
