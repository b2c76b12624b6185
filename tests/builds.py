"""Builds of the runner that are broken on purpose, each by a textual edit of a copy of its source.

A test that is to catch a fault is shown to catch it. An edit that does not apply exactly once is an
error: the source has moved on, and the edit has to follow it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "runner" / "src"


@dataclass(frozen=True)
class Edit:
    """One change: in the file `path` of the package, `old` becomes `new`."""

    path: str
    old: str
    new: str


_NO_FILE_SYNC = Edit("durable.py", "            os.fsync(fd)\n", "            pass\n")
_NO_DIRECTORY_SYNC = Edit("durable.py", "    _sync(path, os.O_DIRECTORY)\n", "")

# The worker itself waits for the solver, as shell sagequeue's does, and keeps what it holds.
_WAITS = Edit(
    "worker.py",
    "                word = self.start(lock, name)\n",
    "                word = self.start(lock, name)\n"
    "                if word is not None:\n"
    "                    os.waitpid(-1, 0)\n",
)

BROKEN: dict[str, tuple[Edit, ...]] = {
    "owner written after the rename and no lock": (
        _WAITS,
        Edit(
            "spool.py",
            "        return owner.try_lock(self.lock_file(name))\n",
            "        path = self.lock_file(name)\n"
            "        return Lock(path, owner.open_lock(path)[0])\n",
        ),
    ),
    "lock not inherited": (
        _WAITS,
        Edit(
            "runtime.py",
            "sources = [null, given.log, given.log, given.lock, given.log, given.record]",
            "sources = [null, given.log, given.log, null, given.log, given.record]",
        ),
    ),
    "client's exit status trusted": (
        Edit(
            "worker.py",
            "            self.runtime.launch(job, marks",
            "            self.client = self.runtime.launch(job, marks",
        ),
        Edit("settling.py", "import functools\n", "import contextlib\nimport functools\n"),
        Edit(
            "settling.py",
            "        try:\n            settled = settlement.settle(",
            "        record = self.spool.result_file(name)\n"
            "        left = execution.read(record)\n"
            "        if left is not None and left.rc is None:\n"
            "            with contextlib.suppress(OSError, AttributeError):\n"
            "                ended, status = os.waitpid(self.client, os.WNOHANG)\n"
            "                rc = os.waitstatus_to_exitcode(status)\n"
            "                if ended:\n"
            "                    with open(record, 'a') as file:\n"
            "                        file.write(f'RC={rc if rc >= 0 else 128 - rc}\\n')\n"
            "        try:\n            settled = settlement.settle(",
        ),
    ),
    "rc 0 taken for done": (
        Edit("execution.py", "    if run.rc == 0 and complete:\n", "    if run.rc == 0:\n"),
    ),
    "only the leader killed": (
        Edit(
            "scripts/wrapper.sh",
            'while [ -n "$pids" ]; do\n    kill -KILL "-$child"',
            'while false; do\n    kill -KILL "-$child"',
        ),
        Edit(
            "scripts/wrapper.sh",
            'while find_left || lacks no_search "cannot search /proc for processes of an earlier'
            ' execution"; [ -n "$pids" ]; do',
            "while false; do",
        ),
        Edit(
            "scripts/wrapper.sh",
            '[ "$pid" = "$child" ] || kill -s TERM "$pid"',
            "true",
        ),
    ),
    "no fsync": (
        _NO_FILE_SYNC,
        Edit("durable.py", "        os.fsync(fd)\n    finally", "        pass\n    finally"),
    ),
    "files are not synced": (_NO_FILE_SYNC,),
    "directories are not synced": (_NO_DIRECTORY_SYNC,),
    "new directories are not synced": (
        Edit("durable.py", "        sync_directory(path.parent)\n", ""),
    ),
    "job files are rewritten in place": (
        Edit(
            "spool.py",
            "os.rename(self._write(start, changed), self._path(start, name))",
            "durable.write(self._path(start, name), changed.render())",
        ),
    ),
    "a result is acted upon before it is synced": (
        Edit(
            "settlement.py",
            "        durable.sync_file(spool.result_file(name))\n",
            "        pass\n",
        ),
    ),
    "the record goes before the rename is synced": (
        Edit(
            "spool.py",
            "        self._sync(end, start)\n        if start is JobState.RUNNING:\n"
            "            self._forget(name)\n",
            "        if start is JobState.RUNNING:\n            self._forget(name)\n"
            "        self._sync(end, start)\n",
        ),
    ),
    "a new log's name is not synced": (
        Edit("worker.py", "            if not status.st_size:", "            if False:"),
    ),
    "the record of an execution is not synced": (
        Edit("execution.py", "    durable.replace(path, ", "    durable.write(path, "),
    ),
    "the stop gate is not synced": (
        Edit("operations.py", "        durable.sync_directory(directory)\n", "        pass\n"),
    ),
    "what is purged is not synced": (
        Edit(
            "operations.py",
            "        for directory in {path.parent for path in paths}:\n"
            "            _sync_names(directory)\n",
            "",
        ),
    ),
    "recovery requeues a job whose lock is held": (
        Edit(
            "recovery.py",
            "lock = spool.lock(name)\n",
            "path = spool.lock_file(name)\n"
            "                        lock = spool.lock(name) or Lock(path, open_lock(path)[0])\n",
        ),
        Edit("recovery.py", "owner import Lock, ", "owner import Lock, open_lock, "),
    ),
    "a retry is not counted": (
        Edit("spool.py", 'job.count("ATTEMPTS") + 1', 'job.count("ATTEMPTS")'),
    ),
    "an interruption counts as an attempt": (
        Edit(
            "settlement.py",
            "job.with_(LAST_OUTCOME=Outcome.INTERRUPTED, LAST_REASON=reason)",
            'job.with_(ATTEMPTS=job.count("ATTEMPTS") + 1, LAST_OUTCOME=Outcome.INTERRUPTED, '
            "LAST_REASON=reason)",
        ),
    ),
    "interruptions are not counted": (Edit("settlement.py", "INTERRUPTS=count, ", ""),),
    "a solution and then a failure is retried": (
        Edit("retry.py", "job.last_outcome == Outcome.FOUND", "False"),
    ),
    "edges do not look where the job lies": (
        Edit("spool.py", "(found := self.locate(name)) != states", "found := []"),
    ),
    "a stop gate that was there is forgotten": (
        Edit("execution.py", "gate or run.gate_seen", "gate"),
    ),
    "control characters are printed": (Edit("jobs.py", "_CONTROL.sub(_escape, ", "str("),),
    "a retry by hand resets the attempts": (
        Edit("spool.py", "job.with_(ATTEMPTS=None) if reset else job", "job.with_(ATTEMPTS=None)"),
    ),
}


def build(directory: Path, name: str) -> Path:
    """Make that broken build in `directory`; the path to put on PYTHONPATH."""
    source = directory / "src"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in BROKEN[name]:
        path = source / "sagequeue" / edit.path
        text = path.read_text(encoding="utf-8")
        if (times := text.count(edit.old)) != 1:
            raise LookupError(f"{name}: {edit.path} has {edit.old!r} {times} times, not once")
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return source
