"""A disk as the power cut left it, made real; recovery run on it; and what must hold of it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from disk import Directory, Link, Tree
from kit.journal import Journal
from promises import SETTLED, Promises
from sagequeue import config, jobs, recovery
from sagequeue.exceptions import MalformedJob
from sagequeue.jobs import Job, JobState, Outcome
from sagequeue.spool import Spool
from story import ACTIVE, FAILS, FINDS, HELD, STRIDE


class Replay:
    """Makes disks below `place`, one after the other, of what was recorded below `recorded`."""

    def __init__(self, recorded: Path, place: Path) -> None:
        self.place, self._env_file = place, place / "demo.env"
        self._from, self._to = str(recorded).encode(), str(place).encode()
        self._env = (recorded / "demo.env").read_bytes()
        self._moved: dict[bytes, bytes] = {}

    def make(self, tree: Tree) -> Spool:
        """The disk, and its queue as it is."""
        shutil.rmtree(self.place, ignore_errors=True)
        (self.place / "home").mkdir(parents=True)
        self._write(self._env_file, self._env)
        for path, node in tree.items():
            here = self._to.decode() + path[len(self._from) :]
            if isinstance(node, Directory):
                os.makedirs(here, exist_ok=True)
            elif isinstance(node, Link):
                os.symlink(node.target, here)
            else:
                self._write(here, node)
        return Spool(config.load(self._env_file, {}))

    def _write(self, path: str | Path, content: bytes) -> None:
        moved = self._moved.get(content)
        if moved is None:
            moved = self._moved[content] = content.replace(self._from, self._to)
        with open(path, "wb", buffering=0) as file:
            file.write(moved)

    def violations(self, tree: Tree, promised: Promises, *, finish: bool) -> list[str]:
        """What does not hold on that disk: as it is, recovered from, and with `finish` at the end.

        At the end means after a worker, a process of its own, has worked on all that there is.
        """
        try:
            spool = self.make(tree)
            spool.create()
            said = list(_as_it_is(spool, promised))
            found = _findings(spool)
            lines: list[str] = []
            recovery.recover(spool, lines.append)
            if promised.moved is not None:
                said += self._settings(moved=promised.moved)
            later = promised.recovered()
            after = [*_recovered(spool, promised, found), *_as_it_is(spool, later)]
            after += [line for line in lines if "action=warn" in line and "stale_owner" not in line]
            said += [f"after recovery: {what}" for what in after]
            if finish:
                said += [f"at the end: {what}" for what in self._finished(spool, later)]
            return said
        except Exception:  # whatever it is, a power cut must not lead to it
            return [traceback.format_exc()]

    def _settings(self, *, moved: bool) -> Iterator[str]:
        """The active settings are the old ones, whole, at any time."""
        active = self.place / ACTIVE
        if active.read_text() != self._env_file.read_text():
            yield "the active settings are not what they were"
        if moved and not active.is_symlink():
            yield "the active settings are not the jobset's"

    def _finished(self, spool: Spool, promised: Promises) -> Iterator[str]:
        """What does not hold when every job that may go on has been worked on."""
        spool.config.stop_file_host.unlink(missing_ok=True)
        pending = set(spool.names(JobState.PENDING))
        begun = {k: spool.config.last_gidx(k) for k in range(STRIDE)}
        if pending:
            self._work(pending)
        journal = Journal(self.place / "home/journal").read()
        solved = Counter((line.offset, line.value) for line in journal if line.event == "case")
        for (k, gidx), times in solved.items():
            if times > 1 or gidx <= begun[k]:
                yield f"case {gidx} was solved again"
        for k, state in promised.settled:
            if state == JobState.DONE and any(offset == k for offset, _ in solved):
                yield f"job {k}, which was done, was worked on again"
        for name in pending:
            if spool.locate(name) != [JobState.DONE]:
                yield f"{name} is not done"
        yield from _as_it_is(spool, replace(promised, gate=None))

    def _work(self, pending: set[str]) -> None:
        """Have a worker settle all of them."""
        left = set(pending)
        with subprocess.Popen(
            [sys.executable, "-m", "sagequeue", "worker", "1", "--env-file", self._env_file],
            stdout=subprocess.PIPE, text=True,
        ) as worker:  # fmt: skip
            assert worker.stdout is not None
            for line in worker.stdout:
                if said := SETTLED.match(line):
                    left.discard(jobs.job_name("demo", said[1]))
                if not left:
                    worker.terminate()


def _as_it_is(spool: Spool, promised: Promises) -> Iterator[str]:
    """What must hold at any time, whatever has been done."""
    lies = {k: spool.locate(jobs.job_name("demo", k)) for k in range(STRIDE)}
    for k, states in lies.items():
        if len(states) > 1:
            yield f"job {k} is in {states}"
        if k in promised.there and not states:
            yield f"job {k} is lost"
        if promised.empty and (states or spool.config.last_gidx(k) >= 0):
            yield f"job {k} was purged with its state file, and is there again"
        for state in states:
            try:
                spool.read(state, jobs.job_name("demo", k))
            except MalformedJob as error:
                yield f"job {k} in {state} is malformed: {error}"
    for k, state in promised.settled:
        if lies[k] != [state]:
            yield f"job {k} had become {state}, and is {lies[k]}"
    if promised.gate is not None and spool.config.gated is not promised.gate:
        yield f"the stop gate is {spool.config.gated}"
    found = _findings(spool)
    for k in (FINDS, HELD):
        for state in set(lies[k]) & {JobState.DONE, JobState.FAILED}:
            with contextlib.suppress(MalformedJob):
                job = spool.read(state, jobs.job_name("demo", k))
                if job.last_outcome == Outcome.FOUND and k not in found:
                    yield f"job {k} is {state} with a solution that is not recorded"


def _findings(spool: Spool) -> set[int]:
    """The offsets that have a finding; every file there is one, and whole."""
    directory = spool.config.results_dir
    paths = directory.glob("[!.]*") if directory.is_dir() else ()
    return {json.loads(path.read_text(encoding="utf-8"))["offset"] for path in paths}


def _recovered(spool: Spool, promised: Promises, found: set[int]) -> Iterator[str]:
    """What must hold after recovery."""
    if running := spool.names(JobState.RUNNING):
        yield f"{running} are running"
    if owners := spool.owners():
        yield f"{owners} have owner files"
    for k in range(STRIDE):
        for state in spool.locate(jobs.job_name("demo", k)):
            with contextlib.suppress(MalformedJob):
                job = spool.read(state, jobs.job_name("demo", k))
                yield from _attempts(job, promised)
                if k == HELD and k in found and promised.held and state is not JobState.FAILED:
                    yield f"job {k} printed a solution and failed, and is {state}"


def _attempts(job: Job, promised: Promises) -> Iterator[str]:
    attempts = job.count("ATTEMPTS")
    if attempts > (job.offset == FAILS):
        yield f"job {job.offset} has {attempts} attempts spent"
    if (FAILS, "failed") in promised.settled and job.offset == FAILS and attempts != 1:
        yield f"job {job.offset} has failed, and its retry counts as {attempts}"
