"""Why a job is where it is, what happens next and when."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sagequeue
from kinds import Put
from rig import Rig, rig
from sagequeue import cli, execution, keyvalue, recovery, schedule
from sagequeue.config import Config
from sagequeue.explain import explain
from sagequeue.jobs import JobState
from sagequeue.owner import read_owner, try_lock, write_owner
from sagequeue.reasons import SENTENCES, sentence
from sagequeue.spool import Spool
from test_recovery import dead_pid

PENDING, RUNNING, DONE, FAILED = JobState
SOURCES = Path(sagequeue.__file__).parent
Told = Callable[..., str]


@pytest.fixture(autouse=True)
def due(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery comes by in a minute, unless the test asks systemd."""
    if "systemctl" not in request.fixturenames:
        monkeypatch.setattr(schedule, "next_pass", lambda: "in 60 s")


@pytest.fixture
def told(config: Config) -> Told:
    """What it says of a job, in one line as a person reads it."""

    def told(job: object = 0) -> str:
        return " ".join(" ".join(explain(config, str(job))).split())

    return told


@pytest.fixture
def alive(config: Config, spool: Spool) -> Iterator[Callable[..., None]]:
    """Has workers of those numbers hold their locks, as living ones do."""
    with ExitStack() as stack:

        def alive(*numbers: int) -> None:
            for number in numbers:
                lock = try_lock(config.run_dir / f"worker-{number}.lock")
                assert lock is not None
                stack.enter_context(lock)

        yield alive


def owned(spool: Spool, name: str, worker: int = 1, **changes: str) -> None:
    write_owner(spool.owner_file(name), worker)
    keys = read_owner(spool.owner_file(name)) | changes
    spool.owner_file(name).write_text(keyvalue.render(keys))


# Which job


@pytest.mark.parametrize(
    "form",
    [
        "2",
        "demo_off2",
        "demo_off2.env",
        "/any/where/demo_off2.env",
        "run/demo_off2.lock",
        "running/demo_off2.env.owner",
        "log/demo_off2.log",
    ],
)
def test_a_job_goes_by_its_name_its_offset_or_its_files(told: Told, put: Put, form: str) -> None:
    put(DONE, 2)
    assert told(form).startswith("demo_off2 is done")


@pytest.mark.parametrize("word", ["nonsense", "demo_of2", "", "../x", "other_off2", "-1"])
def test_what_is_no_job_is_refused_with_what_is_one(told: Told, word: str) -> None:
    with pytest.raises(sagequeue.exceptions.SagequeueError, match="name one as demo_offK"):
        told(word)


def test_a_job_of_another_jobset_names_the_option(told: Told, config: Config) -> None:
    (config.env_file.parent / "other.env").touch()
    with pytest.raises(
        sagequeue.exceptions.SagequeueError, match="`sagequeue explain other_off2 --jobset other`"
    ):
        told("other_off2")


@pytest.mark.parametrize("offset", ["4", "9" * 300, "demo_offx"])
def test_an_offset_that_there_is_not_is_refused(told: Told, offset: str) -> None:
    with pytest.raises(sagequeue.exceptions.SagequeueError, match=r"are 0 to 3 \(STRIDE - 1\)"):
        told(offset)


def test_a_file_in_the_queue_that_is_no_offset_is_explained_all_the_same(
    told: Told, spool: Spool
) -> None:
    spool.file(FAILED, "demo_off9").write_text("OFFSET=9\n")
    assert "malformed: its OFFSET '9' is not a number from 0 to 3" in told(9)


def test_a_job_that_was_never_enqueued_names_the_command(told: Told) -> None:
    said = told(3)
    assert said.startswith("demo_off3 is in no directory")
    assert "`sagequeue enqueue --offset 3` adds it" in said


# Pending


def test_pending_has_its_place_in_the_order_of_claims(told: Told, put: Put) -> None:
    for offset in (0, 1, 3):
        put(PENDING, offset)
    assert told(3).startswith("demo_off3 is pending, number 3 of 3 to be claimed.")


def test_without_workers_pending_waits_for_their_start(told: Told, put: Put) -> None:
    put(PENDING)
    assert told().endswith("No worker runs. Next: `sagequeue start` starts them.")


def test_a_free_worker_takes_the_first(told: Told, put: Put, alive: Callable[..., None]) -> None:
    put(PENDING)
    alive(1, 2)
    assert told().endswith("Next: at once, worker 1 or 2 is free.")


def test_with_all_workers_at_work_pending_waits_for_one_of_them(
    told: Told, put: Put, spool: Spool, alive: Callable[..., None]
) -> None:
    alive(1, 2)
    for number, offset in ((1, 0), (2, 1)):
        owned(spool, put(RUNNING, offset), number)
    put(PENDING, 2)
    put(PENDING, 3)
    said = told(3)
    assert "claims it, after the 1 lower offset: 1 (at offset 0), 2 (at offset 1)." in said


def test_the_stop_gate_holds_pending(
    told: Told, put: Put, config: Config, alive: Callable[..., None]
) -> None:
    put(PENDING)
    alive(1)
    config.stop_file_host.write_text("a \x1b[31mlook\n")
    said = told()
    assert r"stop gate is there (a \x1b[31mlook)" in said
    assert "`sagequeue clear-stop` takes it away" in said


def test_an_outage_holds_pending(
    told: Told, put: Put, config: Config, alive: Callable[..., None]
) -> None:
    put(PENDING)
    alive(1)
    os.unlink(config.script)
    assert "Nothing can be started: SCRIPT" in told()


def test_what_sent_it_back_is_told(told: Told, put: Put) -> None:
    put(PENDING, 0, LAST_OUTCOME="interrupted", LAST_REASON="no_result", INTERRUPTS=2)
    assert "no result came" in told(0)
    assert "2 of 5 times in a row" in told(0)
    put(PENDING, 1, LAST_OUTCOME="retry", LAST_REASON="rc_7", ATTEMPTS=2)
    assert "after a failure: the workload ended with exit status 7; retried 2 of 3" in told(1)


# Running


def test_running_is_told_with_its_worker_and_lock(told: Told, put: Put, spool: Spool) -> None:
    name = put(RUNNING)
    owned(spool, name, 3)
    lock = spool.lock(name)
    assert lock is not None
    with lock:
        said = told()
    assert f"running: worker 3 (process {os.getpid()}) has it since 20" in said
    assert "Next: its worker settles it when the solver ends." in said


def test_running_behind_the_gate_ends_after_the_case_at_hand(
    told: Told, put: Put, spool: Spool, config: Config
) -> None:
    name = put(RUNNING)
    owned(spool, name)
    config.stop_file_host.touch()
    lock = spool.lock(name)
    assert lock is not None
    with lock:
        assert "The stop gate is there (empty): it ends after the case at hand." in told()


def test_a_solver_without_a_worker_is_left_alone_until_one_takes_it_up(
    told: Told, put: Put, spool: Spool
) -> None:
    name = put(RUNNING)
    owned(spool, name, 2, OWNER_PID=dead_pid())
    lock = spool.lock(name)
    assert lock is not None
    with lock:
        said = told()
    assert "running without a worker: the process in its owner file is dead" in said
    assert "the next worker 2 takes it up (`sagequeue start` starts it)" in said


def test_an_orphan_is_given_back_by_the_next_pass(told: Told, put: Put) -> None:
    put(RUNNING)
    said = told()
    assert "is an orphan: nothing holds its lock, no result came, it has no owner file." in said
    assert "gives it back to pending with its next pass, in 60 s" in said


def test_a_result_without_a_worker_is_settled_by_the_next_pass(
    told: Told, put: Put, spool: Spool
) -> None:
    name = put(RUNNING)
    execution.begin(spool.result_file(name), 1, 0, "-1")
    with open(spool.result_file(name), "a") as record:
        record.write("PID=4\nRC=7\n")
    said = told()
    assert "its solver ended with exit status 7" in said
    assert "Next: recovery settles it with its next pass, in 60 s" in said


def test_a_solver_that_just_ended_is_its_workers(told: Told, put: Put, spool: Spool) -> None:
    owned(spool, put(RUNNING), 4)
    assert "its solver has ended; worker 4 settles it at once" in told()


def test_the_shell_projects_job_is_left_to_it(
    told: Told, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(RUNNING)
    monkeypatch.setattr("sagequeue.predecessor.commands", lambda _: ["kill 1"])
    assert "the shell project" in told()


def test_where_nothing_repeats_recovery_the_command_is_named(
    told: Told, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "next_pass", lambda: None)
    put(RUNNING)
    assert "nothing repeats it here: `sagequeue start`" in told()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig", SLEEP_EMPTY=1) as made:
        made.run("enqueue")
        yield made


def test_a_solver_that_was_adopted_is_told_from_one_that_was_begun(real: Rig) -> None:
    real.orders(0, wait_at=4)
    worker = real.worker(1)
    solver = real.until_event("waiting", 0).pid
    said = real.run("explain", "0").stdout
    assert f"worker 1 (process {worker.pid}) has it since" in said
    assert f"Its solver is process {solver}" in said
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    said = real.run("explain", "0").stdout
    assert "running without a worker" in said
    assert f"Its solver is process {solver}" in said
    heir = real.worker(1)
    real.until(lambda: "action=adopt" in real.said(1), "adoption")
    said = real.run("explain", "0").stdout
    assert f"worker 1 (process {heir.pid}) took it up" in said
    real.go(0)
    real.until_state(DONE, *range(4))


# Done and failed


def test_done_says_how_it_is_done_again(told: Told, put: Put, config: Config) -> None:
    put(DONE, 0, FINISHED_AT="2024-05-01T10:00:00+02:00", LAST_OUTCOME="found")
    state = config.state_file(0)
    assert state is not None
    state.write_text("8\n")
    said = told()
    assert said.startswith("demo_off0 is done, since 2024-05-01T10:00:00+02:00.")
    assert "`sagequeue found`" in said
    assert f"move {state} away, then `sagequeue enqueue --force --offset 0`" in said


def test_failed_is_retried_by_the_next_pass(told: Told, put: Put) -> None:
    put(FAILED, 0, LAST_OUTCOME="failed", LAST_REASON="rc_1", ATTEMPTS=1)
    said = told()
    assert "is failed: the workload ended with exit status 1; retried 1 of 3 times." in said
    assert "Next: recovery gives it back to pending with its next pass, in 60 s." in said


@pytest.mark.parametrize(
    ("more", "why", "command"),
    [
        (
            {"LAST_OUTCOME": "failed", "LAST_REASON": "signal_9", "ATTEMPTS": 3},
            "held: it failed as often as MAX_FAILED_RETRIES allows",
            "`sagequeue retry-failed --reset-attempts`",
        ),
        (
            {"LAST_OUTCOME": "interrupted", "LAST_REASON": "no_progress"},
            "5 times in a row no result came",
            "`sagequeue retry-failed`",
        ),
        (
            {"LAST_OUTCOME": "found", "LAST_REASON": "rc_1"},
            "held: it printed a solution and then failed",
            "`sagequeue found`",
        ),
    ],
)
def test_held_says_why_and_what_gives_it_back(
    told: Told, put: Put, more: dict[str, object], why: str, command: str
) -> None:
    put(FAILED, 0, **more)
    said = told()
    assert why in said
    assert command in said
    assert "Next: nothing, until" in said


def test_a_log_is_named_where_there_is_one(told: Told, put: Put, config: Config) -> None:
    put(FAILED, 0, LAST_OUTCOME="failed", LAST_REASON="rc_1")
    assert "Its log" not in told()
    config.log_file(0).touch()
    assert f"Its log is {config.log_file(0)}; `sagequeue logs --offset 0`" in told()


def test_a_corrupt_state_file_is_told_with_its_remedy(told: Told, put: Put, config: Config) -> None:
    put(FAILED, 0, LAST_OUTCOME="failed", LAST_REASON="state_corrupt")
    state = config.state_file(0)
    assert state is not None
    state.write_text("5")
    assert "correct it or move it away" in told()


# What cannot be


@pytest.mark.parametrize("state", JobState)
def test_a_malformed_file_is_told_with_what_is_wrong_with_it(
    told: Told, put: Put, spool: Spool, state: JobState
) -> None:
    put(state, 0, b"\xff")
    said = told()
    assert f"is {state}, and its file is malformed: it is not KEY=value text" in said
    where = state if state is DONE else FAILED
    assert str(spool.file(where, "demo_off0")) in said


def test_a_job_in_two_directories_names_both_remedies(told: Told, put: Put, spool: Spool) -> None:
    put(PENDING)
    put(DONE)
    said = told()
    assert "is pending and done at once" in said
    for state in (PENDING, DONE):
        assert f"rm {spool.file(state, 'demo_off0')}" in said


def test_a_jobset_that_is_not_active_is_named_in_every_command(
    config: Config, put: Put, env_file: Path
) -> None:
    (env_file.parent / "sagequeue.env").unlink()
    put(PENDING)
    assert "`sagequeue start --jobset demo`" in " ".join(explain(config, "0"))


# When


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has a program of that name answer so."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def systemctl(answer: str) -> None:
        (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tmp_path / "systemctl").chmod(0o755)

    return systemctl


def test_the_next_pass_is_the_timers(systemctl: Callable[[str], None]) -> None:
    systemctl(json.dumps([{"next": int((time.time() + 90) * 1e6)}]))
    due = schedule.next_pass()
    assert due is not None
    assert re.fullmatch(r"at \d\d:\d\d:\d\d, in (8\d|90) s", due)


def test_a_pass_that_is_going_on_is_now(systemctl: Callable[[str], None]) -> None:
    systemctl('[{"next": null}]')
    assert schedule.next_pass() == "now"


@pytest.mark.parametrize("answer", ["[]", "Failed to connect to bus"])
def test_without_a_timer_it_is_the_process_that_repeats_it(
    systemctl: Callable[[str], None], config: Config, answer: str
) -> None:
    systemctl(answer)
    command = [sys.executable, "-m", "sagequeue", "recover", "--every", "1234"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        due = schedule.next_pass()
        process.terminate()
    assert due == "within 1234 s"


# Reasons


def words_of(module: str) -> set[str]:
    """The words with an underscore in a module's code: reasons, and little else."""
    tree = ast.parse((SOURCES / f"{module}.py").read_text())
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {t for t in texts if isinstance(t, str) and re.fullmatch(r"[a-z]+(_[a-z]+)+", t)}


def test_every_reason_that_the_code_gives_has_a_sentence() -> None:
    modules = ("settlement", "retry", "execution", "owner", "spool", "jobs", "worker", "recovery")
    given = set().union(*(words_of(module) for module in modules))
    # Recovery's other words are counts and actions.
    docs = (SOURCES.parents[2] / "docs" / "queue.md").read_text()
    actions = set(re.findall(r"action=(\w+)", docs))
    assert given - set(recovery.COUNTS) - actions <= SENTENCES.keys()


def test_every_sentence_has_a_reason_that_the_code_gives() -> None:
    code = "".join(p.read_text() for p in SOURCES.rglob("*.py") if p.name != "reasons.py")
    assert [word for word in SENTENCES if f'"{word}"' not in code] == []


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("rc_1", "the workload ended with exit status 1"),
        (
            "rc_127",
            "the workload ended with exit status 127: a program that it calls was not found",
        ),
        ("rc_0", "the workload ended with exit status 0"),
        ("rc_255", "the workload ended with exit status 255"),
        ("signal_127", "the workload ended with exit status 255"),
        ("signal_64", "the workload was ended by SIGRTMAX, which nobody here sent"),
        ("signal_11", "the workload was ended by SIGSEGV, which nobody here sent"),
        ("signal_32", "the workload was ended by signal 32, which nobody here sent"),
        ("a_word_of_the_shell_project", "a_word_of_the_shell_project"),
    ],
)
def test_a_reason_as_a_sentence(word: str, text: str) -> None:
    assert sentence(word) == text


def test_a_solver_killed_for_memory_is_told_so() -> None:
    assert "SIGKILL, most likely for want of memory" in sentence("signal_9")


def test_explaining_changes_nothing(
    config: Config, spool: Spool, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    put(RUNNING)
    put(FAILED, 1, b"\xff")
    before = sorted(config.state_dir.rglob("*"))
    for job in ("0", "1", "2"):
        assert cli.main(["explain", job]) == 0
    assert sorted(config.state_dir.rglob("*")) == before
