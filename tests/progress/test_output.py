"""What a command's output says of how far it is."""

import os
from pathlib import Path

import pytest
from sagequeue_progress.output import Output, printable


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "role.log").write_text("STEP 9/9: of an earlier step\n")
    return tmp_path / "role.log"


def begin(log: Path, text: str = "") -> Output:
    """What the command of a new step has written first."""
    output = Output(log)
    log.write_text(text)
    return output


def add(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_what_an_earlier_step_has_written_is_not_taken_for_this_ones(log: Path) -> None:
    output = Output(log)
    output.read()
    assert (output.last, output.done, output.total) == ("", 0, 0)
    log.write_text("STEP 2/14: RUN apt-get update, and a line that is longer\nGet:1 http://x\n")
    output.read()
    assert (output.last, output.done, output.total) == ("Get:1 http://x", 2, 14)


def test_a_file_that_is_begun_again_is_read_from_its_start(log: Path) -> None:
    output = begin(log, "STEP 1/3: a long line\n")
    output.read()
    log.write_text("STEP 2/3: b\n")
    output.read()
    assert (output.last, output.done) == ("STEP 2/3: b", 2)


def test_a_line_counts_once_it_is_whole_and_is_shown_before(log: Path) -> None:
    output = begin(log, "STEP 2/1")
    output.read()
    assert (output.last, output.total) == ("STEP 2/1", 0)
    add(log, "4: RUN\n\n")
    output.read()
    assert (output.last, output.done, output.total) == ("STEP 2/14: RUN", 2, 14)


@pytest.mark.parametrize("where", ["files", "named"])
def test_pip_is_measured_by_the_requirements_it_was_given(
    tmp_path: Path, log: Path, where: str
) -> None:
    lock = tmp_path / where / "some.lock"
    lock.parent.mkdir()
    lock.write_text("# a==1\na==1 \\\n    --hash=sha256:0\nb==2\nc == 3 ; python_version < '4'\n")
    named = lock if where == "named" else "/usr/local/share/some.lock"
    output = Output(log, tmp_path / "files")
    log.write_text("")
    add(log, f"STEP 6/13: RUN pip\nCollecting a==1 (from -r {named} (line 1))\n")
    add(log, f"2026-11-30T21:20:00,123 Collecting b==2 (from -r {named} (line 3))\n")
    output.read()
    assert (output.done, output.total) == (2, 3)
    add(log, "Installing collected packages: a, b\n")
    output.read()
    assert (output.done, output.total) == (6, 13)


def test_an_older_pip_is_measured_by_the_command_of_the_build(tmp_path: Path, log: Path) -> None:
    """As pip 23.0 prints it, of Debian 12, and Podman 5.4."""
    (tmp_path / "some.lock").write_text("a==1 --hash=sha256:0\nb==2 --hash=sha256:1\n")
    output = Output(log, tmp_path)
    run = "RUN --mount=type=secret,id=pip_cert /v/bin/pip install --no-deps -r /share/some.lock"
    log.write_text("")
    add(log, f"STEP 6/13: {run}  && ln -s venv/bin/sage /sage\nCollecting a==1\n")
    output.read()
    assert (output.done, output.total) == (1, 2)
    add(log, "  Downloading a-1.whl (13 kB)\nCollecting b==2\n")
    output.read()
    assert (output.done, output.total) == (2, 2)
    add(log, "STEP 7/13: RUN pip install c\nCollecting c\n")
    output.read()
    assert (output.done, output.total) == (7, 13)


def test_requirements_that_cannot_be_read_are_no_measure(log: Path) -> None:
    output = begin(log)
    add(log, "Collecting a==1 (from -r /nowhere/some.lock (line 1))\n")
    output.read()
    assert output.total == 0


def test_apt_is_measured_by_what_it_unpacks_and_sets_up(log: Path) -> None:
    output = begin(log)
    add(log, "1 upgraded, 2 newly installed, 0 to remove and 7 not upgraded.\nGet:1 http://x\n")
    output.read()
    assert (output.done, output.total) == (0, 6)
    add(log, "Unpacking tree (2.3.2-1) ...\nSetting up tree (2.3.2-1) ...\n")
    output.read()
    assert (output.done, output.total) == (2, 6)


def test_of_a_bar_that_is_drawn_over_the_last_state_is_shown(log: Path) -> None:
    output = begin(log)
    add(log, "10 %\r20 %\r30 %\r")
    output.read()
    assert output.last == "30 %"


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("\x1b[31mred\x1b[0m and \x1b]0;title\x07plain", "red and plain"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\x07b\x9bc\x00d\u202ee\x7f", "a b c d e"),
        ("\tStraße 北京 ", "Straße 北京"),
    ],
)
def test_what_a_terminal_would_act_on_is_taken_out(text: str, harmless: str) -> None:
    assert printable(text) == harmless


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "missing"):
        output = Output(path)
        output.read()
        assert output.last == ""
