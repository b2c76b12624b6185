"""Solutions that workloads print, kept as one JSON record each in `results/`.

A solution is a log line that starts with `SAT found for ` or `FOUND `; the lines after it that
start with `Found ` or `Verified `, up to one that starts with `[`, belong to it, and the `START`
line before it gives its gidx.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sagequeue import durable, regular
from sagequeue.config import Config
from sagequeue.jobs import Job, now

_SOLUTION = re.compile(r"(?:SAT found for|FOUND) (.*)")
_DETAIL = re.compile(r"(?:Found|Verified) (.+)")
_START = re.compile(r"\[[^]]*\] START .*?\bgidx=([0-9]{1,18})\b")
# What is longer than this is no line that anybody reads.
_LONGEST = 1 << 20
_LONGEST_RECORD = 1 << 28
_PAIR = re.compile(r"([^=:]+)[=:](.+)")


def scan(log: Path, start: int, *, live: bool = False) -> Iterator[dict[str, Any]]:
    """Each solution printed in the log from byte `start` on: its `gidx`, `lines` and values.

    A line that reads `Found perm: [1,0]` gives the value `perm`, parsed as JSON where it is JSON.
    With `live` the solver is at work still: what it may not have printed to the end is left out.
    """
    gidx: int | None = None
    found: dict[str, Any] | None = None
    for line in _lines(log, start, live=live):
        if found and line.startswith("["):
            yield found
            found = None
        if case := _START.match(line):
            gidx = int(case[1])
        if solution := _SOLUTION.match(line):
            if found:
                yield found
            found = {**_value(solution[1]), "gidx": gidx, "lines": [line]}
        elif found and (detail := _DETAIL.match(line)):
            found["lines"].append(line)
            for name, value in _value(detail[1]).items():
                found.setdefault(name, value)
    if found and not live:
        yield found


def _lines(log: Path, start: int, *, live: bool) -> Iterator[str]:
    try:
        with open(log, "rb") as file:
            # Shorter than it was: somebody truncated it, and what follows is new.
            file.seek(start if start <= os.fstat(file.fileno()).st_size else 0)
            while raw := file.readline(_LONGEST):
                if live and not raw.endswith(b"\n"):
                    return
                yield raw.decode("utf-8", errors="replace").rstrip("\r\n")
    except FileNotFoundError:
        return


def _value(text: str) -> dict[str, Any]:
    # Blanks are stripped, not matched: of a line of blanks, matching would never come to an end.
    pair = _PAIR.fullmatch(text)
    name, said = (pair[1].strip(), pair[2].lstrip()) if pair else ("", "")
    if not name or not said:
        return {}
    try:
        value = json.loads(said)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        value = said
    return {name.replace(" ", "_"): value}


def record(
    config: Config, job: Job, log_start: int, worker: str, *, live: bool = False
) -> tuple[int, int]:
    """Write a record for each solution in the execution's part of the log: how many, how many new.

    The same solution, printed again by a later execution, keeps its first record.
    """
    total = new = 0
    log = config.log_file(job.offset)
    for solution in scan(log, log_start, live=live):
        words = "\n".join((str(solution["gidx"]), *solution["lines"]))
        digest = hashlib.sha256(words.encode()).hexdigest()[:12]
        path = config.results_dir / f"{job.name}_{digest}.json"
        total += 1
        if path.exists():
            continue
        about = {"jobset": config.jobset, "offset": job.offset, "stride": config.stride}
        more = {"found_at": now(), "worker": worker, "log": str(log)}
        command = [config.sage_bin, config.script, *config.sage_base_args]
        durable.make_directory(path.parent)
        finding = {**solution, **about, **more, "command": command}
        durable.replace(path, json.dumps(finding, indent=1) + "\n")
        new += 1
    return total, new


def read(config: Config) -> list[dict[str, Any]]:
    """Every finding of the jobset, by offset and gidx; a file that is not one is passed over."""
    found = []
    for path in sorted(config.results_dir.glob("[!.]*.json")):
        try:
            finding = json.loads(regular.read(path, _LONGEST_RECORD))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(finding, dict):
            found.append({**finding, "file": str(path)})
    return sorted(
        found, key=lambda f: (str(f.get("offset")).zfill(12), str(f.get("gidx")).zfill(12))
    )
