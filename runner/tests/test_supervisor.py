"""The embedded mode: a real process manager, with the settings that the role renders for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from embedded import WORKERS, Embedded, Type, make, typing
from rig import alive
from sagequeue.jobs import JobState

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Embedded]:
    yield from make(tmp_path_factory.mktemp("e"), monkeypatch)


@pytest.fixture
def typed(demo: Embedded, capsys: pytest.CaptureFixture[str]) -> Type:
    return typing(demo, capsys)


@pytest.fixture
def solvers(demo: Embedded, typed: Type) -> list[int]:
    """Two workers are started, and their solvers wait at a case."""
    for offset in (0, 1):
        demo.orders(offset, wait_at=offset + 4)
    typed("start")
    return [demo.until_event("waiting", offset).pid for offset in (0, 1)]


def test_start_has_recovery_and_the_workers_run_and_the_journal_has_what_they_say(
    demo: Embedded, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_FAILED_RETRIES", "9")
    began = "demo: the process manager was started, with recovery and workers 1 to 2"
    assert typed("start") == began
    demo.until_state(JobState.DONE, *range(4))
    assert typed("start") == "demo: everything runs already: recovery and workers 1 to 2"
    monkeypatch.delenv("MAX_FAILED_RETRIES")
    told = {name: (unit.state, unit.current) for name, unit in demo.units().items()}
    assert told == {"recover": ("active", None)} | dict.fromkeys(WORKERS, ("active", True))
    for pid in demo.worker_pids().values():
        assert "MAX_FAILED_RETRIES" not in psutil.Process(pid).environ()

    # A job is moved before anybody says so, and recovery may be the one that moves it.
    logs = demo.state_dir / "log"

    def told_by_workers() -> int:
        return sum(path.read_text().count("done -> done\n") for path in logs.glob("demo-*.log"))

    def told_by_recovery() -> int:
        return (logs / "recover.log").read_text().count("action=finish")

    demo.until(lambda: told_by_workers() + told_by_recovery() == 4, "a line for each job")
    said = demo.run("journal", "-n", "50").stdout.splitlines()
    # One of them may have done all jobs.
    assert {line.split()[0] for line in said[:-1]} <= {"[demo-1]", "[demo-2]"}
    assert sum(line.endswith("done -> done") for line in said) == told_by_workers() > 0
    assert said[-1].startswith("demo: that is the end of the workers' journal; `sagequeue journal")
    follow = [sys.executable, "-m", "sagequeue", "journal", "-f", "-n", "1"]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as journal:
        assert journal.stdout is not None
        assert [journal.stdout.readline().split()[0] for _ in WORKERS] == ["[demo-1]", "[demo-2]"]
        demo.run("enqueue", "--force", "--offset", "3")
        assert journal.stdout.readline().endswith("demo_off3 done -> done\n")
        journal.terminate()
    assert journal.returncode == 0


def test_restart_disturbs_no_solver_however_soon(
    demo: Embedded, typed: Type, solvers: list[int]
) -> None:
    before = demo.worker_pids()
    again = "demo: started: demo-1, demo-2; solvers work on and are adopted"
    assert typed("restart") == again
    os.kill(demo.worker_pids()["demo-1"] or 0, signal.SIGKILL)
    assert typed("restart").endswith("; solvers work on and are adopted")
    after = demo.worker_pids()
    assert not {None, *before.values()} & set(after.values())
    for offset in (0, 1):
        demo.go(offset)
    demo.until_state(JobState.DONE, *range(4))
    for offset, solver in enumerate(solvers):
        assert {event.pid for event in demo.events("case", offset)} == {solver}
        assert "ATTEMPTS" not in demo.job(offset)


def test_stop_ends_workers_and_solvers_and_start_brings_them_back(
    demo: Embedded, typed: Type, solvers: list[int]
) -> None:
    assert "`sagequeue stop` ends them now" in typed("idle", status=75)
    said = typed("stop")
    assert said == "demo: workers stopped: 2; solvers ended, and their jobs went back"
    assert not any(map(alive, solvers))
    demo.until_state(JobState.PENDING, *range(4))
    assert typed("idle") == "demo: no solver lives"
    assert typed("stop") == "demo: no worker ran; no solver lived"
    assert demo.units()["recover"].up
    assert typed("start") == "demo: started: demo-1, demo-2"
    # They do not listen yet, and yet they do not come back.
    assert typed("stop").startswith("demo: workers stopped: 2; ")
    assert demo.worker_pids() == dict.fromkeys(WORKERS)


def test_a_worker_that_is_no_more_wanted_is_drained_and_forgotten(
    demo: Embedded, typed: Type, solvers: list[int]
) -> None:
    demo.configure(WORKERS=1)
    demo.install()
    told = json.loads(demo.run("status", "--json").stdout)["units"]
    left = {unit["name"]: (unit["current"], unit["wanted"]) for unit in told}
    assert left == {"recover": (None, True), "demo-1": (False, True), "demo-2": (False, False)}
    second = demo.worker_pids()["demo-2"]
    assert typed("start").startswith("demo: everything runs already")
    for offset in (1, 0):
        demo.go(offset)
    demo.until_gone(second or 0)
    demo.until_state(JobState.DONE, *range(4))
    assert "[worker 2]" not in demo.log(2) + demo.log(3)
    typed("restart")
    assert demo.units()["demo-1"].current in (None, True)
    assert set(demo.units()) == {"recover", "demo-1"}


def test_disabled_workers_are_gone_and_the_last_take_the_process_manager_along(
    demo: Embedded, typed: Type, solvers: list[int]
) -> None:
    other = demo.settings_dir / "supervisord.d" / "other.conf"
    other.touch()
    (manager,) = psutil.Process(demo.units()["recover"].pid).parents()[:1]
    assert "the process manager starts them no more; solvers ended" in typed("disable")
    assert not any(map(alive, solvers))
    assert alive(manager.pid)
    assert "-t enable -e jobset=demo` sets them up" in typed("start", status=1)
    demo.install()
    other.unlink()
    typed("start")
    assert "so are recovery and the process manager; " in typed("disable")
    assert not alive(manager.pid), "it would be in the way of the next"


@pytest.mark.parametrize("verb", ["up", "down"])
def test_there_is_no_container(typed: Type, verb: str) -> None:
    assert "there is no container. In the embedded mode" in typed(verb, status=1)


def test_a_process_manager_that_cannot_start_says_why(demo: Embedded, typed: Type) -> None:
    (demo.settings_dir / "supervisord.conf").write_text("[supervisord]\nlogfile=/nowhere/log\n")
    said = typed("start", status=1)
    assert "the process manager does not start: Error: The directory named as part of" in said
    assert "-t install_units -e jobset=demo` writes them anew" in said
