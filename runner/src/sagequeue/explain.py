"""Why one job is where it is, and what happens next and when, as sentences. It only looks."""

import math
import os
import re
from collections.abc import Iterator

from sagequeue import attendance, backoff, config, jobs, retry, runtime, schedule
from sagequeue.commands import typed
from sagequeue.config import Config
from sagequeue.exceptions import (
    ConfigError,
    MalformedJob,
    SagequeueError,
    StateCorrupt,
    StateUnreadable,
)
from sagequeue.jobs import RETRY, Job, JobState, Outcome
from sagequeue.owner import held, read_owner
from sagequeue.progress import gate_reason
from sagequeue.reasons import sentence
from sagequeue.settlement import MAX_INTERRUPTS
from sagequeue.settling import LAST_PAUSE
from sagequeue.spool import Spool

_FILE = re.compile(r"(?:\.env|\.env\.owner|\.lock|\.result|\.log)$")


def explain(settings: Config, job: str) -> list[str]:
    """What there is to say of a job, which is a name, an offset or a path of one of its files."""
    spool, name = Spool(settings), _name(settings, job)
    while True:
        try:
            return list(_explain(spool, name))
        except FileNotFoundError:
            continue  # it moved on meanwhile


def _name(settings: Config, text: str) -> str:
    if text.isascii() and text.isdigit():
        return jobs.job_name(settings.jobset, int(text) if len(text) < 19 else text)
    name = _FILE.sub("", os.path.basename(text))
    offset = name.rpartition("_off")[2]
    if name in (jobs.job_name(begin, offset) for begin in (settings.jobset, settings.log_prefix)):
        return jobs.job_name(settings.jobset, offset)
    other = name.rpartition("_off")[0]
    known = [path.stem for path in config.env_files()]
    if other in known:
        raise SagequeueError(
            f"{jobs.printable(name)} is a job of {other}: "
            f"`sagequeue explain {jobs.printable(name)} --jobset {other}`"
        )
    raise SagequeueError(
        f"{jobs.printable(text)!r} is no job of {settings.jobset}: name one as "
        f"{jobs.job_name(settings.jobset, 'K')}, by its offset K or by a path of its file"
    )


def _explain(spool: Spool, name: str) -> Iterator[str]:
    settings, states = spool.config, spool.locate(name)
    if not states:
        yield from _nowhere(settings, name)
        return
    if len(states) > 1:
        yield f"{name} is {' and '.join(states)} at once: somebody copied a file."
        yield "Nobody moves it until one is left. To keep what holds, remove the other:"
        yield from (f"  rm {spool.file(state, name)}" for state in states)
        return
    (state,) = states
    try:
        job = spool.read(state, name)
    except MalformedJob as error:
        yield f"{name} is {state}, and its file is malformed: {error}."
        yield _malformed(spool, state, name)
        return
    told = {
        JobState.PENDING: _pending,
        JobState.RUNNING: attendance.tell,
        JobState.DONE: _done,
        JobState.FAILED: _failed,
    }
    yield from told[state](spool, job)
    try:
        settings.last_gidx(job.offset)
    except StateCorrupt as error:
        yield f"Its state file is wrong: {error}."
    except StateUnreadable as error:
        if state not in (JobState.PENDING, JobState.RUNNING):
            yield f"Its state file cannot be read now: {error}."
    if os.path.exists(log := settings.log_file(job.offset)):
        yield f"Its log is {log}; {typed(settings, f'logs --offset {job.offset}')} shows the end."


def _nowhere(settings: Config, name: str) -> Iterator[str]:
    digits = name.rpartition("_off")[2]
    if not (digits.isascii() and digits.isdigit() and int(digits[:18]) < settings.stride):
        raise SagequeueError(
            f"there is no job {jobs.printable(name)}: the offsets of {settings.jobset} are 0 to "
            f"{settings.stride - 1} (STRIDE - 1)"
        )
    yield f"{name} is in no directory: it was never enqueued, or the queue was purged."
    yield f"Nothing happens to it until {typed(settings, f'enqueue --offset {digits}')} adds it."


def _malformed(spool: Spool, state: JobState, name: str) -> str:
    path = spool.file(state, name)
    if state is JobState.DONE:
        return f"Nobody reads it any more: {path}."
    mend = f"mend {path} by hand, then {typed(spool.config, 'retry-failed')}"
    if state is JobState.FAILED:
        return f"Nobody moves it until it is mended: {mend}."
    return (
        f"It goes to failed/ as it is when somebody comes to it; {mend.replace(state, 'failed')}."
    )


def _pending(spool: Spool, job: Job) -> Iterator[str]:
    settings = spool.config
    offsets = [_offset(name) for name in spool.names(JobState.PENDING)]
    before = sum(offset < job.offset for offset in offsets)
    yield f"{job.name} is pending, number {before + 1} of {len(offsets)} to be claimed."
    yield from _before(settings, job)
    if trouble := settings.state_trouble(job.offset):
        yield f"It is not started, since its state file cannot be read now: {trouble}."
        yield (
            "Next: workers go on with the others, look at the file again every "
            f"{LAST_PAUSE:.0f} s at least, and start the job when it can be read."
        )
        return
    gate, workers = gate_reason(settings), _workers(settings)
    if gate is not None:
        yield f"The stop gate is there ({gate or 'empty'}), and nothing is claimed while it is."
        yield f"Next: {typed(settings, 'clear-stop')} takes it away, and workers go on at once."
        return
    if not workers:
        yield f"No worker runs. Next: {typed(settings, 'start')} starts them."
        return
    try:
        outage = runtime.for_config(settings).unavailable()
    except ConfigError as error:
        outage = str(error)
    if outage is not None:
        yield f"Nothing can be started: {outage}."
        again = f"every {LAST_PAUSE:.0f} s at least"
        yield f"Next: workers look again, {again}; {typed(settings, 'doctor')} helps."
        return
    at = {
        read_owner(spool.owner_file(name)).get("OWNER_WORKER_ID"): _offset(name)
        for name in spool.names(JobState.RUNNING)
    }
    busy = [f"{number} (at offset {at[number]})" for number in workers if number in at]
    if len(busy) < len(workers):
        free = [number for number in workers if number not in at]
        when = "at once" if before == 0 else "soon"
        if left := backoff.left(job):
            when = f"in {math.ceil(left)} s"
        yield f"Next: {when}, worker {' or '.join(free)} is free."
    else:
        first = f", after the {before} lower offset{'s'[: before != 1]}" if before else ""
        yield f"Next: a worker that is through with its job claims it{first}: {', '.join(busy)}."


def _before(settings: Config, job: Job) -> Iterator[str]:
    """What happened to the job before it came to pending."""
    attempts, why = job.count("ATTEMPTS"), sentence(job.last_reason)
    if job.last_outcome == RETRY:
        yield (
            f"It was given back after a failure: {why}; retried {attempts} of "
            f"{settings.max_failed_retries} times."
        )
    elif job.last_reason:
        count = 0 if job.count("NOT_STARTED") else job.count("INTERRUPTS")
        most = f" of {MAX_INTERRUPTS}" if settings.state_file_host else ""
        end = " before it is held" if most else ""
        more = f", {count}{most} times in a row{end}" if count else ""
        yield f"It was given back: {why}{more}."
    if error := job.extra.get("LAST_ERROR"):
        yield f"The last that was printed then: {jobs.printable(error)}"
    if note := backoff.note(job):
        yield f"It {note}."


def _done(spool: Spool, job: Job) -> Iterator[str]:
    settings = spool.config
    yield f"{job.name} is done, since {job.extra.get('FINISHED_AT', 'a time that nobody noted')}."
    if job.last_outcome == Outcome.FOUND:
        yield f"It found something: {typed(settings, 'found')}."
    state = settings.state_file(job.offset)
    first = f"move {state} away, then " if state is not None and state.exists() else ""
    again = typed(settings, f"enqueue --force --offset {job.offset}")
    yield f"Next: nothing. To have it done again, {first}{again}."


def _failed(spool: Spool, job: Job) -> Iterator[str]:
    settings, decision = spool.config, retry.decide(job, spool.config.max_failed_retries)
    attempts = f"retried {job.count('ATTEMPTS')} of {settings.max_failed_retries} times"
    yield f"{job.name} is failed: {sentence(job.last_reason or 'failed')}; {attempts}."
    if decision.verdict is retry.Verdict.RETRY:
        yield f"Next: recovery gives it back to pending {schedule.with_next_pass(settings)}."
        return
    if decision.reason != job.last_reason:
        yield f"It is held: {sentence(decision.reason)}."
    if job.last_outcome == Outcome.FOUND:
        yield f"What it found: {typed(settings, 'found')}."
    reset = " --reset-attempts" if decision.reason == "attempts_exhausted" else ""
    yield f"Next: nothing, until {typed(settings, f'retry-failed{reset}')} gives it back."


def _workers(settings: Config) -> list[str]:
    """The numbers of the workers that live."""
    locks = settings.run_dir.glob("worker-*.lock")
    alive = (path.stem.removeprefix("worker-") for path in locks if held(path))
    return sorted(alive, key=lambda number: number.zfill(9))


def _offset(name: str) -> int:
    digits = name.rpartition("_off")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else -1
