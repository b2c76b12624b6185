"""A play whose steps wait until a test lets them go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.terminal import Terminal
from plays import Play, Start, command, environment


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """One step that waits, between two that do not."""
    return Play(tmp_path).of(
        "- {{name: First, ansible.builtin.debug: {{msg: hello}}}}\n"
        "- {{name: Not this one, ansible.builtin.debug: {{msg: hello}}, when: false}}\n"
        "- name: Build it\n  {waits}\n"
        "- {{name: Last, ansible.builtin.debug: {{msg: bye}}}}\n"
    )


@pytest.fixture
def start(play: Play) -> Iterator[Start]:
    """Starts the play in a terminal."""
    started: list[Terminal] = []

    def start(*arguments: str, columns: int = 80, **env: str) -> Terminal:
        argv = command(play.file, *arguments)
        started.append(Terminal(argv, environment(play.home, **env), columns))
        return started[-1]

    yield start
    for terminal in started:
        terminal.kill()
    play.release()
