"""What a killed execution leaves without its lock and its mark ends before the next one starts."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from kit import waiting
from rig import Rig, alive, wrapper_of
from sagequeue import execution
from sagequeue.jobs import JobState
from sagequeue.owner import boot_id, process
from sagequeue.runtime import ENDER
from wrapped import Wrapped, open_to_all

pytestmark = pytest.mark.slow

PENDING, RUNNING, DONE, FAILED = JobState
DISGUISES = ["zeros", "title", "apart"]


def start_disguised(demo: Rig, how: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start worker 1, whose solver waits and has a disguised child; the worker, both processes."""
    demo.orders(0, wait_at=4, disguised=how)
    worker = demo.worker(1)
    child = demo.until_event("disguised", 0).value
    solver = demo.until_event("waiting", 0).pid
    assert b"SAGEQUEUE_JOB" not in Path(f"/proc/{child}/environ").read_bytes()
    demo.orders(0)
    return worker, solver, child


def kill_wrapper_and(demo: Rig, solver: int) -> None:
    wrapper_of(solver).kill()
    os.kill(solver, signal.SIGKILL)


@pytest.mark.parametrize("how", DISGUISES)
def test_a_disguised_child_of_a_killed_solver_ends_before_the_next_one_starts(
    demo: Rig, how: str
) -> None:
    _, solver, child = start_disguised(demo, how)
    kill_wrapper_and(demo, solver)
    demo.until_state(DONE, *range(4))
    # The next solver noted an `overlap` if the child still had the tests' own lock.
    assert not alive(child)


def test_it_ends_too_if_recovery_gave_the_job_back(demo: Rig) -> None:
    worker, solver, child = start_disguised(demo, "zeros")
    worker.kill()
    worker.wait()
    kill_wrapper_and(demo, solver)
    demo.until_free(0)
    assert "action=requeue_orphan job=demo_off0" in demo.run("recover").stdout
    demo.worker(1)
    demo.until_state(DONE, *range(4))
    assert not alive(child)


def test_it_ends_too_if_the_queue_was_purged_and_filled_anew(demo: Rig) -> None:
    worker, solver, child = start_disguised(demo, "zeros")
    worker.kill()
    worker.wait()
    kill_wrapper_and(demo, solver)
    demo.until_free(0)
    demo.run("purge", "--yes")
    demo.run("enqueue")
    demo.worker(1)
    demo.until_state(DONE, *range(4))
    assert not alive(child)


def test_it_ends_too_if_somebody_moved_the_job_by_hand(demo: Rig) -> None:
    worker, solver, child = start_disguised(demo, "zeros")
    worker.kill()
    worker.wait()
    kill_wrapper_and(demo, solver)
    demo.until_free(0)
    demo.spool.file(RUNNING, "demo_off0").rename(demo.spool.file(PENDING, "demo_off0"))
    demo.worker(1)
    demo.until_state(DONE, *range(4))
    assert not alive(child)


def test_it_ends_with_a_later_start_if_the_next_one_starts_nothing(demo: Rig) -> None:
    worker, solver, child = start_disguised(demo, "zeros")
    worker.kill()
    worker.wait()
    kill_wrapper_and(demo, solver)
    demo.until_free(0)
    demo.run("recover")
    group = execution.kept_group(demo.spool.group_file("demo_off0"))
    lock = demo.spool.lock("demo_off0")
    assert lock is not None
    with lock:  # a claim that ends before its wrapper has begun
        execution.begin(demo.spool.result_file("demo_off0"), 1, 0, "-1")
        demo.spool.claim(lock)
        demo.spool.release(lock)
    assert group
    assert execution.kept_group(demo.spool.group_file("demo_off0")) == group
    demo.worker(1)
    demo.until_state(DONE, *range(4))
    assert not alive(child)


@pytest.mark.parametrize("how", DISGUISES)
def test_a_stop_ends_it_when_the_wrapper_is_dead(demo: Rig, how: str) -> None:
    worker, solver, child = start_disguised(demo, how)
    wrapper_of(solver).kill()
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert not alive(solver)
    assert not alive(child)


def test_a_job_that_is_done_keeps_no_session(demo: Rig) -> None:
    _, solver, _ = start_disguised(demo, "zeros")
    kill_wrapper_and(demo, solver)
    demo.until_state(DONE, *range(4))
    assert not demo.spool.group_file("demo_off0").exists()


class Session:
    """A session whose leader has ended unless it `stays`, and one process in it."""

    def __init__(self, score: int, stays: bool = False, **marks: str) -> None:
        text = f"echo {score} >/proc/self/oom_score_adj; sleep 1000 >&- & echo $!"
        self.leader = subprocess.Popen(
            ["sh", "-c", f"{text}; {'exec sleep 1000' if stays else ''}"],
            env={"PATH": os.environ["PATH"], **marks}, start_new_session=True,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.leader.stdout is not None
        self.pid = int(self.leader.stdout.readline())
        if not stays:
            self.leader.wait(waiting.PATIENCE)

    def close(self) -> None:
        for pid in (self.pid, self.leader.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.leader.wait()


def group(session: Session, *, later: int = 0, boot: str = "", first: str = "") -> str:
    """What a record says of the session if its leader started as late as the process in it."""
    member, init = process(session.pid), process(1)
    assert member is not None
    assert init is not None
    start = int(member.start) + later
    return f"{session.leader.pid}:{start}:{first or init.start}:{boot or boot_id()}"


OTHERS = {"SAGEQUEUE_JOB": "/another/queue/run/demo_off0.lock"}
OF_ANOTHER = ["job", "boot", "namespace", "program", "leader", "age"]


@pytest.mark.parametrize("other", OF_ANOTHER)
def test_a_session_that_has_its_number_by_now_is_left_alone(wrapped: Wrapped, other: str) -> None:
    marks = OTHERS if other == "job" else {}
    session = Session(0 if other == "program" else 800, stays=other == "leader", **marks)
    try:
        wrapped.left = group(
            session,
            # A leader has one start, and all that it started is younger.
            later={"leader": -1000, "age": 1}.get(other, 0),
            first="1" if other == "namespace" else "",
            boot="0" * 36 if other == "boot" else "",
        )
        assert wrapped.run("exit 3").rc == 3
        assert alive(session.pid)
    finally:
        session.close()


@pytest.mark.parametrize("marked", [True, False])
def test_a_session_whose_leader_has_ended_is_known_by_what_its_processes_inherited(
    wrapped: Wrapped, marked: bool
) -> None:
    marks = {"SAGEQUEUE_JOB": str(wrapped.lock)} if marked else {}
    session = Session(0 if marked else 800, **marks)
    try:
        wrapped.left = group(session)
        assert wrapped.run("exit 3").rc == 3
        assert not alive(session.pid)
    finally:
        session.close()


def test_of_its_own_session_too_nothing_with_the_mark_of_another_job_is_ended(
    wrapped: Wrapped,
) -> None:
    session = Session(800, stays=True, **OTHERS)
    leader = process(session.leader.pid)
    assert leader is not None
    try:
        wrapped.left = group(session).replace(group(session).split(":")[1], leader.start, 1)
        assert wrapped.run("exit 3").rc == 3
        assert alive(session.pid)
    finally:
        session.close()


def test_the_record_names_the_session_before_the_workload_begins(wrapped: Wrapped) -> None:
    wrapped.start("cp record seen; exec sleep 1000")
    seen = wrapped.file("seen")
    assert "\nGROUP=" in seen
    pid, start = wrapped.read().group.split(":")[:2]
    leader = process(int(pid))
    assert leader is not None
    assert (leader.start, os.getsid(int(pid))) == (start, int(pid))


def test_a_session_that_cannot_be_searched_for_forbids_the_start(wrapped: Wrapped) -> None:
    # `grep` finds the processes by the mark, and nothing when it is asked for other jobs' marks.
    programs = wrapped.root / "programs"
    programs.mkdir()
    grep = programs / "grep"
    grep.write_text('#!/bin/sh\ncase "$*" in *^SAGE*) exit 2 ;; esac\nexec /usr/bin/grep "$@"\n')
    grep.chmod(0o755)
    session = Session(800)
    try:
        wrapped.left = group(session)
        wrapped.start("touch begun", path=f"{programs}:{os.environ['PATH']}")
        assert wrapped.ended().lacks == "no_search"
        assert not (wrapped.root / "begun").exists()
    finally:
        session.close()


ANOTHER_USER = ["setpriv", "--reuid=54399", "--clear-groups", "--inh-caps=-all"]


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user's identity")
def test_what_cannot_be_ended_forbids_the_start(wrapped: Wrapped) -> None:
    """A process that waits for a dead disk does not end; neither does one of another user."""
    open_to_all(wrapped.root)
    session = Session(800)
    try:
        wrapped.left, wrapped.patience = group(session), 1
        wrapped.start("touch begun", before=ANOTHER_USER)
        run = wrapped.ended()
        assert (run.lacks, run.started) == ("no_search", False)
        assert f"cannot end what is left of an earlier execution: process {session.pid}" in (
            wrapped.log.read_text()
        )
        assert alive(session.pid)
    finally:
        session.close()


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user's identity")
def test_the_ender_gives_up_what_cannot_be_ended(wrapped: Wrapped) -> None:
    session = Session(800)
    try:
        wrapped.patience = 0
        words = ["SAGEQUEUE_EXECUTION=0", "0", "0", group(session)]
        script = [*wrapped.shell, "-c", wrapped.patient(ENDER), "sagequeue-ender", *words]
        assert subprocess.run([*ANOTHER_USER, *script]).returncode == 1
        assert alive(session.pid)
    finally:
        session.close()
