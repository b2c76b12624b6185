"""The number of a queue's format: who writes it, and who refuses which."""

import errno
import os
from pathlib import Path

import pytest
from rig import Rig
from sagequeue import operations, queue_format, recovery
from sagequeue.config import Config
from sagequeue.exceptions import EXIT_CONFIG, ConfigError
from sagequeue.jobs import JobState
from sagequeue.spool import Spool

ACTING = [
    *(("enqueue",), ("retry-failed",), ("requeue-running",), ("request-stop",), ("clear-stop",)),
    *(("purge", "--yes"), ("recover",), ("worker", "1")),
]
SERVICE = [("start",), ("stop",), ("restart",), ("disable",)]
LOOKING = [("progress",), ("explain", "0"), ("found",), ("status",), ("diag",), ("found", "--json")]


def test_whoever_makes_the_queue_notes_its_format(config: Config) -> None:
    assert queue_format.check(config) == 1
    Spool(config).create()
    assert (config.state_dir / "FORMAT").read_text() == "2\n"
    assert queue_format.check(config) == 2


def test_a_queue_of_an_older_release_gets_the_number_and_keeps_its_jobs(demo: Rig) -> None:
    path = queue_format.file(demo.config)
    path.unlink()
    recovery.recover(demo.spool, lambda _: None)
    assert not path.exists(), "a pass alone makes no directories"
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(4))
    assert path.read_text() == "2\n"


@pytest.mark.parametrize("verb", [*ACTING, *SERVICE], ids=" ".join)
def test_what_acts_refuses_a_newer_format(demo: Rig, verb: tuple[str, ...]) -> None:
    path = queue_format.file(demo.config)
    path.write_text("3\n")
    before = sorted(demo.config.state_dir.rglob("*"))
    done = demo.run(*verb, check=False)
    assert done.returncode == EXIT_CONFIG
    assert f"{path} says 3" in done.stderr
    assert "only a release that knows format 3 may act on it" in done.stderr
    assert (sorted(demo.config.state_dir.rglob("*")), demo.config.gated) == (before, False)
    assert path.read_text() == "3\n"
    path.write_text("2\n")


@pytest.mark.parametrize("verb", LOOKING, ids=" ".join)
def test_what_looks_says_so_and_shows_what_it_can(demo: Rig, verb: tuple[str, ...]) -> None:
    shown = demo.run(*verb).stdout
    queue_format.file(demo.config).write_text("3\n")
    done = demo.run(*verb)
    assert "what follows may be wrong" in done.stderr
    assert "FORMAT says 3: a newer release of sagequeue wrote this queue" in done.stderr
    assert len(done.stdout.splitlines()) == len(shown.splitlines())


def test_a_worker_sees_its_job_through_and_ends_when_a_newer_release_comes(demo: Rig) -> None:
    path = queue_format.file(demo.config)
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    path.write_text("3\n")
    demo.go(0)
    assert demo.until_ended(worker) == EXIT_CONFIG
    assert demo.where(0) == [JobState.DONE]
    assert [demo.where(offset) for offset in (1, 2, 3)] == 3 * [[JobState.PENDING]]
    assert "FORMAT says 3" in demo.said(1)


@pytest.mark.parametrize("text", ["x\n", "0\n", "-1\n", "2\n3\n", "9" * 400 + "\n"])
def test_what_is_no_number_is_refused_with_what_to_do(config: Config, text: str) -> None:
    Spool(config).create()
    queue_format.file(config).write_text(text)
    with pytest.raises(ConfigError, match="does not hold one number; if no newer"):
        Spool(config).create()


def test_a_link_is_not_followed(config: Config, tmp_path: Path) -> None:
    Spool(config).create()
    queue_format.file(config).unlink()
    queue_format.file(config).symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="move it away"):
        operations.enqueue(config, None, force=False, tell=lambda _: None)
    assert not (tmp_path / "precious").exists()


def test_a_full_disk_keeps_nobody_from_a_queue_of_an_older_release(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    Spool(config).create()
    queue_format.file(config).unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("sagequeue.durable.replace", full)
        Spool(config).create()
    assert not queue_format.file(config).exists()
    Spool(config).create()
    assert queue_format.file(config).exists()


@pytest.mark.parametrize("text", ["", "2", "\0\0"])
def test_a_number_that_a_power_cut_took_is_written_again(config: Config, text: str) -> None:
    Spool(config).create()
    queue_format.file(config).write_text(text)
    Spool(config).create()
    assert queue_format.file(config).read_text() == "2\n"
