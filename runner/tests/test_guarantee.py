"""One solver for one partition, and it is never disturbed: real processes, really killed.

Every test ends with `Rig.check`: no two solvers for an offset at any time, every job in exactly
one directory, no case solved twice, nothing done that is not complete.
"""

import os
import signal
from pathlib import Path

import psutil
import pytest
from rig import Rig, alive, wrapper_of
from sagequeue.jobs import JobState

pytestmark = pytest.mark.slow


def test_eight_workers_that_start_at_once_solve_every_case_once(demo: Rig) -> None:
    demo.grow(16, 64)
    demo.run("enqueue")
    for number in range(1, 9):
        demo.worker(number)
    demo.until_state(JobState.DONE, *range(16))
    assert len(demo.events("case")) == 64
    assert len(demo.events("start")) == 16


def test_a_killed_workers_solver_works_on_and_is_adopted(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.worker(1)
    demo.until(lambda: "action=adopt job=demo_off0" in demo.said(1), "adoption")
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    assert {e.pid for e in demo.events("case", 0)} == {solver.pid}, "the same process did it all"
    assert len(demo.events("start", 0)) == 1
    assert demo.log(0).count("DONE  gidx=") == 3, "its whole output is in the log"
    assert "ATTEMPTS" not in demo.job(0)
    assert "INTERRUPTS" not in demo.job(0)


def test_an_adopted_solvers_result_is_honoured(demo: Rig) -> None:
    demo.configure(MAX_FAILED_RETRIES=0)
    demo.orders(0, wait_at=0, exit=[4, 7])
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.worker(1)
    demo.until(lambda: "action=adopt" in demo.said(1), "adoption")
    demo.go(0)
    demo.until_state(JobState.FAILED, 0)
    assert demo.job(0)["LAST_REASON"] == "rc_7"


def test_a_restarted_worker_claims_nothing_before_what_it_left_has_ended(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.worker(1)
    demo.until(lambda: "action=adopt" in demo.said(1), "adoption")
    demo.worker(2)  # solves all the others meanwhile
    demo.until_state(JobState.DONE, 1, 2, 3)
    assert demo.where(0) == [JobState.RUNNING]
    assert "[worker 1]" not in demo.log(1) + demo.log(2) + demo.log(3)
    demo.go(0)
    demo.until_state(JobState.DONE, 0)


def test_a_result_without_a_worker_is_finished_by_recovery(demo: Rig) -> None:
    demo.orders(0, wait_at=8)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.go(0)
    demo.until_gone(solver.pid)
    demo.until_free(0)
    assert "action=finish job=demo_off0 outcome=done" in demo.run("recover").stdout
    assert demo.where(0) == [JobState.DONE]


def test_a_gate_that_came_and_went_without_a_worker_costs_no_attempt(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.config.stop_file_host.touch()
    demo.go(0)
    demo.until_gone(solver.pid)
    demo.until_free(0)
    demo.config.stop_file_host.unlink()
    assert "action=finish job=demo_off0 outcome=paused" in demo.run("recover").stdout
    assert demo.where(0) == [JobState.PENDING]
    assert "ATTEMPTS" not in demo.job(0)


def test_recovery_leaves_a_solver_without_a_worker_alone(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    for _ in range(5):
        assert "requeued_orphans=0" in demo.run("recover").stdout
    assert demo.where(0) == [JobState.RUNNING]
    assert alive(solver.pid)


@pytest.mark.parametrize("owner", ["kept", "removed", "garbage", "of_another_process"])
def test_no_owner_file_takes_a_job_from_a_living_solver(demo: Rig, owner: str) -> None:
    demo.orders(0, wait_at=0)
    demo.worker(1)
    demo.until_event("waiting", 0)
    path = demo.spool.owner_file("demo_off0")
    if owner == "removed":
        path.unlink()
    elif owner == "garbage":
        path.write_bytes(b"\x00\xff$(touch /tmp/no)\n")
    elif owner == "of_another_process":
        path.write_text(f"OWNER_PID={os.getpid()}\nOWNER_WORKER_ID=1\nOWNER_START=1\n")
    assert "requeued_orphans=0" in demo.run("recover").stdout
    demo.go(0)
    demo.until_state(JobState.DONE, 0)
    assert len(demo.events("start", 0)) == 1


def test_recovery_in_a_tight_loop_beside_claims_takes_nothing(demo: Rig) -> None:
    demo.configure(SLEEP_EMPTY="0.2")
    demo.grow(40, 40)
    demo.run("enqueue")
    workers = [demo.worker(number) for number in range(1, 5)]
    said = ""
    while len(demo.spool.names(JobState.DONE)) < 40:
        said += demo.run("recover").stdout
        assert all(worker.poll() is None for worker in workers), demo.report()
    assert "requeue_orphan" not in said
    assert len(demo.events("start")) == 40


def test_a_killed_solver_has_failed_and_is_retried_at_once(demo: Rig) -> None:
    demo.orders(1, wait_at=1)
    demo.worker(1)
    solver = demo.until_event("waiting", 1)
    demo.orders(1)
    os.kill(solver.pid, signal.SIGKILL)
    demo.until_state(JobState.DONE, *range(4))
    assert "rc=137 reason=signal_9" in demo.log(1)
    assert "action=retry_failed job=demo_off1 attempts=1 reason=signal_9" in demo.said(1)
    assert demo.job(1)["ATTEMPTS"] == "1"


def test_a_solver_killed_again_and_again_is_held(demo: Rig) -> None:
    demo.orders(1, wait_at=1)
    demo.worker(1)
    for count in range(1, 5):
        os.kill(demo.until_event("waiting", 1, count).pid, signal.SIGKILL)
    demo.until_state(JobState.FAILED, 1)
    demo.until_state(JobState.DONE, 0, 2, 3)
    assert "action=hold_failed job=demo_off1 attempts=3" in demo.said(1)


def test_what_failed_by_itself_waits_for_recovery(demo: Rig) -> None:
    demo.orders(1, exit=[1, 3])
    demo.worker(1)
    demo.until_state(JobState.DONE, 0, 2, 3)
    assert demo.where(1) == [JobState.FAILED]
    assert "ATTEMPTS" not in demo.job(1)
    demo.orders(1)
    assert "action=retry_failed job=demo_off1 attempts=1" in demo.run("recover").stdout
    demo.until_state(JobState.DONE, 1)


def test_after_a_killed_wrapper_the_solver_works_on_alone(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    demo.worker(1)
    solver = demo.until_event("waiting", 0)
    wrapper_of(solver.pid).kill()
    assert "requeued_orphans=0" in demo.run("recover").stdout
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    # Nobody could tell how it ended, so it was asked again, and had nothing left to do.
    assert {e.pid for e in demo.events("case", 0)} == {solver.pid}


def test_a_killed_wrapper_and_solver_are_an_interruption_that_costs_no_attempt(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    demo.worker(1)
    solver = demo.until_event("waiting", 0)
    demo.orders(0)
    wrapper_of(solver.pid).kill()
    os.kill(solver.pid, signal.SIGKILL)
    demo.until_state(JobState.DONE, *range(4))
    assert "ATTEMPTS" not in demo.job(0)
    assert "[worker 1] interrupted offset=0 job=demo_off0 reason=no_result" in demo.log(0)


def test_sigterm_to_a_worker_ends_its_solver_and_gives_the_job_back(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]
    assert "ATTEMPTS" not in demo.job(0)
    assert "interrupted offset=0 job=demo_off0 rc=143 reason=stopped" in demo.log(0)


@pytest.mark.parametrize("trouble", ["deaf", "stopped", "wrapper_stopped"])
def test_a_solver_that_does_not_end_at_sigterm_is_killed_after_the_grace(
    demo: Rig, trouble: str
) -> None:
    demo.configure(STOP_GRACE=1)
    demo.orders(0, wait_at=4, deaf=trouble == "deaf")
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    if trouble == "stopped":
        os.kill(solver.pid, signal.SIGSTOP)
    elif trouble == "wrapper_stopped":
        wrapper_of(solver.pid).suspend()
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]


def test_a_drained_worker_sees_its_job_through_and_claims_no_more(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.send_signal(signal.SIGUSR1)
    demo.go(0)
    assert demo.until_ended(worker) == 0
    assert demo.where(0) == [JobState.DONE]
    assert {e.pid for e in demo.events("case")} == {solver.pid}
    assert len(demo.spool.names(JobState.PENDING)) == 3


def test_a_drained_worker_sees_what_it_adopted_through(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    worker = demo.worker(1)
    demo.until(lambda: "action=adopt" in demo.said(1), "adoption")
    worker.send_signal(signal.SIGUSR1)
    demo.go(0)
    assert demo.until_ended(worker) == 0
    assert demo.where(0) == [JobState.DONE]
    assert {e.pid for e in demo.events("case")} == {solver.pid}


def test_sigterm_after_a_drain_ends_the_solver_at_once(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.send_signal(signal.SIGUSR1)
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]


def test_a_solver_that_ends_itself_politely_when_stopped_is_not_done(demo: Rig) -> None:
    demo.orders(0, wait_at=4, polite=0)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert demo.where(0) == [JobState.PENDING]
    assert demo.job(0)["LAST_OUTCOME"] == "interrupted"


def test_sigterm_to_a_worker_that_adopted_ends_the_solver(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    worker = demo.worker(1)
    demo.until(lambda: "action=adopt" in demo.said(1), "adoption")
    worker.terminate()
    assert demo.until_ended(worker) == 0
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_that_is_stopped_or_drained_at_any_moment_of_its_start_leaves_a_whole_queue(
    demo: Rig, told: signal.Signals
) -> None:
    for turn in range(12):
        worker = demo.worker(1)
        if turn:
            demo.until(lambda: demo.spool.owners() or demo.events("complete"), "a claim")
        worker.send_signal(told)
        assert demo.until_ended(worker) in (0, -told)
        assert not demo.spool.names(JobState.RUNNING), demo.report()
        assert " failed offset=" not in "".join(demo.log(k) for k in range(4)), demo.report()
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(4))


@pytest.mark.parametrize("kind", ["child", "stray"])
def test_what_a_solver_leaves_behind_is_gone_before_the_next_one_starts(
    demo: Rig, kind: str
) -> None:
    demo.configure(MAX_FAILED_RETRIES=1)
    demo.orders(0, exit=[0, 1], **{kind: True})
    demo.worker(1)
    left = demo.until_event(kind, 0).value
    demo.until_state(JobState.FAILED, 0)
    if kind == "child":  # the group ends with its leader
        assert not alive(left)
    demo.orders(0)
    demo.run("recover")
    demo.until_state(JobState.DONE, 0)
    assert not alive(left)


def test_a_killed_worker_and_solver_leave_an_orphan_that_is_requeued(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.orders(0)
    wrapper_of(solver.pid).kill()
    os.kill(solver.pid, signal.SIGKILL)
    demo.until_free(0)
    line = f"action=requeue_orphan job=demo_off0 reason=owner_pid_dead owner_pid={worker.pid}"
    assert line in demo.run("recover").stdout
    assert demo.where(0) == [JobState.PENDING]
    assert "ATTEMPTS" not in demo.job(0)


def test_pid_reuse_does_not_pass_for_the_worker(demo: Rig) -> None:
    lock = demo.spool.lock("demo_off0")
    assert lock is not None
    with lock:
        demo.spool.claim(lock)
    demo.spool.owner_file("demo_off0").write_text(
        f"OWNER_PID={os.getpid()}\nOWNER_WORKER_ID=1\nOWNER_START=1\nOWNER_BOOT=x\n"
    )
    assert "reason=owner_pid_not_that_worker" in demo.run("recover").stdout
    assert demo.where(0) == [JobState.PENDING]


def test_a_worker_number_is_taken_once(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.worker(1)
    demo.until_event("waiting", 0)
    second = demo.worker(1)
    assert demo.until_ended(second) == 75
    assert "worker 1 of demo is running already" in demo.said(1)


def test_interrupted_again_and_again_without_a_case_done_it_is_held(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.worker(1)
    for count in range(1, 6):
        solver = demo.until_event("waiting", 0, count)
        wrapper_of(solver.pid).kill()
        os.kill(solver.pid, signal.SIGKILL)
    demo.until_state(JobState.FAILED, 0)
    assert demo.job(0)["LAST_REASON"] == "no_progress"
    assert "action=hold_failed job=demo_off0 attempts=0 reason=no_progress" in (
        demo.run("recover").stdout
    )
    assert "ATTEMPTS" not in demo.job(0)


def test_requeue_running_ends_the_solver_first(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    solver = demo.until_event("waiting", 0)
    worker.kill()
    demo.run("request-stop")
    demo.run("requeue-running")
    assert not alive(solver.pid)
    assert demo.where(0) == [JobState.PENDING]


# What systemd 252 to 257 set for a service, and supervisor for its programs.
OF_THE_SERVICE = [
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "FDSTORE"),
    *("LISTEN_FDNAMES", "MANAGERPID", "MANAGERPIDFDID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM"),
    *("MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "CREDENTIALS_DIRECTORY"),
    *("SUPERVISOR_ENABLED", "SUPERVISOR_PROCESS_NAME", "SAGEQUEUE_SETTINGS"),
]


def test_solvers_get_nothing_of_the_service_managers_and_their_share_of_threads(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    unit = {"INVOCATION_ID": "0" * 32}
    demo.worker(1, env={**os.environ, **dict.fromkeys(OF_THE_SERVICE, "1"), **unit})
    solver = psutil.Process(demo.until_event("waiting", 0).pid)
    environ = solver.environ()
    assert not set(OF_THE_SERVICE) & environ.keys()
    assert unit.items() <= environ.items(), "podman puts conmon elsewhere without it"
    assert environ["SAGE_NUM_THREADS"] == environ["OMP_NUM_THREADS"] == str(demo.config.threads)
    assert os.getpgid(solver.pid) == solver.pid


def waiting_wrapper(demo: Rig) -> Path:
    """Start worker 1, whose first wrapper does nothing before somebody writes to that FIFO."""
    shell = demo.root / "bin" / "sh"
    shell.parent.mkdir()
    gate = demo.root / "open"
    os.mkfifo(gate)
    shell.write_text(
        f"""#!/bin/sh
case "$3" in
sagequeue-wrapper) [ -e {demo.root}/once ] || {{ touch {demo.root}/once; read -r x <{gate}; }} ;;
esac
exec /bin/sh "$@"
"""
    )
    shell.chmod(0o755)
    demo.worker(1, env={**os.environ, "PATH": f"{shell.parent}:{os.environ['PATH']}"})
    demo.until(lambda: (demo.root / "once").exists(), "the wrapper's shell")
    return gate


@pytest.mark.parametrize("moment", ["claimed", "started"])
def test_a_stop_before_the_wrapper_has_told_its_number_is_no_failure(
    demo: Rig, moment: str
) -> None:
    demo.orders(0, wait_at=4)
    gate = waiting_wrapper(demo)
    (worker,) = demo.workers
    if moment == "claimed":
        worker.terminate()
    with open(gate, "w") as fifo:
        fifo.write("go\n")
    if moment == "started":
        demo.until_event("start", 0)
        worker.terminate()
    assert demo.until_ended(worker) == 0
    assert demo.where(0) == [JobState.PENDING]
    assert "failed" not in demo.log(0)
    assert "ATTEMPTS" not in demo.job(0)


def test_stopping_a_worker_leaves_a_later_execution_of_its_job_alone(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    first = demo.worker(1)
    demo.until_event("waiting", 0)
    demo.freeze(first)
    demo.run("request-stop")
    demo.run("requeue-running")
    demo.run("clear-stop")
    demo.worker(2)
    second = demo.until_event("waiting", 0, 2)
    first.send_signal(signal.SIGCONT)
    first.terminate()
    assert demo.until_ended(first) == 0
    assert alive(second.pid)
    demo.go(0)
    demo.until_state(JobState.DONE, *range(4))
    assert len(demo.events("start", 0)) == 2


def test_what_left_the_group_with_the_lock_in_its_hand_ends_with_the_workload(demo: Rig) -> None:
    demo.orders(0, keeper=True)
    demo.worker(1)
    keeper = demo.until_event("keeper", 0).value
    demo.until_state(JobState.DONE, 0)
    assert not alive(keeper)


def test_a_solution_that_a_filter_of_the_output_has_yet_to_write_is_recorded(demo: Rig) -> None:
    script = demo.root / "workload"
    script.write_text(
        "exec > >(while kill -0 $$ 2>/dev/null; do sleep 0.01; done; sleep 0.3\n"
        "exec tee -a second.log) 2>&1\n"
        'echo "SAT found for J: [1,2,3]"; exit 0\n'
    )
    demo.configure(SAGE_BIN="/bin/bash", SCRIPT=script)
    for offset in range(4):
        state = demo.config.state_file(offset)
        assert state is not None
        state.write_text(f"{8 + offset}\n")
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(4))
    assert len(list(demo.config.results_dir.glob("*.json"))) == 4


def test_what_a_solver_without_a_worker_printed_is_recorded_while_it_works_on(demo: Rig) -> None:
    demo.orders(0, print=[0, "FOUND perfect number: 6"], wait_at=4)
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    worker.kill()
    worker.wait()
    demo.run("recover")
    assert "FOUND perfect number: 6" in demo.run("found").stdout
    assert demo.where(0) == [JobState.RUNNING]
    demo.run("recover")
    demo.go(0)
    demo.until_free(0)
    demo.run("recover")
    assert len(list(demo.config.results_dir.glob("*.json"))) == 1
    assert demo.log(0).count("] found offset=0") == 1


def test_requeue_running_beside_living_workers_costs_nothing(demo: Rig) -> None:
    for offset in range(4):
        demo.orders(offset, wait_at=offset + 4)
    workers = [demo.worker(number) for number in (1, 2, 3)]
    for offset in range(3):
        demo.until_event("waiting", offset)
    for count in (2, 3):
        demo.run("requeue-running")
        demo.until(lambda count=count: len(demo.events("waiting")) >= 3 * count, "another round")
    assert not demo.spool.names(JobState.FAILED), demo.report()
    for worker in workers:
        worker.terminate()
    assert {demo.until_ended(worker) for worker in workers} == {0}
    assert all("ATTEMPTS" not in demo.job(k) for k in range(4))
    assert sorted(demo.spool.names(JobState.PENDING)) == sorted(demo.enqueued)


def test_the_kernel_prefers_a_solver_when_memory_runs_out(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    worker = demo.worker(1)
    solver = psutil.Process(demo.until_event("waiting", 0).pid)
    wrapper = solver.parent()
    assert wrapper is not None
    adjustments = [
        int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        for pid in (worker.pid, wrapper.pid, solver.pid)
    ]
    assert adjustments[0] == adjustments[1] < adjustments[2]
