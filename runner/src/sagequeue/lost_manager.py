"""A process manager that runs and cannot be asked, since a cleaner of /tmp removed its socket."""

import configparser
import os
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_LOCK = re.compile(r"worker-[0-9]+[.]lock")


def find(settings: Path) -> list[psutil.Process]:
    """The living supervisords with that settings file, if their socket takes no connection."""
    return [] if _answers(settings) else [p for p in psutil.process_iter() if _runs(p, settings)]


def _answers(settings: Path) -> bool:
    told = configparser.ConfigParser(interpolation=None)
    try:
        told.read(settings, encoding="utf-8")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(told["unix_http_server"]["file"])
    except (configparser.Error, KeyError, OSError, UnicodeError):
        return False
    return True


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
            others = [child for child in manager.children() if not _has_a_place(child)]
            manager.kill()
            for other in others:  # recovery, and workers in the pause before they begin
                with suppress(psutil.Error):
                    other.terminate()
            psutil.wait_procs([manager, *others], timeout=10)


def _has_a_place(process: psutil.Process) -> bool:
    """Whether it is a worker, of any jobset, that has begun: one has its lock open."""
    return any(_LOCK.fullmatch(os.path.basename(file.path)) for file in process.open_files())
