"""What an execution left becomes an edge of its job, and a line in its log."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kinds import Put
from sagequeue import backoff, execution, findings, recovery, settlement
from sagequeue.config import Config
from sagequeue.jobs import JobState, Outcome
from sagequeue.settlement import Settled, settle, state_word
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
SOLUTION = "SAT found for J = [0]\nFound perm: [1, 0]\n"
Run = Callable[..., Settled]


def state_file(config: Config, text: str, offset: int = 0) -> None:
    path = config.state_file(offset)
    assert path is not None
    path.write_text(text)


@pytest.fixture
def run(spool: Spool, put: Put) -> Run:
    """Settles an execution: `record` is what the wrapper wrote after the head, where a process id
    says that it starts the workload, too; `log` is its output, `at` the state file's number when it
    began, if that is not its number now."""

    def run(
        record: str | None = "PID=4711\nRC=0\n",
        log: str = "",
        at: str = "",
        started: bool = True,
        **keys: object,
    ) -> Settled:
        name = "demo_off0"
        if not spool.locate(name):
            put(RUNNING, 0, **keys)
        for state in (PENDING, FAILED):
            if spool.lies(state, name):
                spool.file(state, name).rename(spool.file(RUNNING, name))
        with open(spool.config.log_file(0), "a") as file:
            start = file.tell()
            file.write(log)
        if record is not None:
            execution.begin(spool.result_file(name), 1, start, at or state_word(spool.config, 0))
            with open(spool.result_file(name), "a") as file:
                began = "LACKS" not in record and started
                file.write(re.sub(r"(PID=\d+\n)", r"\1RUN=1\n", record) if began else record)
        spool.owner_file(name).write_text("OWNER_PID=1\n")
        lock = spool.lock(name)
        assert lock is not None
        with lock:
            return settle(spool, lock, name)

    return run


def last_line(config: Config) -> str:
    return config.log_file(0).read_text().splitlines()[-1]


@pytest.mark.parametrize(
    ("record", "state", "settled", "line"),
    [
        ("RC=0\n", "8\n", (Outcome.DONE, "", DONE), "done offset=0 job=demo_off0 rc=0"),
        (
            "RC=0\n", "4\n", (Outcome.FAILED, "incomplete", FAILED),
            "failed offset=0 job=demo_off0 rc=0 reason=incomplete",
        ),
        (
            "GATE=1\nRC=0\n", "4\n", (Outcome.PAUSED, "stop_gate", PENDING),
            "pause offset=0 job=demo_off0 rc=0 reason=stop_gate",
        ),
        (
            "RC=3\n", "4\n", (Outcome.FAILED, "rc_3", FAILED),
            "failed offset=0 job=demo_off0 rc=3 reason=rc_3",
        ),
        (
            "RC=137\n", "4\n", (Outcome.FAILED, "signal_9", FAILED),
            "failed offset=0 job=demo_off0 rc=137 reason=signal_9",
        ),
        (
            "STOPPED=1\nRC=143\n", "4\n", (Outcome.INTERRUPTED, "stopped", PENDING),
            "interrupted offset=0 job=demo_off0 rc=143 reason=stopped",
        ),
        (
            "", "4\n", (Outcome.INTERRUPTED, "no_result", PENDING),
            "interrupted offset=0 job=demo_off0 reason=no_result",
        ),
        (
            "RC=0\n", "nonsense", (Outcome.FAILED, "state_corrupt", FAILED),
            "failed offset=0 job=demo_off0 rc=0 reason=state_corrupt",
        ),
    ],
)  # fmt: skip
def test_an_execution_is_settled_and_its_log_says_how(
    record: str,
    state: str,
    settled: tuple[Outcome, str, JobState],
    line: str,
    run: Run,
    spool: Spool,
) -> None:
    state_file(spool.config, state)
    got = run("PID=4711\n" + record)
    assert (got.outcome, got.reason, got.state) == settled
    assert spool.locate("demo_off0") == [got.state]
    iso = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
    assert re.fullmatch(rf"\[worker 1\] {line} at {iso}", last_line(spool.config))
    job = spool.read(got.state, "demo_off0")
    assert job.last_outcome == got.outcome
    assert job.last_reason == got.reason
    assert not spool.result_file("demo_off0").exists()
    assert not spool.owner_file("demo_off0").exists()


@pytest.mark.parametrize("record", [None, ""])
def test_a_job_for_which_nothing_was_started_goes_back_as_it_was(
    record: str | None, run: Run, spool: Spool, put: Put
) -> None:
    put(RUNNING, 0, ATTEMPTS=2, LAST_OUTCOME="failed")
    before = spool.file(RUNNING, "demo_off0").read_bytes()
    assert run(record) == Settled(
        Outcome.INTERRUPTED, settlement.NOT_STARTED, PENDING, started=False
    )
    assert spool.file(PENDING, "demo_off0").read_bytes() == before


@pytest.mark.parametrize("before", ["", "PID=1\n"])
@pytest.mark.parametrize("lacks", execution.LACKS)
def test_a_job_that_lacks_something_to_start_goes_back_with_the_word_for_it(
    lacks: str, before: str, run: Run, spool: Spool, put: Put
) -> None:
    put(RUNNING, 0, ATTEMPTS=2, LAST_OUTCOME="failed")
    settled = run(f"{before}LACKS={lacks}\n")
    assert settled == Settled(Outcome.INTERRUPTED, lacks, PENDING, started=False)
    job = spool.read(PENDING, "demo_off0")
    assert (job.count("ATTEMPTS"), job.last_outcome, job.last_reason) == (2, "failed", lacks)


@pytest.mark.parametrize("record", ["PID=1\n", "PID=1\nSTOPPED=1\nRC=143\n"])
def test_an_interruption_and_a_pause_cost_no_attempt(record: str, run: Run, spool: Spool) -> None:
    run(record, ATTEMPTS=2)
    assert spool.read(PENDING, "demo_off0").count("ATTEMPTS") == 2
    run("PID=1\nGATE=1\nRC=0\n")
    assert spool.read(PENDING, "demo_off0").count("ATTEMPTS") == 2


def test_the_stop_gate_that_is_there_now_makes_a_pause(run: Run, spool: Spool) -> None:
    spool.config.stop_file_host.write_text("")
    assert run().outcome is Outcome.PAUSED


def test_a_stop_gate_that_was_there_and_is_gone_sends_no_unfinished_job_to_done(
    run: Run, spool: Spool
) -> None:
    state_file(spool.config, "4\n")
    assert run("PID=1\nGATE=1\nRC=0\n").state is PENDING
    assert run("PID=1\nRC=0\n").state is FAILED


# Interruptions


def test_a_job_is_held_at_the_fifth_interruption_in_a_row_without_a_case_done(
    run: Run, spool: Spool
) -> None:
    state_file(spool.config, "4\n")
    for _ in range(4):
        assert run("PID=1\n").state is PENDING
    last = run("PID=1\n")
    assert (last.state, last.reason) == (FAILED, "no_progress")
    job = spool.read(FAILED, "demo_off0")
    assert (job.last_outcome, job.last_reason) == (Outcome.INTERRUPTED, "no_progress")
    assert job.count("ATTEMPTS") == 0


def test_a_job_that_never_did_a_case_is_held_at_the_fifth_interruption_too(run: Run) -> None:
    assert [run("PID=1\n").state for _ in range(5)] == [PENDING] * 4 + [FAILED]


def test_a_case_done_between_interruptions_sets_their_count_back(run: Run, spool: Spool) -> None:
    state_file(spool.config, "0\n")
    for _ in range(4):
        run("PID=1\n")
    state_file(spool.config, "4\n")
    assert run("PID=1\n", at="0").state is PENDING
    for _ in range(4):
        assert run("PID=1\n").state is PENDING
    assert run("PID=1\n").state is FAILED


@pytest.mark.parametrize("left", [["8", "4", "0", None, None], ["nonsense"] * 5])
def test_a_state_file_that_goes_back_or_is_spoilt_is_no_progress(
    run: Run, spool: Spool, left: list[str | None]
) -> None:
    """What each execution starts at is 4 more than what it leaves, or the first case."""
    states = []
    for text in left:
        path = spool.config.state_file(0)
        assert path is not None
        path.unlink(missing_ok=True)
        if text is not None:
            state_file(spool.config, f"{text}\n")
        at = str(int(text) + 4) if text and text.isdigit() else "0"
        states.append(run("PID=1\n", at=at).state)
    assert states == [PENDING] * 4 + [FAILED]


def test_a_failure_between_interruptions_ends_their_row(run: Run, spool: Spool) -> None:
    state_file(spool.config, "0\n")
    for _ in range(4):
        run("PID=1\n")
    assert run("PID=1\nRC=1\n").state is FAILED
    assert run("PID=1\n").state is PENDING


def test_a_pause_between_interruptions_ends_their_row(run: Run, spool: Spool) -> None:
    state_file(spool.config, "0\n")
    for _ in range(4):
        run("PID=1\n")
    run("PID=1\nGATE=1\nRC=0\n")
    assert run("PID=1\n").state is PENDING


def test_a_corrupt_state_file_does_not_count_as_progress(run: Run, spool: Spool) -> None:
    state_file(spool.config, "nonsense")
    assert [run("PID=1\n").state for _ in range(5)] == [PENDING] * 4 + [FAILED]


def waits(spool: Spool) -> float:
    return backoff.left(spool.read(PENDING, "demo_off0"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still."""
    monkeypatch.setattr(backoff, "_now", lambda: 1000.0)


def test_the_second_interruption_in_a_row_waits_and_each_further_one_twice_as_long(
    run: Run, spool: Spool, clock: None
) -> None:
    state_file(spool.config, "4\n")
    told = []
    for _ in range(4):
        run("PID=1\n")
        told.append(waits(spool))
    assert told == [0, 1, 2, 4]
    state_file(spool.config, "8\n")
    run("PID=1\n", at="4")
    assert waits(spool) == 0, "it got on"
    run("PID=1\n")
    assert waits(spool) == 0, "the first in a row"


def test_without_a_state_file_a_job_waits_longer_each_time_and_is_never_held(
    run: Run, spool: Spool, clock: None
) -> None:
    spool.config = replace(spool.config, state_file_host="")
    told = []
    for _ in range(12):
        assert run("PID=1\n").state is PENDING
        told.append(waits(spool))
    assert told == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@pytest.mark.parametrize("pattern", ["", None])
def test_executions_whose_log_began_anew_are_told_apart(
    run: Run, spool: Spool, pattern: str | None
) -> None:
    if pattern is not None:
        spool.config = replace(spool.config, state_file_host=pattern)
    for count in range(1, 5):
        spool.config.log_file(0).unlink(missing_ok=True)
        run("PID=1\n")
        assert spool.read(PENDING, "demo_off0").count("INTERRUPTS") == count


def test_a_record_that_is_spoilt_each_time_does_not_keep_a_job_from_waiting(
    run: Run, spool: Spool, put: Put
) -> None:
    put(RUNNING)
    for _ in range(7):
        spool.result_file("demo_off0").write_text("nonsense\n")
        assert run(None).state is PENDING
    assert waits(spool) > 0


@pytest.mark.parametrize(
    "record", ["PID=1\nRC=1\n", "PID=1\nGATE=1\nRC=0\n", "PID=1\nSTOPPED=1\nRC=143\n"]
)
def test_what_follows_interruptions_and_is_none_ends_the_wait(
    record: str, run: Run, spool: Spool
) -> None:
    for _ in range(3):
        run("PID=1\n")
    assert waits(spool) > 0
    state = run(record).state
    assert backoff.left(spool.read(state, "demo_off0")) == 0


def test_what_is_given_back_by_hand_does_not_wait(run: Run, spool: Spool) -> None:
    for _ in range(3):
        run("PID=1\n")
    spool.file(PENDING, "demo_off0").rename(spool.file(RUNNING, "demo_off0"))
    execution.begin(spool.result_file("demo_off0"), 1, 0, "-1")
    with open(spool.result_file("demo_off0"), "a") as file:
        file.write("PID=1\nRUN=1\n")
    lock = spool.lock("demo_off0")
    assert lock is not None
    with lock:
        settled = settle(spool, lock, "demo_off0", by_hand=True)
    assert (settled.state, waits(spool)) == (PENDING, 0)
    assert spool.read(PENDING, "demo_off0").count("INTERRUPTS") == 4


def test_a_settlement_that_is_cut_off_counts_its_interruption_once(
    run: Run, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    class Crash(BaseException):
        pass

    rename = os.rename

    def crash(source: Path, target: Path) -> None:
        if Path(target).parent == spool.dirs[PENDING]:
            raise Crash
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", crash)
        with pytest.raises(Crash):
            run("PID=1\n")
    lock = spool.lock("demo_off0")
    assert lock is not None
    with lock:
        settle(spool, lock, "demo_off0")
    assert spool.read(PENDING, "demo_off0").count("INTERRUPTS") == 1


# Findings


@pytest.mark.parametrize(
    ("record", "state", "where", "last"),
    [
        ("PID=1\nRC=0\n", "8\n", DONE, "found"),
        ("PID=1\nGATE=1\nRC=0\n", "4\n", PENDING, "found"),
        ("PID=1\nRC=1\n", "4\n", FAILED, "found"),
        ("PID=1\nRC=137\n", "4\n", FAILED, "found"),
        ("PID=1\nSTOPPED=1\nRC=143\n", "4\n", PENDING, "interrupted"),
        ("PID=1\n", "4\n", PENDING, "interrupted"),
    ],
)
def test_a_solution_is_recorded_however_the_execution_ended(
    record: str, state: str, where: JobState, last: str, run: Run, spool: Spool
) -> None:
    state_file(spool.config, state)
    settled = run(record, SOLUTION)
    assert (settled.state, settled.found) == (where, 1)
    assert spool.read(where, "demo_off0").last_outcome == last
    assert [f["perm"] for f in findings.read(spool.config)] == [[1, 0]]
    assert "[worker 1] found offset=0 job=demo_off0 solutions=1 at " in (
        spool.config.log_file(0).read_text()
    )


def test_a_solution_and_then_a_failure_is_held_and_recovery_never_retries_it(
    run: Run, spool: Spool
) -> None:
    run("PID=1\nRC=1\n", SOLUTION)
    for _ in range(3):
        lines: list[str] = []
        recovery.recover(spool, lines.append)
        assert "action=hold_failed job=demo_off0 attempts=0 reason=found_then_failed" in lines[0]
    assert spool.locate("demo_off0") == [FAILED]


def test_a_solution_of_an_earlier_execution_does_not_hold_a_later_failure(
    run: Run, spool: Spool
) -> None:
    state_file(spool.config, "4\n")
    run("PID=1\nGATE=1\nRC=0\n", SOLUTION)
    assert run("PID=1\nRC=1\n", "Traceback\n").found == 0
    assert spool.read(FAILED, "demo_off0").last_outcome == "failed"


def test_a_solution_is_recorded_when_the_job_file_was_spoilt_meanwhile(
    run: Run, spool: Spool, put: Put
) -> None:
    put(RUNNING, 0, b"\x00\xff")
    assert run("PID=1\nRC=0\n", SOLUTION).state is FAILED
    assert len(findings.read(spool.config)) == 1


@pytest.mark.parametrize(
    "text", ["", "\x00" * 40, "nonsense\n"], ids=["empty", "noughts", "nonsense"]
)
def test_a_solution_is_recorded_when_the_record_was_spoilt_meanwhile(
    text: str, run: Run, spool: Spool, put: Put
) -> None:
    put(RUNNING)
    spool.config.log_file(0).write_text(SOLUTION)
    spool.result_file("demo_off0").write_text(text)
    run(None)
    assert len(findings.read(spool.config)) == 1


def test_a_disk_too_full_for_a_solution_leaves_the_job_running_to_be_settled_again(
    run: Run, spool: Spool
) -> None:
    results = spool.config.results_dir
    results.rmdir()
    results.write_text("")  # where nothing can be written, root or not
    with pytest.raises(OSError, match="results"):
        run("PID=1\nGATE=1\nRC=0\n", SOLUTION)
    assert spool.locate("demo_off0") == [RUNNING]
    assert spool.result_file("demo_off0").exists()
    results.unlink()
    lock = spool.lock("demo_off0")
    assert lock is not None
    with lock:
        assert settle(spool, lock, "demo_off0").found == 1
    assert len(findings.read(spool.config)) == 1


def test_a_malformed_running_job_is_rejected_with_its_reason(
    run: Run, spool: Spool, put: Put
) -> None:
    put(RUNNING, 0, "OFFSET=1\n")
    assert run() == Settled(Outcome.FAILED, "name_mismatch", FAILED)
    assert spool.file(FAILED, "demo_off0").read_text() == "OFFSET=1\n"


# The gate


def test_any_file_of_that_name_is_the_gate_even_a_dangling_link(
    config: Config, tmp_path: Path
) -> None:
    gate = config.stop_file_host
    assert not config.gated

    def dangling() -> None:
        gate.symlink_to(tmp_path / "nowhere")

    makes: list[Callable[[], object]] = [gate.touch, gate.mkdir, dangling]
    for make in makes:
        make()
        assert config.gated
        gate.rmdir() if gate.is_dir() else gate.unlink()


def test_a_log_line_leaves_out_what_is_not_known(config: Config, spool: Spool) -> None:
    settlement.log_line(config, 2, 7, "start", job="demo_off2", rc=None, reason="")
    settlement.log_line(config, 2, 7, "done", job="demo_off2", rc=0)
    first, second = config.log_file(2).read_text().splitlines()
    assert first.startswith("[worker 7] start offset=2 job=demo_off2 at ")
    assert second.startswith("[worker 7] done offset=2 job=demo_off2 rc=0 at ")


def test_a_stop_by_hand_is_not_held_against_a_job(run: Run, spool: Spool) -> None:
    assert {run("PID=1\nSTOPPED=1\nRC=143\n").state for _ in range(8)} == {PENDING}
    assert spool.read(PENDING, "demo_off0").count("INTERRUPTS") == 0


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("PID=1\n", settlement.NOT_STARTED),
        ("PID=1\nLACKS=not_preparsed\n", execution.NOT_PREPARSED),
    ],
)
def test_what_ends_before_the_workload_starts_is_never_held_and_waits_at_most_a_minute(
    run: Run, spool: Spool, clock: None, record: str, reason: str
) -> None:
    run("PID=1\n", ATTEMPTS=2)
    told = []
    for _ in range(10):
        settled = run(
            record, "[worker 1] start offset=0\nTraceback\nOSError: full\n", started=False
        )
        assert settled == Settled(Outcome.INTERRUPTED, reason, PENDING, started=False)
        told.append(waits(spool))
    assert told == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    job = spool.read(PENDING, "demo_off0")
    assert [job.count(key) for key in ("ATTEMPTS", "INTERRUPTS", "NOT_STARTED")] == [2, 1, 10]
    assert job.last_reason == reason
    said = {} if reason == settlement.NOT_STARTED else {"LAST_ERROR": "OSError: full"}
    assert {key: job.extra[key] for key in job.extra if key == "LAST_ERROR"} == said
    run("PID=1\n")
    job = spool.read(PENDING, "demo_off0")
    assert not {"NOT_STARTED", "LAST_ERROR"} & job.extra.keys()
    assert job.count("INTERRUPTS") == 2


def test_a_stop_before_the_workload_starts_does_not_wait(run: Run, spool: Spool) -> None:
    for _ in range(4):
        run("PID=1\n", started=False)
    assert waits(spool) > 0
    settled = run("PID=1\nSTOPPED=1\n", started=False)
    assert settled == Settled(Outcome.INTERRUPTED, "stopped", PENDING, started=False)
    assert waits(spool) == 0


def test_a_record_of_an_older_release_counts_as_before(run: Run, spool: Spool, put: Put) -> None:
    for count in range(1, 6):
        if count == 1:
            put(RUNNING)
        for state in (PENDING, FAILED):
            if spool.lies(state, "demo_off0"):
                spool.file(state, "demo_off0").rename(spool.file(RUNNING, "demo_off0"))
        spool.result_file("demo_off0").write_text(
            f"WORKER=1\nEXECUTION=abc{count}\nLOG_START=0\nGIDX=-1\nPID=4711\n"
        )
        assert run(None).state is (FAILED if count == 5 else PENDING)
