"""Which jobs are being solved, and waiting until none is."""

import os
import threading

import pytest
from rig import Rig
from sagequeue import config as configuration
from sagequeue import solving
from test_census import by_hand


def at_work(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.worker(1)
    demo.until_event("waiting", 0)


def test_a_job_is_solved_by_its_lock_or_by_a_process(demo: Rig) -> None:
    assert solving.living(demo.config) == []
    at_work(demo)
    with by_hand(demo, 2):
        assert solving.living(demo.config) == ["demo_off0", "demo_off2"]


def test_a_solver_of_a_dead_worker_is_one(demo: Rig) -> None:
    at_work(demo)
    demo.workers[0].kill()
    demo.workers[0].wait()
    assert solving.living(demo.config) == ["demo_off0"]


def test_waiting_ends_with_the_time(demo: Rig) -> None:
    at_work(demo)
    assert solving.wait(demo.config, 0.01) == ["demo_off0"]


@pytest.mark.parametrize("whose", ["ours", "foreign"])
def test_waiting_ends_with_the_last_solver(demo: Rig, whose: str) -> None:
    left: list[list[str]] = []
    waiting = threading.Thread(target=lambda: left.append(solving.wait(demo.config, 9e8)))
    if whose == "ours":
        at_work(demo)
        demo.run("request-stop")
        waiting.start()
        demo.go(0)
    else:
        with by_hand(demo, 2):
            waiting.start()
    waiting.join(30)
    assert left == [[]]


def test_a_foreign_solver_is_told_with_what_ends_it(demo: Rig) -> None:
    with by_hand(demo, 2) as process:
        said = str(solving.busy(demo.config, solving.living(demo.config)))
        assert said.startswith("demo: solvers are at work on demo_off2. `sagequeue request-stop ")
        assert said.endswith(f"{process.pid} at offset 2. `kill {process.pid}` ends them")
        assert f"`kill {process.pid}` ends them" in demo.run("stop").stdout.splitlines()[-1]
        assert process.poll() is None


def test_only_jobsets_of_the_container_are_solved_in_it(
    demo: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(demo.home))
    configuration.config_dir().mkdir(parents=True)
    (configuration.config_dir() / "demo.env").symlink_to(demo.env_file)
    (configuration.config_dir() / "broken.env").write_text("STRIDE=none\n")
    at_work(demo)
    assert solving.in_container() == []
    demo.configure(RUNTIME="podman")
    assert [settings.jobset for settings in solving.in_container()] == ["demo"]
    demo.configure(RUNTIME="local")


def test_a_running_job_that_nobody_solves_is_unsettled(demo: Rig) -> None:
    assert not solving.unsettled(demo.config)
    pending = demo.config.pending_dir / "demo_off1.env"
    os.rename(pending, demo.config.running_dir / pending.name)
    assert solving.unsettled(demo.config)
    assert solving.living(demo.config) == []
