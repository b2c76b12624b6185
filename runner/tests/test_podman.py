"""The guarantee with real rootless Podman: what is true of processes is true of containers."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kit.jobset import SOLVER
from machine import CONTAINER, Machine
from rig import Rig, alive, rig
from sagequeue.jobs import JobState


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    # Below a directory that the test's user may enter, which pytest's own is not.
    root = Path(tempfile.mkdtemp(prefix="sagequeue-", dir="/var/tmp"))
    root.chmod(0o755)
    made = Machine(root)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def demo(
    machine: Machine, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    monkeypatch.setenv("PATH", f"{machine.bin}:{os.environ['PATH']}")
    root = machine.shared / request.node.name
    script = root / "home" / "solver.py"
    with rig(
        root, RUNTIME="podman", SERVICE=CONTAINER, CONTAINER_WORKDIR="/", SCRIPT=script,
        SAGE_BIN="/usr/bin/python3", STOP_GRACE=3,
    ) as made:  # fmt: skip
        shutil.copy(SOLVER, script)
        # The container's user is nobody here: it shares this directory and nothing else.
        made.home.chmod(0o777)
        (made.home / "journal").touch()
        (made.home / "journal").chmod(0o666)
        machine.start()
        made.run("enqueue")
        yield made


def host_process(demo: Rig, offset: int, word: str) -> psutil.Process:
    """The process of the solver's offset as the host sees it: `solver.py`, or `exec` the client."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        mine = words[-2:] == ["--offset", str(offset)] and str(demo.home) in " ".join(words)
        if (
            mine
            and {
                "solver": "python" in words[0],
                "wrapper": words[0] == "sh",
                "client": "exec" in words[:3],
            }[word]
        ):
            return process
    raise AssertionError(f"no {word} of offset {offset}\n{demo.report()}")


def conmon_of(solver: psutil.Process) -> psutil.Process:
    return next(p for p in solver.parents() if p.name() == "conmon")


def test_the_queue_is_solved_in_the_container(demo: Rig) -> None:
    demo.worker(1)
    demo.worker(2)
    demo.until_state(JobState.DONE, *range(4))
    assert len(demo.events("case")) == 12
    assert demo.log(3).count("DONE  gidx=") == 3


@pytest.mark.parametrize("killed", ["client", "worker", "both"])
def test_killed_outside_it_works_on_inside(demo: Rig, killed: str) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    if killed in ("client", "both"):
        host_process(demo, 0, "client").kill()
    if killed in ("worker", "both"):
        worker.kill()
        worker.wait()
        assert "requeued_orphans=0" in demo.run("recover").stdout
        demo.worker(1)
        demo.until(lambda: "action=adopt" in demo.said(1), "adoption")
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    assert len({e.pid for e in demo.events("case", 0)}) == 1
    assert len(demo.events("start", 0)) == 1
    assert demo.log(0).count("DONE  gidx=") == 3


def test_a_client_that_is_told_to_end_is_no_evidence(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    demo.worker(1)
    demo.until_event("waiting", 0)
    host_process(demo, 0, "client").terminate()
    assert "requeued_orphans=0" in demo.run("recover").stdout
    if demo.where(0) == [JobState.RUNNING]:  # newer clients pass the signal on
        demo.go(0)
    else:
        demo.orders(0)
    demo.until_state(JobState.DONE, *range(4))


def test_sigterm_to_a_worker_ends_the_solver_in_the_container(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    solver = host_process(demo, 0, "solver")
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]
    assert "ATTEMPTS" not in demo.job(0)
    assert "rc=143 reason=stopped" in demo.log(0)


def test_a_deaf_solver_in_the_container_is_killed_after_the_grace(demo: Rig) -> None:
    demo.configure(STOP_GRACE=1)
    demo.orders(0, wait_at=4, deaf=True)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    solver = host_process(demo, 0, "solver")
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]


def test_a_solver_killed_in_the_container_has_failed(demo: Rig) -> None:
    demo.configure(MAX_FAILED_RETRIES=0)
    demo.orders(0, wait_at=4)
    demo.worker(1)
    demo.until_event("waiting", 0)
    host_process(demo, 0, "solver").kill()
    demo.until_state(JobState.FAILED, 0)
    assert demo.job(0)["LAST_REASON"] == "signal_9"


def test_a_killed_conmon_does_not_start_the_offset_a_second_time(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    demo.worker(1)
    demo.until_event("waiting", 0)
    solver = host_process(demo, 0, "solver")
    conmon_of(solver).kill()
    assert "requeued_orphans=0" in demo.run("recover").stdout
    if alive(solver.pid):
        demo.go(0)
    else:
        demo.orders(0)
    demo.until_state(JobState.DONE, *range(4))


@pytest.mark.parametrize("fault", ["kill", "rm"])
def test_a_container_that_is_out_costs_nothing_but_time(
    demo: Rig, machine: Machine, fault: str
) -> None:
    demo.orders(0, wait_at=4)
    demo.worker(1)
    demo.worker(2)
    demo.until_event("waiting", 0)
    demo.until_state(JobState.DONE, 1, 2, 3)
    demo.orders(0)
    if fault == "kill":
        machine.podman("kill", CONTAINER)
    else:
        machine.podman("rm", "--force", "--time=0", CONTAINER)
    demo.until(lambda: "nothing can be started" in demo.said(1) + demo.said(2), "the outage told")
    machine.start()
    demo.until_state(JobState.DONE, 0)
    assert "ATTEMPTS" not in demo.job(0)
    assert int(demo.job(0).get("INTERRUPTS", "0")) <= 1


def test_a_paused_container_is_left_alone(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    demo.worker(1)
    demo.until_event("waiting", 0)
    solver = host_process(demo, 0, "solver")
    for process in (solver, host_process(demo, 0, "wrapper"), conmon_of(solver)):
        os.kill(process.pid, signal.SIGSTOP)
    assert "requeued_orphans=0" in demo.run("recover").stdout
    for process in (conmon_of(solver), host_process(demo, 0, "wrapper"), solver):
        os.kill(process.pid, signal.SIGCONT)
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    assert len(demo.events("start", 0)) == 1


def test_a_disguised_child_in_the_container_ends_before_the_next_solver_starts(demo: Rig) -> None:
    demo.orders(0, wait_at=4, disguised="zeros")
    demo.worker(1)
    demo.until_event("waiting", 0)
    demo.until_event("disguised", 0)
    solver = host_process(demo, 0, "solver")
    session = os.getsid(solver.pid)
    (child,) = (p for p in psutil.process_iter() if os.getsid(p.pid) == session and p != solver)
    demo.orders(0)
    host_process(demo, 0, "wrapper").kill()
    solver.kill()
    demo.until_state(JobState.DONE, *range(4))
    assert not alive(child.pid)


def test_a_process_in_the_container_that_escaped_with_the_lock_is_ended(demo: Rig) -> None:
    demo.orders(0, escaped=["sleep", "1000"])
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(4))
    assert "demo_off0 done" in demo.said(1)
    assert len(demo.events("start", 0)) == 1


def test_a_stopped_client_that_holds_the_lock_is_ended_once_the_result_is_written(
    demo: Rig,
) -> None:
    demo.orders(0, wait_at=4)
    demo.worker(1)
    demo.until_event("waiting", 0)
    conmon_of(host_process(demo, 0, "solver")).suspend()
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    assert len(demo.events("start", 0)) == 1
