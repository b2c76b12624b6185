"""How long a job waits before it is claimed again, and by which clock."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kinds import Put
from programs import without_inotify
from rig import Rig, wrapper_of
from sagequeue import backoff
from sagequeue.candidates import Candidates
from sagequeue.config import Config
from sagequeue.explain import explain
from sagequeue.jobs import Job, JobState
from sagequeue.later import Later
from sagequeue.owner import boot_id
from sagequeue.progress import as_json, survey
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState


@pytest.mark.parametrize(
    ("times", "seconds"),
    [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (10, 256), (11, 300), (10**9, 300)],
)
def test_the_first_time_it_goes_at_once_then_after_twice_as_long_each_time(
    times: int, seconds: float
) -> None:
    assert backoff.seconds(times) == seconds


def test_a_wait_is_over_when_its_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5000.0]
    monkeypatch.setattr(backoff, "_now", lambda: now[0])
    job = backoff.wait(Job("demo", 0), 64)
    assert backoff.left(job) == 64
    now[0] += 63.5
    assert backoff.left(job) == 0.5
    assert "waits 1 s more" in backoff.note(job)
    now[0] += 0.5
    assert (backoff.left(job), backoff.note(job)) == (0, "")
    assert backoff.wait(job, 0).extra == {}


@pytest.mark.parametrize(
    ("moment", "boot"),
    [
        ("9000000.000", boot_id()),  # of no clock of ours: it must not wait for ever
        ("5400.001", boot_id()),
        ("5001.000", "another-boot"),
        ("5001.000", None),
        ("5001", boot_id()),
        ("-5001.000", boot_id()),
        ("nan", boot_id()),
        ("9" * 400 + ".000", boot_id()),
        ("", boot_id()),
    ],
)
def test_a_moment_that_cannot_be_meant_keeps_no_job_waiting(
    moment: str, boot: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "_now", lambda: 5000.0)
    job = Job("demo", 0).with_(NOT_BEFORE=moment, NOT_BEFORE_BOOT=boot)
    assert backoff.left(job) == 0


def test_names_come_when_they_are_due_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("sagequeue.later._now", lambda: now[0])
    later = Later()
    assert (later.take(), later.soonest()) == ([], None)
    later.put("b", 9)
    later.put("a", 2)
    later.put("a", 3)
    assert (later.take(), later.soonest()) == ([], 3)
    now[0] = 3.0
    assert (later.soonest(), later.take(), later.soonest()) == (0, ["a"], 6)
    assert ("a" in later, "b" in later) == (False, True)


def test_a_candidate_that_was_put_off_comes_back_by_itself(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("sagequeue.later._now", lambda: now[0])
    name = put(PENDING)
    candidates = Candidates(spool)
    candidates.refresh()
    assert candidates.take() == name
    candidates.put_off(name, 5)
    candidates.refresh()
    assert candidates.is_away(name)
    assert candidates.take() is None
    assert not candidates.take_back()
    now[0] = 5.0
    candidates.refresh()
    assert (candidates.take(), candidates.is_away(name)) == (name, False)


def test_explain_and_progress_say_how_long_a_job_waits_and_why(
    config: Config, spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "_now", lambda: 1000.0)
    put(
        PENDING, 0, LAST_OUTCOME="interrupted", LAST_REASON="no_result", INTERRUPTS=4,
        NOT_BEFORE="1011.500", NOT_BEFORE_BOOT=boot_id(),
    )  # fmt: skip
    put(PENDING, 1)
    said = "waits 12 s more before it is claimed again, since it came to nothing 4 times in a row"
    assert f"It {said}." in explain(config, "0")
    assert "no result came" in " ".join(explain(config, "0"))
    first, second = survey(config).partitions[:2]
    assert (first.reason, first.note, second.note) == ("no_result", said, "")
    shown = as_json(survey(config))["partitions"]
    assert shown[0]["note"] == said
    assert "note" not in shown[1]


def start(demo: Rig, offset: int, count: int = 1) -> float:
    """When the solver started, in seconds by the clock of the waits."""
    ahead = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return demo.until_event("start", offset, count).seconds + ahead


def put_off(demo: Rig, offset: int, seconds: float) -> float:
    """Have the pending job wait; until when."""
    name = f"demo_off{offset}"
    job = backoff.wait(demo.spool.read(PENDING, name), seconds)
    demo.spool.file(PENDING, name).write_text(job.render())
    return float(job.extra["NOT_BEFORE"])


@pytest.mark.parametrize("inotify", [True, False])
def test_a_job_that_waits_keeps_no_other_from_being_solved_and_is_claimed_when_it_is_over(
    demo: Rig, inotify: bool, tmp_path: Path
) -> None:
    put_off(demo, 0, 200)
    env = None if inotify else without_inotify(tmp_path)
    worker = demo.worker(1, env=env)
    demo.until_state(DONE, 1, 2, 3)
    assert not demo.events("start", 0)
    worker.kill()
    worker.wait()
    moment = put_off(demo, 0, 3)
    demo.worker(1, env=env)
    demo.until_state(DONE, 0)
    assert start(demo, 0) >= moment


def test_a_worker_that_starts_keeps_to_the_wait(demo: Rig) -> None:
    moment = put_off(demo, 0, 3)
    worker = demo.worker(1)
    demo.until_state(DONE, 1, 2, 3)
    worker.kill()
    worker.wait()
    demo.worker(1)
    demo.until_state(DONE, 0)
    assert start(demo, 0) >= moment


def test_a_job_whose_solvers_are_killed_waits_though_it_keeps_no_state_file(demo: Rig) -> None:
    demo.configure(STATE_FILE_HOST=None, TOTAL_CASES="", LOG_LIMIT="0")
    demo.orders(0, wait_at=0)
    demo.worker(1)
    ends = []
    for count in range(1, 4):
        solver = demo.until_event("waiting", 0, count)
        demo.config.log_file(0).write_text("")  # as a log is that is rotated each time
        ends.append(time.clock_gettime(time.CLOCK_BOOTTIME))
        wrapper_of(solver.pid).kill()
        os.kill(solver.pid, 9)
    demo.until(lambda: demo.where(0) == [PENDING] and "INTERRUPTS" in demo.job(0), "its wait")
    assert start(demo, 0, 3) >= ends[1] + 1
    assert "demo_off0 interrupted -> pending no_result" in demo.said(1)
    demo.until_state(DONE, 1, 2, 3)
    demo.orders(0)
    demo.until_state(DONE, 0)
    assert start(demo, 0, 4) >= ends[2] + 2
    demo.configure(
        STATE_FILE_HOST=f"{demo.home}/state_demo_stride{{stride}}_off{{offset}}.txt",
        TOTAL_CASES="12",
    )


@pytest.mark.parametrize("verb", [("retry-failed",), ("enqueue", "--force", "--offset", "0")])
def test_what_puts_a_job_back_by_hand_ends_its_wait(
    demo: Rig, verb: tuple[str, ...], put_state: Callable[[JobState], None]
) -> None:
    put_off(demo, 0, 250)
    put_state(FAILED)
    demo.run(*verb)
    assert not {"NOT_BEFORE", "NOT_BEFORE_BOOT", "INTERRUPT_RUN"} & demo.job(0).keys()
    demo.worker(1)
    demo.until_state(DONE, 0)


@pytest.fixture
def put_state(demo: Rig) -> Callable[[JobState], None]:
    """Moves the first pending job elsewhere, as it is."""

    def put_state(state: JobState) -> None:
        demo.spool.file(PENDING, "demo_off0").rename(demo.spool.file(state, "demo_off0"))

    return put_state
