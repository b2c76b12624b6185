"""What `ansible-playbook` shows on a terminal while a step runs, and what is left of it after."""

import os
import re
import signal
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.screen import Screen
from kit.terminal import Terminal
from plays import Play, Start, command, environment


def shows(words: str) -> Callable[[Screen], bool]:
    """True of a screen that has the words in its last lines, which are drawn over."""
    return lambda screen: any(words in row for row in screen.below)


def finish(play: Play, terminal: Terminal) -> Screen:
    play.go_on()
    assert terminal.end() == 0
    return terminal.screen


def test_a_step_is_shown_while_it_runs_with_its_number_its_time_and_what_it_says(
    play: Play, start: Start
) -> None:
    terminal = start()
    screen = terminal.until(shows("Build it"))
    # The second step was skipped, and has no number.
    assert re.match(r"step 2  Build it +\d+:\d\d of \d+:\d\d$", screen.below[0])
    assert "TASK [Build it]" not in screen.text
    assert "Not this one" not in terminal.raw
    play.log.write_text("STEP 2/9: RUN \x1b]0;title\x07pip\x9b2J\n")
    screen = terminal.until(shows("2/9"))
    assert screen.below[1].startswith("━━━━")
    terminal.until(shows("STEP 2/9: RUN pip 2J"))
    with play.log.open("a") as log:
        log.write("Collecting sympy\n")
    assert terminal.until(shows("Collecting sympy")).fits
    finish(play, terminal)


def test_what_is_left_is_what_the_default_would_have_left(play: Play, start: Start) -> None:
    ours = start()
    ours.until(shows("Build it"))
    theirs = start(ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default")
    theirs.until(lambda screen: "msg: hello" in screen.text)
    for terminal in (ours, theirs):
        play.go_on()
        assert terminal.end() == 0
    assert (ours.screen.text, ours.screen.below) == (theirs.screen.text, [""])
    # It is never hidden, so no way to end can leave it hidden.
    assert "\x1b[?25l" not in ours.raw


@pytest.mark.parametrize("columns", [40, 20])
def test_a_narrow_terminal_has_its_lines_whole(play: Play, start: Start, columns: int) -> None:
    terminal = start(columns=columns)
    terminal.until(shows("Build it"))
    play.log.write_text("STEP 2/9: RUN " + "a long line " * 20)
    screen = terminal.until(shows("STEP 2/9"))
    assert screen.fits
    finish(play, terminal)


def test_a_window_that_becomes_narrow_is_drawn_anew(play: Play, start: Start) -> None:
    (terminal := start()).until(shows("of 0:"))
    terminal.resize(40)
    screen = terminal.until(lambda screen: re.search(r"^Build it +\d+:\d\d$", screen.below[0]))
    assert screen.fits
    finish(play, terminal)


def test_what_is_displayed_meanwhile_scrolls_by_above(play: Play, start: Start) -> None:
    play.of(
        "- name: Try\n  ansible.builtin.command: 'false'\n  register: tried\n"
        "  until: tried.rc == 0\n  retries: 100000\n  delay: 1\n"
    )
    terminal = start()
    screen = terminal.until(
        lambda screen: screen.text.count("FAILED - RETRYING") > 2 and "Try " in screen.below[0]
    )
    assert all(row.startswith("step ") or not row for row in screen.below)
    assert "step" not in screen.text
    terminal.type("\x03")
    assert terminal.end() == 99


def test_ctrl_c_leaves_a_terminal_as_it_was(play: Play, start: Start) -> None:
    terminal = start()
    before = termios.tcgetattr(terminal.fd)
    terminal.until(shows("Build it"))
    terminal.type("\x03")
    while terminal.read(60):
        pass
    assert termios.tcgetattr(terminal.fd) == before
    assert terminal.end() == 99
    screen = terminal.screen
    assert screen.below == [""]
    assert "User interrupted execution" in screen.text
    assert "step 2" not in screen.text


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["-v"], {}),
        (["-vvv"], {}),
        ([], {"TERM": "dumb"}),
        ([], {"CI": "true"}),
        ([], {"PYTHONPATH": "no-rich"}),
    ],
)
def test_where_lines_cannot_be_drawn_over_there_are_plain_ones(
    tmp_path: Path, play: Play, start: Start, arguments: list[str], env: dict[str, str]
) -> None:
    if "PYTHONPATH" in env:
        # What an import of it finds where it is not installed.
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['rich'] = None\n")
        env = {"PYTHONPATH": str(tmp_path)}
    terminal = start(*arguments, ANSIBLE_PROGRESS_LINE_AFTER="0", **env)
    screen = terminal.until(lambda screen: "Build it: running for 0:0" in screen.text)
    assert screen.text.count("TASK [Build it]") == 1
    finish(play, terminal)
    assert "\x1b[J" not in terminal.raw
    assert "\x1b[K" not in terminal.raw
    assert terminal.screen.text.count("TASK [Build it]") == 1


@pytest.mark.parametrize("variable", ["NO_COLOR", "ANSIBLE_NOCOLOR"])
def test_without_colours_nothing_is_coloured(play: Play, start: Start, variable: str) -> None:
    (terminal := start(**{variable: "1"})).until(shows("Build it"))
    finish(play, terminal)
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.raw)


def test_a_question_is_not_drawn_over(play: Play, start: Start) -> None:
    """Of the play (vars_prompt), and of a step (pause), while the clock goes on."""
    play.of(
        "- name: Ask\n  ansible.builtin.pause: {{prompt: And now}}\n  register: said\n"
        "- name: Build it\n  {waits}\n"
        "- name: Last\n"
        "  ansible.builtin.debug: {{msg: '{{{{ word }}}} {{{{ said.user_input }}}}'}}\n",
        "  vars_prompt: [{name: word, prompt: A word, private: true}]\n",
    )
    before = (
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{ansible.builtin.command: 'true'}]\n"
    )
    play.file.write_text(before + play.file.read_text())
    terminal = start()
    terminal.until(lambda screen: "A word:" in screen.below[-1])
    terminal.raw = ""
    terminal.type("abc\n")
    terminal.until(lambda screen: "And now:" in screen.text + screen.below[0])
    assert terminal.is_quiet()
    terminal.type("def\r")
    terminal.until(shows("Build it"))
    assert "msg: abc def" in finish(play, terminal).text


def test_a_password_is_asked_before_anything_is_drawn(play: Play, start: Start) -> None:
    terminal = start("-K")
    terminal.until(lambda screen: "BECOME password:" in screen.below[-1])
    terminal.type("secret\n")
    terminal.until(shows("Build it"))
    assert "secret" not in finish(play, terminal).text


def test_a_question_between_steps_does_not_stand_behind_what_was_drawn(
    play: Play, start: Start
) -> None:
    play.of(
        "- name: Look\n  ansible.builtin.command: 'true'\n"
        f"  when: lookup('ansible.builtin.pipe', 'cat {play.fifo}') == 'x'\n"
        "- {{name: Last, ansible.builtin.debug: {{msg: bye}}}}\n"
    )
    terminal = start("--step")
    terminal.until(lambda screen: "Perform task: TASK: Look" in screen.below[-1])
    terminal.type("y\n")
    terminal.until(shows("step 1  Look"))
    play.go_on()
    screen = terminal.until(lambda screen: screen.below[-1].startswith("Perform task: TASK: Last"))
    assert "step 1" not in screen.text
    terminal.type("y\n")
    assert terminal.end() == 0


def test_the_play_goes_on_while_output_is_stopped(tmp_path: Path, play: Play, start: Start) -> None:
    """Ctrl-S: what is drawn is not worth waiting for."""
    os.mkfifo(second := tmp_path / "second")
    play.of(
        "- name: Build it\n  {waits}\n  changed_when: false\n"
        f"- ansible.builtin.command: cat {second}\n  changed_when: false\n"
    )
    terminal = start(ANSIBLE_DISPLAY_OK_HOSTS="false")
    terminal.until(shows("Build it"))
    terminal.type("\x13")
    assert terminal.is_quiet()
    play.go_on()
    # Both ends are open when the second step has started.
    second.write_text("")
    terminal.type("\x11")
    assert terminal.end() == 0


def test_a_terminal_that_is_gone_does_not_end_the_play(
    tmp_path: Path, play: Play, start: Start
) -> None:
    """As under nohup: its hangup is ignored, and each write fails."""
    play.of("- name: Build it\n  {waits}\n- {{name: Last, ansible.builtin.file: {{path: DONE, "
            "state: touch}}}}\n".replace("DONE", str(tmp_path / "done")))  # fmt: skip
    argv = command(play.file)
    terminal = Terminal(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *argv], environment(play.home))
    terminal.until(shows("Build it"))
    os.close(terminal.fd)
    play.go_on()
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 0
    assert (tmp_path / "done").exists()


def test_in_the_background_nothing_is_drawn(play: Play) -> None:
    """A shell's job control, as Ctrl-Z, bg and fg have it."""
    argv = ["bash", "-c", 'set -m; "$@" & read; fg', "bash", *command(play.file)]
    terminal = Terminal(argv, environment(play.home))
    try:
        terminal.until(lambda screen: "msg: hello" in screen.text)
        assert terminal.is_quiet()
        terminal.type("\n")
        terminal.until(shows("Build it"))
        play.go_on()
        assert terminal.end() == 0
    finally:
        terminal.kill()


def test_killed_it_leaves_a_visible_cursor_and_a_working_terminal(play: Play, start: Start) -> None:
    terminal = start()
    before = termios.tcgetattr(terminal.fd)
    terminal.until(shows("Build it"))
    os.kill(terminal.pid, signal.SIGKILL)
    while terminal.read(60):
        pass
    assert termios.tcgetattr(terminal.fd) == before
    assert terminal.end() == -signal.SIGKILL
    assert "\x1b[?" not in terminal.raw
    # Its worker is not of the terminal's session, and waits on.
    play.go_on()
