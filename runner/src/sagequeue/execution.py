"""One execution: the record that it leaves in `run/<job>.result`, and what that record means.

The worker writes the record's head before the claim, everybody after it appends: the wrapper its
process id and, last of all, how the workload ended; whoever takes the stop gate away, that there
was one. So the record outlives the worker, and whoever comes next can tell what happened.
"""

import contextlib
import os
import re
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path

from sagequeue import durable, keyvalue, regular
from sagequeue.jobs import Outcome, now

# Linux has the signals 1 to 64; a shell gives 128 + n for signal n.
LAST_SIGNAL = 64

NOT_PREPARSED = "not_preparsed"
LACKS = ("no_directory", "no_script", "no_program", "no_search", "no_process", NOT_PREPARSED)
"""What keeps the wrapper from starting the workload."""

FORMAT = 2
"""The format of the records that we write. Since 2 the wrapper tells when the workload starts."""

_RC = re.compile(r"[0-9]{1,3}")
_NUMBER = re.compile(r"[0-9]{1,20}")
_GROUP = re.compile(r"[0-9]{1,10}:[0-9]{1,18}:[0-9]{0,18}:[0-9a-f-]{0,36}")
# Bytes of a record that are read: a gate that is there for months is noted again and again.
_LONGEST = 1 << 24


@dataclass(frozen=True)
class Execution:
    """What is known of an execution.

    `word` is its own, unlike every other's: its processes have it in their environment.
    `log_start` is the log's size in bytes before it, `log_inode` the log's inode (None: an older
    release began it), `gidx` the state file's number (or word) then, `wrapper` the wrapper's
    process id where the solver runs (None: nothing was started), `rc` the workload's exit status
    as a shell gives it (128 + n for signal n from 1 to 64, which a workload may also have exited
    with; None: no result came), `stopped` whether one of us ended it, `oom` whether the kernel
    killed for want of memory then, `lacks` a word of `LACKS` for what it could not be started
    without, `cut` whether a process was ended that still had the log open for writing: the log may
    lack the end of the output. `run` is whether the wrapper told that it starts the workload, as it
    does since `format` 2. `first` is whether it is known to be the first of its job. `group` names
    the session of the workload, see scripts/session.sh; it is empty if no workload was started, or
    if an older release started it.
    """

    worker: str
    word: str
    log_start: int
    gidx: str
    wrapper: int | None
    rc: int | None
    stopped: bool
    gate_seen: bool
    oom: bool = False
    lacks: str = ""
    log_inode: int | None = None
    cut: bool = False
    format: int = 1
    run: bool = False
    first: bool = False
    group: str = ""

    @property
    def over(self) -> bool:
        """Whether the wrapper has written the last that it had to say."""
        return self.rc is not None or bool(self.lacks)

    @property
    def started(self) -> bool:
        """Whether the workload was started, or may have been."""
        if self.rc is not None:
            return True
        begun = self.run if self.format >= 2 else self.wrapper is not None
        return begun and not self.lacks


UNKNOWN = Execution("-", "", 0, "", 0, None, stopped=False, gate_seen=False)
"""An execution whose record cannot be read: something may have run, and all of the log be its."""


def begin(
    path: Path, worker: int, log_start: int, gidx: str, log_inode: int | None = None, *,
    first: bool = False,
) -> str:  # fmt: skip
    """Put the head of a new record in the place of an earlier execution's; returns its word.

    For good, before the claim: an old result must not come back to decide a new execution. `first`
    is whether it is known to be the first of its job.
    """
    word = secrets.token_hex(8)
    head = {"FORMAT": str(FORMAT), "WORKER": str(worker), "EXECUTION": word, "STARTED": now()}
    place = {"LOG_START": str(log_start)}
    if log_inode is not None:
        place["LOG_INODE"] = str(log_inode)
    if first:
        place["FIRST"] = "1"
    durable.replace(path, keyvalue.render({**head, **place, "GIDX": gidx}))
    return word


def note_stop(path: Path, run: Execution) -> None:
    """Note in the record of that execution, and of no later one, that one of us ends it.

    It may be ended so hard that its wrapper cannot say so.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
        try:
            if f"EXECUTION={run.word}\n".encode() in os.pread(fd, 4096, 0):
                os.write(fd, b"STOPPED=1\n")
        finally:
            os.close(fd)


def note_gate(path: Path) -> None:
    """Put down that the stop gate was there during this execution, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            os.write(fd, b"GATE=1\n")
        finally:
            os.close(fd)


def read(path: Path) -> Execution | None:
    """The record; None when there is none, `UNKNOWN` when it cannot be read."""
    try:
        content = regular.read(path, _LONGEST)
        # A line without its end is still being written, or was cut off with the machine.
        whole = content[: content.rfind(b"\n") + 1]
        values = keyvalue.parse(whole.decode("ascii"), repeats=True)
        rc = values.get("RC", "")
        return Execution(
            worker=values.get("WORKER", "-"),
            word=values["EXECUTION"],
            log_start=_whole(values["LOG_START"]),
            gidx=values.get("GIDX", ""),
            wrapper=_whole(values["PID"]) if "PID" in values else None,
            rc=int(rc) if _RC.fullmatch(rc) else None,  # cut off, and appended to
            stopped="STOPPED" in values,
            gate_seen="GATE" in values,
            oom="OOM" in values,
            log_inode=_whole(values["LOG_INODE"]) if "LOG_INODE" in values else None,
            cut="CUT" in values,
            lacks=values.get("LACKS", "") if values.get("LACKS") in LACKS else "",
            format=_whole(values.get("FORMAT", "1")),
            run="RUN" in values,
            first="FIRST" in values,
            group=_group(values),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError):
        return UNKNOWN


def keep_group(path: Path, run: Execution) -> None:
    """Keep the session of an execution that is settled, for the next one of the job to end it.

    It is not synced: after a power cut nothing of the session is left.
    """
    if run.group:
        temporary = path.with_name(f".{path.name}.tmp")
        durable.write(temporary, keyvalue.render({"GROUP": run.group}), sync=False)
        temporary.rename(path)


def kept_group(path: Path) -> str:
    """What `keep_group` kept last; empty if that is nothing, or is spoilt.

    Raises OSError if the file cannot be read now.
    """
    try:
        return _group(keyvalue.parse(regular.read(path, _LONGEST).decode("ascii"), repeats=True))
    except (FileNotFoundError, regular.NoRegularFile, ValueError):
        return ""


def _group(values: dict[str, str]) -> str:
    group = values.get("GROUP", "")
    return group if _GROUP.fullmatch(group) else ""


def _whole(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def judge(run: Execution, *, complete: bool | None, gate: bool) -> tuple[Outcome, str]:
    """The outcome of an execution and its reason in a word (empty when it needs none).

    `complete` is what the state file says of the partition (None: not known), `gate` whether the
    stop gate is there now.
    """
    if run.rc is None:
        return Outcome.INTERRUPTED, "stopped" if run.stopped else "no_result"
    if run.rc == 0 and complete:
        return Outcome.DONE, ""
    if run.stopped:
        return Outcome.INTERRUPTED, "stopped"
    if run.rc == 128 + signal.SIGKILL and run.oom:
        return Outcome.FAILED, "out_of_memory"
    if 128 < run.rc <= 128 + LAST_SIGNAL:
        return Outcome.FAILED, f"signal_{run.rc - 128}"
    if run.rc != 0:
        return Outcome.FAILED, f"rc_{run.rc}"
    if gate or run.gate_seen:
        return Outcome.PAUSED, "stop_gate"
    return (Outcome.DONE, "") if complete is None else (Outcome.FAILED, "incomplete")
