"""One job's ledger, position or log is spoilt: that job waits for it, and no other does."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rig import Rig
from sagequeue import findings, ledger
from sagequeue.jobs import JobState

PENDING, RUNNING, DONE, FAILED = JobState


def directory(path: Path) -> None:
    path.mkdir()
    (path / "in_it").touch()


SPOIL: dict[str, Callable[[Path], None]] = {
    "a directory": directory,
    "a FIFO": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path.name),
}
FILES = {
    "ledger": "ledger/demo_off0.jsonl",
    "position": "ledger/demo_off0.position",
    "log": "log/demo_off0.log",
}
# A file is renamed into the place of a position, and so into that of a FIFO or a link.
CASES = [
    (file, how)
    for file in FILES
    for how in SPOIL
    if (file, how == "a directory") != ("position", False)
]


@pytest.fixture
def waiting(demo: Rig) -> Rig:
    """Its worker's solver is about to print a solution."""
    demo.orders(0, wait_at=4, print=[4, "FOUND hit=1"])
    demo.worker(1)
    demo.until_event("waiting", 0)
    return demo


@pytest.mark.parametrize(("file", "how"), CASES)
def test_a_job_that_cannot_be_settled_keeps_no_other_from_being_solved(
    waiting: Rig, file: str, how: str
) -> None:
    path = waiting.config.state_dir / FILES[file]
    away = path.with_name("away")
    if path.exists():
        path.rename(away)
    SPOIL[how](path)
    waiting.go(0)
    waiting.until_state(DONE, 1, 2, 3)
    assert waiting.where(0) == [RUNNING]
    assert "demo_off0 stays in running/, with its result: [Errno" in waiting.said(1)
    assert str(path) in waiting.said(1)
    waiting.until(lambda: "journal" in waiting.run("explain", "0").stdout, "the way to the cause")
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if away.exists():
        away.rename(path)
    waiting.until_state(DONE, 0)
    assert [finding["lines"] for finding in findings.read(waiting.config)] == [["FOUND hit=1"]]
    assert len(waiting.events("start", 0)) == 1


def test_a_worker_that_was_told_to_end_does_not_wait_for_such_a_file(waiting: Rig) -> None:
    path = waiting.config.state_dir / FILES["ledger"]
    path.unlink(missing_ok=True)
    directory(path)
    waiting.go(0)
    waiting.until_state(DONE, 1, 2, 3)
    (worker,) = waiting.workers
    worker.terminate()
    assert waiting.until_ended(worker) == 0
    assert "action=warn job=demo_off0" in waiting.run("recover").stdout
    assert waiting.where(0) == [RUNNING]
    shutil.rmtree(path)
    assert "action=finish job=demo_off0 outcome=done" in waiting.run("recover").stdout


def test_a_log_that_is_no_file_keeps_only_its_own_job_from_being_claimed(demo: Rig) -> None:
    """To open a FIFO is to wait for its reader."""
    log = demo.config.log_file(0)
    os.mkfifo(log)
    demo.worker(1)
    demo.until_state(DONE, 1, 2, 3)
    assert demo.where(0) == [PENDING]
    assert "demo_off0 cannot be claimed: " in demo.said(1)
    log.unlink()
    demo.until_state(DONE, 0)


def test_all_logs_may_be_put_away_under_a_solver(waiting: Rig) -> None:
    waiting.config.log_dir.rename(waiting.root / "old_logs")
    waiting.go(0)
    waiting.until_state(DONE, *range(4))
    assert [finding["lines"] for finding in findings.read(waiting.config)] == [["FOUND hit=1"]]


@pytest.mark.parametrize("what", ["state_dir", "queue_dir", "running_dir"])
def test_a_directory_that_is_away_for_a_while_loses_no_result(waiting: Rig, what: str) -> None:
    """As when it is on a disk that was unplugged, or is behind a link that was turned."""
    place: Path = getattr(waiting.config, what)
    away = waiting.root / "away"
    place.rename(away)
    waiting.go(0)
    waiting.until(lambda: "trying again" in waiting.said(1), "a first try")
    assert not place.exists(), "what comes back would find its place taken"
    away.rename(place)
    waiting.until_state(DONE, *range(4))
    assert len(waiting.events("start", 0)) == 1
    assert [finding["lines"] for finding in findings.read(waiting.config)] == [["FOUND hit=1"]]


def test_a_ledger_that_is_no_file_has_no_lines(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ledger")
    assert list(ledger.read(tmp_path / "ledger")) == []


def test_garbage_of_any_length_hides_no_later_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with open(path, "wb") as file:
        file.truncate(70 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"kind": "case"}\n{"kind"')
    assert list(ledger.read(path)) == [{"kind": "case"}]
