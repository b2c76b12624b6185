"""Checks of settings, directories and jobs."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from sagequeue import config as configuration
from sagequeue import jobs, retry, runtime
from sagequeue.doctor.container import inside
from sagequeue.doctor.finding import Finding, fail, ok, some, warn
from sagequeue.doctor.patient import Patient, quoted
from sagequeue.exceptions import ConfigError, MalformedJob
from sagequeue.execution import NOT_PREPARSED
from sagequeue.jobs import Job, JobState
from sagequeue.owner import held, orphan_reason
from sagequeue.progress import gate_reason
from sagequeue.spool import Spool


def env_file(patient: Patient) -> Iterator[Finding]:
    """The settings of every jobset can be read, and one jobset is active."""
    settings, files = patient.config, configuration.env_files()
    if settings is None and not files:
        yield warn("no jobset is configured yet; this provisions all there is", patient.play)
        return
    wrong: dict[Path, str] = {}
    for path in files:
        try:
            configuration.load(path, {})
        except ConfigError as error:
            wrong[path] = str(error)
    for path, cause in wrong.items():
        yield fail(f"{cause}; it is written anew", patient.operation("env", path.stem))
    active = configuration.config_dir() / f"{configuration.ACTIVE}.env"
    target = Path(os.path.realpath(active))
    known = settings.jobset if settings else files[0].stem
    if not os.path.lexists(active):
        yield warn("no jobset is active", patient.operation("env", known))
    elif target not in [Path(os.path.realpath(path)) for path in files]:
        yield fail(f"{active} leads to {target}, which is none", patient.operation("env", known))
    elif settings is None and not wrong:
        yield fail(patient.complaint, patient.play)
    elif not wrong:
        yield ok(f"{len(files)} env files can be read, and {target.stem} is active")


def directories(patient: Patient) -> Iterator[Finding]:
    """The queue's directories are there and writable."""
    if (settings := patient.config) is None:
        return
    spool = Spool(settings)
    beside = [settings.run_dir, settings.log_dir, settings.results_dir]
    paths = [*spool.dirs.values(), *beside]
    places = (*paths, settings.ledger_dir)
    wrong = [str(path) for path in places if os.path.lexists(path) and not path.is_dir()]
    missing = [str(path) for path in paths if not path.is_dir()]
    denied = [str(path) for path in paths if path.is_dir() and not os.access(path, os.W_OK)]
    if wrong:
        yield fail(
            f"a file is in the place of the directory {some(wrong)}",
            f"mv {quoted(wrong[0])} {quoted(f'{wrong[0]}.away')}",
        )
    elif missing:
        yield fail(f"there is no {some(missing)}", patient.operation("setup"))
    elif denied:
        yield fail(
            f"you may not write to {some(denied)}",
            f"sudo chown -R {patient.user}: {' '.join(map(quoted, denied))}",
        )
    elif len({os.stat(path).st_dev for path in spool.dirs.values()}) > 1:
        yield fail(
            f"{settings.queue_dir}: pending, running, done and failed lie in several filesystems, "
            "and a job changes its state by a rename",
            f"findmnt --target {quoted(settings.pending_dir)}",
        )
    else:
        yield ok(f"the queue in {settings.queue_dir} is writable")


def workload(patient: Patient) -> Iterator[Finding]:
    """The jobset's script is where solvers look for it."""
    if (settings := patient.config) is None:
        return
    if settings.runtime == "local":
        try:
            runtime.for_config(settings).unavailable()
        except ConfigError as error:
            yield fail(str(error), patient.play)
            return
    else:
        if not patient.contained:
            return
        if inside(settings.service, "test", "-r", settings.script).returncode != 0:
            yield fail(f"the container cannot read {settings.script}", patient.play)
            return
    yield ok(f"solvers find {os.path.basename(settings.script)}")


def gate(patient: Patient) -> Iterator[Finding]:
    """No stop gate keeps jobs waiting."""
    if (spool := queue(patient)) is None:
        return
    waiting, reason = len(spool.names(JobState.PENDING)), gate_reason(spool.config)
    if reason is None or not waiting:
        yield ok("no stop gate keeps jobs waiting")
    else:
        yield warn(
            f"{waiting} jobs wait for the stop gate, which says: {reason}",
            patient.sagequeue("clear-stop"),
        )


def queue(patient: Patient) -> Spool | None:
    """The queue, None when there is none to look into."""
    if patient.config is None:
        return None
    spool = Spool(patient.config)
    return spool if all(path.is_dir() for path in spool.dirs.values()) else None


def owners(patient: Patient) -> Iterator[Finding]:
    """Whatever runs is somebody's, and nobody owns what does not run."""
    if (spool := queue(patient)) is None:
        return
    stale = []
    for name in sorted({*spool.names(JobState.RUNNING), *spool.owners()}):
        reason = orphan_reason(spool.owner_file(name))
        if reason is not None and not held(spool.lock_file(name)):
            stale.append(f"{name} ({reason})")
    if stale:
        yield warn(f"nobody works on {some(stale)} any more", patient.sagequeue("recover"))
    else:
        yield ok("every running job is somebody's")


def duplicates(patient: Patient) -> Iterator[Finding]:
    """Every job is in one directory."""
    if (spool := queue(patient)) is None:
        return
    places: dict[str, list[JobState]] = defaultdict(list)
    for state in JobState:
        for name in spool.names(state):
            places[name].append(state)
    twice = {name: states for name, states in places.items() if len(states) > 1}
    for name, states in twice.items():
        # It may have moved while it was looked for.
        if len(states := [state for state in states if spool.lies(state, name)]) < 2:
            continue
        keep = JobState.RUNNING if held(spool.lock_file(name)) else states[0]
        others = [quoted(spool.file(state, name)) for state in states if state is not keep]
        yield fail(
            f"{name} is in {' and '.join(states)}; the one in {keep}/ is to stay",
            f"rm {' '.join(others)}",
        )
    missing = [
        name
        for offset in range(spool.config.stride)
        if (name := jobs.job_name(spool.config.jobset, offset)) not in places
        and not spool.locate(name)
    ]
    if 0 < len(missing) < spool.config.stride:
        yield warn(f"{some(missing)} are in no directory", patient.sagequeue("enqueue"))
    if not twice and len(missing) in (0, spool.config.stride):
        yield ok("every job is in one directory")


def files(patient: Patient) -> Iterator[Finding]:
    """Every job file can be read, and no job waits for you."""
    if (spool := queue(patient)) is None:
        return
    left = []
    malformed = False
    for state in JobState:
        for name in sorted(spool.names(state)):
            try:
                job = spool.read(state, name)
            except FileNotFoundError:
                continue  # it moved on
            except MalformedJob as error:
                malformed = True
                yield warn(
                    f"{state}/{name} is malformed: {error}. "
                    f"`{patient.sagequeue(f'explain {name}')}` says more",
                    _anew(patient, spool, state, name),
                )
                continue
            if state is JobState.FAILED and _held(spool, job):
                left.append(name)
    if left:
        yield warn(
            f"{some(left)} failed and wait for you; "
            f"`{patient.sagequeue(f'explain {left[0]}')}` says why",
            patient.sagequeue("retry-failed"),
        )
    if not left and not malformed:
        yield ok("no job is malformed or held")


def state_files(patient: Patient) -> Iterator[Finding]:
    """The state file of every unfinished job can be read."""
    if (spool := queue(patient)) is None:
        return
    settings, troubles = spool.config, dict[int, str]()
    for offset in range(settings.stride):
        name = jobs.job_name(settings.jobset, offset)
        if (trouble := settings.state_trouble(offset)) and not spool.lies(JobState.DONE, name):
            troubles[offset] = trouble
    if not troubles:
        yield ok("the state files can be read")
        return
    (offset, trouble), count = next(iter(troubles.items())), len(troubles)
    yield warn(
        f"state_unreadable: {trouble}. Its job is neither started nor settled before it can be read"
        + (f"; {count} state files are like this" if count > 1 else ""),
        f"namei -l {quoted(str(settings.state_file(offset)))}",
    )


def preparser(patient: Patient) -> Iterator[Finding]:
    """Sage's preparser does not fail again and again."""
    if (spool := queue(patient)) is None:
        return
    failing: list[Job] = []
    for name in sorted(spool.names(JobState.PENDING)):
        with contextlib.suppress(FileNotFoundError, MalformedJob):
            job = spool.read(JobState.PENDING, name)
            if job.last_reason == NOT_PREPARSED and job.count("NOT_STARTED") > 1:
                failing.append(job)
    if not failing:
        yield ok("the preparser does not fail again and again")
        return
    first = max(failing, key=lambda job: job.count("NOT_STARTED"))
    error = first.extra.get("LAST_ERROR") or "it printed nothing"
    times = first.count("NOT_STARTED")
    yield warn(
        f"Sage's preparser failed {times} times in a row for {first.name}, and {len(failing)} jobs "
        f"wait for it: {error}",
        patient.sagequeue(f"logs --offset {first.offset}"),
    )


def _held(spool: Spool, job: Job) -> bool:
    decision = retry.decide(job, spool.config.max_failed_retries)
    return decision.verdict is retry.Verdict.HOLD


def _anew(patient: Patient, spool: Spool, state: JobState, name: str) -> str:
    """Remove a malformed file, and enqueue its job anew if the name is one's."""
    remove, offset = f"rm {quoted(spool.file(state, name))}", name.rpartition("_off")[2]
    mine = offset.isascii() and offset.isdigit() and int(offset[:18]) < spool.config.stride
    if not mine or jobs.job_name(spool.config.jobset, int(offset)) != name:
        return remove
    return f"{remove} && {patient.sagequeue(f'enqueue --offset {offset}')}"


CHECKS = (env_file, directories, workload, gate, owners, duplicates, files, state_files, preparser)
