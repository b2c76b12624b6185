"""A log is read once, on from where reading ended, whatever is done to it and whatever crashes."""

import fcntl
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from kinds import Put
from sagequeue import execution, findings, ledger, position, recovery, unread
from sagequeue.config import Config
from sagequeue.execution import Execution
from sagequeue.jobs import JobState
from sagequeue.live_log import LiveLog
from sagequeue.output import Output
from sagequeue.reading import Reader, never
from sagequeue.solutions import Pattern
from sagequeue.spool import Spool

NAME = "demo_off0"
START = "[worker 1] start offset=0\n"


def solved(case: int) -> str:
    return f"[t] START gidx={case} x\nFOUND g={case}\n[t] DONE  gidx={case} sat=True dt=1.0s\n"


class Log:
    """The log of offset 0, its writer, and its readers."""

    def __init__(self, spool: Spool) -> None:
        self.config = spool.config
        self.path = self.config.log_file(0)
        self.out = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.run = self.begin("first")

    def begin(self, word: str) -> Execution:
        """A new execution: its worker writes the first line."""
        status = os.fstat(self.out)
        self.write(START)
        run = replace(execution.UNKNOWN, word=word, wrapper=1, gidx="-1")
        self.run = replace(run, log_start=status.st_size, log_inode=status.st_ino)
        return self.run

    def write(self, text: str | bytes) -> None:
        os.write(self.out, text.encode() if isinstance(text, str) else text)

    def read(
        self, *, over: bool = False, log: int | None = None, ask: Callable[[], bool] = never
    ) -> bool:
        with self.reader() as reader:
            return reader.read(self.run, log, over=over, interrupted=ask)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        reader = Reader.open(self.config, NAME, 0)
        assert reader is not None
        with reader:
            yield reader

    def settle(self) -> None:
        with self.reader() as reader:
            reader.read(self.run, over=True)
            reader.end({"kind": ledger.EXECUTION, "execution": self.run.word})

    def found(self) -> list[int]:
        return [finding["g"] for finding in findings.read(self.config)]

    def cases(self) -> list[int]:
        lines = ledger.read(self.config.ledger_dir / f"{NAME}.jsonl")
        return [line["gidx"] for line in lines if line["kind"] == ledger.CASE]

    @property
    def at(self) -> position.Position:
        return position.load(self.config, NAME, 0)


@pytest.fixture
def log(spool: Spool) -> Iterator[Log]:
    made = Log(spool)
    yield made
    os.close(made.out)


def test_each_part_of_a_log_is_read_once(log: Log) -> None:
    inode, read = log.run.log_inode, []
    real = os.pread

    def pread(fd: int, length: int, begin: int) -> bytes:
        if os.fstat(fd).st_ino == inode and length > 64:
            read.append((begin, length))
        return real(fd, length, begin)

    log.read()
    for case in (0, 4, 8):
        log.write(solved(case) + "x" * 100 + "\n")
        with mock.patch("os.pread", pread):
            log.read()
    size = len(solved(0)) + 101
    begin = len(START)
    assert read == [(begin, size), (begin + size, size), (begin + 2 * size, size)]
    assert (log.found(), log.cases()) == ([0, 4, 8], [0, 4, 8])


def test_lines_that_say_nothing_are_not_taken_one_by_one(log: Log) -> None:
    """Logs of gigabytes have a few lines that say something."""
    log.write("tick\n" * 1000 + solved(0) + "tick\n" * 1000)
    with mock.patch.object(Output, "_line", autospec=True, side_effect=Output._line) as taken:
        log.read()
    assert (log.found(), log.cases()) == ([0], [0])
    assert taken.call_count == len(solved(0).splitlines())


def test_a_look_at_what_did_not_change_writes_nothing(log: Log) -> None:
    log.write(solved(0))
    log.read()
    path = position.file(log.config, NAME)
    before = path.stat().st_ino
    log.read()
    assert path.stat().st_ino == before


def test_a_line_without_its_end_is_left_until_nothing_writes_there(log: Log) -> None:
    log.write("FOUND g=")
    log.read()
    log.write("1")
    log.read()
    assert log.found() == []
    log.write("2")
    log.read(over=True)
    assert log.found() == [12]


# What log rotation does


def test_a_log_that_was_renamed_is_followed(log: Log) -> None:
    log.write(solved(0))
    log.read()
    log.path.rename(f"{log.path}.1")
    log.path.touch()
    log.write(solved(4))
    log.read()
    Path(f"{log.path}.1").rename(f"{log.path}-20261128")
    log.write(solved(8))
    log.settle()
    assert (log.found(), log.cases()) == ([0, 4, 8], [0, 4, 8])
    assert not log.at.lost
    assert log.at.inode == log.path.stat().st_ino, "the next execution writes there"


def test_a_log_that_was_moved_away_or_deleted_is_read_by_whoever_has_it_open(log: Log) -> None:
    log.write(solved(0))
    log.read()
    log.path.unlink()
    log.write(solved(4))
    log.read()  # this process has it open, as a solver has
    assert log.found() == [0, 4]
    assert not log.at.lost


def test_a_worker_keeps_the_log_open(log: Log) -> None:
    live = LiveLog(log.config, NAME, 0)
    live.look(log.run, never)
    log.path.unlink()
    log.write(solved(0))
    with mock.patch("sagequeue.logfile.find", side_effect=AssertionError("it is open")):
        live.look(log.run, never)
    assert log.found() == [0]
    log.write(solved(4))
    log.read(over=True, log=live.log)
    assert log.found() == [0, 4]
    live.close()


@pytest.mark.parametrize("settled", [True, False])
def test_another_offsets_log_that_took_the_inode_of_one_that_is_gone_is_not_read(
    log: Log, settled: bool
) -> None:
    """A file system gives the inode of a file that was removed to the next one that is made."""
    log.write(solved(0))
    log.settle()
    log.path.unlink()
    os.close(log.out)
    other = log.config.log_file(1)
    other.write_text("[worker 2] start offset=1\n[t] START gidx=1 x\nFOUND g=1\n")
    with other.open():  # as its solver has
        if settled:
            with log.reader() as reader:
                reader.at.inode, reader.out.changed = other.stat().st_ino, True
        log.out = os.open(log.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        log.begin("second")
        if not settled:  # nothing was read of it yet
            log.run = replace(log.run, log_inode=other.stat().st_ino)
        log.write(solved(4))
        log.read(over=True)
    assert (log.found(), log.at.lost) == ([0, 4], not settled)


def test_a_worker_that_was_stopped_does_not_read_on_for_an_execution_that_was_settled(
    log: Log,
) -> None:
    live, old = LiveLog(log.config, NAME, 0), log.run
    live.look(old, never)
    log.write(solved(0))
    log.settle()
    live.look(old, never)
    assert log.at.over
    log.begin("second")
    log.write(solved(4))
    log.read()
    log.write("more\n")
    live.look(old, never)
    assert (log.at.execution, log.at.solutions) == ("second", 1)
    live.close()


@pytest.mark.parametrize("rotated", [False, True])
def test_recovery_does_not_read_on_for_an_execution_that_was_settled_since_its_record_was_read(
    log: Log, spool: Spool, put: Put, rotated: bool
) -> None:
    put(JobState.RUNNING)
    old = log.run
    log.write(solved(0))

    def meanwhile(path: Path) -> str:
        """The first execution is settled, and the next one begins and prints."""
        log.settle()
        if rotated:
            log.path.rename(f"{log.path}.1")
            os.close(log.out)
            log.out = os.open(log.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        log.begin("second")
        log.write(solved(4))
        log.read()
        log.write("more\n")
        return "owner_pid_dead"

    lock = spool.lock(NAME)
    assert lock is not None
    with (
        lock,
        mock.patch("sagequeue.execution.read", return_value=old),
        mock.patch("sagequeue.recovery.orphan_reason", meanwhile),
    ):
        recovery.recover(spool)
    assert (log.at.execution, log.at.solutions, log.at.over) == ("second", 1, False)
    log.settle()
    assert (log.found(), log.at.lost) == ([0, 4], False)


def test_a_log_that_was_emptied_before_the_execution_is_read_while_it_grows(log: Log) -> None:
    log.write(solved(0) + "x" * 1000)
    log.settle()
    os.truncate(log.path, 0)
    run, live = log.begin("second"), LiveLog(log.config, NAME, 0)
    live.look(run, never)
    log.write(solved(4))
    live.look(run, never)
    assert log.found() == [0, 4]
    live.close()


@pytest.mark.parametrize("at_once", [False, True])
def test_what_an_editor_copies_into_a_new_file_does_not_count_again(
    log: Log, at_once: bool
) -> None:
    """As `sed -i` does: the solver writes on into the file that it has, which has no name."""

    def edit() -> None:
        copy = log.path.with_name("sedXYZ")
        shutil.copy(log.path, copy)
        copy.rename(log.path)

    log.write(solved(0))
    log.settle()
    log.begin("second")
    log.write(solved(4))
    log.read()
    if not at_once:
        edit()
        log.write(solved(8))
        log.read()
    else:
        log.write(solved(8))
        edit()
    log.settle()
    assert (log.found(), log.at.lost) == ([0, 4, 8], False)
    assert (log.at.execution, log.at.solutions, log.at.new) == ("second", 2, 2)


@pytest.mark.parametrize("read", [False, True])
def test_a_copy_in_the_place_of_the_log_counts_for_its_execution(log: Log, read: bool) -> None:
    """A queue that was moved to another disk: the inode in the record is of no file there."""
    log.write(solved(0))
    log.settle()
    log.begin("second")
    log.write(solved(4))
    if read:
        log.read()
    copy = log.path.with_name("copy")
    shutil.copy(log.path, copy)
    copy.rename(log.path)
    os.dup2(os.open(log.path, os.O_WRONLY | os.O_APPEND), log.out)
    for _ in range(2):
        log.read(over=True)
        assert (log.found(), log.at.execution, log.at.solutions) == ([0, 4], "second", 1)
        assert log.at.lost, "nobody knows what the log had more"


def test_a_solution_that_is_only_in_the_file_of_the_logs_name_counts(log: Log) -> None:
    """A process may have opened the log by its name."""
    log.read()
    log.path.rename(f"{log.path}.1")
    log.path.write_text(solved(0))
    log.settle()
    assert (log.found(), log.at.solutions, log.at.new) == ([0], 1, 1)


def test_a_log_that_is_gone_has_lost_something(log: Log) -> None:
    log.write(solved(0))
    log.read()
    log.path.unlink()
    os.close(log.out)
    log.out = os.open(log.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    log.read(over=True)
    assert log.at.lost
    log.begin("second")
    log.write(solved(4))
    log.settle()
    assert not log.at.lost
    assert log.found() == [0, 4]


@pytest.mark.parametrize("longer", [False, True])
def test_a_log_that_was_truncated_is_read_from_its_start(log: Log, longer: bool) -> None:
    log.write(solved(0))
    log.read()
    os.truncate(log.path, 0)
    log.write(solved(4) * (2 if longer else 1) + ("x" * 1000 + "\n" if longer else ""))
    log.read()
    assert log.found() == [0, 4]
    assert log.at.lost, "what was written before and not read may be gone"


def test_what_was_not_read_before_a_truncation_is_read_from_the_copy(log: Log) -> None:
    log.write(solved(0))
    log.read()
    log.write(solved(4))
    shutil.copy(log.path, f"{log.path}.1")
    os.truncate(log.path, 0)
    log.write(solved(8))
    log.settle()
    assert log.found() == [0, 4, 8]
    assert log.cases() == [0, 4, 8]
    assert log.at.lost


@pytest.mark.parametrize("read", [True, False])
def test_a_truncation_in_an_execution_that_was_not_read_yet_has_lost_something(
    log: Log, read: bool
) -> None:
    """An earlier execution of the same log was read to its end."""
    log.write(solved(0))
    log.settle()
    log.begin("second")
    if read:
        log.read()
    log.write("FOUND g=1\n")
    os.truncate(log.path, 0)
    log.write(solved(4))
    log.read(over=True)
    assert (log.found(), log.at.lost, log.at.solutions) == ([0, 4], True, 1)


@pytest.mark.parametrize("read", [True, False])
def test_what_came_between_two_truncations_is_read_from_the_second_copy(
    log: Log, read: bool
) -> None:
    log.write(solved(0))
    log.settle()
    log.begin("second")
    if read:
        log.read()
    for case in (4, 8):
        log.write(solved(case))
        copy = Path(f"{log.path}.{9 - case}")
        shutil.copy(log.path, copy)
        os.utime(copy, (case, case))
        os.truncate(log.path, 0)
    log.write(solved(12))
    log.read(over=True)
    assert sorted(log.found()) == [0, 4, 8, 12]
    assert (log.at.solutions, log.at.lost) == (3, True)
    assert log.cases() == [0, 4, 8, 12]


@pytest.mark.parametrize("read", [True, False])
def test_a_case_is_not_confirmed_whose_lines_were_truncated_before_it_was_done(
    log: Log, read: bool
) -> None:
    """The `DONE` line is there, and a solution before it may not be."""
    log.write("[t] START gidx=0 x\n")
    if read:
        log.read()
    log.write("FOUND g=1\n")
    os.truncate(log.path, 0)
    log.write("[t] DONE  gidx=0 dt=1.0s\n")
    log.read()
    log.write(solved(4))
    log.settle()
    assert (log.cases(), log.at.summary.done.pairs) == ([0, 4], [[1, 1]])
    log.begin("second")
    log.write(solved(0))
    log.settle()
    assert log.at.summary.done.pairs == [[0, 1]]


def test_a_log_that_was_emptied_between_executions_has_lost_nothing(log: Log) -> None:
    log.write(solved(0))
    log.settle()
    os.truncate(log.path, 0)
    log.begin("second")
    log.write(solved(4))
    log.settle()
    assert log.found() == [0, 4]
    assert not log.at.lost


@pytest.mark.parametrize("longer", [False, True])
def test_a_log_that_was_truncated_before_it_was_read_once_has_lost_something(
    log: Log, longer: bool
) -> None:
    log.begin("second")
    os.truncate(log.path, 0)
    log.write(solved(0) + "x\n" * 1000 * longer)
    log.read()
    assert log.found() == [0]
    assert log.at.lost


def test_a_truncated_log_that_grew_by_the_same_lines_again_is_no_continuation(log: Log) -> None:
    """What was read last is there again, at the same place."""
    log.write("tick\n" * 1000)
    log.read()
    read = log.path.read_bytes()
    os.truncate(log.path, 0)
    log.write("FOUND g=11\n" + "tick\n" * 1200)
    assert log.path.read_bytes()[len(read) - 100 : len(read)] == read[-100:]
    log.read(over=True)
    assert (log.found(), log.at.lost) == ([11], True)


def test_another_offsets_log_is_no_copy(log: Log) -> None:
    log.write(solved(0))
    log.read()
    other = log.path.with_name(log.path.name.replace("off0", "off01"))
    other.write_text(solved(0) + solved(40))
    os.truncate(log.path, 0)
    log.read()
    assert log.found() == [0]


# Whose output it is


def test_what_was_left_over_is_read_before_the_next_execution(log: Log) -> None:
    log.write(solved(0))
    log.settle()
    log.write(solved(4))
    log.begin("second")
    log.write(solved(8))
    log.settle()
    assert log.found() == [0, 4, 8]
    assert log.at.solutions == 1, "the next execution printed one of them"
    lines = [*ledger.read(log.config.ledger_dir / f"{NAME}.jsonl")]
    words = [line["execution"] for line in lines if line["kind"] == ledger.CASE]
    assert words == ["first", "first", "second"]


def test_what_is_left_over_for_good_is_found_by_recovery(log: Log, spool: Spool) -> None:
    from sagequeue import recovery

    log.write(solved(0))
    log.settle()
    assert [*unread.logs(log.config)] in ([], [(0, False)])
    log.write(solved(4))
    assert [offset for offset, _ in unread.logs(log.config)] == [0]
    recovery.recover(spool, lambda line: None)
    assert log.found() == [0, 4]
    assert [*unread.logs(log.config)] == []


def test_logs_of_an_earlier_release_are_read_from_the_oldest_on(log: Log) -> None:
    Path(f"{log.path}.1").write_text(solved(0) + "[t] START gidx=4 x\n")
    os.utime(f"{log.path}.1", (1, 1))
    log.write(solved(4) + solved(8))
    log.run = replace(log.run, log_inode=None)
    log.read(over=True)
    assert log.found() == [0, 4, 8]


def test_the_directory_of_logs_is_not_listed_for_each_job(log: Log) -> None:
    log.run = replace(log.run, first=True)
    log.write(solved(3))
    with mock.patch.object(os, "scandir", side_effect=AssertionError("it was listed")):
        assert log.read(over=True)
    assert log.found() == [3]


@pytest.mark.parametrize("how", ["copied and truncated", "renamed", "renamed and made anew"])
def test_the_first_executions_log_is_found_that_was_rotated_before_it_was_read(
    log: Log, how: str
) -> None:
    log.run = replace(log.run, first=True)
    log.write(solved(3))
    if how == "copied and truncated":
        shutil.copy(log.path, f"{log.path}.1")
        os.truncate(log.path, 0)
    else:
        log.path.rename(f"{log.path}.1")
    if how == "renamed and made anew":
        log.path.touch()
    log.write(solved(4))
    log.read(over=True)
    assert log.found() == [3, 4]


def test_an_earlier_releases_solver_is_followed_when_its_log_is_renamed(log: Log) -> None:
    log.run = replace(log.run, log_inode=None)
    log.write(solved(0))
    log.read()
    log.path.rename(f"{log.path}.1")
    log.path.touch()
    log.write(solved(4))
    log.read()
    log.write(solved(8))
    log.read(over=True)
    assert log.found() == [0, 4, 8]


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("live", [True, False])
def test_an_earlier_releases_solver_is_followed_when_its_log_was_renamed_before(
    log: Log, live: bool, empty: bool
) -> None:
    """Before this release has looked once."""
    old = Path(f"{log.path}.2")
    old.write_text(START + solved(0))
    os.utime(old, (1, 1))
    log.write(solved(4))
    log.path.rename(f"{log.path}.1")
    if empty:
        log.path.touch()
    log.run = replace(log.run, log_inode=None)
    looking = LiveLog(log.config, NAME, 0)
    looking.look(log.run, never)
    if live:
        looking.look(log.run, never)
    log.write(solved(8))
    log.read(over=True, log=looking.log)
    looking.close()
    assert (log.found(), log.at.lost, log.at.solutions) == ([0, 4, 8], False, 2)


def test_who_reads_keeps_others_out(log: Log) -> None:
    with log.reader():
        assert Reader.open(log.config, NAME, 0, wait=False) is None


def test_who_reads_is_not_waited_for_without_end(log: Log) -> None:
    """It may have been stopped."""
    with (
        log.reader(),
        mock.patch("sagequeue.ledger._PATIENCE", 0.1),
        pytest.raises(TimeoutError, match=r"demo_off0\.jsonl is locked by a process"),
    ):
        Reader.open(log.config, NAME, 0)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_the_output_of_a_program_that_writes_utf_16_is_read(log: Log, encoding: str) -> None:
    text = (solved(0) + solved(4)).replace("[t] DONE", "Found perm: [1,0]\n[t] DONE")
    log.write(text.replace("\n", "\r\n").encode(encoding))
    log.write("[worker 1] done offset=0\n")
    log.read(over=True)
    assert (log.found(), log.cases(), log.at.near) == ([0, 4], [0, 4], [])
    assert [finding["perm"] for finding in findings.read(log.config)] == [[1, 0]] * 2


# Long lines and long logs


def test_a_progress_bar_that_never_ends_its_line_is_cut(log: Log) -> None:
    log.write("".join(f"\r{k}/999999 [####      ]" for k in range(100_000)) + "\r FOUND g=3\n")
    log.read()
    assert log.found() == [3]


def test_what_a_progress_bar_of_another_thread_was_drawn_over_is_read(log: Log) -> None:
    """Without a buffer Python writes a line and its end apart, and the bar comes in between."""
    bar = "\r 50%|###   | 3/6 [00:01<00:01]"
    log.write((bar + solved(0) + solved(4)).replace("\n", f"{bar}\n"))
    log.write(f"FOUND g=8{bar}{bar}\nFound perm: [1]{bar}\n[t] DONE  gidx=8\r\r\n")
    log.read(over=True)
    assert (log.found(), log.cases()) == ([0, 4, 8], [0, 4, 8])
    assert [finding.get("perm") for finding in findings.read(log.config)] == [None, None, [1]]


def test_a_display_that_is_drawn_again_and_again_is_one_solution_at_most(log: Log) -> None:
    log.write("".join(f"\rFOUND g={k} so far" for k in range(1000)) + "\rready\n")
    log.write("".join(f"\rFOUND g={k}" for k in range(1000)) + "\n")
    log.read(over=True)
    assert log.found() == [999]


def test_a_solution_of_megabytes_is_kept_whole(log: Log) -> None:
    numbers = list(range(400_000))
    log.write(f"FOUND g=4\nFound perm: {numbers}\n")
    log.read(over=True)
    assert findings.read(log.config)[0]["perm"] == numbers


def test_a_solution_across_the_parts_that_are_read_at_once_is_found(log: Log) -> None:
    for end in range(5):
        log.write(b"x" * ((1 << 20) - 4 + end - 1) + b"\n")
        log.write(f"FOUND g={end}\n[t]\n")
        log.read()
    assert sorted(log.found()) == [0, 1, 2, 3, 4]


def test_reading_can_be_interrupted_and_goes_on(log: Log) -> None:
    log.write(b"x\n" * (1 << 20) + solved(0).encode() + b"y\n" * (1 << 20) + solved(4).encode())
    asked = iter([False, False, True])
    assert not log.read(ask=lambda: next(asked))
    assert 0 < log.at.byte < os.fstat(log.out).st_size
    assert log.read()
    assert log.found() == [0, 4]


# What looks like a solution


def test_recovery_leaves_the_log_of_a_living_solver_when_it_is_interrupted(
    log: Log, spool: Spool, put: Put
) -> None:
    """Its worker is dead, and the one that looks in its place is told to stop."""
    record = spool.result_file(put(JobState.RUNNING, 0))
    word = execution.begin(record, 1, 0, "-1", log.run.log_inode)
    log.write(solved(0))
    lock = spool.lock(NAME)
    assert lock is not None
    with lock:
        recovery.recover(spool, interrupted=lambda: True)
        assert (log.found(), log.at.execution) == ([], word)
        recovery.recover(spool)
    assert log.found() == [0]


def test_near_misses_are_counted_and_the_first_are_kept(log: Log) -> None:
    log.write("".join(f"solution {k}\n" for k in range(1, 11)) + "no solution\n")
    log.write("[worker 1] found offset=0 job=demo_off0 solutions=1 at now\n")  # is the runner's own
    log.read()
    assert (log.at.nearly, log.at.near[:2], len(log.at.near)) == (
        10,
        ["solution 1", "solution 2"],
        5,
    )


def test_a_case_that_is_satisfied_without_a_solution_is_one(log: Log) -> None:
    log.write("[t] START gidx=0 x\n")
    log.read()
    log.write("[t] DONE  gidx=0 sat=True dt=1s\n" + solved(4))
    log.read()
    assert log.at.near == ["case 0 ended with sat=True, and no solution was seen in it"]


@pytest.mark.parametrize("before", ["Nov 28 18:52:14 ", "INFO:root:", "  5%|x | 5/9 [00:01<00:02]"])
def test_a_case_begins_behind_what_programs_put_before_it(log: Log, before: str) -> None:
    """Solutions of two cases that read the same are two."""
    for case in (0, 4):
        for line in (f"[t] START gidx={case} x", "FOUND yes", f"[t] DONE  gidx={case} dt=1.0s"):
            log.write(f"{before}{line}\n")
    log.read()
    assert [finding["gidx"] for finding in findings.read(log.config)] == [0, 4]
    assert log.cases() == [0, 4]


def test_a_solution_without_a_line_end_is_not_swallowed_by_the_line_behind_it(log: Log) -> None:
    log.write("[t] START gidx=0 x\nFOUND g=1[t] DONE  gidx=0 dt=1.0s\n")
    log.write("[t] START gidx=4 x\nFOUND g=2\nFound h: 3[t] DONE  gidx=4 dt=1.0s\n")
    log.read()
    assert [(f["gidx"], f["lines"]) for f in findings.read(log.config)] == [
        (0, ["FOUND g=1"]), (4, ["FOUND g=2", "Found h: 3"])
    ]  # fmt: skip
    assert log.cases() == [0, 4]


def test_the_jobsets_own_pattern_adds_solutions(spool: Spool) -> None:
    log = Log(spool)
    log.config = replace(log.config, found_pattern="^(witness|KEY_NOT_FOUND) ")
    log.write("witness 1\nFOUND g=2\nno witness 3\nKEY_NOT_FOUND 4\nNOT_FOUND 5\n")
    log.read(over=True)
    assert sorted(f["lines"] for f in findings.read(log.config)) == [
        ["FOUND g=2"], ["KEY_NOT_FOUND 4"], ["witness 1"]
    ]  # fmt: skip
    os.close(log.out)


def test_a_line_that_the_pattern_takes_too_long_for_is_told(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pattern, "LIMIT", 0.05)
    log = Log(spool)
    log.config = replace(log.config, found_pattern="(a+)+$")
    log.write("a" * 100 + "b\nFOUND g=2\n")
    log.read(over=True)
    assert log.found() == [2]
    assert log.at.near[0].startswith("(the pattern took longer than a second) aaa")
    os.close(log.out)


# Crashes


class Crash(Exception):
    """The process ends here."""


def crash_in(call: str) -> "mock._patch[mock.MagicMock]":
    return mock.patch(f"sagequeue.{call}", side_effect=Crash)


@pytest.mark.parametrize(
    "call", ["durable.replace", "ledger.Ledger.add", "position.save", "findings.close"]
)
def test_a_crash_between_any_two_steps_loses_nothing_and_doubles_nothing(
    log: Log, call: str
) -> None:
    log.write(solved(0))
    log.read()
    log.write(solved(4) + solved(8))
    with crash_in(call), pytest.raises(Crash):
        log.read()
    log.write(solved(12))
    log.settle()
    assert (log.found(), log.cases()) == ([0, 4, 8, 12], [0, 4, 8, 12])
    assert log.at.summary.done.pairs == [[0, 3]]
    assert (log.at.solutions, log.at.new) == (4, 4)


def test_what_was_read_is_on_the_disk_before_the_position_is_kept(log: Log) -> None:
    """Or a power cut could leave a position that is past what it has taken back."""
    synced: list[Path] = []

    def noting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def note(fd: int) -> None:
            synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")))
            sync(fd)

        return note

    save, before = position.save, list[set[Path]]()

    def saving(config: Config, name: str, at: position.Position) -> None:
        before.append(set(synced))
        save(config, name, at)

    log.write(solved(0))
    with (
        mock.patch("os.fsync", noting(os.fsync)),
        mock.patch("os.fdatasync", noting(os.fdatasync)),
        mock.patch("sagequeue.position.save", saving),
    ):
        log.read()
    (there,) = before
    cases, results = log.config.ledger_dir / f"{NAME}.jsonl", log.config.results_dir
    assert {cases, cases.parent, results} <= there, "the cases, and the names of the new files"
    assert any(path.parent == results for path in there), "the solution's record"


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"byte": "x"}', "\0" * 50])
def test_a_position_that_was_spoilt_has_the_execution_read_again(
    log: Log, content: str | None
) -> None:
    log.write(solved(0) + solved(4))
    log.read()
    path = position.file(log.config, NAME)
    path.unlink() if content is None else path.write_text(content)
    log.write(solved(8))
    log.settle()
    assert (log.found(), log.cases()) == ([0, 4, 8], [0, 4, 8])
    assert log.at.summary.done.pairs == [[0, 2]]


def test_a_torn_line_of_the_ledger_is_passed_over(log: Log) -> None:
    log.write(solved(0))
    log.read()
    path = log.config.ledger_dir / f"{NAME}.jsonl"
    with path.open("a") as file:
        file.write('{"kind":"case","gidx":4,"exe')
    log.write(solved(4))
    log.read()
    assert log.cases() == [0, 4]


@pytest.mark.parametrize("seed", range(40))
def test_random_growth_rotation_and_crashes_lose_nothing(log: Log, seed: int) -> None:
    """Rename rotation, deletion under a worker, executions, crashes and power cuts at random."""
    chance = random.Random(seed)
    older: list[bytes] = []
    case, expected, executions = 0, [], 0
    live = LiveLog(log.config, NAME, 0)
    live.look(log.run, never)
    saved = position.file(log.config, NAME)
    for _ in range(60):
        match chance.randrange(9):
            case 0 | 1 | 2:
                text = solved(case).encode()
                cut = chance.randrange(len(text))
                for part in (text[:cut], text[cut:]):
                    log.write(part)
                    if chance.random() < 0.3:
                        live.look(log.run, never)
                expected.append(case)
                case += 4
            case 3:
                log.read(log=live.log)
            case 4:
                call = chance.choice(["position.save", "ledger.Ledger.add", "durable.replace"])
                with suppress(Crash), crash_in(call):
                    log.read(log=live.log)
            case 5 if saved.exists():
                older.append(saved.read_bytes())
            case 6 if older:  # a power cut took back what was not synced
                saved.write_bytes(chance.choice([*older, b"", b"\0" * 9]))
                older = []
            case 7:
                if log.path.exists():
                    log.path.rename(f"{log.path}.{chance.randrange(1000)}")
                if chance.random() < 0.5:
                    log.path.touch()
            case 8:
                log.read(over=True, log=live.log)
                with log.reader() as reader:
                    reader.read(log.run, live.log, over=True)
                    reader.end({"kind": ledger.EXECUTION, "execution": log.run.word})
                older = []
                live.close()
                os.close(log.out)
                log.out = os.open(log.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                executions += 1
                log.begin(f"e{executions}")
                live = LiveLog(log.config, NAME, 0)
                live.look(log.run, never)
    log.read(over=True, log=live.log)
    live.close()
    assert (sorted(log.found()), sorted(log.cases())) == (expected, expected)
    assert not log.at.lost


def test_a_reader_that_is_killed_leaves_the_right_to_read(log: Log) -> None:
    log.write(solved(0))
    log.read()
    path = log.config.ledger_dir / f"{NAME}.jsonl"
    code = (
        "import fcntl, signal, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); "
        "print(flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert Reader.open(log.config, NAME, 0, wait=False) is None
        other.kill()
    assert log.read()


def test_the_ledgers_lock_is_not_inherited(config: Config, log: Log) -> None:
    with log.reader() as reader:
        flags = fcntl.fcntl(reader.ledger._fd, fcntl.F_GETFD)
    assert flags & fcntl.FD_CLOEXEC
