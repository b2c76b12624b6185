"""Workers that live while a real process manager is gone, is stopped or has lost its socket."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psutil
import pytest
from embedded import WORKERS, Embedded, Type, make, typing
from rig import alive
from sagequeue import lost_manager, outsiders
from sagequeue.exceptions import SagequeueError
from sagequeue.jobs import JobState
from sagequeue.owner import held, try_lock

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
def manager(demo: Embedded, typed: Type) -> psutil.Process:
    """The process manager, with two workers that wait for jobs."""
    typed("start")
    demo.until_state(JobState.DONE, *range(4))
    demo.until(lambda: len(outsiders.living(demo.config)) == 2, "both workers")
    (found,) = psutil.Process(demo.units()["recover"].pid).parents()[:1]
    return found


def lose(demo: Embedded, manager: psutil.Process, how: str) -> None:
    """The process manager is killed or stopped, or a cleaner removes its socket."""
    if how == "killed":
        manager.kill()
        demo.until_gone(manager.pid)
    elif how == "stopped":
        manager.suspend()
        demo.until(lambda: manager.status() == psutil.STATUS_STOPPED, "its stop")
    else:
        (demo.state_dir / "socket").unlink()


def managers(demo: Embedded) -> list[int]:
    there = psutil.process_iter(["cmdline"])
    settings = str(demo.settings_dir / "supervisord.conf")
    return [p.pid for p in there if settings in (p.info["cmdline"] or ()) and alive(p.pid)]


LOST = pytest.mark.parametrize("how", ["killed", "stopped", "without a socket"])


@LOST
def test_workers_without_a_manager_are_told_and_no_second_ones_are_started(
    demo: Embedded, typed: Type, manager: psutil.Process, how: str
) -> None:
    before = {worker.number: worker.pid for worker in outsiders.living(demo.config)}
    lose(demo, manager, how)
    told = json.loads(demo.run("status", "--json").stdout)["units"]
    seen = {unit["name"]: (unit["state"], unit["pid"], unit["outside"]) for unit in told}
    assert seen == {
        "recover": ("inactive", None, False),
        **{f"demo-{number}": ("active", pid, True) for number, pid in before.items()},
    }
    status = demo.run("status").stdout
    assert "2 of 2 workers run" in status
    assert "outside supervisor there live demo-1 (process" in status
    assert "`sagequeue restart` replaces them" in status
    refused = typed("start", status=75)
    assert "`sagequeue restart` replaces them, while their solvers work on; `sagequeue stop`" in (
        refused
    )
    assert managers(demo) == ([] if how == "killed" else [manager.pid])
    # Nobody reads what they say any more, and they work all the same, for as long as they live.
    for _ in range(2):
        demo.run("enqueue", "--force")
        demo.until_state(JobState.DONE, *range(4))
    assert {worker.number: worker.pid for worker in outsiders.living(demo.config)} == before


@LOST
def test_stop_ends_them_for_good(
    demo: Embedded, typed: Type, manager: psutil.Process, how: str
) -> None:
    before = [worker.pid or 0 for worker in outsiders.living(demo.config)]
    demo.journal.path.unlink()  # cases are done anew
    for offset in (0, 1):
        demo.config.state_file(offset).unlink()  # type: ignore[union-attr]
        demo.orders(offset, wait_at=offset + 4)
        demo.run("enqueue", "--force", "--offset", str(offset))
    solvers = [demo.until_event("waiting", offset).pid for offset in (0, 1)]
    lose(demo, manager, how)
    said = typed("stop")
    assert "stopped outside supervisor: worker 1 (process" in said
    assert said.endswith("; solvers ended, and their jobs went back")
    assert not any(map(alive, [*before, *solvers]))
    assert outsiders.living(demo.config) == []
    assert managers(demo) == []
    assert typed("stop") == "demo: no worker ran; no solver lived"
    assert typed("start").startswith("demo: the process manager was started")


@LOST
def test_restart_puts_new_workers_in_their_places_and_disturbs_no_solver(
    demo: Embedded, typed: Type, manager: psutil.Process, how: str
) -> None:
    before = {worker.pid for worker in outsiders.living(demo.config)}
    demo.config.state_file(1).unlink()  # type: ignore[union-attr]
    demo.journal.path.unlink()
    demo.orders(1, wait_at=5)
    demo.run("enqueue", "--force", "--offset", "1")
    solver = demo.until_event("waiting", 1).pid
    lose(demo, manager, how)
    assert typed("restart").endswith("; solvers work on and are adopted")
    assert alive(solver)
    assert not alive(manager.pid)
    demo.until(lambda: len(outsiders.living(demo.config)) == 2, "new workers")
    assert not before & {worker.pid for worker in outsiders.living(demo.config)}
    assert not any(unit.outside for unit in demo.units().values())
    demo.go(1)
    demo.until_state(JobState.DONE, *range(4))
    assert {event.pid for event in demo.events("case", 1)} == {solver}
    assert typed("start").startswith("demo: everything runs already")


@pytest.mark.parametrize("how", ["stopped", "without a socket"])
def test_a_lost_manager_without_workers_is_told_and_replaced(
    demo: Embedded, typed: Type, manager: psutil.Process, how: str
) -> None:
    typed("stop")
    lose(demo, manager, how)
    assert f"(process {manager.pid}) does not answer" in typed("start", status=1)
    typed("restart")
    assert not alive(manager.pid)
    demo.until(lambda: len(outsiders.living(demo.config)) == 2, "workers")


def test_another_jobsets_workers_outlive_the_end_of_a_lost_manager(
    demo: Embedded, typed: Type, manager: psutil.Process
) -> None:
    # As a jobset of that manager has one: what tells a worker is the lock that it has open.
    other = demo.root / "worker-9.lock"
    program = demo.settings_dir / "supervisord.d" / "other.conf"
    code = f"import fcntl, time; f = open({str(other)!r}, 'w'); fcntl.flock(f, 2); time.sleep(999)"
    program.write_text(f'[program:other-9]\ncommand=python3 -c "{code}"\n')
    demo.ctl("update")
    demo.until(lambda: held(other), "the other's worker")
    lose(demo, manager, "without a socket")
    typed("stop")
    assert managers(demo) == []
    assert held(other)


def test_a_worker_that_does_not_end_makes_stop_fail_and_is_named(
    demo: Embedded, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outsiders, "_MARGIN", 0.0)
    demo.configure(STOP_GRACE=1)
    by_hand = demo.worker(1)
    demo.until(lambda: outsiders.living(demo.config), "the worker")
    by_hand.send_signal(signal.SIGSTOP)
    said = typed("stop", status=1)
    assert f"these live on: worker 1 (process {by_hand.pid}). `kill -KILL {by_hand.pid}` ends" in (
        said
    )
    by_hand.send_signal(signal.SIGCONT)
    assert demo.until_ended(by_hand) == 0
    assert typed("stop").startswith("demo: no worker ran; ")


def test_what_is_about_to_be_a_worker_is_stopped_too(demo: Embedded, typed: Type) -> None:
    # As a program of a manager that was killed, in the pause before it begins.
    program = demo.settings_dir / "supervisord.d" / "demo.conf"
    (line, *_) = re.findall(r"(?m)^command=(.*)$", program.read_text())
    words = shlex.split(line.replace("sleep 0.1;", "sleep 999;"))
    with subprocess.Popen(words) as pausing:
        demo.until(lambda: "sleep" in "".join(psutil.Process(pausing.pid).cmdline()), "the pause")
        said = typed("stop")
        assert f"stopped outside supervisor: worker 1 (process {pausing.pid})" in said
        assert pausing.wait() == -signal.SIGTERM
    assert typed("stop") == "demo: no worker ran; no solver lived"


def test_a_worker_by_hand_that_the_settings_do_not_want_is_in_nobodys_way(
    demo: Embedded, typed: Type
) -> None:
    by_hand = demo.worker(7)
    demo.until(lambda: outsiders.living(demo.config), "the worker")
    said = typed("start")
    assert said.endswith(f"; outside supervisor there live demo-7 (process {by_hand.pid})")
    typed("stop")
    assert demo.until_ended(by_hand) == 0
    assert outsiders.living(demo.config) == []


def test_in_the_place_of_a_worker_by_hand_none_is_started(demo: Embedded, typed: Type) -> None:
    by_hand = demo.worker(2)
    demo.until(lambda: outsiders.living(demo.config), "the worker")
    assert f"demo-2 (process {by_hand.pid})" in typed("start", status=75)
    assert managers(demo) == []
    typed("restart")
    assert demo.until_ended(by_hand) == 0
    demo.until(lambda: len(outsiders.living(demo.config)) == 2, "workers of the manager")
    assert {unit.outside for unit in demo.units().values()} == {False}
    assert set(demo.worker_pids()) == set(WORKERS)


def test_only_who_has_the_lock_is_signalled(
    demo: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The number of a worker that has ended is another process's: this one's.
    caught: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _frame: caught.append(number))
    demo.config.run_dir.mkdir(parents=True, exist_ok=True)
    path = demo.config.run_dir / "worker-1.lock"
    path.touch()
    try:
        worker = outsiders.Living(1, os.getpid())
        monkeypatch.setattr(outsiders, "until_ended", lambda *_: None)
        outsiders.tell(demo.config, [worker], signal.SIGHUP, 0)
        assert caught == []
        lock = try_lock(path)
        assert lock is not None
        with lock:
            assert outsiders.living(demo.config) == [worker]
            outsiders.tell(demo.config, [worker], signal.SIGHUP, 0)
        assert caught == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_the_holder_is_found_where_stat_has_another_device_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def stat(path: object, **more: object) -> os.stat_result:
        there = real(path, **more)  # type: ignore[arg-type]
        return os.stat_result((*there[:2], there.st_dev + 1, *there[3:]))

    path = tmp_path / "worker-1.lock"
    lock = try_lock(path)
    assert lock is not None
    monkeypatch.setattr(os, "stat", stat)
    assert outsiders.holder(path) == os.getpid()
    lock.close()
    assert outsiders.holder(path) is None


def test_a_worker_whose_process_cannot_be_seen_is_told_of(
    demo: Embedded, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = try_lock(demo.config.run_dir / "worker-1.lock")
    assert lock is not None
    monkeypatch.setattr(outsiders, "holder", lambda _path: None)
    with lock:
        assert "demo-1 (process not to be seen)" in typed("start", status=75)
        assert "worker 1 (its process cannot be seen from here)" in typed("stop", status=1)
        with pytest.raises(SagequeueError, match="do not hand over"):
            outsiders.hand_over(demo.config, [demo.units()["demo-1"]])


def test_a_lost_manager_is_ended_though_a_child_of_it_cannot_be_looked_at() -> None:
    """A zombie's files are root's."""
    child, manager = mock.Mock(), mock.Mock()
    child.open_files.side_effect = psutil.AccessDenied(7)
    manager.children.return_value = [child]
    with mock.patch.object(psutil, "wait_procs"):
        lost_manager.end([manager])
    manager.kill.assert_called_once()
    child.terminate.assert_not_called()
