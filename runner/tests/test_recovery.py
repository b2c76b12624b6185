"""Recovery: what it does to which job, and the lines that say so."""

import os
import re
import threading
from collections.abc import Callable
from unittest import mock

import pytest
from kinds import Put
from sagequeue import execution, keyvalue, recovery
from sagequeue.config import Config
from sagequeue.jobs import JobState
from sagequeue.owner import process, read_owner, try_lock, write_owner
from sagequeue.reading import Reader
from sagequeue.recovery import recover
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
FORMAT = re.compile(r"\[recover\] ts=\S+ action=[a-z_]+(?: [a-z_]+=[^\s\x00-\x1f\x7f]*)*")
Recover = Callable[[], list[dict[str, str]]]


@pytest.fixture
def pass_(spool: Spool) -> Recover:
    """One pass of recovery; its lines as dicts, each checked to be one line of the format."""

    def pass_() -> list[dict[str, str]]:
        lines: list[str] = []
        assert recover(spool, lines.append)
        for line in lines:
            assert FORMAT.fullmatch(line), line
        return [dict(pair.split("=", 1) for pair in line.split(" ")[1:]) for line in lines]

    return pass_


def act(lines: list[dict[str, str]]) -> list[dict[str, str]]:
    """All lines but the summary, without their times."""
    return [{k: v for k, v in line.items() if k != "ts"} for line in lines[:-1]]


def owner(spool: Spool, name: str, **changes: str) -> None:
    """An owner file of this process, with some keys changed."""
    write_owner(spool.owner_file(name), 1)
    keys = read_owner(spool.owner_file(name)) | changes
    spool.owner_file(name).write_text(keyvalue.render(keys))


def dead_pid() -> str:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return str(pid)


def test_an_empty_queue_gives_a_summary_of_noughts(spool: Spool) -> None:
    lines: list[str] = []
    recover(spool, lines.append)
    assert re.fullmatch(
        r"\[recover\] ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d action=summary jobset=demo "
        r"scanned_running=0 requeued_orphans=0 scanned_failed=0 retried_failed=0 skipped_failed=0 "
        r"held_failed=0",
        lines[0],
    )
    assert len(lines) == 1


def test_an_orphan_without_an_owner_file_is_requeued(
    spool: Spool, put: Put, pass_: Recover
) -> None:
    put(RUNNING)
    assert act(pass_()) == [
        {
            "action": "requeue_orphan",
            "job": "demo_off0",
            "reason": "owner_file_missing",
            "owner_pid": "-",
        }
    ]
    assert spool.locate("demo_off0") == [PENDING]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00\xff\xfe binary",
        b"OWNER_WORKER_ID=1\n",
        b"OWNER_PID=\n",
        b"OWNER_PID=0\n",
        b"OWNER_PID=-1\n",
        b"OWNER_PID=1; rm -rf /\n",
        b"OWNER_PID=" + b"9" * 300 + b"\n",
        b"OWNER_PID=" + b"9" * 5000 + b"\n",
        b"x" * 1_000_000,
    ],
)
def test_an_orphan_whose_owner_file_names_no_process_is_requeued(
    text: bytes, spool: Spool, put: Put, pass_: Recover
) -> None:
    spool.owner_file(put(RUNNING)).write_bytes(text)
    (line,) = act(pass_())
    assert (line["action"], line["reason"]) == ("requeue_orphan", "no_valid_owner_pid")
    assert spool.locate("demo_off0") == [PENDING]
    assert spool.owners() == []


@pytest.mark.parametrize("what", ["directory", "dangling_link"])
def test_an_owner_file_that_cannot_be_read_names_no_process(
    what: str, spool: Spool, put: Put
) -> None:
    from sagequeue.owner import orphan_reason

    path = spool.owner_file(put(RUNNING))
    path.mkdir() if what == "directory" else path.symlink_to("/nowhere")
    assert orphan_reason(path) == "no_valid_owner_pid"


def test_an_orphan_whose_worker_is_dead_is_requeued(spool: Spool, put: Put, pass_: Recover) -> None:
    pid = dead_pid()
    owner(spool, put(RUNNING), OWNER_PID=pid)
    (line,) = act(pass_())
    assert (line["reason"], line["owner_pid"]) == ("owner_pid_dead", pid)
    assert spool.locate("demo_off0") == [PENDING]


def test_a_zombie_is_dead(spool: Spool, put: Put, pass_: Recover) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        owner(spool, put(RUNNING), OWNER_PID=str(pid))
        assert act(pass_())[0]["reason"] == "owner_pid_dead"
    finally:
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "changes",
    [{"OWNER_START": "1"}, {"OWNER_START": ""}, {"OWNER_BOOT": "another"}, {"OWNER_BOOT": ""}],
)
def test_a_process_that_got_the_workers_number_is_not_that_worker(
    changes: dict[str, str], spool: Spool, put: Put, pass_: Recover
) -> None:
    owner(spool, put(RUNNING), **changes)
    (line,) = act(pass_())
    assert line["reason"] == "owner_pid_not_that_worker"
    assert line["owner_pid"] == str(os.getpid())
    assert spool.locate("demo_off0") == [PENDING]


def test_a_job_whose_worker_lives_is_left_to_it(spool: Spool, put: Put, pass_: Recover) -> None:
    owner(spool, put(RUNNING))
    assert act(pass_()) == []
    assert spool.locate("demo_off0") == [RUNNING]
    assert spool.owners() == ["demo_off0"]


def test_an_owner_file_carries_what_identifies_a_process_for_ever(spool: Spool) -> None:
    write_owner(spool.owner_file("demo_off0"), 7)
    keys = read_owner(spool.owner_file("demo_off0"))
    assert list(keys) == ["OWNER_PID", "OWNER_WORKER_ID", "OWNER_TS", "OWNER_START", "OWNER_BOOT"]
    me = process(os.getpid())
    assert me is not None
    assert (keys["OWNER_PID"], keys["OWNER_WORKER_ID"]) == (str(me.pid), "7")
    assert (keys["OWNER_START"], keys["OWNER_BOOT"]) == (me.start, me.boot)


@pytest.mark.parametrize("state", [RUNNING, FAILED])
@pytest.mark.parametrize("content", [None, b"malformed"])
def test_a_job_whose_lock_is_held_is_not_touched(
    state: JobState, content: bytes | None, spool: Spool, put: Put, pass_: Recover
) -> None:
    name = put(state, 0, content)
    before = spool.file(state, name).read_bytes()
    held = spool.lock(name)
    assert held is not None
    with held:
        lines = pass_()
    assert act(lines) == []
    assert lines[-1][f"scanned_{state}"] == "1"
    assert spool.file(state, name).read_bytes() == before
    assert spool.locate(name) == [state]


@pytest.mark.parametrize(
    ("record", "gidx", "outcome", "where"),
    [
        ("PID=1\nRC=0\n", "8", "done", DONE),
        ("PID=1\nGATE=1\nRC=0\n", "4", "paused", PENDING),
        ("PID=1\nSTOPPED=1\nRC=143\n", "4", "interrupted", PENDING),
    ],
)
def test_a_result_whose_worker_is_gone_finishes_the_job(
    record: str,
    gidx: str,
    outcome: str,
    where: JobState,
    spool: Spool,
    put: Put,
    pass_: Recover,
) -> None:
    name = put(RUNNING)
    state_file = spool.config.state_file(0)
    assert state_file is not None
    state_file.write_text(gidx)
    execution.begin(spool.result_file(name), 3, 0, "-1")
    with open(spool.result_file(name), "a") as file:
        file.write(record)
    assert act(pass_()) == [
        {"action": "finish", "job": name, "outcome": outcome, "state": str(where)}
    ]
    assert spool.locate(name) == [where]
    assert spool.config.log_file(0).read_text().startswith("[worker 3] ")


def test_an_orphan_that_was_interrupted_for_the_fifth_time_is_held(
    spool: Spool, put: Put, pass_: Recover
) -> None:
    name = put(RUNNING, 0, INTERRUPTS=4, INTERRUPT_GIDX=-1)
    execution.begin(spool.result_file(name), 1, 0, "-1")
    with open(spool.result_file(name), "a") as file:
        file.write("PID=1\nRUN=1\n")
    line = act(pass_())[0]
    assert (line["action"], line["job"], line["reason"]) == ("hold_failed", name, "no_progress")
    assert spool.locate(name) == [FAILED]
    assert act(pass_())[0]["reason"] == "no_progress"
    assert spool.locate(name) == [FAILED]


# Failed jobs


def test_a_failed_job_is_retried_until_its_attempts_are_used_up(
    spool: Spool, put: Put, pass_: Recover
) -> None:
    name = put(FAILED, 0, LAST_OUTCOME="failed", LAST_REASON="rc_1")
    for attempts in ("1", "2", "3"):
        assert act(pass_()) == [
            {"action": "retry_failed", "job": name, "attempts": attempts, "reason": "rc_1"}
        ]
        job = spool.read(PENDING, name)
        spool.file(PENDING, name).unlink()
        put(FAILED, 0, **{**job.extra, "LAST_OUTCOME": "failed"})
    for _ in range(2):
        assert act(pass_()) == [
            {
                "action": "hold_failed",
                "job": name,
                "attempts": "3",
                "reason": "attempts_exhausted",
            }
        ]
    assert spool.locate(name) == [FAILED]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no_offset"),
        (b"\x00\xff", "not_key_value"),
        (b"OFFSET=-1\n", "bad_offset"),
        (b"OFFSET=" + b"1" * 300 + b"\n", "bad_offset"),
        (b"OFFSET=1\n", "name_mismatch"),
        (b"OFFSET=0\nATTEMPTS=x\n", "bad_count"),
        (b"x" * 1_000_000, "too_large"),
    ],
)
def test_a_malformed_job_is_moved_back_by_nobody_until_it_is_mended(
    content: bytes, reason: str, spool: Spool, put: Put, pass_: Recover
) -> None:
    name = put(RUNNING, 0, content)
    pass_()
    for _ in range(2):
        assert act(pass_()) == [{"action": "skip_failed", "job": name, "reason": reason}]
        assert spool.file(FAILED, name).read_bytes() == content
    put(FAILED, 0)
    assert act(pass_())[0]["action"] == "retry_failed"
    assert spool.locate(name) == [PENDING]


@pytest.mark.parametrize("name", ["two words", "two\nlines", "a=b", "tab\there", "esc\x1b[31mred"])
def test_a_strange_file_name_does_not_break_the_lines(
    name: str, spool: Spool, pass_: Recover
) -> None:
    spool.file(FAILED, f"demo_off{name}").write_text("OFFSET=0\n")
    assert act(pass_())[0]["action"] == "skip_failed"


def test_a_job_copied_into_two_states_is_warned_of_and_left_and_the_others_are_recovered(
    spool: Spool, put: Put, pass_: Recover
) -> None:
    for state in (RUNNING, DONE):
        put(state, 0)
    put(RUNNING, 1)
    lines = act(pass_())
    assert [(line["action"], line["job"]) for line in lines] == [
        ("warn", "demo_off0"),
        ("requeue_orphan", "demo_off1"),
    ]
    assert spool.locate("demo_off0") == [RUNNING, DONE]
    assert spool.locate("demo_off1") == [PENDING]


def test_a_job_that_cannot_be_settled_does_not_keep_the_others_from_it(
    spool: Spool, put: Put, pass_: Recover
) -> None:
    for offset in (0, 1):
        name = put(RUNNING, offset)
        execution.begin(spool.result_file(name), 1, 0, "-1")
        with open(spool.result_file(name), "a") as file:
            file.write("PID=1\nSTOPPED=1\nRC=143\n")
    spool.config.log_file(0).mkdir()
    lines = act(pass_())
    assert [(line["action"], line["job"]) for line in lines] == [
        ("warn", "demo_off0"),
        ("finish", "demo_off1"),
    ]
    assert spool.locate("demo_off0") == [RUNNING]


# Owner files


@pytest.mark.parametrize("state", [None, PENDING, DONE, FAILED])
def test_an_owner_file_without_a_running_job_is_removed(
    state: JobState | None, spool: Spool, put: Put, pass_: Recover
) -> None:
    if state:
        put(state, 0, LAST_OUTCOME="found")
    owner(spool, "demo_off0")
    lines = act(pass_())
    assert {"action": "warn", "job": "demo_off0", "reason": "stale_owner_file_removed"} in lines
    assert spool.owners() == []


def test_an_owner_file_whose_job_is_being_claimed_is_left(spool: Spool, pass_: Recover) -> None:
    owner(spool, "demo_off0")
    held = spool.lock("demo_off0")
    assert held is not None
    with held:
        assert act(pass_()) == []
    assert spool.owners() == ["demo_off0"]


# The pass


def test_the_summary_counts_what_was_looked_at_and_what_was_done(
    env_file: object, spool: Spool, put: Put, pass_: Recover, config: Config
) -> None:
    from dataclasses import replace

    spool.config = replace(config, stride=32)
    for offset in (0, 1, 2):
        put(RUNNING, offset)
    owner(spool, put(RUNNING, 3))
    held = spool.lock(put(RUNNING, 4))
    assert held is not None
    for offset in (10, 11):
        put(FAILED, offset, LAST_OUTCOME="failed")
    for offset in (12, 13, 14):
        put(FAILED, offset, b"malformed")
    for offset in (15, 16, 17, 18):
        put(FAILED, offset, LAST_OUTCOME="found")
    put(PENDING, 20)
    put(DONE, 21)
    with held:
        summary = pass_()[-1]
    del summary["ts"]
    assert summary == {
        "action": "summary",
        "jobset": "demo",
        "scanned_running": "5",
        "requeued_orphans": "3",
        "scanned_failed": "9",
        "retried_failed": "2",
        "skipped_failed": "3",
        "held_failed": "4",
    }


def test_a_second_recovery_leaves_everything_to_the_first(spool: Spool, put: Put) -> None:
    put(RUNNING)
    lines: list[str] = []
    first = try_lock(spool.config.run_dir / "recover.lock")
    assert first is not None
    with first:
        assert recover(spool, lines.append) is False
    assert lines == []
    assert spool.locate("demo_off0") == [RUNNING]
    assert recover(spool, lines.append) is True


def test_recoveries_at_once_requeue_every_orphan_once(
    config: Config, spool: Spool, put: Put
) -> None:
    from dataclasses import replace

    wide = replace(config, stride=200)
    spool.config = wide
    names = [put(RUNNING, offset) for offset in range(200)]
    lines: list[str] = []
    together = threading.Barrier(4)

    def one() -> None:
        mine = Spool(wide)
        together.wait()
        recover(mine, lines.append)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    requeued = [line for line in lines if "action=requeue_orphan" in line]
    assert len(requeued) == 200
    assert sorted(spool.names(PENDING)) == sorted(names)
    assert spool.names(RUNNING) == []


def test_a_job_whose_log_somebody_reads_without_end_does_not_keep_others_from_being_recovered(
    config: Config, spool: Spool, put: Put, pass_: Recover
) -> None:
    names = [put(RUNNING, offset) for offset in (0, 1)]
    reader = Reader.open(config, names[0], 0)
    assert reader is not None
    with reader, mock.patch("sagequeue.ledger._PATIENCE", 0.1):
        warning, requeued = act(pass_())
    assert (warning["action"], warning["job"]) == ("warn", names[0])
    assert "is_locked_by_a_process" in warning["reason"]
    assert (requeued["action"], requeued["job"]) == ("requeue_orphan", names[1])
    assert [spool.locate(name) for name in names] == [[RUNNING], [PENDING]]


def test_a_pass_over_a_recovered_queue_does_nothing_more(
    spool: Spool, put: Put, pass_: Recover
) -> None:
    put(RUNNING, 0)
    put(FAILED, 1, LAST_OUTCOME="failed")
    assert len(act(pass_())) == 2
    assert act(pass_()) == []


def test_recovery_prints_to_standard_output_at_once(
    spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    recover(spool)
    assert "action=summary" in capsys.readouterr().out
    recovery.say("[recover] x")
    assert capsys.readouterr().out == "[recover] x\n"
