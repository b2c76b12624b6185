"""The verbs of the container and the workers: what they say, and when they refuse."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from kinds import Put
from sagequeue import cli, services
from sagequeue.config import Config
from sagequeue.exceptions import Busy
from sagequeue.jobs import JobState
from sagequeue.lock_waiter import LockWaiter
from sagequeue.spool import Spool
from sagequeue.unit import Unit

Said = Callable[[], list[str]]


class Manager:
    """Does nothing, and notes what it was told; `down` is refused."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.told: list[str] = []
        self.listed = [Unit("one@1.service", "active", True, 12, True, True)]

    def units(self) -> list[Unit]:
        return self.listed

    def __getattr__(self, verb: str) -> Callable[..., str]:
        def note(*arguments: object, **more: object) -> str:
            # What the queue is like when it is told.
            running = sorted(path.stem for path in self.config.running_dir.glob("*.env"))
            words = [verb, *map(str, (*arguments, *more.values(), *running))]
            self.told.append(" ".join(words))
            if verb == "down":
                raise Busy("a solver lives in it")
            return f"{verb} it did"

        return note


@pytest.fixture
def manager(config: Config, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Manager:
    """The jobset's."""
    made = Manager(config)
    monkeypatch.setattr(services, "for_config", lambda _settings: made)
    return made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What came on both outputs since the last time, in lines."""

    def said() -> list[str]:
        captured = capsys.readouterr()
        return (captured.out + captured.err).splitlines()

    return said


@pytest.mark.parametrize("verb", ["start", "restart", "up"])
def test_the_last_line_says_what_happened(manager: Manager, said: Said, verb: str) -> None:
    assert cli.main([verb]) == 0
    assert manager.told == [verb]
    assert said() == [f"demo: {verb} it did"]


def test_what_the_manager_refuses_is_told_with_its_exit_status(
    manager: Manager, said: Said
) -> None:
    assert cli.main(["down"]) == 75
    assert said() == ["sagequeue: a solver lives in it"]


def test_stop_gives_back_what_no_worker_was_left_for(
    manager: Manager, put: Put, spool: Spool, said: Said
) -> None:
    put(JobState.RUNNING, 2)
    assert cli.main(["stop"]) == 0
    assert manager.told == ["stop demo_off2"]
    assert spool.locate("demo_off2") == [JobState.PENDING]
    assert said()[-1] == "demo: stop it did; no solver lived"


def test_disable_ends_the_container_when_no_solver_is_left(
    manager: Manager, put: Put, said: Said
) -> None:
    put(JobState.RUNNING, 2)
    assert cli.main(["disable"]) == 0
    assert manager.told == ["stop demo_off2", "disable"]
    assert said()[-1] == "demo: disable it did; no solver lived"


def test_idle_is_refused_while_a_job_is_solved(put: Put, spool: Spool, said: Said) -> None:
    lock = spool.lock(put(JobState.RUNNING, 1))
    assert lock is not None
    with lock:
        assert cli.main(["idle", "--wait", "0.01"]) == 75
    assert said() == [
        "sagequeue: demo: solvers are at work on demo_off1. `sagequeue request-stop` lets the "
        "cases at hand be finished, `sagequeue stop` ends them now and gives the jobs back"
    ]
    for thread in threading.enumerate():  # what waited for the lock has it for a moment now
        if isinstance(thread, LockWaiter):
            thread.join()
    assert cli.main(["idle"]) == 0
    assert said() == ["demo: no solver lives"]


@pytest.mark.parametrize(
    "line", [["idle", "--wait", "-1"], ["idle", "--wait", "nan"], ["journal", "-n", "-1"]]
)
def test_nonsense_is_a_wrong_command_line(env_file: Path, line: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(line)
    assert caught.value.code == 2


def test_status_tells_the_units_and_the_jobs(
    manager: Manager, config: Config, put: Put, said: Said
) -> None:
    put(JobState.PENDING, 1)
    manager.listed.append(Unit("one@7.service", "activating", False, None, False, False))
    config.stop_file_host.write_text("lunch\n")
    assert cli.main(["status"]) == 0
    heading, first, seventh, *more, gate, last = said()
    assert heading.split() == ["unit", "state", "pid"]
    assert first.split() == ["one@1.service", "active", "12"]
    name, state, pid, *notes = seventh.split()
    assert (name, state, pid) == ("one@7.service", "activating", "-"), "what is narrow is whole"
    assert " ".join([*notes, *" ".join(more).split()]) == (
        "runs with older settings or an older runner; more than the 2 workers of the settings"
    )
    assert [gate, last] == [
        "stop gate: lunch",
        "demo: 1 of 2 workers run; jobs: 1 pending, 0 running, 0 done, 0 failed; findings: 0",
    ]


def test_status_for_programs(manager: Manager, put: Put, said: Said) -> None:
    put(JobState.DONE, 1)
    assert cli.main(["status", "--json"]) == 0
    assert json.loads("".join(said())) == {
        "jobset": "demo",
        "service_manager": "supervisor",
        "units": [
            {
                **{"name": "one@1.service", "state": "active", "enabled": True, "pid": 12},
                **{"current": True, "wanted": True, "outside": False},
            }
        ],
        "counts": {"pending": 0, "running": 0, "done": 1, "failed": 0},
        "gate": None,
        "findings": 0,
    }


def test_the_journal_is_the_managers(manager: Manager, said: Said) -> None:
    assert cli.main(["journal"]) == 0
    assert said()[-1].endswith("`sagequeue journal -f` follows it")
    assert cli.main(["journal", "-f", "-n", "5"]) == 0
    assert manager.told == ["journal 20 False", "journal 5 True"]
    assert said() == [], "it was followed to its end"


def test_a_gate_goes_only_with_the_reason_that_is_named(
    config: Config, spool: Spool, said: Said
) -> None:
    assert cli.main(["request-stop", "--reason", "new  image"]) == 0
    assert cli.main(["clear-stop", "--if-reason", "lunch"]) == 0
    assert said()[-1].startswith("the stop gate stays, since it is of something else: new image 2")
    alone = config.stop_file_host.read_text()
    config.stop_file_host.write_text(f"{alone}SAT found for J=0\n")
    assert cli.main(["clear-stop", "--if-reason", "new image"]) == 0
    assert "the stop gate stays" in said()[-1]
    config.stop_file_host.write_text(alone)
    assert cli.main(["clear-stop", "--if-reason", "new image"]) == 0
    assert said()[-1] == f"stop gate cleared: {config.stop_file_host}"
    assert cli.main(["clear-stop", "--if-reason", "new image"]) == 0
    assert said()[-1] == f"there is no stop gate: {config.stop_file_host}"
