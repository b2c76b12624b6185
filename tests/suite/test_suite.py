"""The sizes leave nothing out, and steps run as they say."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import run
from figures import as_json, read_tests, table
from lanes import Lanes, Outcome
from steps import JUPYTER, ROOT, SIZES, UPGRADE, Step, part

TESTS = ROOT / "tests"


@pytest.fixture
def lanes(tmp_path: Path) -> Lanes:
    return Lanes(2, tmp_path, lambda step: None, lambda outcome: None)


def shell(name: str, script: str, **more: object) -> Step:
    return Step(name, ("sh", "-c", script), **more)  # type: ignore[arg-type]


def verdicts(lanes: Lanes) -> dict[str, int | None]:
    return {outcome.step.name: outcome.status for outcome in lanes.outcomes}


def files(step: Step) -> list[Path]:
    """The test files that pytest finds for a step."""
    words = step.command[step.command.index("pytest") + 1 :]
    given = [word for word in words if not word.startswith("-") and word != "not long"]
    ignored = [ROOT / word.partition("=")[2] for word in step.command if "--ignore=" in word]
    found = [path for word in given for path in ((ROOT / word).rglob("test_*.py"), [ROOT / word])]
    paths = {path for group in found for path in group if path.is_file()}
    return [path for path in paths if not any(path.is_relative_to(other) for other in ignored)]


@pytest.mark.parametrize("size", ["whole", "long"])
def test_every_test_file_is_in_one_step(size: str) -> None:
    counts = Counter(path for step in SIZES[size]() if step.is_pytest for path in files(step))
    assert set(counts) == {*(ROOT / "runner/tests").rglob("test_*.py"), *TESTS.rglob("test_*.py")}
    assert set(counts.values()) == {1}


def test_the_long_test_leaves_no_test_out() -> None:
    assert all(("-m" in step.command) == step.is_pytest for step in SIZES["whole"]())
    assert not any("-m" in step.command for step in SIZES["long"]())


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_parts_leave_no_step_out(count: int) -> None:
    steps = SIZES["long"]()
    parts = [part(steps, number, count) for number in range(1, count + 1)]
    assert {step.name for some in parts for step in some} == {step.name for step in steps}
    for some in parts:
        names = [step.name for step in some]
        assert names == [step.name for step in steps if step.name in names]
        assert {step.after for step in some} <= {None, *names}
    again = Counter(step.name for some in parts for step in some)
    assert {name for name, times in again.items() if times > 1} <= {step.after for step in steps}


@pytest.mark.parametrize("asked", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b", "1/2 "])
def test_what_is_no_part_runs_nothing(asked: str) -> None:
    command = [sys.executable, str(TESTS / "suite"), "long", asked]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PART/PARTS" in done.stderr


@pytest.mark.parametrize("asked", ["1/1", "2/3", "3/3", "16/42"])
def test_the_part_that_runs_is_the_one_that_was_asked_for(asked: str) -> None:
    script = (
        "import runpy, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import run\n"
        "run.run = lambda size, lanes, part: print(size, *part)\n"
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
    )
    command = [sys.executable, "-c", script, str(TESTS / "suite"), "long", asked]
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    assert said.split() == ["long", *asked.split("/")]


@pytest.mark.parametrize("size", ["whole", "long"])
def test_every_scenario_is_in_it(size: str) -> None:
    scenarios = {step.command[-1] for step in SIZES[size]() if step.is_molecule}
    every = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    assert scenarios == every - ({JUPYTER, UPGRADE} if size == "whole" else set())


@pytest.mark.parametrize("size", SIZES)
def test_a_step_waits_only_for_one_of_the_same_size(size: str) -> None:
    steps = SIZES[size]()
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert {step.after for step in steps} <= {None, *names}


def test_no_two_steps_of_molecule_share_a_directory(tmp_path: Path) -> None:
    steps = [step for step in run.with_directories(SIZES["long"](), tmp_path) if step.is_molecule]
    directories = [step.environment["MOLECULE_EPHEMERAL_DIRECTORY"] for step in steps]
    assert len(set(directories)) == len(steps)


def test_the_quick_part_needs_no_machine() -> None:
    assert not any(step.command[0] in ("molecule", "ansible-lint") for step in SIZES["unit"]())


def test_two_steps_run_at_a_time(lanes: Lanes, tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    # Each waits for the other to open its end.
    lanes.run([shell("writer", f"echo met >{fifo}"), shell("reader", f"grep met {fifo}")])
    assert verdicts(lanes) == {"writer": 0, "reader": 0}
    assert lanes.output(lanes.outcomes[0].step).exists()


def test_steps_start_in_their_order(tmp_path: Path) -> None:
    seen: list[str] = []
    lanes = Lanes(1, tmp_path, lambda s: seen.append(f"+{s.name}"), lambda o: seen.append("-"))
    lanes.run([shell("a", "true"), shell("b", "true"), shell("c", "true")])
    assert seen == ["+a", "-", "+b", "-", "+c", "-"]


@pytest.mark.parametrize(("first", "second"), [("true", 0), ("false", None)])
def test_a_step_starts_when_the_one_before_it_has_passed(
    lanes: Lanes, first: str, second: int | None
) -> None:
    lanes.run([shell("after", "true", after="before"), shell("before", first)])
    assert verdicts(lanes)["after"] == second


def test_a_step_that_fails_keeps_what_it_printed(lanes: Lanes) -> None:
    step = shell("bad", "echo out; echo err >&2; exit 3")
    lanes.run([step])
    assert verdicts(lanes) == {"bad": 3}
    assert lanes.output(step).read_text() == "out\nerr\n"


def test_stop_ends_what_runs_and_starts_no_more(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    lanes = Lanes(1, tmp_path, lambda step: None, lambda outcome: None)

    def stop() -> psutil.Process:
        child = psutil.Process(int(fifo.read_text()))
        lanes.stop()
        return child

    # The step's child is ended with it.
    running = shell("running", f"sleep 1000 & echo $! >{fifo}; wait")
    with ThreadPoolExecutor(1) as pool:
        child = pool.submit(stop)
        lanes.run([running, shell("later", "true")])
        child.result().wait(timeout=60)
    assert verdicts(lanes) == {"running": -signal.SIGINT}


def test_a_run_shows_what_failed_and_writes_its_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [
        shell("good", "echo hidden; echo figure >$SAGEQUEUE_FIGURES"),
        shell("bad", "echo shown; exit 1"),
    ]
    monkeypatch.setitem(SIZES, "unit", lambda: steps)
    monkeypatch.setenv("SAGEQUEUE_TIMES", str(tmp_path / "times.json"))
    assert not run.run("unit", 1)
    said = capsys.readouterr().out.splitlines()
    assert "hidden" not in said
    assert said[:5] == ["== good", "figure", "good: passed in 0 s", "== bad", "shown"]
    assert said[-1] == "steps: 1 passed, 1 failed"
    read = json.loads((tmp_path / "times.json").read_text())
    assert {row["step"]: row["verdict"] for row in read["steps"]} == {
        "good": "passed",
        "bad": "FAILED",
    }


def test_the_figures_name_steps_and_tests(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text("def test_a(): pass\ndef test_b(): assert 0\n")
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--junit-xml={report}"]
    done = subprocess.run([*command, str(tmp_path)], check=False, capture_output=True)
    assert done.returncode == 1
    tests = read_tests(report)
    assert sorted(test.name for test in tests) == ["test_two::test_a", "test_two::test_b"]
    outcomes = [Outcome(shell("x", ""), 0, 12.34, 5.6), Outcome(shell("y", ""), None)]
    said = table(outcomes, tests, 20.0)
    assert "    12.3     5.6  x\n" in said
    assert "  y  not run\n" in said
    assert "the slowest of 2 tests" in said
    read = json.loads(as_json("unit", 2, outcomes, tests, 20.0))
    assert [row["verdict"] for row in read["steps"]] == ["passed", "not run"]
    assert read["seconds"] == 20.0
