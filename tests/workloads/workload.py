"""A workload script as a real process, plain or preparsed, and what its output says."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

needs_pycryptosat = pytest.mark.skipif(
    find_spec("pycryptosat") is None, reason="this Python has no pycryptosat"
)
BACKENDS = [pytest.param("cryptominisat", marks=needs_pycryptosat), "cadical"]
FILES = Path(__file__).resolve().parents[2] / "roles" / "jobset" / "files"

PREPARSE = """
import sys
from sage.repl.preparse import preparse_file

with open(sys.argv[1]) as file:
    sys.stdout.write(preparse_file(file.read()))
"""

# Stands in for the Integer that preparsed programs import from Sage.  Like that one, it is no
# subclass of int, and what is computed from one is one again; C code that insists on int refuses
# it.  There is no RealNumber: a literal with a point is an error.
STAND_IN = """
import operator


class Integer:
    def __init__(self, value):
        self.value = int(value)

    __index__ = __int__ = __hash__ = lambda self: self.value
    __bool__ = lambda self: self.value != int("0")
    __repr__ = lambda self: str(self.value)
    __format__ = lambda self, spec: format(self.value, spec)
    __neg__ = lambda self: Integer(-self.value)


def _give(name, result):
    act = getattr(operator, name)

    def either_way_round(swap):
        def method(self, other):
            if isinstance(other, float):
                return act(other, self.value) if swap else act(self.value, other)
            if not hasattr(other, "__index__"):
                return NotImplemented
            pair = self.value, operator.index(other)
            return result(act(*reversed(pair)) if swap else act(*pair))

        return method

    setattr(Integer, f"__{name}__", either_way_round(swap=False))
    setattr(Integer, f"__r{name}__", either_way_round(swap=True))


for _name in ("add", "sub", "mul", "floordiv", "mod", "pow"):
    _give(_name, Integer)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _give(_name, bool)
"""


class Workload:
    """One workload script in its directory, and the ways to start it."""

    def __init__(self, script: Path) -> None:
        self.script = script
        self.directory = script.parent

    def command(self, *arguments: object) -> list[str]:
        """The argv that runs the script under this interpreter."""
        return [sys.executable, str(self.script), *map(str, arguments)]

    def run(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(self.command(*arguments), check=False, **options)

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        """Start it, with its output in a pipe."""
        options = {"stdout": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(self.command(*arguments), **options)

    def read_until_killed_at(self, limit: int | None, *arguments: object) -> str:
        """Start it, kill -9 it when so many DONE lines are out (or never); returns its output."""
        with self.start(*arguments) as process:
            assert process.stdout is not None
            output, done = "", 0
            for line in process.stdout:
                output += line
                done += " DONE  " in line
                if done == limit:
                    process.kill()
        return output

    def preparsed(self, preparser: Path) -> "Workload":
        """The script as `sage` would run it; `preparser` is where Sage's is installed."""
        result = subprocess.run(
            [sys.executable, "-c", PREPARSE, self.script],
            env={**os.environ, "PYTHONPATH": str(preparser)},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        program = self.script.with_suffix(".sage.py")
        program.write_text(STAND_IN + result.stdout)
        return Workload(program)


def done_cases(output: str) -> list[int]:
    """The gidx of every DONE line, in order."""
    return [int(gidx) for gidx in re.findall(r"\] DONE  gidx=(\d+) ", output)]


def with_modules(directory: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """An environment in which the modules in these files hide the installed ones."""
    for name, text in texts.items():
        path = directory / "modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {**os.environ, "PYTHONPATH": str(directory / "modules")}


def without(directory: Path, *packages: str) -> dict[str, str]:
    """An environment in which these cannot be imported, as where they are not installed."""
    files = [f"{package}.py" for package in packages]
    return with_modules(directory, dict.fromkeys(files, "raise ImportError('none here')"))
