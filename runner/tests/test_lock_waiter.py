"""Waiting for a lock: each descriptor is closed once, by one side, and no lock is left behind."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kit.waiting import PATIENCE, until
from sagequeue import lock_waiter
from sagequeue.lock_waiter import LockWaiter
from sagequeue.owner import Lock, held, try_lock


class Turns:
    """A mutex to which the waiter's own thread comes only when it is let in."""

    def __init__(self) -> None:
        self.inner, self.let_in, self.reached = threading.Lock(), threading.Event(), []

    def __enter__(self) -> None:
        if isinstance(threading.current_thread(), LockWaiter):
            self.reached.append(True)
            assert self.let_in.wait(PATIENCE)
        self.inner.acquire()

    def __exit__(self, *_: object) -> None:
        self.inner.release()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.lock"


@pytest.fixture
def got(path: Path) -> Iterator[tuple[LockWaiter, Turns]]:
    """A waiter whose thread has the lock from the kernel, and has told nobody yet."""
    solver = try_lock(path)
    assert solver is not None
    waiter, turns = LockWaiter(path), Turns()
    waiter._mutex = turns  # type: ignore[assignment]
    solver.close()
    until(lambda: turns.reached, "the thread's turn")
    yield waiter, turns
    turns.let_in.set()
    waiter.join(PATIENCE)
    assert not waiter.is_alive()
    assert not held(path), "nobody is left who would close it"


def others(path: Path) -> list[int]:
    """Files that were opened since, whichever numbers were free."""
    return [os.open(path, os.O_RDONLY) for _ in range(8)]


def test_who_gives_up_while_the_lock_comes_closes_no_file_of_anybody_else(
    got: tuple[LockWaiter, Turns], tmp_path: Path
) -> None:
    waiter, turns = got
    waiter.give_up()
    theirs = others(tmp_path)
    turns.let_in.set()
    waiter.join(PATIENCE)
    for fd in theirs:
        assert os.path.samestat(os.fstat(fd), os.stat(tmp_path))
        os.close(fd)


def test_to_give_up_twice_is_to_give_up_once(got: tuple[LockWaiter, Turns], tmp_path: Path) -> None:
    waiter, turns = got
    turns.let_in.set()
    until(lambda: waiter.over, "the lock")
    waiter.give_up()
    theirs = others(tmp_path)
    waiter.give_up()
    with pytest.raises(RuntimeError):
        waiter.taken()
    for fd in theirs:
        os.close(fd)  # Bad file descriptor if the waiter closed it


def test_a_lock_that_was_taken_stays_with_its_taker(
    got: tuple[LockWaiter, Turns], path: Path
) -> None:
    waiter, turns = got
    with pytest.raises(RuntimeError):
        waiter.taken()
    turns.let_in.set()
    until(lambda: waiter.over, "the lock")
    with waiter:
        lock = waiter.taken()
    with lock:
        assert held(path)
        with pytest.raises(RuntimeError):
            waiter.taken()


def test_an_error_after_the_lock_came_lets_go_of_it(
    got: tuple[LockWaiter, Turns], path: Path
) -> None:
    waiter, turns = got
    with suppress(KeyboardInterrupt), waiter:
        turns.let_in.set()
        until(lambda: waiter.over, "the lock")
        raise KeyboardInterrupt
    assert not held(path)


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), MemoryError()])
def test_what_goes_wrong_in_the_thread_ends_the_wait(
    path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> Lock:
        raise error

    monkeypatch.setattr(lock_waiter, "wait_lock", fail)
    waiter = LockWaiter(path)
    until(lambda: waiter.over, "the end of the wait")
    with pytest.raises(type(error)):
        waiter.taken()


def test_without_a_thread_there_is_an_error_that_a_worker_outlives(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_self: LockWaiter) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(LockWaiter, "start", start)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="can't start new thread"):
        LockWaiter(path)
    assert len(os.listdir("/proc/self/fd")) == before
