""" "Nothing found" is said only of cases whose output was read; what may be lost is named."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
from kinds import Put, read_log
from sagequeue import execution, findings, progress, recovery, settlement, view
from sagequeue.config import Config
from sagequeue.jobs import JobState
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
Ended = Callable[..., None]


def done(*cases: int) -> str:
    return "".join(f"[t] DONE  gidx={case} sat=False dt=1.0s\n" for case in cases)


@pytest.fixture
def ended(spool: Spool, put: Put) -> Ended:
    """An execution of a partition is settled: from one state to another, with that output."""

    def ended(
        offset: int, then: int, now: int, output: str = "", rc: str = "RC=0\n", lost: bool = False,
        config: Config = spool.config,
    ) -> None:  # fmt: skip
        own = Spool(config)
        for before in own.locate(f"demo_off{offset}"):
            own.file(before, f"demo_off{offset}").unlink()
        name, log = put(RUNNING, offset), config.log_file(offset)
        if config.state_file_host:
            state(config, offset, then)
        log.touch()
        if lost:
            log.write_text("x" * 100)
        status = log.stat()
        record = own.result_file(name)
        execution.begin(record, 1, status.st_size, str(then), status.st_ino)
        with log.open("w" if lost else "a") as file:
            file.write(output if lost else f"[worker 1] start offset={offset}\n{output}")
        with record.open("a") as file:
            file.write(f"PID=999999999\nRUN=1\n{rc}")
        if config.state_file_host:
            state(config, offset, now)
        lock = own.lock(name)
        assert lock is not None
        with lock:
            settlement.settle(own, lock, name)

    return ended


def state(config: Config, offset: int, gidx: int) -> None:
    path = config.state_file(offset)
    assert path is not None
    path.write_text(f"{gidx}\n")


def claim(config: Config) -> list[str]:
    facts = progress.survey(config)
    return [view.nothing(facts), *view.doubts(config, facts)]


def test_nothing_is_said_of_jobs_that_wait(config: Config, put: Put) -> None:
    put(PENDING, 0)
    assert claim(config) == ["found: nothing so far (0 of 10 cases)"]


def test_cases_are_read_when_their_executions_ended_by_themselves(
    config: Config, ended: Ended
) -> None:
    for offset, last in enumerate((8, 9, 6)):
        ended(offset, -1, last)
    assert claim(config) == ["found: nothing so far (8 of 10 cases)"]
    ended(3, -1, 7)
    assert claim(config) == ["found: nothing in all cases"]


def test_cases_are_read_when_their_done_lines_were(config: Config, ended: Ended) -> None:
    ended(0, -1, 8, done(0, 4, 8), rc="STOPPED=1\nRC=143\n")
    assert claim(config) == ["found: nothing so far (3 of 10 cases)"]


@pytest.mark.parametrize(
    "rc", ["", "STOPPED=1\nRC=0\n", "STOPPED=1\nRC=143\n", "RC=137\n", "CUT=1\nRC=0\n"]
)
def test_cases_of_an_execution_that_was_ended_are_unconfirmed(
    config: Config, ended: Ended, rc: str
) -> None:
    ended(0, 0, 8, rc=rc)
    first, *doubts = claim(config)
    assert first.startswith("found: nothing so far (0 of")
    assert doubts[0] == "unconfirmed: offset 0, gidx 4 to 8"
    assert "may be lost" in doubts[-1]


def test_a_failure_of_its_own_confirms_what_came_before(config: Config, ended: Ended) -> None:
    ended(0, -1, 4, rc="RC=1\n")
    assert claim(config) == ["found: nothing so far (2 of 10 cases)"]


def test_a_script_that_reports_its_cases_is_confirmed_by_that_alone(
    config: Config, ended: Ended
) -> None:
    """Its helper was killed, and the script went on: what it printed last is lost."""
    ended(0, -1, 8, done(0, 4))
    assert claim(config)[1] == "unconfirmed: offset 0, gidx 8"
    ended(0, 4, 8, done(8))
    assert claim(config) == ["found: nothing so far (3 of 10 cases)"]


def test_what_one_partition_reports_is_expected_of_the_others(config: Config, ended: Ended) -> None:
    ended(1, -1, 9)
    assert claim(config) == ["found: nothing so far (3 of 10 cases)"]
    ended(0, -1, 8, done(0, 4, 8))
    assert claim(config)[:2] == [
        "found: nothing so far (3 of 10 cases)", "unconfirmed: offset 1, gidx 1 to 9"
    ]  # fmt: skip


@pytest.mark.parametrize("first", ["", done(0, 4, 8)])
def test_a_case_that_is_done_anew_counts_by_its_last_execution(
    config: Config, ended: Ended, first: str
) -> None:
    """The state file was moved back by hand, and the script changed."""
    ended(0, -1, 8, first)
    ended(0, 0, 8, rc="RC=137\n")
    assert claim(config)[:2] == [
        "found: nothing so far (1 of 10 cases)", "unconfirmed: offset 0, gidx 4 to 8"
    ]  # fmt: skip
    ended(0, 0, 8, first and done(4, 8))
    assert claim(config) == ["found: nothing so far (3 of 10 cases)"]


def test_an_exit_does_not_confirm_what_a_truncated_log_may_have_lost(
    config: Config, ended: Ended
) -> None:
    ended(0, -1, 8, lost=True)
    assert claim(config)[1] == "unconfirmed: offset 0, gidx 0 to 8"


def test_a_later_execution_confirms_only_its_own_cases(config: Config, ended: Ended) -> None:
    ended(0, -1, 4, rc="RC=137\n")
    ended(0, 4, 8)
    assert claim(config)[:2] == [
        "found: nothing so far (1 of 10 cases)", "unconfirmed: offset 0, gidx 0 to 4"
    ]  # fmt: skip


def test_cases_that_no_log_here_tells_of_are_named(config: Config, put: Put) -> None:
    """A second clone, or state files of an earlier run."""
    for offset, last in enumerate((8, 9, 6, 7)):
        put(DONE, offset)
        state(config, offset, last)
    first, *doubts = claim(config)
    assert first == "found: nothing so far (0 of 10 cases)"
    assert doubts[0] == (
        "not read: offset 0, 3 cases that its state file counts and no log here tells of"
    )
    assert len(doubts) == 4


def test_the_cases_of_a_living_solver_are_in_no_doubt(
    config: Config, spool: Spool, put: Put
) -> None:
    execution.begin(spool.result_file(put(RUNNING, 0)), 1, 0, "0")
    state(config, 0, 8)
    assert claim(config)[1:] == [
        "not read: offset 0, 1 cases that its state file counts and no log here tells of"
    ]


@pytest.mark.parametrize("now", [None, 0, 4])
def test_a_state_file_that_was_moved_back_under_its_solver_is_looked_at(
    spool: Spool, put: Put, now: int | None
) -> None:
    """By hand, or by a script that begins anew whatever its state file says."""
    config = spool.config
    execution.begin(spool.result_file(put(RUNNING, 0)), 1, 0, "8", 1)
    if now is not None:
        state(config, 0, now)
    partition = progress.survey(config).partitions[0]
    assert partition.cases_unread == (0 if now is None else now // 4 + 1)


def test_a_log_that_was_written_since_is_named(config: Config, ended: Ended) -> None:
    ended(0, -1, 8)
    with config.log_file(0).open("a") as file:
        file.write("FOUND x=1\n")
    assert claim(config)[1] == (
        f"not read: the end of {config.log_file(0)}; `sagequeue recover` reads it"
    )
    read_log(config, 0)
    assert claim(config)[1:] == []
    assert len(findings.read(config)) == 1


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("first", ["write", "rename", "recovery"])
def test_what_is_left_over_is_read_from_a_log_that_was_renamed(
    spool: Spool, ended: Ended, first: str, create: bool
) -> None:
    """A process that nobody ended has the log open, and log rotation renames it."""
    config = spool.config
    for offset, last in enumerate((8, 9, 6, 7)):
        ended(offset, -1, last)
    log = config.log_file(0)
    with log.open("a") as left_over:
        if first == "write":
            left_over.write("FOUND x=1\n")
            left_over.flush()
        log.rename(log.with_name(f"{log.name}.1"))
        if create:
            log.touch()
        if first == "recovery":
            recovery.recover(spool)
            assert claim(config) == ["found: nothing in all cases"]
        left_over.write("FOUND x=2\n")
    assert claim(config)[0].startswith("found: nothing so far")
    recovery.recover(spool)
    expected = [1, 2] if first == "write" else [2]
    assert sorted(finding["x"] for finding in findings.read(config)) == expected
    partition = progress.survey(config).partitions[0]
    assert partition.covered
    assert not partition.log_behind


def test_a_log_that_was_renamed_is_read_on_before_the_new_one(spool: Spool, ended: Ended) -> None:
    config = spool.config
    ended(0, -1, 4)
    log = config.log_file(0)
    with log.open("a") as left_over:
        log.rename(log.with_name(f"{log.name}.1"))
        log.touch()
        recovery.recover(spool)
        left_over.write("FOUND x=1\n")
        left_over.flush()
        ended(0, 4, 8, "FOUND x=2\n")
    assert sorted(finding["x"] for finding in findings.read(config)) == [1, 2]


def test_without_a_state_file_jobs_are_counted(config: Config, ended: Ended) -> None:
    plain = replace(config, state_file_host="", total_cases=None)
    for offset in range(3):
        ended(offset, -1, -1, config=plain)
    assert claim(plain) == ["found: nothing so far (3 of 4 jobs)"]
    ended(3, -1, -1, config=plain, rc="CUT=1\nRC=0\n")
    assert claim(plain)[:2] == [
        "found: nothing so far (3 of 4 jobs)", "unconfirmed: offset 3, its last execution"
    ]  # fmt: skip
    ended(3, -1, -1, config=plain)
    assert claim(plain) == ["found: nothing in all 4 jobs"]


def test_without_a_state_file_a_job_that_reports_its_cases_is_confirmed_by_its_end(
    config: Config, ended: Ended
) -> None:
    stateless = replace(config, state_file_host="", total_cases=None)
    for offset in range(4):
        ended(offset, -1, -1, done(offset), config=stateless)
    assert claim(stateless) == ["found: nothing in all 4 jobs"]
    ended(1, -1, -1, done(1), rc="RC=143\nSTOPPED=1\n", config=stateless)
    assert claim(stateless)[0] == "found: nothing so far (3 of 4 jobs)"


def test_an_execution_of_another_stride_confirms_nothing(config: Config, ended: Ended) -> None:
    """Its cases 0 to 2 were gidx 0, 4 and 8; now these numbers are those of gidx 0, 2 and 4."""
    ended(0, -1, 8)
    halved = replace(config, stride=2)
    ended(0, -1, 4, rc="RC=143\nSTOPPED=1\n", config=halved)
    assert claim(halved)[:2] == [
        "found: nothing so far (0 of 10 cases)", "unconfirmed: offset 0, gidx 0 to 4"
    ]  # fmt: skip


def test_a_job_that_was_done_with_another_stride_is_not_covered(
    config: Config, ended: Ended
) -> None:
    plain = replace(config, state_file_host="", total_cases=None)
    for offset in range(4):
        ended(offset, -1, -1, config=plain)
    halved = replace(plain, stride=2)
    for offset in range(2):
        halved.log_file(offset).touch()
    recovery.recover(Spool(halved))
    assert claim(halved)[0] == "found: nothing so far (0 of 2 jobs)"
    for offset in range(2):
        ended(offset, -1, -1, config=halved)
    assert claim(halved) == ["found: nothing in all 2 jobs"]


def test_many_doubts_are_cut(config: Config, spool: Spool) -> None:
    many = replace(config, stride=40, total_cases=400)
    for offset in range(40):
        state(many, offset, offset)
    doubts = claim(many)[1:]
    assert len(doubts) == 13
    assert doubts[-1] == "... and 28 more lines like these (--json has them all)"


def test_a_clone_that_was_copied_is_in_doubt_until_recovery_has_looked(
    spool: Spool, ended: Ended
) -> None:
    """`cp -a` keeps the times of files and not their inodes."""
    config = spool.config
    for offset, last in enumerate((8, 9, 6, 7)):
        ended(offset, -1, last)
    for path in (config.log_file(k) for k in range(4)):
        shutil.copy2(path, copy := path.with_name("copy"))
        os.utime(copy, (1, 1))
        copy.rename(path)
    recovery.recover(spool)
    assert claim(config) == ["found: nothing in all cases"]


def test_solutions_whose_records_were_removed_are_not_nothing(config: Config, ended: Ended) -> None:
    for offset, last in enumerate((8, 9, 6, 7)):
        ended(offset, -1, last, "FOUND x=1\n" if offset == 2 else "")
    assert len(findings.read(config)) == 1
    for path in config.results_dir.iterdir():
        path.unlink()
    assert claim(config) == ["found: 1 solutions were printed, and their records were removed"]
