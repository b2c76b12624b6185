"""One target for each parser: bytes go in, and what must hold of what comes out is asserted.

`test_parsers.py` feeds them from hypothesis, `python runner/tests/fuzz` from a fuzzer that is
guided by the coverage of the code.
"""

import json
import math
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

from kit import jobset
from sagequeue import config as configuration
from sagequeue import (
    container,
    execution,
    findings,
    jobs,
    keyvalue,
    ledger,
    owner,
    position,
    progress,
    tally,
    view,
)  # fmt: skip
from sagequeue.config import Config
from sagequeue.exceptions import ConfigError, MalformedJob, SagequeueError, StateCorrupt
from sagequeue.logs import Logs
from sagequeue.position import Position
from sagequeue.reading import Reader
from sagequeue.reasons import SENTENCES
from sagequeue.summary import Summary
from sagequeue.supervisorctl import Supervisorctl
from sagequeue.systemd import Systemd

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, line ends apart."""

HOME = Path(mkdtemp(prefix="sagequeue-fuzz-"))
FILE = HOME / "file"
KEYS = jobset.keys(HOME, STRIDE=8, TOTAL_CASES=80)


def _config() -> Config:
    FILE.write_text(jobset.render(KEYS))
    return configuration.load(FILE, {})


CONFIG = _config()
CONFIG.log_dir.mkdir(parents=True, exist_ok=True)
CONFIG.results_dir.mkdir(parents=True, exist_ok=True)
CONFIG.ledger_dir.mkdir(parents=True, exist_ok=True)


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def harmless(*texts: str) -> None:
    for text in texts:
        assert not OBEYED.search(text), ascii(text)


@target
def key_value(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        values = keyvalue.parse(text)
    except ValueError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - most bytes are read without an error
        return
    assert list(keyvalue.parse(keyvalue.render(values)).items()) == list(values.items())
    if "\r" not in text:
        assert keyvalue.parse(text.replace("\n", "\r\n")) == values


@target
def job_file(data: bytes) -> None:
    try:
        job = jobs.parse("demo_off7", data, "demo", 8)
    except MalformedJob as error:
        assert error.reason in SENTENCES  # noqa: PT017 - likewise
        harmless(str(error))
        return
    assert job.offset == 7
    assert job.count("ATTEMPTS") >= 0
    assert jobs.parse("demo_off7", job.render().encode(), "demo", 8) == job
    # Unknown keys are kept, and counting one more leaves them as they are.
    known = {"ATTEMPTS": str(job.count("ATTEMPTS") + 1)}
    assert job.with_(ATTEMPTS=job.count("ATTEMPTS") + 1).extra == {**job.extra, **known}


@target
def execution_record(data: bytes) -> None:
    FILE.write_bytes(data)
    run = execution.read(FILE)
    assert run is not None
    assert run.log_start >= 0
    assert run.rc is None or 0 <= run.rc < 1000
    assert run.wrapper is None or run.wrapper >= 0
    outcome, reason = execution.judge(run, complete=False, gate=False)
    harmless(outcome, reason, jobs.printable(run.worker))


@target
def owner_file(data: bytes) -> None:
    FILE.write_bytes(data)
    assert isinstance(owner.read_owner(FILE), dict)
    # Whoever it names, it is not this process, unless its start is guessed.
    assert owner.orphan_reason(FILE) in SENTENCES


@target
def env_file(data: bytes) -> None:
    given = {line.partition(b"=")[0].strip() for line in data.split(b"\n")}
    rest = {key: value for key, value in KEYS.items() if key.encode() not in given}
    FILE.write_bytes(jobset.render(rest).encode() + data)
    try:
        settings = configuration.load(FILE, {})
    except ConfigError as error:
        assert str(error).startswith(str(FILE))  # noqa: PT017 - likewise
        return
    FILE.write_text(configuration.render(settings), errors="surrogateescape")
    assert configuration.load(FILE, {}) == settings
    assert settings.log_file(0).parent == settings.log_dir
    assert re.fullmatch("[a-z0-9_]+", settings.jobset)


@target
def state_file(data: bytes) -> None:
    path = CONFIG.state_file(3)
    assert path is not None
    path.write_bytes(data)
    try:
        gidx = CONFIG.last_gidx(3)
    except StateCorrupt:
        return
    assert gidx == int(data)
    assert gidx == -1 or (gidx % 8 == 3 and gidx < 80)


@target
def stop_file(data: bytes) -> None:
    CONFIG.stop_file_host.write_bytes(data)
    reason = progress.gate_reason(CONFIG)
    assert reason is not None
    assert "\n" not in reason
    harmless(reason)


@target
def log_of_a_solver(data: bytes) -> None:
    log = CONFIG.log_file(0)
    log.write_bytes(data)
    said: list[str] = []
    logs = Logs(CONFIG, None, said.append)
    logs.last(1000)
    logs.finish()
    harmless(*said)


@target
def output_of_a_solver(data: bytes) -> None:
    """Read in two parts it says the same as read at once."""
    at_once = _read(data)
    half = len(data) // 2
    assert _read(data[:half], data[half:]) == at_once
    found, (at, cases) = at_once
    summary = at.summary
    assert at.byte == len(data)
    assert all(math.isfinite(s) and s >= 0 for s in summary.recent)
    assert Summary.from_json(8, 0, json.loads(json.dumps(summary.as_json()))) == summary
    assert len(summary.done) <= len(cases)
    told, counted = summary.counted(9, _ledger())
    assert counted <= 10
    assert (told, counted) == tally.count(ledger.read(_ledger()), 0, 8, 9)
    assert all(n >= 0 for counts in told.values() for n in counts.values())
    harmless(*told)
    for finding in found:
        assert finding["gidx"] is None or finding["gidx"] >= 0
        assert finding["lines"]
        json.dumps(finding, allow_nan=False).encode()
        harmless(view.finding_text(finding).plain)


def _ledger() -> Path:
    return CONFIG.ledger_dir / "demo_off0.jsonl"


def _read(*parts: bytes) -> tuple[list[dict[str, Any]], tuple[Position, list[Any]]]:
    """What a log says that grows by those parts."""
    log = CONFIG.log_file(0)
    for path in (*CONFIG.ledger_dir.glob("*"), *CONFIG.results_dir.glob("*")):
        path.unlink()
    for number, part in enumerate(parts):
        with open(log, "ab" if number else "wb") as file:
            file.write(part)
        reader = Reader.open(CONFIG, "demo_off0", 0)
        assert reader is not None
        with reader:
            assert reader.read(None, over=number == len(parts) - 1)
    found = [{**finding, "found_at": ""} for finding in findings.read(CONFIG)]
    lines = [{**line, "inode": 0} for line in ledger.read(_ledger())]
    return found, (replace(position.load(CONFIG, "demo_off0", 0), inode=0, ledger=0), lines)


@target
def position_file(data: bytes) -> None:
    position.file(CONFIG, "demo_off1").write_bytes(data)
    at = position.load(CONFIG, "demo_off1", 1)
    position.save(CONFIG, "demo_off1", at)
    assert position.load(CONFIG, "demo_off1", 1) == at


@target
def finding_record(data: bytes) -> None:
    (CONFIG.results_dir / "demo.json").write_bytes(data)
    for finding in findings.read(CONFIG):
        harmless(view.finding_text(finding).plain)


def _answer(data: bytes) -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], 0, data.decode(errors="replace"), "")


@target
def podman_inspect(data: bytes) -> None:
    with mock.patch.object(container, "podman", return_value=_answer(data)):
        for ask in (container.inspect, container.image_id):
            try:
                ask("sagemath")
            except SagequeueError as error:
                harmless(str(error))


@target
def podman_users(data: bytes) -> None:
    with (
        mock.patch.object(container, "podman", return_value=_answer(data)),
        mock.patch.object(os, "getuid", return_value=1000),
    ):
        try:
            assert len(container.mapped_ids()) == 2
        except SagequeueError as error:
            harmless(str(error))


@target
def systemctl_show(data: bytes) -> None:
    units = Systemd(CONFIG)
    with mock.patch.object(units, "_run", return_value=data.decode(errors="replace")):
        for unit in units._look(["sagequeue@1.service"]):
            assert unit.pid is None or unit.pid > 0


@target
def supervisorctl_status(data: bytes) -> None:
    manager = Supervisorctl(CONFIG, FILE)
    with mock.patch.object(manager, "_call", return_value=_answer(data)):
        for name, (state, _) in (manager.status() or {}).items():
            assert re.fullmatch("recover|demo-[0-9]+", name)
            harmless(state)


@target
def printed_text(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    harmless(jobs.printable(text))
    assert "\n" not in jobs.printable(text)
    assert jobs.printable(jobs.printable(text)) == jobs.printable(text)
