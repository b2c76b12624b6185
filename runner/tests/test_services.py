"""Which service manager a jobset has, and what is told of what supervisor answers."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from programs import program
from sagequeue import config as configuration
from sagequeue import lost_manager, services
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError
from sagequeue.supervisor import Supervisor
from sagequeue.systemd import Systemd

Answers = Callable[..., None]


@pytest.fixture
def answers(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Has supervisorctl answer each of its orders so, and end with that status."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    settings = configuration.config_dir() / "supervisord.d" / "demo.conf"
    settings.parent.mkdir()
    settings.touch()
    monkeypatch.setattr(lost_manager, "answers", lambda settings: True)

    def answers(ended: int = 0, **said: str) -> None:
        for order, text in said.items():
            (programs / f"supervisorctl.{order}").write_text(text)
        text = f'#!/bin/sh\ncat "$0.$3" 2>/dev/null\nexit {ended}\n'
        program(programs, "supervisorctl", text)

    return answers


def test_the_settings_name_the_manager(config: Config) -> None:
    assert isinstance(services.for_config(replace(config, service_manager="systemd")), Systemd)
    assert isinstance(services.for_config(config), Supervisor)


def test_supervisors_programs_are_told_in_systemds_words(answers: Answers, config: Config) -> None:
    status = """\
recover    RUNNING   pid 12, uptime 0:00:05
demo-1     FATAL     Exited too quickly
demo-8     STOPPED   Not started
demo-9     RUNNING   pid 14, uptime 0:00:05
demo_2-1   RUNNING   pid 15, uptime 0:00:05
"""
    answers(3, status=status)
    told = {u.name: (u.state, u.pid, u.wanted) for u in services.for_config(config).units()}
    assert told == {
        "recover": ("active", 12, True),
        "demo-1": ("failed", None, True),
        "demo-2": ("inactive", None, True),
        "demo-9": ("active", 14, False),
    }


def test_without_a_process_manager_nothing_runs(answers: Answers, config: Config) -> None:
    answers(4, status="unix:///s no such file\n")
    manager = services.for_config(config)
    assert {unit.state for unit in manager.units()} == {"inactive"}
    assert manager.stop() == "no worker ran"


STOPPED = """\
recover    RUNNING   pid 12, uptime 0:00:05
demo-1     EXITED    Nov 25 10:00 AM
demo-2     FATAL     Exited too quickly
"""


def test_a_failed_worker_is_none_that_runs(answers: Answers, config: Config) -> None:
    answers(3, status=STOPPED)
    assert services.for_config(config).stop() == "no worker ran"


def test_a_worker_that_came_back_before_it_was_started_is_no_error(
    answers: Answers, config: Config
) -> None:
    said = "demo-1: ERROR (already started)\ndemo-2: started\n"
    answers(status=STOPPED, start=said)
    assert services.for_config(config).start() == "started: demo-1, demo-2"


def test_a_worker_that_cannot_be_started_is_an_error_with_a_remedy(
    answers: Answers, config: Config
) -> None:
    answers(status=STOPPED, start="demo-1: ERROR (already started)\ndemo-2: ERROR (no such file)\n")
    with pytest.raises(SagequeueError, match=r"no such file\).* -t install_units -e jobset=demo"):
        services.for_config(config).start()


def test_without_supervisor_there_is_a_remedy(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SagequeueError, match=r"Type \./bootstrap sagequeue in the clone"):
        services.for_config(config).units()


def test_without_settings_there_is_nothing_to_start_or_to_read(config: Config) -> None:
    manager = services.for_config(config)
    for verb in (manager.start, manager.restart, lambda: manager.journal(1, follow=False)):
        with pytest.raises(SagequeueError, match=r"-t enable -e jobset=demo` sets them up"):
            verb()
