"""The ends of logs, and what is added to them; nothing that a terminal would obey."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sagequeue import cli
from sagequeue.config import Config
from sagequeue.logs import Logs
from sagequeue.spool import Spool

Write = Callable[..., None]


@pytest.fixture
def write(config: Config, spool: Spool) -> Write:
    def write(offset: int, text: str | bytes) -> None:
        with open(config.log_file(offset), "ab") as file:
            file.write(text.encode() if isinstance(text, str) else text)

    return write


def told(config: Config, lines: int = 10, offset: int | None = None) -> list[str]:
    said: list[str] = []
    logs = Logs(config, offset, said.append)
    logs.last(lines)
    logs.finish()
    return said


# The ends


def test_each_line_says_of_which_offset_it_is(config: Config, write: Write) -> None:
    write(2, "two\n")
    write(0, "nought\nmore\n")
    assert told(config) == ["[off 0] nought", "[off 0] more", "[off 2] two"]


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("end", ["", "\n"])
def test_there_are_as_many_lines_as_asked_for(
    config: Config, write: Write, lines: int, end: str
) -> None:
    write(0, "a\nb\nc\nd" + end)
    expected = [f"[off 0] {line}" for line in "abcd"]
    assert told(config, lines) == (expected[-lines:] if lines else [])


def test_of_a_huge_log_only_the_end_is_read(config: Config, spool: Spool) -> None:
    with open(config.log_file(0), "wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    assert told(config, 1) == ["[off 0] last"]


def test_offsets_are_in_the_order_of_numbers(config: Config, write: Write) -> None:
    for offset in (10, 9, 1):
        write(offset, "x\n")
    assert [line.split("]")[0] for line in told(config)] == ["[off 1", "[off 9", "[off 10"]


def test_one_offset_can_be_asked_for(config: Config, write: Write) -> None:
    write(1, "one\n")
    write(11, "eleven\n")
    assert told(config, offset=1) == ["[off 1] one"]


def test_other_files_in_the_directory_are_no_logs(config: Config, write: Write) -> None:
    write(0, "mine\n")
    for name in ("demo_off0.log.1", "demo_off.log", "other_off1.log", "demo_off1_log"):
        (config.log_dir / name).write_text("not mine\n")
    assert told(config) == ["[off 0] mine"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07\n", r"\x1b[31mred\x1b[0m \x1b]0;title\x07"),
        ("\x9b31m\n".encode(), r"\x9b31m"),
        (b"\xff\xfe\n", "\ufffd\ufffd"),
        (b"windows\r\n", "windows"),
        (b"\n", ""),
    ],
)
def test_a_terminal_has_nothing_to_obey(
    config: Config, write: Write, content: bytes, text: str
) -> None:
    write(0, content)
    (line,) = told(config)
    assert line.split() == f"[off 0] {text}".split()
    assert not {c for c in line if c < " " or "\x7f" <= c <= "\x9f"}


# What is added


def test_what_is_added_is_told_once(config: Config, write: Write) -> None:
    said: list[str] = []
    logs = Logs(config, None, said.append)
    write(0, "old\nhalf")
    logs.last(10)
    write(0, " a line\nnew\n")
    logs.added()
    logs.added()
    assert said == ["[off 0] old", "[off 0] half a line", "[off 0] new"]


def test_a_log_that_appears_later_is_told_from_its_beginning(config: Config, write: Write) -> None:
    said: list[str] = []
    logs = Logs(config, None, said.append)
    assert logs.last(10) == 0
    write(3, "first\nsecond\n")
    logs.added(["demo_off3.log"])
    assert said == ["[off 3] first", "[off 3] second"]


def test_a_truncated_log_is_told_anew(config: Config, write: Write) -> None:
    said: list[str] = []
    logs = Logs(config, None, said.append)
    write(0, "long and old\nunfinished")
    logs.last(10)
    os.truncate(config.log_file(0), 0)
    write(0, "new\n")
    logs.added()
    assert said == ["[off 0] long and old", "[off 0] new"]


def test_a_rotated_log_is_told_to_its_end_before_the_new_one(config: Config, write: Write) -> None:
    said: list[str] = []
    logs = Logs(config, None, said.append)
    write(0, "old\n")
    logs.last(10)
    write(0, "late\nunfinished")
    path = config.log_file(0)
    path.rename(f"{path}.1")
    write(0, "new\n")
    logs.added()
    assert said == [f"[off 0] {word}" for word in ("old", "late", "unfinished", "new")]


def test_a_line_without_an_end_does_not_fill_the_memory(config: Config, spool: Spool) -> None:
    said: list[str] = []
    logs = Logs(config, None, said.append)
    logs.last(10)
    config.log_file(0).write_bytes(b"x" * (5 << 20))
    logs.added()
    assert len(said) >= 2
    assert max(map(len, said)) <= (2 << 20) + len("[off 0] ")


# The verb


@pytest.fixture
def following(config: Config, env_file: Path) -> Iterator[Callable[..., "Follower"]]:
    started: list[Follower] = []

    def follow(*options: str) -> Follower:
        started.append(Follower(env_file, *options))
        return started[-1]

    yield follow
    for follower in started:
        follower.process.kill()
        follower.process.communicate()


class Follower:
    """`sagequeue logs -f`."""

    def __init__(self, env_file: Path, *options: str) -> None:
        command = [sys.executable, "-c", options[0], *options[1:]] if options else []
        command = command or [sys.executable, "-m", "sagequeue"]
        self.process = subprocess.Popen(
            [*command, "logs", "-f", "--env-file", str(env_file)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


# inotify refuses, as it does when all of a user's instances are taken.
WITHOUT_INOTIFY = """
import sys
from sagequeue import cli, logs
def refuse():
    raise OSError(24, "no instance left")
logs.INotify = refuse
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("how", [(), (WITHOUT_INOTIFY,)], ids=["inotify", "polling"])
def test_it_follows_all_logs_until_it_is_interrupted(
    write: Write, following: Callable[..., Follower], how: tuple[str, ...]
) -> None:
    write(0, "there\n")
    follower = following(*how)
    assert follower.line() == "[off 0] there"
    write(0, "more\n")
    assert follower.line() == "[off 0] more"
    write(3, "another\n")
    assert follower.line() == "[off 3] another"
    follower.process.terminate()
    assert follower.process.wait(timeout=60) == 0


def test_it_waits_for_a_queue_that_is_not_there_yet(
    config: Config, following: Callable[..., Follower]
) -> None:
    follower = following()
    config.log_dir.mkdir(parents=True)
    config.log_file(1).write_text("begun\n")
    assert follower.line() == "[off 1] begun"


def test_the_last_line_names_the_command_that_follows(
    config: Config, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1, "one\n")
    assert cli.main(["logs", "-n", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "[off 1] one",
        f"demo: 1 log in {config.log_dir}; `sagequeue logs -f` follows",
    ]
    assert cli.main(["logs", "--offset", "1"]) == 0
    assert capsys.readouterr().out.endswith("`sagequeue logs -f --offset 1` follows\n")


def test_a_jobset_that_is_not_active_is_named_in_the_command(
    config: Config, env_file: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    (env_file.parent / "sagequeue.env").unlink()
    write(0, "x\n")
    assert cli.main(["logs", "--jobset", "demo"]) == 0
    assert capsys.readouterr().out.endswith("`sagequeue logs -f --jobset demo` follows\n")


def test_without_logs_it_says_so(env_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["logs"]) == 0
    assert capsys.readouterr().out.startswith("demo: no log yet in ")


def test_an_offset_that_does_not_exist_is_refused(
    env_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["logs", "--offset", "4"]) == 1
    assert "from 0 to 3" in capsys.readouterr().err
