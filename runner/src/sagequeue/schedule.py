"""When recovery looks at the queues next: by systemd's timer, or by the process that repeats it."""

import json
import os
import subprocess
import time
from contextlib import suppress
from datetime import datetime

import psutil

from sagequeue import container
from sagequeue.commands import typed
from sagequeue.config import Config

_TIMER = "sagequeue-recover.timer"


def next_pass() -> str | None:
    """When, as the end of a sentence (`at 12:34:56, in 90 s`); None when nothing repeats it."""
    return _by_timer() or _by_process()


def with_next_pass(settings: Config) -> str:
    """When, as the end of a sentence about what recovery does; or what to do when it never is."""
    due = next_pass()
    if due is None:
        return f"when it runs, and nothing repeats it here: {typed(settings, 'start')}"
    return f"with its next pass, {due}"


def _by_timer() -> str | None:
    command = ["systemctl", "--user", "list-timers", "--output=json", _TIMER]
    try:
        answer = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=10,
            stdin=subprocess.DEVNULL, env=container.environment(),
        )  # fmt: skip
        (timer,) = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None  # no systemd, nobody answers, or no such timer runs
    if not timer["next"]:
        return "now"  # a pass is going on
    due = timer["next"] / 1e6
    left = max(0.0, due - time.time())
    return f"at {datetime.fromtimestamp(due):%H:%M:%S}, in {left:.0f} s"


def _by_process() -> str | None:
    for process in psutil.process_iter(["cmdline", "uids"]):
        words = process.info["cmdline"] or []
        if process.info["uids"].real == os.getuid() and "recover" in words[:-2]:
            at = words.index("recover") + 1
            with suppress(psutil.Error):
                # One of another home looks at other queues.
                if words[at] == "--every" and process.environ().get("HOME") == os.environ["HOME"]:
                    return f"within {words[at + 1]} s"
    return None
