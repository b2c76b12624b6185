"""What is asked of `systemd --user`, and what is told of its answers."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kinds import Put
from kit import jobset
from programs import Systemctl, program
from sagequeue import config as configuration
from sagequeue import container, vintage
from sagequeue.config import Config
from sagequeue.container import Container
from sagequeue.exceptions import Busy, SagequeueError
from sagequeue.jobs import JobState
from sagequeue.owner import try_lock
from sagequeue.spool import Spool
from sagequeue.systemd import CONTAINER, TIMER, Systemd

ONE, TWO, SEVEN = (f"sagequeue@{number}.service" for number in (1, 2, 7))
HUP = 1
ALL = (CONTAINER, TIMER, ONE, TWO)


@pytest.fixture
def served(env_file: Path, keys: dict[str, str]) -> Config:
    """The active jobset, of two workers in the container."""
    env_file.write_text(jobset.render(keys | {"RUNTIME": "podman"}))
    return configuration.load(env_file, {})


@pytest.fixture
def units(served: Config) -> Path:
    """The directory of the user's units, with those of the active jobset."""
    directory = Path.home() / ".config" / "systemd" / "user"
    directory.mkdir(parents=True)
    for name in (CONTAINER, TIMER, "sagequeue@.service"):
        (directory / name).touch()
    return directory


@pytest.fixture
def systemctl(programs: Path, units: Path) -> Systemctl:
    """It has the jobset's units, running."""
    made = Systemctl(programs, units)
    for name in ALL:
        made.has(name, RestartKillSignal=HUP)
    return made


def alone(units: Path) -> None:
    """The jobset has units of its own, and is not the active one."""
    (units / "sagequeue-demo@.service").touch()
    (configuration.config_dir() / "sagequeue.env").unlink()


def test_units_are_those_that_are_wanted_and_workers_that_are_left(
    systemctl: Systemctl, served: Config
) -> None:
    systemctl.has(TWO, "failed", enabled=False)
    systemctl.has(SEVEN, enabled=False)
    systemctl.has("sagequeue@8.service", "inactive", enabled=False)
    systemctl.has("sagequeue@9.service", "inactive", loaded=False)
    systemctl.has("sagequeue-other@1.service")
    told = {u.name: (u.state, u.enabled, u.wanted) for u in Systemd(served).units()}
    assert told == {
        CONTAINER: ("active", True, True),
        TIMER: ("active", True, True),
        ONE: ("active", True, True),
        TWO: ("failed", False, True),
        SEVEN: ("active", False, False),
        "sagequeue@9.service": ("inactive", True, False),
    }


def test_a_unit_that_systemd_does_not_know_is_inactive(
    programs: Path, units: Path, served: Config
) -> None:
    Systemctl(programs, units)
    assert {(unit.name, unit.state) for unit in Systemd(served).units()} == {
        (name, "inactive") for name in ALL
    }


def test_start_goes_from_the_container_to_the_workers(systemctl: Systemctl, served: Config) -> None:
    systemctl.has(TWO, "inactive")
    said = Systemd(served).start()
    assert systemctl.orders == [
        f"start {CONTAINER}",
        "start sagequeue-recover.service",
        f"start {TIMER} {ONE} {TWO}",
    ]
    assert said == "recovery was run; the container and workers 1 to 2 run"


def test_start_says_if_everything_ran_and_recovers_all_the_same(
    systemctl: Systemctl, served: Config
) -> None:
    said = Systemd(served).start()
    assert said == "everything runs already: the container and workers 1 to 2; recovery was run"
    assert "start sagequeue-recover.service" in systemctl.orders


def test_a_recovery_that_fails_keeps_no_worker_from_starting(
    systemctl: Systemctl, served: Config
) -> None:
    systemctl.has(CONTAINER, "inactive")
    systemctl.refuses("start sagequeue-recover.service", "Job failed.")
    said = Systemd(served).start()
    assert said.startswith("recovery failed: systemctl --user start: Job failed.")
    assert systemctl.orders[-1] == f"start {TIMER} {ONE} {TWO}"


def test_stop_ends_every_worker_of_the_jobset_and_nothing_else(
    systemctl: Systemctl, served: Config
) -> None:
    systemctl.has(TWO, "failed")
    systemctl.has(SEVEN)
    systemctl.has("sagequeue-other@1.service")
    assert Systemd(served).stop() == "workers stopped: 2"
    assert systemctl.orders == [f"stop {ONE} {SEVEN}"]


def test_stop_where_no_worker_runs_says_so(programs: Path, units: Path, served: Config) -> None:
    systemctl = Systemctl(programs, units)
    systemctl.has(ONE, "inactive")
    assert Systemd(served).stop() == "no worker ran"
    assert systemctl.orders == []


def test_a_jobset_without_units_has_no_worker_to_stop(systemctl: Systemctl, served: Config) -> None:
    (configuration.config_dir() / "sagequeue.env").unlink()
    assert Systemd(served).stop() == "no worker ran"
    assert systemctl.orders == [], "those units are another jobset's"


def test_restart_is_one_order_for_all_workers(systemctl: Systemctl, served: Config) -> None:
    said = Systemd(served).restart()
    assert systemctl.orders == [f"restart {ONE} {TWO}"]
    assert said == "workers 1 to 2 started anew; solvers work on and are adopted"


@pytest.mark.parametrize("told", [{"RestartKillSignal": 15}, {}])
def test_restart_is_refused_where_it_would_end_solvers(
    systemctl: Systemctl, served: Config, told: dict[str, object]
) -> None:
    systemctl.has(TWO, **told)
    with pytest.raises(SagequeueError, match=r"ops.yml -t install_units -e jobset=demo` renews"):
        Systemd(served).restart()
    assert systemctl.orders == []


def test_disable_ends_the_container_when_no_other_jobset_has_workers(
    systemctl: Systemctl, served: Config
) -> None:
    systemctl.has(SEVEN)
    said = Systemd(served).disable()
    assert systemctl.orders == [
        f"disable --now {ONE} {TWO} {SEVEN}",
        f"disable --now {TIMER} {CONTAINER}",
    ]
    assert said == "workers stopped and disabled: 3; so are container and recovery"


def test_disable_leaves_the_container_to_another_jobsets_workers(
    systemctl: Systemctl, served: Config
) -> None:
    systemctl.has("sagequeue-other@1.service")
    said = Systemd(served).disable()
    assert systemctl.orders == [f"disable --now {ONE} {TWO}"]
    assert said.endswith("container and recovery go on for other")


def test_disable_says_nothing_where_there_is_nothing_to_disable(
    programs: Path, units: Path, served: Config
) -> None:
    systemctl = Systemctl(programs, units)
    for name in ALL:
        systemctl.has(name, "inactive", enabled=False)
    assert Systemd(served).disable() == ""
    systemctl.has(TIMER, "inactive")
    assert Systemd(served).disable().endswith("so are container and recovery")


@pytest.fixture
def solved(served: Config, put: Put, spool: Spool) -> Iterator[None]:
    """Somebody solves a job of the jobset."""
    lock = spool.lock(put(JobState.RUNNING, 3))
    assert lock is not None
    with lock:
        yield


def test_down_is_refused_while_a_solver_lives_in_the_container(
    systemctl: Systemctl, served: Config, solved: None
) -> None:
    with pytest.raises(Busy, match=r"demo: solvers are at work on demo_off3. `sagequeue request-"):
        Systemd(served).down()
    assert systemctl.orders == []


def test_the_container_is_kept_for_another_jobsets_solver(
    programs: Path, units: Path, served: Config, solved: None
) -> None:
    systemctl = Systemctl(programs, units)
    other = replace(served, jobset="other")
    assert Systemd(other).disable() == "", "there was nothing to disable"
    assert systemctl.orders == []


def test_up_and_down_are_the_containers(systemctl: Systemctl, served: Config) -> None:
    assert Systemd(served).up() == "the container ran already"
    assert Systemd(served).down() == "the container is stopped"
    systemctl.has(CONTAINER, "inactive")
    assert Systemd(served).up() == "the container runs"
    assert Systemd(served).down() == "the container did not run"
    assert systemctl.orders == [f"{verb} {CONTAINER}" for verb in ("start", "stop") * 2]


def test_a_jobset_beside_the_active_one_has_units_of_its_own(
    systemctl: Systemctl, units: Path, served: Config
) -> None:
    alone(units)
    own = "sagequeue-demo@1.service"
    systemctl.has(own, RestartKillSignal=HUP)
    Systemd(replace(served, workers=1)).restart()
    Systemd(served).stop()
    assert systemctl.orders == [f"restart {own}", f"stop {own}"]


def test_a_jobset_that_is_not_active_is_told_how_it_gets_workers(
    systemctl: Systemctl, served: Config
) -> None:
    (configuration.config_dir() / "sagequeue.env").unlink()
    with pytest.raises(SagequeueError, match="-t switch -e jobset=demo` makes it the active one"):
        Systemd(served).start()


def test_the_active_jobset_without_units_is_told_what_makes_them(
    systemctl: Systemctl, units: Path, served: Config
) -> None:
    (units / "sagequeue@.service").unlink()
    with pytest.raises(SagequeueError, match="-t enable -e jobset=demo` writes them"):
        Systemd(served).start()


def test_without_systemctl_there_is_a_remedy(
    programs: Path, units: Path, served: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(SagequeueError, match=r"no systemctl .* `ansible-playbook site.yml -e job"):
        Systemd(served).up()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Failed to connect to bus: No medium found", "site.yml -e jobset=demo` starts it"),
        ("Unit x not found.", "Unit x not found. `ansible-playbook ops.yml -t enable -e jobset="),
    ],
)
def test_what_systemd_refuses_is_told_with_a_remedy(
    systemctl: Systemctl, served: Config, said: str, told: str
) -> None:
    systemctl.refuses(f"start {CONTAINER}", said)
    with pytest.raises(SagequeueError, match=told):
        Systemd(served).up()


def test_the_bus_is_found_where_the_environment_does_not_name_it(
    systemctl: Systemctl, served: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    Systemd(served).up()
    runtime = f"/run/user/{os.getuid()}"
    assert systemctl.session == f"{runtime} unix:path={runtime}/bus"


@pytest.mark.parametrize("follow", [False, True])
def test_the_journal_is_that_of_all_workers(
    systemctl: Systemctl,
    served: Config,
    programs: Path,
    follow: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program(programs, "journalctl", '#!/bin/sh\necho "$*"\n')
    Systemd(served).journal(7, follow=follow)
    said = capfd.readouterr().out.split()
    assert {"--user", "--lines=7", "--unit=sagequeue@*"} <= set(said)
    assert ("--follow" in said) is follow


def test_a_journal_that_cannot_be_read_is_an_error(
    systemctl: Systemctl, served: Config, programs: Path
) -> None:
    program(programs, "journalctl", "#!/bin/sh\nexit 1\n")
    with pytest.raises(SagequeueError, match="the journal cannot be read"):
        Systemd(served).journal(7, follow=False)


@pytest.fixture
def runner(systemctl: Systemctl, tmp_path: Path) -> Path:
    """An installed runner like this one, which worker 1 was started from; its link is returned."""
    version = tmp_path / "runner" / "abc"
    packages = version / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "sagequeue").symlink_to(vintage.PACKAGE)
    link = tmp_path / "runner" / "current"
    link.symlink_to("abc")
    command = f"{{ path={link}/bin/sagequeue ; argv[]={link}/bin/sagequeue worker 1 ; }}"
    systemctl.has(ONE, MainPID=os.getpid(), ExecStart=command)
    return link


def current(served: Config) -> bool | None:
    (worker,) = (unit for unit in Systemd(served).units() if unit.name == ONE)
    return worker.current


def test_a_worker_is_current_until_its_settings_or_the_runner_change(
    runner: Path, served: Config, spool: Spool
) -> None:
    assert current(served) is None, "it does not run"
    lock = try_lock(vintage.lock_file(served, 1))
    assert lock is not None
    with lock:
        assert current(served) is False, "it is of a runner that noted nothing"
        vintage.note(lock, vintage.text(served))
        assert current(served) is True
        assert current(replace(served, stop_grace=served.stop_grace + 1)) is False
        newer = runner.parent / "def" / "lib" / "python3.11" / "site-packages" / "sagequeue"
        newer.mkdir(parents=True)
        runner.unlink()
        runner.symlink_to("def")
        assert current(served) is False
    assert current(served) is None


@pytest.mark.parametrize(
    ("settings", "image", "expected"),
    [("abc", "1", True), ("old", "1", False), ("abc", "0", False), (None, "1", None)],
)
def test_a_container_is_current_by_its_settings_and_its_image(
    systemctl: Systemctl,
    served: Config,
    monkeypatch: pytest.MonkeyPatch,
    settings: str | None,
    image: str,
    expected: bool | None,
) -> None:
    command = "podman run --label=sagequeue.settings=abc localhost/sage:1 sh -c jupyter"
    systemctl.has(CONTAINER, MainPID=os.getpid(), ExecStart=command)
    running = Container(True, "id", image, settings or "", {}, "") if settings else None
    monkeypatch.setattr(container, "inspect", lambda _service: running)
    ids: Callable[[str], str | None] = {"localhost/sage:1": "1"}.get
    monkeypatch.setattr(container, "image_id", ids)
    told = {unit.name: unit.current for unit in Systemd(served).units()}
    assert told[CONTAINER] is expected


def test_a_podman_that_does_not_answer_leaves_it_unknown(
    systemctl: Systemctl, served: Config, programs: Path
) -> None:
    program(programs, "podman", "#!/bin/sh\nexit 125\n")
    command = "podman run --label=sagequeue.settings=abc localhost/sage:1 sh -c jupyter"
    systemctl.has(CONTAINER, MainPID=os.getpid(), ExecStart=command)
    told = {unit.name: unit.current for unit in Systemd(served).units()}
    assert told[CONTAINER] is None


def test_a_worker_that_systemd_does_not_have_is_told_of(
    systemctl: Systemctl, served: Config, spool: Spool
) -> None:
    systemctl.has(ONE, "inactive", MainPID=0)
    lock = try_lock(vintage.lock_file(served, 1))
    assert lock is not None
    with lock:
        (worker,) = (unit for unit in Systemd(served).units() if unit.name == ONE)
        assert (worker.state, worker.pid, worker.outside) == ("active", os.getpid(), True)
        systemctl.has(ONE, MainPID=os.getpid())
        assert not any(unit.outside for unit in Systemd(served).units())
