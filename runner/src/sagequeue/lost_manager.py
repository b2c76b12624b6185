"""A process manager that runs and cannot be asked.

A cleaner of /tmp removed its socket, or it was stopped (SIGSTOP) or hangs.
"""

import configparser
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_LOCK = re.compile(r"worker-[0-9]+[.]lock")


# Seconds in which a manager that can be asked answers, on a busy machine, too; and between two
# looks whether it is stopped.
_PATIENCE, _LOOK = 15.0, 0.5


def find(settings: Path) -> list[psutil.Process]:
    """The living supervisords with that settings file, if nobody answers at their socket."""
    return [] if answers(settings) else _all(settings)


def answers(settings: Path) -> bool:
    """Whether a manager answers at the socket of that settings file, in 15 s if it is busy."""
    told = configparser.ConfigParser(interpolation=None)
    try:
        told.read(settings, encoding="utf-8")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_LOOK)
            # The kernel takes a connection for a stopped process, too.
            client.connect(told["unix_http_server"]["file"])
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return _comes(client, settings)
    except (configparser.Error, KeyError, OSError, UnicodeError):
        return False


def _comes(client: socket.socket, settings: Path) -> bool:
    """Whether an answer comes, from a manager that is not stopped."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            return bool(client.recv(1))
        except TimeoutError:
            if any(_is_stopped(manager) for manager in _all(settings)):
                return False
    return False


def _all(settings: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _runs(process, settings)]


def _is_stopped(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.status() == psutil.STATUS_STOPPED)
    return False


def _runs(process: psutil.Process, settings: Path) -> bool:
    try:
        words = process.cmdline()
        mine = process.uids().real == os.getuid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    return mine and str(settings) in words and "supervisord" in map(os.path.basename, words)


def end(managers: Iterable[psutil.Process]) -> None:
    """End them, and of what they started all but the workers that have their places.

    They get no time to end in order: they would end every jobset's workers.
    """
    for manager in managers:
        with suppress(psutil.Error):
            manager.suspend()  # or it may start another program meanwhile
            try:
                others = [child for child in manager.children() if not _has_a_place(child)]
            finally:
                manager.kill()
            for other in others:  # recovery, and workers in the pause before they begin
                with suppress(psutil.Error):
                    other.terminate()
            psutil.wait_procs([manager, *others], timeout=10)


def _has_a_place(process: psutil.Process) -> bool:
    """Whether it is a worker, of any jobset, that has begun: one has its lock open.

    What cannot be looked at counts as one: a process that ends just now, whose files are root's.
    """
    try:
        files = process.open_files()
    except psutil.Error:
        return True
    return any(_LOCK.fullmatch(os.path.basename(file.path)) for file in files)
