"""Whether a lock is held, whoever took it, and without taking it."""

import fcntl
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sagequeue import owner
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


def test_a_question_does_not_stand_in_the_way_of_who_takes_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "worker-1.lock"
    path.touch()
    question = os.open(path, os.O_RDONLY)
    fcntl.flock(question, fcntl.LOCK_SH)  # as `held` asks, at the moment of the attempt
    tries = 0

    def flock(fd: int, operation: int) -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            os.close(question)
        fcntl_flock(fd, operation)

    fcntl_flock = fcntl.flock
    monkeypatch.setattr(owner.fcntl, "flock", flock)
    lock = try_lock(path)
    assert lock is not None
    with lock:
        assert try_lock(path) is None
        assert held(path)
    assert not held(path)


def test_of_two_who_try_at_once_one_gets_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.lock"
    for _ in range(50):
        both, locks = threading.Barrier(2), []

        def attempt(both: threading.Barrier = both, locks: list[object] = locks) -> None:
            both.wait()
            locks.append(try_lock(path))

        tried = [threading.Thread(target=attempt) for _ in range(2)]
        for thread in tried:
            thread.start()
        for thread in tried:
            thread.join()
        assert sorted(lock is None for lock in locks) == [False, True]
        for lock in locks:
            if lock is not None:
                lock.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on btrfs: `stat` has another device number for it than /proc/locks."""
    image, point = tmp_path / "image", tmp_path / "mounted"
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    point.mkdir()
    for command in (["mkfs.btrfs", "-q", image], ["mount", "-o", "loop", image, point]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"there is no {command[0]}: package btrfs-progs")
        if done.returncode != 0:
            pytest.skip(f"{command[0]} is not permitted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def test_on_btrfs_a_living_worker_is_seen(elsewhere: Path) -> None:
    path = elsewhere / "worker-1.lock"
    lock = try_lock(path)
    assert lock is not None
    with lock:
        assert held(path)
    assert not held(path)


def test_a_living_worker_is_seen_where_stat_has_another_device_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on btrfs, for machines where the test above is skipped.
    path = tmp_path / "worker-1.lock"
    real = os.stat

    def stat(*arguments: Any, **more: Any) -> os.stat_result:
        there = real(*arguments, **more)
        return os.stat_result((*there[:2], there.st_dev + 1, *there[3:]))

    monkeypatch.setattr(os, "stat", stat)
    lock = try_lock(path)
    assert lock is not None
    with lock:
        assert os.stat(path).st_dev != os.fstat(lock.fd).st_dev
        assert held(path)
