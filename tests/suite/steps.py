"""What each size of the test consists of: steps, each of them one command."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from interpreters import others

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Step:
    """One command, started in the project's root.

    `after` names a step that must have passed before this one starts.
    """

    name: str
    command: tuple[str, ...]
    after: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as part of a file's name."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name)

    @property
    def is_pytest(self) -> bool:
        """Whether pytest runs it, which tells how long each test takes."""
        return "pytest" in self.command

    @property
    def is_molecule(self) -> bool:
        """Whether it is a scenario of Molecule's."""
        return self.command[0] == "molecule"


def tests(name: str, *arguments: str) -> Step:
    """A step of pytest's."""
    return Step(name, ("pytest", *arguments))


def scenario(name: str, suite: str = "") -> Step:
    """A scenario of Molecule's; `suite` is for one that has a machine of any suite."""
    environment = {"MOLECULE_COMMAND_BORDERS": "0"}
    if suite:
        environment["SAGEQUEUE_SUITE"] = suite
    called = f"scenario {name} {suite}".rstrip()
    return Step(called, ("molecule", "test", "-s", name), IMAGES.name, environment)


# Steps start in the order of their list: first those that find most mistakes in a moment, then the
# long ones, so that both lanes end at about the same time.
TEXT = (
    Step("ruff check", ("ruff", "check")),
    Step("ruff format", ("ruff", "format", "--check")),
    Step("yamllint", ("yamllint", ".")),
    Step("mypy", ("mypy",)),
)
LINT = Step("ansible-lint", ("ansible-lint",))

PODMAN = "runner/tests/test_podman.py"
# What the tests themselves rest on.
GROUND = ("tests/kit", "tests/recovery", "tests/suite")
# These need neither root nor machines. Most of them wait: for workers, solvers and signals.
LOCAL = tests(
    "runner and workloads", "runner/tests", "tests/workloads", *GROUND, f"--ignore={PODMAN}",
    "--numprocesses=2", "--dist=worksteal",
)  # fmt: skip
QUICK = replace(LOCAL, command=(*LOCAL.command, "--numprocesses=4", "-m", "not slow and not long"))

APART = (
    *GROUND, "tests/workloads", "tests/crashes", "tests/faults", "tests/output", "tests/progress",
    "tests/site/test_site.py",
)  # fmt: skip
OTHERS = tests("other tests", "tests", *(f"--ignore={path}" for path in APART))
CRASHES = tests("power cuts", "tests/crashes")
# Recovery looks at every process of the machine, and these tests call it thousands of times. They
# take a fifth of the time where they see their own processes only. The shell is the first process
# there, and reaps the processes that have lost their parent.
CRASHES = replace(CRASHES, command=(
    "unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
    "sh", "-c", '"$@"; exit "$?"', "sh", *CRASHES.command,
))  # fmt: skip
SITE = tests("site", "tests/site/test_site.py")
# Each test waits for an Ansible.
PROGRESS = tests("progress", "tests/progress", "--numprocesses=2")
FAULTS = tests("faults", "tests/faults")
OUTPUT = tests("output", "tests/output")
CONTAINER = tests("runner, Podman", PODMAN)

# By one step: scenarios would wait for one another while one of them makes an image.
IMAGES = Step("images", ("molecule/machine/make-images",))
# These have one machine, of a suite that can be chosen. The others have machines of several.
ONE_MACHINE = ("recovery", "ops", "doctor", "sagequeue_units", "jobset", "podman_image")
# Jupyter in a browser; and the takeover from an earlier release, which never changes.
JUPYTER, UPGRADE = "jupyter", "upgrade"
SUITES = ("bookworm", "trixie", "forky")
# One of its machines can be of the newest suite. The other one is the same again: not at once.
NEWEST = replace(scenario("default", "forky"), after="scenario default")


def unit() -> list[Step]:
    """What needs neither root nor machines, without the tests that take long."""
    return [*TEXT, QUICK]


def whole() -> list[Step]:
    """What a change must pass."""
    steps = _all([scenario(name) for name in ONE_MACHINE])
    return [
        replace(step, command=(*step.command, "-m", "not long")) if step.is_pytest else step
        for step in steps
    ]


def long() -> list[Step]:
    """Everything, on bare machines of every suite, with seeds that nobody has tried before."""
    seed = os.environ.get("SAGEQUEUE_SEED") or str(int(time.time()))
    more = {
        "SAGEQUEUE_BARE": "1",
        "SAGEQUEUE_FAULTS": "60",
        "SAGEQUEUE_LOCAL_FAULTS": "10000",
        "SAGEQUEUE_EXECUTIONS": "10000",
        "SAGEQUEUE_SEED": seed,
        "CRASH_SEED": seed,
    }
    fuzz = Step("fuzzing", ("python", "runner/tests/fuzz", "--seconds", "600"))
    pythons = [Step(f"Python {v}", ("tests/interpreter", path)) for v, path in others().items()]
    scenarios = [scenario(name, suite) for name in (*ONE_MACHINE, JUPYTER) for suite in SUITES]
    steps = _all([NEWEST, *scenarios, scenario(UPGRADE)], fuzz, *pythons)
    return [replace(step, environment={**step.environment, **more}) for step in steps]


def _all(scenarios: Sequence[Step], *more: Step) -> list[Step]:
    large = [scenario("default"), scenario("wsl_systemd")]
    local = [SITE, *more, CRASHES, PROGRESS, FAULTS, OUTPUT, LINT, CONTAINER]
    return [*TEXT, IMAGES, OTHERS, LOCAL, *large, *scenarios, *local]


def part(steps: Sequence[Step], number: int, count: int) -> list[Step]:
    """Of `count` parts, which together are all of the steps, that with this number, from 1.

    It has every `count`-th step, and those that these start after.
    """
    names = {step.name for step in steps[number - 1 :: count]}
    for step in reversed(steps):  # each stands behind the one that it starts after
        if step.name in names and step.after is not None:
            names.add(step.after)
    return [step for step in steps if step.name in names]


SIZES: dict[str, Callable[[], list[Step]]] = {"unit": unit, "whole": whole, "long": long}
