"""What `ansible-playbook` prints without a terminal: to a pipe, a file, a reader of JSON."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from plays import Play, command, environment

SOON = {"ANSIBLE_PROGRESS_LINE_AFTER": "0", "ANSIBLE_PROGRESS_LINE_EVERY": "0"}


def run(play: Play, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(play.file, *arguments), env=environment(play.home, **env),
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_long_step_says_now_and_then_that_it_runs(play: Play) -> None:
    process = subprocess.Popen(
        command(play.file), env=environment(play.home, **SOON), text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Build it: running for 0:0"):
            break
    play.log.write_text("STEP 2/9: RUN \x1b[31mpip\n")
    for line in process.stdout:
        if line.endswith("STEP 2/9: RUN pip\n"):
            break
    assert re.match(r"Build it: running for \d+:\d\d, 2 of 9: STEP", line)
    play.go_on()
    rest = process.stdout.read()
    assert process.wait() == 0
    assert "TASK [Build it]" not in rest
    assert "\x1b" not in rest


def test_a_quick_play_prints_what_the_default_prints(play: Play) -> None:
    play.of("- ansible.builtin.debug: {{msg: hello}}\n- {{ansible.builtin.command: 'false'}}\n")
    ours, theirs = (
        run(play, ANSIBLE_STDOUT_CALLBACK=name) for name in ("progress", "ansible.builtin.default")
    )
    assert ours.returncode == theirs.returncode == 2

    def timeless(text: str) -> str:
        return re.sub(r"\d+[:.]\d+[\d:.]*", "T", text)

    assert timeless(ours.stdout) == timeless(theirs.stdout)
    assert ours.stderr == theirs.stderr


@pytest.mark.parametrize("arguments", [["--check", "--diff"], ["-v"], ["-vv"]])
def test_the_usual_options_do_what_they_do(play: Play, arguments: list[str]) -> None:
    play.of(f"- ansible.builtin.copy: {{{{dest: {play.home}/file, content: hello}}}}\n")
    ours = run(play, *arguments)
    assert ours.returncode == 0
    if "--diff" in arguments:
        assert "+hello" in ours.stdout
    else:
        assert "checksum: " in ours.stdout
    assert "display_skipped_hosts" not in ours.stderr


def test_skipped_steps_are_shown_to_who_asks_for_them(play: Play) -> None:
    play.of("- {{name: Not this one, ansible.builtin.debug: {{msg: hello}}, when: false}}\n")
    assert "Not this one" not in run(play).stdout
    assert "TASK [Not this one]" in run(play, ANSIBLE_DISPLAY_SKIPPED_HOSTS="true").stdout


@pytest.mark.parametrize("name", ["ansible.posix.json", "json"])
def test_json_is_nothing_but_json(play: Play, name: str) -> None:
    play.of("- {{name: Say it, ansible.builtin.debug: {{msg: hello}}}}\n")
    said = json.loads(run(play, ANSIBLE_STDOUT_CALLBACK=name).stdout)
    assert said["plays"][0]["tasks"][0]["hosts"]["localhost"]["msg"] == "hello"


def test_colours_in_a_pipe_only_when_forced(play: Play) -> None:
    play.of("- ansible.builtin.debug: {{msg: hello}}\n")
    assert "\x1b" not in run(play).stdout
    forced = run(play, ANSIBLE_FORCE_COLOR="1").stdout
    assert "\x1b[0;32m" in forced
    assert "\x1b[J" not in forced


@pytest.mark.parametrize("env", [{}, SOON])
def test_a_reader_that_stops_reading_does_not_end_the_play(
    tmp_path: Path, play: Play, env: dict[str, str]
) -> None:
    """As `| head -1` does. More than a pipe or a buffer holds is printed after that."""
    done = tmp_path / "done"
    play.of(
        "- name: Build it\n  {waits}\n"
        "- {{ansible.builtin.debug: {{msg: \"{{{{ 'x' * 200000 }}}}\"}}}}\n"
        f"- ansible.builtin.copy: {{{{dest: {done}, content: hello}}}}\n"
    )
    process = subprocess.Popen(
        command(play.file), env=environment(play.home, **env), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    play.go_on()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 0
    assert done.read_text() == "hello"


def test_the_log_file_has_the_lines_too(tmp_path: Path, play: Play) -> None:
    log = tmp_path / "ansible.log"
    process = subprocess.Popen(
        command(play.file), env=environment(play.home, ANSIBLE_LOG_PATH=str(log), **SOON),
        text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    while "running for" not in process.stdout.readline():
        pass
    play.go_on()
    process.communicate()
    assert "Build it: running for" in log.read_text()


def test_workers_print_nothing_of_their_own(play: Play) -> None:
    """Ansible forks for each step, while a thread draws or prints."""
    play.of("- ansible.builtin.command: 'true'\n  loop: '{{{{ range(20) | list }}}}'\n" * 3)
    said = run(play, **SOON)
    assert said.returncode == 0
    assert said.stderr == ""
