"""Solutions that workloads print, kept as one JSON record each in `results/`.

What a solution is, `solutions` tells; `reading` hands them over. One that may have more lines to
come is kept in a file whose name begins with a dot until it is complete.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from sagequeue import durable, regular, solutions
from sagequeue.config import Config
from sagequeue.jobs import job_name, now

_LONGEST_RECORD = 1 << 28


def record(
    config: Config, offset: int, gidx: int | None, lines: list[str], *, worker: str, execution: str,
    inode: int = 0, at: int = 0,
) -> bool:  # fmt: skip
    """Write a solution's record, for good; whether it is new.

    `inode` is the log's, `at` the byte of it at which the solution begins. The same solution,
    printed again, keeps its first record. One that is read again after a crash, from the same
    place, is new still. An empty or damaged record is replaced.
    """
    words = "\n".join((str(gidx), *lines))
    digest = hashlib.sha256(words.encode("utf-8", errors="replace")).hexdigest()[:12]
    path = config.results_dir / f"{job_name(config.jobset, offset)}_{digest}.json"
    place = {"execution": execution, "inode": inode, "at": at}
    if (there := _read(path)) is not None:
        return place.items() <= there.items()
    finding = _about(config, offset, gidx, lines, worker)
    durable.make_directory(path.parent)
    durable.replace(path, json.dumps({**finding, **place}, indent=1) + "\n")
    return True


def _about(
    config: Config, offset: int, gidx: int | None, lines: list[str], worker: str
) -> dict[str, Any]:
    finding: dict[str, Any] = {}
    for line in lines:
        for name, value in solutions.value(line).items():
            finding.setdefault(name, value)
    about = {"jobset": config.jobset, "offset": offset, "stride": config.stride, "gidx": gidx}
    more = {"found_at": now(), "worker": worker, "log": str(config.log_file(offset))}
    command = [config.sage_bin, config.script, *config.sage_base_args]
    return {**finding, **about, **more, "lines": lines, "command": command}


def _open_file(config: Config, name: str) -> Path:
    return config.results_dir / f".{name}.open"


def keep_open(
    config: Config, name: str, offset: int, gidx: int | None, lines: list[str], worker: str
) -> None:
    """Let people see a solution that may have more lines to come, for good."""
    path = _open_file(config, name)
    there = _read(path)
    if there is None or (there.get("gidx"), there.get("lines")) != (gidx, lines):
        durable.make_directory(path.parent)
        finding = _about(config, offset, gidx, lines, worker)
        durable.replace(path, json.dumps(finding, indent=1) + "\n")


def close(config: Config, name: str) -> None:
    """The solution that was kept open has its record now."""
    path = _open_file(config, name)
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        raise durable.directory_there(path) from None


def read(config: Config) -> list[dict[str, Any]]:
    """Every finding of the jobset, by offset and gidx; a file that is not one is passed over."""
    found = _all(config, "[!.]*.json")
    recorded = {_words(finding) for finding in found}
    # A crash may have come between a record and the end of the file before it.
    found += [finding for finding in _all(config, ".*.open") if _words(finding) not in recorded]
    return sorted(
        found, key=lambda f: (str(f.get("offset")).zfill(12), str(f.get("gidx")).zfill(12))
    )


def _all(config: Config, pattern: str) -> list[dict[str, Any]]:
    paths = sorted(config.results_dir.glob(pattern))
    return [{**finding, "file": str(path)} for path in paths if (finding := _read(path))]


def _words(finding: dict[str, Any]) -> str:
    return json.dumps([finding.get(key) for key in ("offset", "gidx", "lines")])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        finding = json.loads(regular.read(path, _LONGEST_RECORD))
    except (OSError, ValueError, RecursionError):
        return None
    return finding if isinstance(finding, dict) else None
