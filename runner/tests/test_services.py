"""What is told of a jobset's units, from what the service manager answers."""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sagequeue import services
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError

Answers = Callable[[str, str, int], None]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Has a program of that name print that, and end so."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(programs / "python"))

    def answers(name: str, text: str, status: int) -> None:
        (programs / f"{name}.said").write_text(text)
        program = programs / name
        program.write_text(f'#!/bin/sh\ncat "$0.said"\nexit {status}\n')
        program.chmod(0o755)

    return answers


@pytest.fixture
def served(config: Config, env_file: Path) -> Config:
    """The active jobset, of one worker in the container."""
    return dataclasses.replace(config, runtime="podman", workers=1, jobset=env_file.stem)


def block(name: str, state: str = "active", enabled: str = "enabled", more: str = "") -> str:
    return f"Id={name}\nActiveState={state}\nUnitFileState={enabled}\n{more}\n"


def test_under_systemd_a_worker_above_the_wanted_ones_is_told_from_those(
    answers: Answers, served: Config
) -> None:
    shown = [
        block("sagequeue-container.service"),
        block("sagequeue-recover.timer", enabled="disabled"),
        block("sagequeue@1.service", state="failed"),
        block("sagequeue@7.service", enabled="disabled"),
        block("sagequeue@8.service", state="inactive", enabled="disabled"),
    ]
    answers("systemctl", "\n".join(shown), 0)
    told = {u.name: (u.state, u.enabled, u.wanted) for u in services.for_config(served).units()}
    assert told == {
        "sagequeue-container.service": ("active", True, True),
        "sagequeue-recover.timer": ("active", False, True),
        "sagequeue@1.service": ("failed", True, True),
        "sagequeue@7.service": ("active", False, False),
    }


@pytest.mark.parametrize(("installed", "current"), [("unlike", False), ("", None)])
def test_a_worker_that_was_started_with_other_settings_is_not_current(
    answers: Answers,
    served: Config,
    installed: str,
    current: bool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = {"environ": "A=b\0SAGEQUEUE_SETTINGS=then\0", "cmdline": "python\0"}
    monkeypatch.setattr(services, "_proc", lambda _pid, name: ours[name])
    environment = f"Environment=SAGEQUEUE_SETTINGS={installed}" if installed else "Environment="
    more = f"MainPID={os.getpid()}\n{environment}\n"
    answers("systemctl", block("sagequeue@1.service", more=more), 0)
    (worker,) = services.for_config(served).units()
    assert (worker.pid, worker.current) == (os.getpid(), current)


def test_a_worker_of_the_installed_runner_and_settings_is_current(
    answers: Answers, served: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = Path.home() / ".local/share/sagequeue/runner/current"
    current.parent.mkdir(parents=True)
    current.symlink_to("abc")
    ours = {"environ": "SAGEQUEUE_SETTINGS=now\0", "cmdline": "/runner/abc/bin/python\0"}
    monkeypatch.setattr(services, "_proc", lambda _pid, name: ours[name])
    more = "MainPID=1\nEnvironment=SAGEQUEUE_SETTINGS=now\n"
    answers("systemctl", block("sagequeue@1.service", more=more), 0)
    assert [unit.current for unit in services.for_config(served).units()] == [True]
    current.unlink()
    current.symlink_to("newer")
    assert [unit.current for unit in services.for_config(served).units()] == [False]


def test_a_manager_that_does_not_answer_is_told_in_words(answers: Answers, served: Config) -> None:
    answers("systemctl", "Failed to connect to bus", 1)
    with pytest.raises(SagequeueError, match="systemctl --user says: Failed to connect to bus"):
        services.for_config(served).units()


def test_a_jobset_without_units_is_told_what_makes_them(served: Config, env_file: Path) -> None:
    (env_file.parent / "sagequeue.env").unlink()
    with pytest.raises(SagequeueError, match=f"site.yml -e jobset={served.jobset}"):
        services.for_config(served)


def test_supervisors_programs_are_told_in_the_same_words(answers: Answers, config: Config) -> None:
    status = "\n".join(
        [
            "recover    RUNNING   pid 12, uptime 0:00:05",
            f"{config.jobset}-1    FATAL     Exited too quickly",
            f"{config.jobset}-9    RUNNING   pid 14, uptime 0:00:05",
            "other-1    RUNNING   pid 15, uptime 0:00:05",
        ]
    )
    answers("supervisorctl", status, 3)
    settings = dataclasses.replace(config, runtime="local", workers=2)
    told = {u.name: (u.state, u.pid, u.wanted) for u in services.for_config(settings).units()}
    assert told == {
        "recover": ("active", 12, True),
        f"{config.jobset}-1": ("failed", None, True),
        f"{config.jobset}-2": ("inactive", None, True),
        f"{config.jobset}-9": ("active", 14, False),
    }
