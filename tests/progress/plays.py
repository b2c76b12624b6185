"""`ansible-playbook` with this project's plugin, and a play whose steps wait for a test."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from kit.terminal import Terminal

ROOT = Path(__file__).parents[2]
Start = Callable[..., Terminal]


def environment(home: Path, **more: str) -> dict[str, str]:
    """What `ansible-playbook` runs with: this project's plugin, and nothing of the caller's."""
    return {
        "HOME": str(home),
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        **more,
    }


def command(play: Path, *arguments: str) -> list[str]:
    """The command that runs `play` on this machine."""
    python = f"ansible_python_interpreter={sys.executable}"
    return [
        "ansible-playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        python,
        str(play),
        *arguments,
    ]


class Play:
    """A play of these tasks; `{waits}` in them is a command that waits for `go_on`."""

    def __init__(self, base: Path) -> None:
        self.file = base / "play.yml"
        self.home = base / "home"
        self.log = self.home / ".local" / "state" / "sagequeue" / "output" / "play.log"
        self.log.parent.mkdir(parents=True)
        self.fifo = base / "fifo"
        os.mkfifo(self.fifo)

    def of(self, tasks: str, head: str = "") -> "Play":
        """Write it."""
        lines = tasks.format(waits=f"ansible.builtin.command: cat {self.fifo}").splitlines()
        text = "".join(f"    {line}\n" for line in lines)
        self.file.write_text(
            f"- name: A play\n  hosts: localhost\n  gather_facts: false\n{head}  tasks:\n{text}"
        )
        return self

    def go_on(self) -> None:
        """Let the step go on that waits, or the next one that will."""
        with self.fifo.open("w"):
            pass

    def release(self) -> None:
        """Let go on what a play that was killed has left waiting."""
        try:
            os.close(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            # ENXIO: nobody waits.
            return
