"""Whether a lock is held, whoever took it, and without taking it."""

import os
import subprocess
from pathlib import Path

from sagequeue.owner import held, try_lock


def test_a_lock_whose_taker_let_go_of_it_is_held_by_who_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "job.lock"
    lock = try_lock(path)
    assert lock is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fd]) as heir:
        lock.close()
        assert held(path)
        assert heir.stdin is not None
        heir.stdin.close()
    assert not held(path)


def test_to_ask_is_not_to_hold(tmp_path: Path) -> None:
    path = tmp_path / "job.lock"
    path.touch()
    assert not held(path)
    lock = try_lock(path)
    assert lock is not None
    with lock:
        assert held(path)


def test_a_lock_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert not held(tmp_path / "job.lock")
    assert os.listdir(tmp_path) == []
