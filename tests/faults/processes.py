"""The suite's processes: forked from this one, known beyond doubt, and all ended at the end."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
CRASHED = 70  # exit status of a forked process that an exception ended


@dataclass(frozen=True)
class Process:
    """One process for ever: its number, and its start in ticks since boot."""

    pid: int
    ticks: int

    @property
    def alive(self) -> bool:
        """Whether it is there and no zombie."""
        return identify(self.pid) == self

    def send(self, number: signal.Signals, *, group: bool = False) -> bool:
        """Send it a signal, or its process group; False when it is not there any more."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    if group:
                        os.killpg(self.pid, number)
                    else:
                        signal.pidfd_send_signal(handle, number)
                    return True
            finally:
                os.close(handle)
        return False


def identify(pid: int) -> Process | None:
    """The living process of that number."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        if fields[0] not in "ZX":
            return Process(pid, int(fields[19]))
    return None


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent dies, so that none gets out of sight."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def come_first() -> None:
    """Run before what is attacked, so that a busy machine does not make the attack a lame one."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def descendants() -> list[Process]:
    """Everything alive below this process."""
    children = psutil.Process().children(recursive=True)
    return [process for child in children if (process := identify(child.pid))]


def enders() -> list[Process]:
    """Those below this process that end an execution, for a verb that may be dead itself."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "sagequeue-ender" in child.cmdline() and (process := identify(child.pid)):
                found.append(process)
    return found


def kill_all() -> None:
    """End everything below this process, at once and without a warning."""
    while alive := descendants():
        for process in alive:
            process.send(signal.SIGKILL)


def reap() -> dict[int, int]:
    """The exit statuses (negative: by that signal) of the children that have ended, by number."""
    ended = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended


def fork(action: Callable[[], int], output: Path) -> Process:
    """Run `action` in a process of its own that has no descriptor of ours but its output."""
    pid = os.fork()
    if pid:
        # Not reaped yet, so it is there, if only as a zombie.
        return identify(pid) or Process(pid, 0)
    status = CRASHED
    try:
        # As a service has one: a group that lost its parent is sent SIGHUP if one of it is stopped.
        os.setsid()
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        null = os.open(os.devnull, os.O_RDONLY)
        out = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for fd, number in ((null, 0), (out, 1), (out, 2)):
            os.dup2(fd, number)
        os.closerange(3, 4096)
        status = action()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else CRASHED
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
