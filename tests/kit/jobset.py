"""Write a jobset's env file, and the orders of its solvers, without the runner's help.

The grammar is that of docs/queue.md: `KEY="value"`, with a backslash before `\\` and `"`.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_SPECIAL, _ESCAPED = re.compile(r'(["\\])'), r"\\\1"
SOLVER = Path(__file__).with_name("solver.py")
_SOLVING = {"SAGE_BIN": sys.executable, "SCRIPT": SOLVER}


def render(keys: Mapping[str, object]) -> str:
    """An env file's text; a key whose value is None is left out."""
    given = ((key, str(value)) for key, value in keys.items() if value is not None)
    return "".join(f'{key}="{_SPECIAL.sub(_ESCAPED, value)}"\n' for key, value in given)


def keys(project: Path, notebooks: Path | None = None, **more: object) -> dict[str, str]:
    """The keys of a local jobset: 10 cases, so partitions of 3, 3, 2 and 2.

    The workload's files are in `notebooks`, by default in the project; `more` are other keys, or
    other values.
    """
    place, name = notebooks or project, more.get("JOBSET", "demo")
    found = {
        "PROJECT_ROOT": project, "JOBSET": name, "RUNTIME": "local", "SAGE_BIN": "/bin/true",
        "SCRIPT": place / f"{name}.py", "STOP_FILE_HOST": place / f"{name}_stop.txt",
        "STATE_FILE_HOST": place / f"state_{name}_stride{{stride}}_off{{offset}}.txt",
        "STRIDE": 4, "WORKERS": 2, "TOTAL_CASES": 10, "STOP_GRACE": 1, "SAGE_BASE_ARGS": "", **more,
    }  # fmt: skip
    return {key: str(value) for key, value in found.items() if value is not None}


def solving(
    project: Path, home: Path, notebooks: Path | None = None, options: Sequence[str] = (),
    **more: object,
) -> dict[str, str]:  # fmt: skip
    """The keys for solver.py: its journal is in `home`, `options` are its further arguments."""
    made = keys(project, notebooks or home, **{**_SOLVING, **more})
    arguments = [
        *("--home", str(home), "--total", made["TOTAL_CASES"], "--gate", made["STOP_FILE_HOST"]),
        *("--state", made["STATE_FILE_HOST"], *options),
    ]
    return {**made, "SAGE_BASE_ARGS": shlex.join(arguments)}


def orders(home: Path, offset: int, **todo: object) -> None:
    """Write what the offset's solver is to do, see solver.py."""
    (home / f"off{offset}.json").write_text(json.dumps(todo))
    if "wait_at" in todo and not (fifo := home / f"off{offset}.go").exists():
        os.mkfifo(fifo)


def bare_python(path: Path) -> Path:
    """Write a program that is Python without its site packages, which starts in half the time."""
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S "$@"\n')
    path.chmod(0o755)
    return path
