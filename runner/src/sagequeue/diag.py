"""All that is to be seen of a jobset, as one text for somebody who is asked for help.

Every section is short and stands for itself: one that cannot be had says so. Secrets stay out, and
so does the environment of processes.
"""

import configparser
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sagequeue import __version__, census, config, container, execution, findings, jobs, progress
from sagequeue.config import Config
from sagequeue.exceptions import MalformedJob
from sagequeue.jobs import JobState
from sagequeue.logs import Logs
from sagequeue.owner import held, orphan_reason, read_owner
from sagequeue.spool import Spool

# Of a section: lines, and characters of each. Of jobs, and of logs: so many of a kind.
_LINES, _WIDTH, _JOBS, _LOGS = 60, 400, 12, 8
_TOKEN = re.compile(r"(?i)(token[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,]+")
_LEFT_OUT = "(left out)"


def snapshot(settings: Config, log_lines: int) -> Iterator[str]:
    """The text, line by line, with so many last lines of each log that matters."""
    hide = _hider()
    sections: dict[str, Callable[[], Iterable[str]]] = {
        "versions": _versions,
        "configuration": lambda: config.render(settings).splitlines(),
        "jobs": lambda: _jobs(settings),
        "units": lambda: _units(settings),
        "container": lambda: _container(settings),
        "solvers": lambda: _solvers(settings),
        "doctor": lambda: _doctor(settings),
        "recovery": lambda: _recovery(settings),
        "logs": lambda: _logs(settings, log_lines),
    }
    yield f"sagequeue diag of {settings.jobset} at {jobs.now()}"
    for title, tell in sections.items():
        yield f"\n== {title}"
        most = None if title == "logs" else _LINES  # bounded by its own numbers
        # Hidden first: a line that is cut may end within what is to be hidden.
        yield from _bounded((hide(line) for line in _endured(tell)), most)
    yield f"\n{settings.jobset}: this was all; tokens and environments are left out"


def _endured(tell: Callable[[], Iterable[str]]) -> Iterator[str]:
    try:
        yield from tell()
    except Exception as error:
        yield f"this could not be looked at: {str(error) or type(error).__name__}"


def _bounded(lines: Iterable[str], most: int | None) -> Iterator[str]:
    for number, raw in enumerate(lines):
        if number == most:
            yield "..."
            return
        line = jobs.printable(raw).rstrip()
        yield line if len(line) <= _WIDTH else f"{line[:_WIDTH]}..."


def _hider() -> Callable[[str], str]:
    """Takes Jupyter's token out of a line, and what looks like one."""
    try:
        path = config.config_dir() / "jupyter_token"
        token = path.read_text(encoding="utf-8").strip() or "\n"
    except (OSError, ValueError):
        token = "\n"  # noqa: S105 - no line holds it
    return lambda line: _TOKEN.sub(rf"\1{_LEFT_OUT}", line.replace(token, _LEFT_OUT))


def _first_line(*command: str) -> str:
    try:
        answer = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=10,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        return "not installed"
    lines = (answer.stdout or answer.stderr).splitlines()
    return lines[0] if lines else "no answer"


def _versions() -> Iterator[str]:
    release = platform.release()
    yield f"sagequeue {__version__}, Python {platform.python_version()}"
    yield f"kernel {release}, WSL: {'yes' if re.search('(?i)microsoft|wsl', release) else 'no'}"
    yield platform.freedesktop_os_release().get("PRETTY_NAME", "distribution not known")
    yield f"podman: {_first_line('podman', '--version')}"
    booted = "is PID 1" if Path("/run/systemd/system").is_dir() else "is not PID 1"
    yield f"systemd: {_first_line('systemctl', '--version')}; it {booted}"


def _jobs(settings: Config) -> Iterator[str]:
    spool = Spool(settings)
    yield f"stop gate: {progress.gate_reason(settings) or ('empty' if settings.gated else 'none')}"
    yield f"findings: {len(findings.read(settings))}"
    for state in JobState:
        names = sorted(spool.names(state), key=lambda name: (len(name), name))
        yield f"{state}: {len(names)}"
        for name in names[:_JOBS]:
            yield f"  {name}: {_job(spool, state, name)}"
        if len(names) > _JOBS:
            yield f"  ... and {len(names) - _JOBS} more"


def _job(spool: Spool, state: JobState, name: str) -> str:
    try:
        keys = spool.read(state, name).extra
    except (MalformedJob, FileNotFoundError) as error:
        return f"malformed or gone: {error}"
    said = " ".join(f"{key}={value}" for key, value in keys.items())
    if state is JobState.RUNNING:
        owner = read_owner(spool.owner_file(name))
        said += f" lock={'held' if held(spool.lock_file(name)) else 'free'}"
        said += f" owner={orphan_reason(spool.owner_file(name)) or 'alive'}"
        said += f" worker={owner.get('OWNER_WORKER_ID', '-')} pid={owner.get('OWNER_PID', '-')}"
        if run := execution.read(spool.result_file(name)):
            said += f" wrapper={run.wrapper or '-'} rc={'-' if run.rc is None else run.rc}"
    return said


def _units(settings: Config) -> Iterator[str]:
    from sagequeue import services

    for unit in services.for_config(settings).units():
        current = {None: "-", True: "current", False: "OLDER SETTINGS"}[unit.current]
        enabled = "enabled" if unit.enabled else "not enabled"
        wanted = "" if unit.wanted else ", not wanted"
        yield f"{unit.name}: {unit.state}, {enabled}, pid {unit.pid or '-'}, {current}{wanted}"


def _container(settings: Config) -> Iterator[str]:
    if settings.runtime != "podman":
        yield "none: solvers are processes of this machine (RUNTIME local)"
        return
    there = container.inspect(settings.service)
    if there is None:
        yield f"{settings.service}: there is none"
        return
    yield f"{settings.service}: {'runs' if there.running else 'does not run'}, id {there.id[:12]}"
    yield f"image {there.image_id[:12]}, settings {there.settings or '-'}, at {there.started_at}"
    yield from (f"{target} is {source}" for target, source in there.mounts.items())
    yield f"its 1000:1000 is {':'.join(map(str, container.mapped_ids()))} here"


def _solvers(settings: Config) -> Iterator[str]:
    found = census.solvers(settings)
    for solver in found:
        whose = "the runner's" if solver.ours else "NOT the runner's"
        yield f"offset {solver.offset}: process {solver.pid}, {solver.seconds:.0f} s, {whose}"
    if not found:
        yield "none"


def _doctor(settings: Config) -> Iterator[str]:
    from sagequeue.doctor import examine
    from sagequeue.doctor.finding import Level
    from sagequeue.doctor.patient import Patient

    results = examine(Patient(settings))
    for check, finding in results:
        if finding.level is not Level.OK:
            yield f"{finding.level} {check}: {finding.cause}"
    well = sum(finding.level is Level.OK for _, finding in results)
    yield f"{well} of {len(results)} are OK"


def _recovery(settings: Config) -> Iterator[str]:
    supervisor = config.config_dir() / "supervisord.conf"
    if settings.service_manager == "supervisor":
        parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",))
        parser.read(supervisor, encoding="utf-8")
        log = Path(parser.get("program:recover", "stdout_logfile"))
        yield from log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
        return
    command = ["journalctl", "--user", "--unit=sagequeue-recover.service", "--output=short-iso"]
    answer = subprocess.run(
        [*command, "--no-pager", "--quiet", "--lines=60"], check=False, capture_output=True,
        text=True, errors="replace", timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    lines = (answer.stdout + answer.stderr).splitlines()
    yield from (line for line in lines if " systemd[" not in line)  # that it begins and ends


def _logs(settings: Config, lines: int) -> Iterator[str]:
    """The ends of the logs of what runs or failed."""
    facts = progress.survey(settings)
    matter = [p.offset for p in facts.partitions if p.state in ("running", "failed")]
    for offset in matter[:_LOGS]:
        said: list[str] = []
        logs = Logs(settings, offset, said.append)
        logs.last(lines)
        logs.finish()
        yield from said or [f"[off {offset}] (no log)"]
    if len(matter) > _LOGS:
        yield f"... and {len(matter) - _LOGS} more partitions that run or failed"
    if not matter:
        yield "no partition runs or failed"
