"""How far a jobset is: state files are the truth, what was read of the logs the detail. Read only.

`survey` gives the facts, `as_json` their documented shape (docs/queue.md); `view` draws them.
"""

import functools
import os
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sagequeue import (
    backoff,
    coverage,
    execution,
    findings,
    freeing,
    logfile,
    position,
    regular,
    retry,
    tally,
)
from sagequeue.config import Config
from sagequeue.exceptions import MalformedJob, StateCorrupt, StateUnreadable
from sagequeue.jobs import Job, JobState, job_name, printable
from sagequeue.owner import held, orphan_reason, read_owner
from sagequeue.position import Position
from sagequeue.spool import Spool
from sagequeue.tally import Tally


@dataclass(frozen=True)
class Partition:
    """One offset. Times are seconds, `last_activity` is ISO 8601; None is "not known".

    `note` is a sentence about what keeps the job from going on, or empty. `solutions` is how many
    were printed, recorded or not. For the five before it see `coverage.Coverage`.
    """

    offset: int
    state: str
    cases_done: int
    cases_total: int | None
    last_gidx: int | None
    case_seconds_median: float | None
    case_seconds_last: float | None
    last_activity: str | None
    worker: str | None
    attempts: int
    held: bool
    reason: str
    log: str
    cases_read: int
    unconfirmed: list[tuple[int, int]]
    cases_unread: int
    log_behind: bool
    covered: bool
    solutions: int
    note: str = ""

    @property
    def percent(self) -> float | None:
        """Cases done in percent, None when their number is not known."""
        if self.cases_total is None:
            return None
        return 100.0 * self.cases_done / self.cases_total if self.cases_total else 100.0


@dataclass(frozen=True)
class Survey:
    """A jobset at one moment.

    `workers` is how many are configured, `workers_alive` how many run; `eta_seconds` is a range,
    None when nothing is known of it or nobody works. `tally` is what the cases counted, by name and
    value, and `tally_cases` in how many of them; empty and 0 for a workload that counts nothing.
    """

    jobset: str
    stride: int
    workers: int
    workers_alive: int
    counts: dict[str, int]
    cases_done: int
    cases_total: int | None
    eta_seconds: tuple[float, float] | None
    gate: str | None
    partitions: list[Partition]
    findings: list[dict[str, Any]] = field(default_factory=list)
    tally: dict[str, dict[int, int]] = field(default_factory=dict)
    tally_cases: int = 0


def survey(config: Config) -> Survey:
    """Look at the queue, the state files, what was read of the logs, and the findings."""
    spool = Spool(config)
    states: dict[str, JobState] = {}
    for state in JobState:
        if spool.dirs[state].is_dir():
            states.update((name, state) for name in spool.names(state))
    read = [position.load(config, job_name(config.jobset, k), k) for k in range(config.stride)]
    reports = any(at.summary.reports for at in read)

    @functools.cache
    def renamed() -> dict[int, int]:
        return {status.st_ino: status.st_size for _, status in logfile.renamed(config)}

    partitions = [_partition(spool, k, states, at, renamed, reports) for k, at in enumerate(read)]
    times = [seconds for at in read for seconds in at.summary.recent]
    # A file whose name is no offset of ours is no partition, but it lies in the queue and counts.
    counts = Counter(states.values())
    done = sum(p.cases_done for p in partitions)
    locks = config.run_dir.glob("worker-*.lock")
    alive = sum(held(path) for path in locks)
    gate = gate_reason(config)
    total, tally_cases = _tally(config, partitions, read)
    return Survey(
        jobset=config.jobset,
        stride=config.stride,
        workers=config.workers,
        workers_alive=alive,
        counts={str(state): counts[state] for state in JobState},
        cases_done=done,
        cases_total=config.total_cases,
        eta_seconds=_eta(partitions, min(alive, config.workers), times)
        if alive and gate is None
        else None,
        gate=gate,
        partitions=partitions,
        findings=findings.read(config),
        tally={name: dict(counts) for name, counts in total.items()},
        tally_cases=tally_cases,
    )


def gate_reason(config: Config) -> str | None:
    """The stop gate's text in one line without control characters; None when there is no gate."""
    if not config.gated:
        return None
    try:
        text = regular.read(config.stop_file_host, 4096).decode("utf-8", errors="replace")
    except OSError as error:
        text = f"unreadable: {error.strerror}"
    return printable(text).strip()


def _partition(
    spool: Spool, offset: int, states: dict[str, JobState], at: Position,
    renamed: Callable[[], dict[int, int]], reports: bool,
) -> Partition:  # fmt: skip
    config, name = spool.config, job_name(spool.config.jobset, offset)
    state = states.get(name)
    gidx: int | None = None
    reason = note = ""
    if config.state_file_host:
        try:
            gidx = config.last_gidx(offset)
        except StateCorrupt:
            reason = "state_corrupt"
        except StateUnreadable as error:
            reason, note = "state_unreadable", str(error)
    done = 0 if gidx is None or gidx < 0 else (gidx - offset) // config.stride + 1
    job, malformed = _job(spool, state, name)
    held = state is JobState.FAILED and (
        job is None or retry.decide(job, config.max_failed_retries).verdict is retry.Verdict.HOLD
    )
    run = execution.read(spool.result_file(name)) if state is JobState.RUNNING else None
    known = gidx if gidx is not None and gidx >= 0 else None
    covered = coverage.look(config, offset, at, state, known, run, renamed, reports=reports)
    seconds = at.summary.recent
    return Partition(
        offset=offset,
        state=str(state) if state else "none",
        cases_done=done,
        cases_total=config.cases(offset),
        last_gidx=known,
        case_seconds_median=statistics.median(seconds) if seconds else None,
        case_seconds_last=seconds[-1] if seconds else None,
        last_activity=_last_activity(config.log_file(offset), config.state_file(offset)),
        worker=_worker(spool, name) if state is JobState.RUNNING else None,
        attempts=job.count("ATTEMPTS") if job else 0,
        held=held,
        reason=reason or malformed or _reason(state, job),
        log=str(config.log_file(offset)),
        cases_read=covered.read,
        unconfirmed=covered.unconfirmed,
        cases_unread=covered.unread,
        log_behind=covered.behind,
        covered=covered.complete,
        solutions=at.summary.printed,
        note=note or _note(spool, state, job),
    )


def _tally(config: Config, partitions: list[Partition], read: list[Position]) -> tuple[Tally, int]:
    """What all partitions counted, and in how many cases."""
    total: Tally = {}
    cases = 0
    for p, at in zip(partitions, read, strict=True):
        if at.summary.reports and p.last_gidx is not None:
            ledger = config.ledger_dir / f"{job_name(config.jobset, p.offset)}.jsonl"
            part, counted = at.summary.counted(p.last_gidx // config.stride, ledger)
            tally.add(total, part)
            cases += counted
    return total, cases


def _note(spool: Spool, state: JobState | None, job: Job | None) -> str:
    """What keeps the job waiting that it cannot do anything about."""
    if job is not None and state is JobState.RUNNING:
        return freeing.note(spool, job.name)
    return _waits(job) if job is not None and state is JobState.PENDING else ""


def _waits(job: Job) -> str:
    """What was printed when the pending job could not be started, and how long it waits."""
    return "; ".join(filter(None, (job.extra.get("LAST_ERROR"), backoff.note(job))))


def _job(spool: Spool, state: JobState | None, name: str) -> tuple[Job | None, str]:
    """The job, or None and the word for what is wrong with its file."""
    if state is None:
        return None, ""
    try:
        return spool.read(state, name), ""
    except MalformedJob as error:
        return None, error.reason
    except FileNotFoundError:  # it moved on since it was listed
        return None, ""


def _reason(state: JobState | None, job: Job | None) -> str:
    """Why a job waits or failed; what happened to it before is of no account while it runs."""
    return job.last_reason if job and state in (JobState.PENDING, JobState.FAILED) else ""


def _worker(spool: Spool, name: str) -> str | None:
    """The worker that attends to a running job, None when there is none alive."""
    path = spool.owner_file(name)
    return read_owner(path).get("OWNER_WORKER_ID") if orphan_reason(path) is None else None


def _last_activity(*paths: Path | None) -> str | None:
    moments = []
    for path in paths:
        try:
            moments.append(os.stat(path or "").st_mtime)
        except OSError:
            continue
    if not moments:
        return None
    return datetime.fromtimestamp(max(moments)).astimezone().isoformat(timespec="seconds")


def _eta(
    partitions: list[Partition], workers: int, times: list[float]
) -> tuple[float, float] | None:
    """Seconds to the end, from and to: cases on the longest worker x mean case, 2 standard errors.

    Partitions are taken whole, in claim order, each by the worker that is free first.
    """
    if not times or any(p.cases_total is None for p in partitions):
        return None
    loads = [0] * workers
    waiting = [p for p in partitions if p.state in ("pending", "running", "failed") and not p.held]
    for p in sorted(waiting, key=lambda p: (p.state != "running", p.offset)):
        lightest = loads.index(min(loads))
        loads[lightest] += (p.cases_total or 0) - p.cases_done
    mean = statistics.fmean(times)
    if len(times) == 1:  # nothing is known of the spread: half and double are as good as any
        return max(loads) * mean / 2, max(loads) * mean * 2
    error = 2 * statistics.stdev(times) / len(times) ** 0.5
    return max(loads) * max(min(times), mean - error), max(loads) * (mean + error)


def as_json(facts: Survey) -> dict[str, Any]:
    """The survey as plain values."""
    shape = asdict(facts)
    for plain, partition in zip(shape["partitions"], facts.partitions, strict=True):
        plain["percent"] = partition.percent
        if not partition.note:
            del plain["note"]
    return shape
