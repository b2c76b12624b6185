"""A job that cannot succeed rests with its reason, which `explain` tells, whoever asks."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rig import Rig, rig, wrapper_of
from sagequeue import findings
from sagequeue.jobs import JobState

pytestmark = pytest.mark.slow

PENDING, RUNNING, DONE, FAILED = JobState
# Over /sys/fs/cgroup, in a mount namespace of the worker's own.
# Without root a namespace of users is needed, from which the processes outside cannot be examined.
USERS = () if os.getuid() == 0 else ("--map-root-user",)
OVER = ("unshare", *USERS, "--mount", "sh", "-c")
MOUNT = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig", stride=1, total=2, MAX_FAILED_RETRIES=1) as made:
        yield made


def explained(demo: Rig) -> str:
    return demo.run("explain", "0").stdout


def fails_until_held(demo: Rig, executions: int) -> str:
    """Has it fail and be retried so often; what recovery says at last."""
    demo.run("enqueue")
    demo.worker(1)
    for count in range(1, executions + 1):
        demo.until_event("start", 0, count)
        demo.until_state(FAILED, 0)
        said = demo.run("recover").stdout
    assert "action=hold_failed" in said
    assert demo.run("recover").stdout.count("action=hold_failed") == 1
    assert len(demo.events("start")) == executions
    return said


def test_a_solver_that_is_killed_is_held_after_its_retries_as_most_likely_out_of_memory(
    demo: Rig,
) -> None:
    demo.orders(0, die=[0, signal.SIGKILL])
    assert "reason=attempts_exhausted" in fails_until_held(demo, 2)
    said = explained(demo)
    assert "killed by SIGKILL, most likely for want of memory; retried 1 of 1 times" in said
    assert "It is held: it failed as often as MAX_FAILED_RETRIES allows" in said
    assert "`sagequeue retry-failed --reset-attempts" in said


@pytest.fixture
def memory_events(tmp_path: Path) -> Path:
    """What takes the place of the control group's file; the worker has to be started over it."""
    try:
        subprocess.run([*OVER, MOUNT, tmp_path, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mount namespace is to be had here")
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    mine = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), None)
    if mine is None:
        pytest.skip("there is no control group of version 2 here")
    path = tmp_path / "cgroup" / mine.strip("/") / "memory.events"
    path.parent.mkdir(parents=True)
    path.write_text("max 4\noom 0\noom_kill 2\n")
    return path


@pytest.mark.parametrize(("kills", "reason"), [(3, "out_of_memory"), (2, "signal_9")])
def test_the_kernels_count_tells_whether_it_killed_for_want_of_memory(
    demo: Rig, memory_events: Path, tmp_path: Path, kills: int, reason: str
) -> None:
    demo.configure(MAX_FAILED_RETRIES=0)  # else it is pending again the next moment
    demo.orders(0, wait_at=0, die=[1, signal.SIGKILL])
    demo.run("enqueue")
    demo.worker(1, before=(*OVER, MOUNT, str(tmp_path / "cgroup")))
    demo.until_event("waiting", 0)
    memory_events.write_text(f"max 9\noom 1\noom_kill {kills}\n")
    demo.go(0)
    demo.until_state(FAILED, 0)
    assert demo.job(0)["LAST_REASON"] == reason
    assert f"rc=137 reason={reason}" in demo.log(0)
    told = "the kernel killed it for want of memory; give it more memory"
    assert (told in explained(demo)) == (reason == "out_of_memory")


def test_a_script_that_is_missing_is_told_and_the_job_waits_for_it_without_losing_an_attempt(
    demo: Rig,
) -> None:
    script = demo.root / "solver.py"
    text = Path(str(demo.settings["SCRIPT"])).read_bytes()
    script.write_bytes(text)
    demo.configure(SCRIPT=script)
    worker = psutil.Process(demo.worker(1).pid)
    demo.until(lambda: "action=summary" in demo.said(1), "the worker's start")
    demo.until(lambda: worker.status() == psutil.STATUS_SLEEPING, "an idle worker")
    script.unlink()
    demo.run("enqueue")
    demo.until(lambda: "nothing can be started" in demo.said(1), "the worker's words")
    assert demo.where(0) == [PENDING]
    assert demo.job(0)["LAST_REASON"] == "no_script"
    said = explained(demo)
    assert "its script (SCRIPT) could not be read where it is to run; put it there" in said
    assert f"Nothing can be started: SCRIPT '{script}' is not a file on this host" in said
    script.write_bytes(text)
    demo.until_state(DONE, 0)
    assert "ATTEMPTS" not in demo.job(0)


def test_a_solution_that_was_printed_and_whose_check_failed_is_held_at_once_and_kept(
    demo: Rig,
) -> None:
    demo.orders(0, print=[0, "SAT found for J = [0]"], exit=[0, 1])
    assert "reason=found_then_failed" in fails_until_held(demo, 1)
    said = explained(demo)
    assert "It is held: it printed a solution and then failed" in said
    assert "What it found: `sagequeue found" in said
    assert [f["lines"] for f in findings.read(demo.config)] == [["SAT found for J = [0]"]]


def test_a_corrupt_state_file_is_held_at_once_until_it_is_mended(demo: Rig) -> None:
    state = demo.config.state_file(0)
    assert state is not None
    state.write_text("half a numb")
    demo.run("enqueue")
    demo.worker(1)
    demo.until_state(FAILED, 0)
    assert "action=hold_failed job=demo_off0 attempts=0 reason=state_corrupt" in (
        demo.run("recover").stdout
    )
    said = explained(demo)
    assert "failed: its state file does not hold one case number of its partition" in said
    assert f"{state} does not hold" in said
    assert "correct it or move it away" in said
    state.unlink()
    demo.run("retry-failed")
    demo.until_state(DONE, 0)


def test_a_job_that_is_interrupted_without_getting_on_is_held(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.run("enqueue")
    demo.worker(1)
    for count in range(1, 6):
        solver = demo.until_event("waiting", 0, count)
        wrapper_of(solver.pid).kill()
        psutil.Process(solver.pid).kill()
    demo.until_state(FAILED, 0)
    assert "reason=no_progress" in demo.run("recover").stdout
    said = explained(demo)
    assert "5 times in a row no result came and its state file had not moved on" in said
    assert "Next: nothing, until `sagequeue retry-failed" in said
