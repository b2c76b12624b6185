"""What comes before the workload: a stop then, and what fails then, are not the job's fault."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from rig import Rig, wrapper_of
from sagequeue import execution
from sagequeue.doctor import examine, queue
from sagequeue.doctor.patient import Patient
from sagequeue.jobs import JobState

pytestmark = pytest.mark.slow

PENDING, RUNNING, DONE, FAILED = JobState

# As Sage does: write the preparsed program beside the name given. It may be told to wait, to fail
# or to be deaf by files beside it.
SAGE = """#!/bin/sh
if [ "$1" = -preparse ]; then
    echo "$$" >>"$0.preparses"
    [ ! -e "$0.deaf" ] || trap '' TERM
    [ ! -p "$0.go" ] || read -r go <"$0.go"
    [ ! -e "$0.fails" ] || {{ cat "$0.fails"; exit 1; }}
    exec cp "$2" "$2.py"
fi
shift
exec {python} "$@"
"""


class Sage:
    """A stand-in for Sage, which every solver of the rig is preparsed and run by."""

    def __init__(self, demo: Rig) -> None:
        self.demo, self.path = demo, demo.root / "sage"
        self.path.write_text(SAGE.format(python=demo.settings["SAGE_BIN"]))
        self.path.chmod(0o755)
        script = demo.home / "solver.sage"
        script.write_bytes(Path(str(demo.settings["SCRIPT"])).read_bytes())
        demo.configure(SAGE_BIN=self.path, SCRIPT=script)

    def beside(self, what: str) -> Path:
        return self.path.with_name(f"sage.{what}")

    def preparses(self) -> list[int]:
        """The preparsers that were started so far."""
        path = self.beside("preparses")
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def until_preparses(self, count: int) -> int:
        self.demo.until(lambda: len(self.preparses()) >= count, f"{count} preparsers")
        return self.preparses()[count - 1]


@pytest.fixture
def sage(demo: Rig) -> Sage:
    return Sage(demo)


def seen(demo: Rig, offset: int = 0) -> dict[str, str]:
    """The job file's keys, none while the job is just being moved."""
    with suppress(FileNotFoundError, ValueError):
        return demo.job(offset)
    return {}


def counted(demo: Rig, offset: int = 0) -> set[str]:
    return {"ATTEMPTS", "INTERRUPTS"} & seen(demo, offset).keys()


@pytest.mark.parametrize("deaf", [False, True])
def test_stops_while_it_is_preparsed_hold_no_job_and_start_no_workload(
    demo: Rig, sage: Sage, deaf: bool
) -> None:
    demo.configure(STOP_GRACE="0" if deaf else "5")
    os.mkfifo(sage.beside("go"))
    if deaf:
        sage.beside("deaf").touch()
    for count in range(1, 7):
        worker = demo.worker(1)
        preparser = sage.until_preparses(count)
        worker.terminate()
        assert demo.until_ended(worker) == 0
        assert (demo.where(0), counted(demo)) == ([PENDING], set())
        demo.until_gone(preparser)
    assert "interrupted offset=0 job=demo_off0 reason=stopped" in demo.log(0)
    assert not demo.events("start", 0)
    assert not list(demo.home.glob(".demo_off0*"))
    sage.beside("go").unlink()
    demo.worker(1)
    demo.until_state(DONE, *range(4))


def test_a_stop_of_the_wrapper_before_the_workload_starts_starts_none(demo: Rig) -> None:
    """Between its process id in the record and the workload it looks for what is left of others."""
    grep, gate, at_it = demo.root / "bin" / "grep", demo.root / "gate", demo.root / "at_it"
    grep.parent.mkdir()
    os.mkfifo(gate)
    grep.write_text(
        f"#!/bin/sh\nPATH={os.environ['PATH']}\n"
        f'case "$*" in *SAGEQUEUE_JOB=*off0.lock*) [ ! -p {gate} ] ||\n'
        f"    {{ echo $PPID >{at_it}.new; mv {at_it}.new {at_it}; read -r go <{gate}; }} ;; esac\n"
        'exec grep "$@"\n'
    )
    grep.chmod(0o755)
    demo.worker(1, env={**os.environ, "PATH": f"{grep.parent}:{os.environ['PATH']}"})
    for _ in range(6):
        demo.until(at_it.exists, "the wrapper's grep")
        inner = psutil.Process(int(at_it.read_text()))
        while "sagequeue-wrapper" in (inner.parent() or inner).cmdline():
            inner = inner.parent() or inner  # the shell of a $(...) is a copy of the wrapper
        at_it.unlink()
        inner.send_signal(signal.SIGTERM)
        with open(gate, "w") as fifo:
            fifo.write("go\n")
    demo.until(at_it.exists, "one more")
    assert not demo.events("start", 0)
    assert not counted(demo)
    gate.rename(demo.root / "gone")
    with open(demo.root / "gone", "w") as fifo:
        fifo.write("go\n")
    demo.until_state(DONE, *range(4))


@pytest.mark.parametrize("verb", ["stop", "requeue-running"])
def test_a_stop_that_had_to_kill_the_wrapper_is_not_held_against_the_job(
    demo: Rig, verb: str
) -> None:
    demo.configure(STOP_GRACE="0")
    demo.orders(0, wait_at=4)
    worker = demo.worker(1)
    wrapper = wrapper_of(demo.until_event("waiting", 0).pid)
    wrapper.suspend()
    if verb == "stop":
        worker.terminate()
        assert demo.until_ended(worker) == 0
    else:
        demo.run("request-stop")
        demo.run("requeue-running")
    demo.until_gone(wrapper.pid)
    demo.until_state(PENDING, 0)
    assert not counted(demo)
    assert demo.job(0)["LAST_REASON"] == "stopped"


def test_a_preparser_that_fails_for_a_while_holds_no_job(demo: Rig, sage: Sage) -> None:
    """As when the notebooks' disk is full."""
    demo.grow(20, 60)
    demo.run("enqueue")
    sage.beside("fails").write_text("Traceback (most recent call last):\nOSError: no space left\n")
    for number in (1, 2):
        demo.worker(number)
    sage.until_preparses(12)
    assert not any(counted(demo, offset) for offset in range(20))
    names = [name for state in (PENDING, RUNNING) for name in demo.spool.names(state)]
    assert sorted(set(names)) == sorted(demo.enqueued)
    sage.beside("fails").unlink()
    demo.until_state(DONE, *range(20))
    left = {"ATTEMPTS", "INTERRUPTS", "NOT_STARTED", "LAST_ERROR", "NOT_BEFORE", "LAST_REASON"}
    assert not any(left & demo.job(offset).keys() for offset in range(20))


def test_a_preparser_that_goes_on_failing_is_shown_with_its_last_words(
    demo: Rig, sage: Sage
) -> None:
    sage.beside("fails").write_text('Traceback:\n  File "x"\nSyntaxError: \x1b[31mline 3 "="\n')
    worker = demo.worker(1)
    demo.until(
        lambda: (
            int(seen(demo).get("NOT_STARTED", 0)) >= 3
            and all("NOT_STARTED" in seen(demo, offset) for offset in range(1, 4))
        ),
        "a third try",
    )
    demo.freeze(worker)
    demo.until_free(0)
    tries = seen(demo)["NOT_STARTED"]
    said = 'SyntaxError: \\x1b[31mline 3 "="'
    told = demo.run("explain", "0").stdout
    assert "Sage's preparser failed, so the workload was not started" in told
    assert said in told
    assert f"since it could not be started {tries} times in a row" in told
    shown = "".join(demo.run("progress").stdout.split())
    assert "".join(said.split()) in shown
    assert "not_preparsed" in shown
    assert f"Sage's preparser fails (offset 0, and 3 more): {said}" in demo.run("status").stdout
    ((_, finding),) = examine(Patient(demo.config), [queue.preparser])
    assert (finding.level, said in finding.cause) == ("WARN", True)
    assert "logs --offset" in finding.remedy
    assert not counted(demo)
    assert not demo.events("start")
    assert f"interrupted offset=0 job=demo_off0 reason={execution.NOT_PREPARSED}" in demo.log(0)
    sage.beside("fails").unlink()
    worker.send_signal(signal.SIGCONT)
    demo.until_state(DONE, *range(4))
    ((_, finding),) = examine(Patient(demo.config), [queue.preparser])
    assert finding.level == "OK"
    assert "Sage's preparser fails" not in demo.run("status").stdout


def test_a_job_that_alone_cannot_be_preparsed_keeps_no_other_from_being_solved(
    demo: Rig, sage: Sage
) -> None:
    (demo.home / ".demo_off0.sage").mkdir()  # where the link to the script is to be
    (demo.home / ".demo_off0.sage" / "solver.sage").mkdir()
    demo.worker(1)
    demo.until_state(DONE, 1, 2, 3)
    assert not demo.events("start", 0)
    assert not counted(demo)


@pytest.mark.parametrize("silent", [True, False])
def test_a_preparser_that_makes_nothing_is_one_that_fails(
    demo: Rig, sage: Sage, silent: bool
) -> None:
    quiet = "exit 0" if silent else "exit 3"
    sage.path.write_text(sage.path.read_text().replace('exec cp "$2" "$2.py"', quiet))
    demo.run("enqueue", "--offset", "0")
    demo.worker(1)
    said: dict[str, str] = {}
    demo.until(lambda: said.update(seen(demo)) or "LAST_ERROR" in said, "what was said")
    end = "made no " if silent else "ended with exit status 3"
    assert f"{sage.path} -preparse {end}" in said["LAST_ERROR"]
    assert not counted(demo)


def test_a_wrapper_that_is_killed_before_the_workload_starts_costs_nothing(
    demo: Rig, sage: Sage
) -> None:
    os.mkfifo(sage.beside("go"))
    demo.worker(1)
    for count in range(1, 4):
        preparser = psutil.Process(sage.until_preparses(count))
        wrapper_of(preparser.pid).kill()
        preparser.kill()
    sage.until_preparses(4)
    assert not counted(demo)
    ends = demo.log(0).count("interrupted offset=0 job=demo_off0 reason=not_started")
    assert ends + demo.log(1).count("reason=not_started") >= 3
