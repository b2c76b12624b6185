"""Verbs about the container that solvers run in."""

import argparse
import os
import stat
import sys
import urllib.parse
from pathlib import Path

from sagequeue import config, container
from sagequeue.commands import typed
from sagequeue.config import Config
from sagequeue.exceptions import SagequeueError
from sagequeue.verbs import Add, load

_SHELL = "command -v bash >/dev/null && exec bash; exec sh"


def register(add: Add) -> None:
    """Declare them."""
    add("shell", _shell, "open a shell in the container")
    url = add("jupyter-url", _jupyter_url, "the address that opens Jupyter, with its token")
    url.epilog = 'xdg-open "$(sagequeue jupyter-url)" opens it. The token lets whoever has it in.'
    add("mapped-ids", _mapped_ids, "the container's user and group 1000 as ids of this machine")


def _shell(arguments: argparse.Namespace) -> None:
    settings = _running(load(arguments))
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    command = [
        *("podman", "exec", "--interactive", *terminal),
        *(f"--workdir={settings.container_workdir}", settings.service, "sh", "-c", _SHELL),
    ]
    sys.stdout.flush()
    os.execvpe("podman", command, container.environment())  # noqa: S606 - it becomes the shell


def _jupyter_url(arguments: argparse.Namespace) -> None:
    settings = load(arguments)
    _contained(settings)
    token = _token(config.config_dir() / "jupyter_token", settings)
    _running(settings)
    address = container.published(settings.service, container.JUPYTER_PORT)
    if address is None:
        raise SagequeueError(
            f"the container {settings.service} publishes no port {container.JUPYTER_PORT}, so it "
            f"was not started by this project; {_play(settings)} says how to replace it"
        )
    port = address.rpartition(":")[2]
    print(f"http://127.0.0.1:{port}/lab?token={urllib.parse.quote(token, safe='')}")


def _mapped_ids(arguments: argparse.Namespace) -> None:
    _contained(load(arguments))
    uid, gid = container.mapped_ids()
    print(f"uid={uid}\ngid={gid}")
    print(
        f"What the container writes is {uid}:{gid}'s on this machine; "
        f"`setfacl -m u:{uid}:rw FILE` lets it write a file of yours."
    )


def _contained(settings: Config) -> None:
    if settings.runtime != "podman":
        raise SagequeueError(
            f"the solvers of {settings.jobset} are processes of this machine (RUNTIME local): it "
            "has no container and no Jupyter"
        )


def _running(settings: Config) -> Config:
    """The settings, when their container runs."""
    _contained(settings)
    there = container.inspect(settings.service)
    if there is None or not there.running:
        raise SagequeueError(
            f"the container {settings.service} does not run; {typed(settings, 'up')} starts it, "
            f"and {typed(settings, 'doctor')} says what keeps it from running"
        )
    return settings


def _token(path: Path, settings: Config) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise SagequeueError(f"{path} does not exist; {_play(settings)} makes a token") from None
    if mode != 0o600:
        raise SagequeueError(
            f"{path} has mode {mode:04o}, and whoever reads the token can run programs as you; "
            f"`chmod 600 {path}`, or, when somebody may have read it, remove it and have another "
            f"made by {_play(settings)}"
        )
    if not token:
        raise SagequeueError(f"{path} is empty; remove it, and {_play(settings)} makes a token")
    return token


def _play(settings: Config) -> str:
    return f"`ansible-playbook site.yml -e jobset={settings.jobset}`"
