"""The record of one execution: what can be read of it, and what it means."""

from dataclasses import replace
from pathlib import Path

import pytest
from sagequeue import execution
from sagequeue.execution import UNKNOWN, Execution, judge
from sagequeue.jobs import Outcome

DONE, FAILED, INTERRUPTED, PAUSED, _ = Outcome
HEAD = "WORKER=2\nEXECUTION=abc\nSTARTED=2024-01-01T00:00:00+00:00\nLOG_START=17\nGIDX=4\n"


def ran(rc: int | None, *, stopped: bool = False, gate_seen: bool = False) -> Execution:
    return Execution("2", "abc", 0, "", 4711, rc, stopped, gate_seen)


@pytest.mark.parametrize(
    ("run", "complete", "gate", "outcome", "reason"),
    [
        # no result came
        (ran(None), True, False, INTERRUPTED, "no_result"),
        (ran(None, stopped=True), False, True, INTERRUPTED, "stopped"),
        (ran(None, stopped=True), True, False, INTERRUPTED, "stopped"),
        (ran(None, gate_seen=True), False, True, INTERRUPTED, "no_result"),
        # 0, and the state file says that it is complete: nothing else matters
        (ran(0), True, False, DONE, ""),
        (ran(0), True, True, DONE, ""),
        (ran(0, gate_seen=True), True, True, DONE, ""),
        (ran(0, stopped=True), True, False, DONE, ""),
        # 0, and it is not complete
        (ran(0), False, False, FAILED, "incomplete"),
        (ran(0), False, True, PAUSED, "stop_gate"),
        (ran(0, gate_seen=True), False, False, PAUSED, "stop_gate"),
        (ran(0, stopped=True), False, False, INTERRUPTED, "stopped"),
        (ran(0, stopped=True, gate_seen=True), False, True, INTERRUPTED, "stopped"),
        # 0, and the total is not known
        (ran(0), None, False, DONE, ""),
        (ran(0), None, True, PAUSED, "stop_gate"),
        (ran(0, gate_seen=True), None, False, PAUSED, "stop_gate"),
        (ran(0, stopped=True), None, False, INTERRUPTED, "stopped"),
        # its own failure, whatever the state file and the gate say
        (ran(1), False, False, FAILED, "rc_1"),
        (ran(2), True, False, FAILED, "rc_2"),
        (ran(1), None, True, FAILED, "rc_1"),
        (ran(1, gate_seen=True), False, True, FAILED, "rc_1"),
        (ran(126), False, False, FAILED, "rc_126"),
        (ran(127), False, False, FAILED, "rc_127"),
        (ran(128), False, False, FAILED, "rc_128"),
        # a signal that none of us sent, the out-of-memory killer's included
        (ran(137), False, False, FAILED, "signal_9"),
        (ran(139), False, True, FAILED, "signal_11"),
        (ran(143), False, False, FAILED, "signal_15"),
        (ran(192), False, False, FAILED, "signal_64"),
        # what is above 128 + 64 is no signal: Linux has 64
        (ran(193), False, False, FAILED, "rc_193"),
        (ran(255), False, False, FAILED, "rc_255"),
        (ran(255, gate_seen=True), True, True, FAILED, "rc_255"),
        (ran(255, stopped=True), False, False, INTERRUPTED, "stopped"),
        # a signal of ours, and what the workload makes of it
        (ran(143, stopped=True), False, False, INTERRUPTED, "stopped"),
        (ran(137, stopped=True), False, True, INTERRUPTED, "stopped"),
        (ran(1, stopped=True), None, False, INTERRUPTED, "stopped"),
        (ran(143, stopped=True), True, False, INTERRUPTED, "stopped"),
    ],
)
def test_an_execution_is_judged(
    run: Execution, complete: bool | None, gate: bool, outcome: Outcome, reason: str
) -> None:
    assert judge(run, complete=complete, gate=gate) == (outcome, reason)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("latin-1"))
    return path


def test_a_record_grows_from_its_head_to_its_result(tmp_path: Path) -> None:
    path = tmp_path / "demo_off0.result"
    word = execution.begin(path, 2, 17, "4")
    head = Execution("2", word, 17, "4", None, None, False, False, format=2)
    assert execution.read(path) == head
    assert not head.started
    with open(path, "a") as file:
        file.write("PID=4711\n")
        file.flush()
        preparsing = replace(head, wrapper=4711)
        assert execution.read(path) == preparsing
        assert not preparsing.started
        file.write("RUN=1\n")
        file.flush()
        running = replace(preparsing, run=True)
        assert execution.read(path) == running
        assert running.started
        file.write("STOPPED=1\nRC=143\n")
    assert execution.read(path) == replace(running, stopped=True, rc=143)


def test_a_record_of_an_older_release_began_with_its_wrapper(tmp_path: Path) -> None:
    run = execution.read(write(tmp_path / "r", HEAD))
    assert run is not None
    assert not run.started
    run = execution.read(write(tmp_path / "r", HEAD + "PID=4711\n"))
    assert run is not None
    assert run.started


@pytest.mark.parametrize("number", ["2", "3"])
def test_a_result_tells_that_it_was_started_whatever_else_was_lost(
    tmp_path: Path, number: str
) -> None:
    run = execution.read(write(tmp_path / "r", f"FORMAT={number}\n{HEAD}RC=0\n"))
    assert run is not None
    assert run.started


def test_a_record_that_cannot_be_read_may_have_been_started() -> None:
    assert UNKNOWN.started


def test_a_record_says_whether_output_was_cut_off(tmp_path: Path) -> None:
    assert execution.read(write(tmp_path / "r", HEAD + "PID=1\nRC=0\n")) == Execution(
        "2", "abc", 17, "4", 1, 0, stopped=False, gate_seen=False, cut=False
    )
    assert execution.read(write(tmp_path / "r", HEAD + "PID=1\nCUT=1\nRC=0\n")) == Execution(
        "2", "abc", 17, "4", 1, 0, stopped=False, gate_seen=False, cut=True
    )


def test_a_new_head_takes_the_place_of_all_that_was_there(tmp_path: Path) -> None:
    path = write(tmp_path / "r", HEAD + "PID=1\nSTOPPED=1\nGATE=1\nRC=143\n")
    word = execution.begin(path, 5, 99, "4")
    assert execution.read(path) == Execution("5", word, 99, "4", None, None, False, False, format=2)


@pytest.mark.parametrize("after", ["", "PID=4711\n", "PID=4711\nRC=0\n"])
def test_a_gate_can_be_noted_at_any_time_and_more_than_once(tmp_path: Path, after: str) -> None:
    path = write(tmp_path / "r", HEAD + after)
    before = execution.read(path)
    assert before is not None
    assert not before.gate_seen
    execution.note_gate(path)
    execution.note_gate(path)
    run = execution.read(path)
    assert run is not None
    assert run.gate_seen
    assert (run.wrapper, run.rc) == (before.wrapper, before.rc)


def test_a_gate_between_two_writes_of_the_wrapper_changes_neither(tmp_path: Path) -> None:
    path = write(tmp_path / "r", HEAD)
    with open(path, "a") as wrapper:
        wrapper.write("PID=4711\n")
        wrapper.flush()
        execution.note_gate(path)
        wrapper.write("RC=0\n")
    assert execution.read(path) == Execution("2", "abc", 17, "4", 4711, 0, False, True)


def test_a_gate_is_not_noted_where_nothing_was_executed(tmp_path: Path) -> None:
    execution.note_gate(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", range(len("PID=4711\nSTOPPED=1\nRC=143\n") + 1))
def test_a_line_without_its_end_is_not_read(tmp_path: Path, length: int) -> None:
    body = "PID=4711\nSTOPPED=1\nRC=143\n"
    run = execution.read(write(tmp_path / "r", HEAD + body[:length]))
    whole = body[:length].count("\n")
    assert run == Execution(
        "2",
        "abc",
        17,
        "4",
        4711 if whole >= 1 else None,
        143 if whole == 3 else None,
        whole >= 2,
        False,
    )


@pytest.mark.parametrize(
    "cut", ["", "WORKER=2", "WORKER=2\nSTARTED=2024", HEAD.partition("LOG")[0]]
)
def test_a_head_that_was_cut_off_tells_nothing(tmp_path: Path, cut: str) -> None:
    assert execution.read(write(tmp_path / "r", cut)) == UNKNOWN


@pytest.mark.parametrize("cut", ["R", "RC=", "RC=1", "STOPPED=1\nRC=14"])
def test_a_cut_off_line_that_got_something_appended_does_not_hide_that_it_ran(
    tmp_path: Path, cut: str
) -> None:
    path = write(tmp_path / "r", HEAD + "PID=4711\n" + cut)
    execution.note_gate(path)
    run = execution.read(path)
    assert run is not None, "the job would count as never started, and its log not be searched"
    assert (run.wrapper, run.rc) == (4711, None)


@pytest.mark.parametrize(
    "text",
    [
        "\x00" * 100,
        "\xff\xfe\n",
        "nonsense\n",
        "LOG_START=many\n",
        "LOG_START=" + "9" * 5000 + "\n",
        "EXECUTION=ab\nLOG_START=-1\n",
        "EXECUTION=ab\nLOG_START=0\nPID=-1\n",
        "WORKER=2\n",
    ],
)
def test_what_is_no_record_tells_nothing(tmp_path: Path, text: str) -> None:
    assert execution.read(write(tmp_path / "r", text)) == UNKNOWN


def test_a_record_that_is_not_there_is_told_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    assert execution.read(tmp_path / "r") is None
    assert execution.read(tmp_path) == UNKNOWN


def test_a_stop_is_noted_in_the_record_of_that_execution_and_of_no_other(tmp_path: Path) -> None:
    path = tmp_path / "r"
    execution.begin(path, 2, 17, "4")
    first = execution.read(path)
    assert first is not None
    execution.note_stop(path, first)
    run = execution.read(path)
    assert run is not None
    assert run.stopped
    execution.begin(path, 2, 17, "4")
    before = path.read_bytes()
    execution.note_stop(path, first)
    execution.note_stop(path, UNKNOWN)
    assert path.read_bytes() == before
    path.unlink()
    execution.note_stop(path, first)
    assert not path.exists()


def test_an_inode_may_have_twenty_digits(tmp_path: Path) -> None:
    path = tmp_path / "demo_off0.result"
    word = execution.begin(path, 1, 0, "-1", 2**64 - 1)
    run = execution.read(path)
    assert run is not None
    assert (run.word, run.log_inode) == (word, 2**64 - 1)
