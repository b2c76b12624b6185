"""Memory runs out for real: the kernel ends the solver that takes it, and nothing beside it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rig import Rig, rig
from sagequeue.jobs import JobState

MIB = 1 << 20
ENTER = ("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"')


@pytest.fixture
def cramped() -> Iterator[Path]:
    """A control group, of either version, whose processes have 256 MiB together."""
    if os.getuid() != 0:
        pytest.skip("a control group of its own is made, which takes root")
    first = Path("/sys/fs/cgroup/memory")
    root, limit = (
        (first, "memory.limit_in_bytes")
        if first.is_dir()
        else (Path("/sys/fs/cgroup"), "memory.max")
    )
    group = root / f"sagequeue-test-{os.getpid()}"
    if not root.is_dir():  # as in a chroot
        pytest.skip("there are no control groups here")
    group.mkdir()
    try:
        (group / limit).write_text(str(256 * MIB))
    except FileNotFoundError:
        group.rmdir()
        pytest.skip("this machine limits no control group's memory")
    yield group
    group.rmdir()


@pytest.fixture
def demo(tmp_path: Path, cramped: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig", stride=2, total=4, MAX_FAILED_RETRIES=0) as made:
        yield made


def test_one_workers_want_of_memory_takes_nothing_else_down(demo: Rig, cramped: Path) -> None:
    demo.orders(0, eat=[0, 1024])
    demo.orders(1, wait_at=3)
    demo.run("enqueue")
    workers = [demo.worker(number, before=(*ENTER, str(cramped))) for number in (1, 2)]
    other = psutil.Process(demo.until_event("waiting", 1).pid)
    demo.until_state(JobState.FAILED, 0)
    reason = demo.job(0)["LAST_REASON"]
    counted = (cramped / "memory.events").exists()
    assert reason == ("out_of_memory" if counted else f"signal_{signal.SIGKILL.value}")
    said = demo.run("explain", "0").stdout
    assert "for want of memory" in said
    assert "It is held" in said
    assert [worker.poll() for worker in workers] == [None, None]
    assert other.is_running()
    demo.go(1)
    demo.until_state(JobState.DONE, 1)
    assert len(demo.events("start", 1)) == 1
    demo.orders(0)
    demo.run("retry-failed")
    demo.until_state(JobState.DONE, 0)
