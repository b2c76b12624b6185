"""How far a jobset is: state files are the truth, logs the detail. Read only.

`survey` gives the facts, `as_json` their documented shape (docs/queue.md); `view` draws them.
"""

import os
import re
import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sagequeue import findings, regular, retry
from sagequeue import tally as tallies
from sagequeue.config import Config
from sagequeue.exceptions import MalformedJob, StateCorrupt
from sagequeue.jobs import Job, JobState, job_name, printable
from sagequeue.owner import held, orphan_reason, read_owner
from sagequeue.spool import Spool

_TAIL = 65536
_DONE = re.compile(r"\[[^]]*\] DONE .*?\bdt=([0-9]{1,12}(?:\.[0-9]{1,9})?)s")


@dataclass(frozen=True)
class Partition:
    """One offset. Times are seconds, `last_activity` is ISO 8601; None is "not known"."""

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
    """Look at the queue, the state files, the logs' ends and the findings."""
    spool = Spool(config)
    states: dict[str, JobState] = {}
    for state in JobState:
        if spool.dirs[state].is_dir():
            states.update((name, state) for name in spool.names(state))
    times: list[float] = []
    partitions = [_partition(spool, k, states, times) for k in range(config.stride)]
    # A file whose name is no offset of ours is no partition, but it lies in the queue and counts.
    counts = Counter(states.values())
    done = sum(p.cases_done for p in partitions)
    locks = config.run_dir.glob("worker-*.lock")
    alive = sum(held(path) for path in locks)
    gate = gate_reason(config)
    tally, tally_cases = _tally(config, partitions)
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
        tally={name: dict(counts) for name, counts in tally.items()},
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
    spool: Spool, offset: int, states: dict[str, JobState], times: list[float]
) -> Partition:
    config, name = spool.config, job_name(spool.config.jobset, offset)
    state = states.get(name)
    gidx: int | None = None
    reason = ""
    if config.state_file_host:
        try:
            gidx = config.last_gidx(offset)
        except StateCorrupt:
            reason = "state_corrupt"
    done = 0 if gidx is None or gidx < 0 else (gidx - offset) // config.stride + 1
    job, malformed = _job(spool, state, name)
    held = state is JobState.FAILED and (
        job is None or retry.decide(job, config.max_failed_retries).verdict is retry.Verdict.HOLD
    )
    seconds = _case_seconds(config.log_file(offset))
    times.extend(seconds)
    return Partition(
        offset=offset,
        state=str(state) if state else "none",
        cases_done=done,
        cases_total=config.cases(offset),
        last_gidx=gidx if gidx is not None and gidx >= 0 else None,
        case_seconds_median=statistics.median(seconds) if seconds else None,
        case_seconds_last=seconds[-1] if seconds else None,
        last_activity=_last_activity(config.log_file(offset), config.state_file(offset)),
        worker=_worker(spool, name) if state is JobState.RUNNING else None,
        attempts=job.count("ATTEMPTS") if job else 0,
        held=held,
        reason=reason or malformed or _reason(state, job),
        log=str(config.log_file(offset)),
    )


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


def _case_seconds(log: Path) -> list[float]:
    """How long the last cases took, from the end of a log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            tail = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [float(match[1]) for line in tail.split("\n") if (match := _DONE.match(line))]


def _tally(config: Config, partitions: list[Partition]) -> tuple[tallies.Tally, int]:
    """What all partitions counted, and in how many cases."""
    total: tallies.Tally = {}
    cases = 0
    for p in partitions:
        if p.last_gidx is None:
            continue
        logs = [Path(f"{p.log}.1"), Path(p.log)]
        part, counted = tallies.read(logs, p.offset, config.stride, p.last_gidx)
        tallies.add(total, part)
        cases += counted
    return total, cases


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
    return shape
