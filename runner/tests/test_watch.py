"""Waiting: for as long as anybody likes, and no longer than needed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from sagequeue.watch import Signals, readable, until_ended

LONGER_THAN_THE_KERNEL_WAITS = 9e8


@pytest.fixture
def event() -> Iterator[int]:
    """A descriptor that has something to read."""
    fd = os.eventfd(1)
    yield fd
    os.close(fd)


def test_a_wait_may_be_meant_for_years(event: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert readable(event, LONGER_THAN_THE_KERNEL_WAITS)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda *_, **__: None)
    Signals().wait(LONGER_THAN_THE_KERNEL_WAITS, event)


def test_a_time_that_is_over_is_not_waited_for(event: int) -> None:
    os.eventfd_read(event)
    assert not readable(event, -1)


def test_the_end_of_a_process_is_seen_when_it_ends() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        began = time.monotonic()
        until_ended(process.pid, 0.01)
        assert process.poll() is None
        process.kill()
        until_ended(process.pid, 60)
        assert time.monotonic() - began < 30
    until_ended(process.pid, 60)
    assert time.monotonic() - began < 30
