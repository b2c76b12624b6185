"""How the wrapper runs a workload and ends it, under each shell that may be `sh`."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from kit import waiting
from rig import alive
from wrapped import Wrapped

# Nothing of the output is read before the wrapper has waited for the leader.
ONCE_IT_ENDED = "while kill -0 $$ 2>/dev/null; do sleep 0.01; done; sleep 0.3"
SLOWLY = 'while read -r line; do sleep 0.2; echo "$line"; done'
HELPERS = {
    "tee": f"exec > >({ONCE_IT_ENDED}; exec tee -a second.log) 2>&1",
    "writer behind another": f"exec > >({ONCE_IT_ENDED}; sed -u s/x/y/ | tee second.log) 2>&1",
    "slow": f"exec > >({ONCE_IT_ENDED}; {SLOWLY}) 2>&1",
    "without the lock": f"exec > >(exec 3>&-; {ONCE_IT_ENDED}; exec tee second.log) 2>&1",
    "in a session of its own": f"exec > >({ONCE_IT_ENDED}; exec setsid tee second.log) 2>&1",
    "without the environment": f"exec > >({ONCE_IT_ENDED}; exec env -i /usr/bin/tee s.log) 2>&1",
    "one after another": f"exec > >({ONCE_IT_ENDED}; read -r line; echo $line; setsid -f cat) 2>&1",
}


@pytest.mark.parametrize("helper", HELPERS)
def test_what_a_helper_has_yet_to_write_when_the_workload_ends_comes_into_the_log(
    wrapped: Wrapped, helper: str
) -> None:
    run = wrapped.run(f"{HELPERS[helper]}\necho first; echo 'SAT found for J: [1]'; exit 3")
    assert wrapped.lines == ["first", "SAT found for J: [1]"]
    assert (run.rc, run.cut, run.stopped) == (3, False, False)


PYTHON = """
import os, sys, time
lines, output = os.pipe()
leader = os.getpid()
if not os.fork():
    os.close(output)
    while os.getppid() == leader:
        time.sleep(0.01)
    os.write(1, os.read(lines, 99))
    os._exit(0)
os.write(output, b"SAT found for J: [1]\\n")
"""


def test_a_subprocess_that_writes_the_log_of_a_python_workload_ends_first(wrapped: Wrapped) -> None:
    run = wrapped.run(f"exec python3 - <<'EOF'{PYTHON}EOF")
    assert wrapped.lines == ["SAT found for J: [1]"]
    assert (run.rc, run.cut) == (0, False)


def test_the_last_of_a_pipeline_that_the_leader_left_ends_first(wrapped: Wrapped) -> None:
    wrapped.run(f"(echo 'SAT found for J: [1]' | ({ONCE_IT_ENDED}; tee second.log)) & exit 0")
    assert wrapped.lines == ["SAT found for J: [1]"]


def test_a_helper_that_never_ends_is_ended_and_the_record_says_so(wrapped: Wrapped) -> None:
    wrapped.patience = 1
    run = wrapped.run("sleep 1000 & echo $! >helper; exit 0")
    assert (run.rc, run.cut) == (0, True)
    assert not alive(int(wrapped.file("helper")))


@pytest.mark.parametrize("redirected", [">/dev/null 2>&1", ">/dev/null 2>&1 4<log"])
def test_what_does_not_write_the_log_is_not_waited_for(wrapped: Wrapped, redirected: str) -> None:
    run = wrapped.run(f"sleep 1000 {redirected} & echo $! >left; exit 0")
    assert (run.rc, run.cut) == (0, False)
    assert not alive(int(wrapped.file("left")))


CHECKPOINT = "trap 'sleep 0.3; echo saved; echo saved >saved; exit 0' TERM"
FOR_EVER = "echo $BASHPID >ready; while :; do sleep 0.05; done"


def test_a_stop_leaves_the_output_of_the_leaders_end_to_its_helper(wrapped: Wrapped) -> None:
    wrapped.start(f"exec > >({ONCE_IT_ENDED}; exec tee second.log)\n{CHECKPOINT}; {FOR_EVER}")
    wrapped.file("ready")
    assert wrapped.stop().wait(waiting.PATIENCE) == 0
    run = wrapped.ended()
    assert wrapped.lines == ["saved"]
    assert (run.rc, run.stopped, run.cut) == (0, True, False)


@pytest.mark.parametrize("output", ["", ">/dev/null 2>&1"])
@pytest.mark.parametrize("leader", ["ends", "waits"])
def test_a_stop_gives_a_solver_below_the_leader_its_own_signal_and_time(
    wrapped: Wrapped, output: str, leader: str
) -> None:
    wrapped.patience = 1
    trap = "trap : TERM;" if leader == "waits" else ""
    solver = f"bash -c '{CHECKPOINT.replace(chr(39), chr(34))}; {FOR_EVER}' {output}"
    wrapped.start(f"{trap} {solver}; exit 5")
    wrapped.file("ready")
    wrapped.stop().wait(waiting.PATIENCE)
    run = wrapped.ended()
    assert wrapped.file("saved") == "saved"
    assert run.stopped


def test_a_leader_gets_one_signal_however_many_senders_there_are(wrapped: Wrapped) -> None:
    wrapped.patience = 2
    process = wrapped.start(f"trap 'echo told >>told' TERM; {FOR_EVER}")
    wrapped.grace = 0
    wrapped.file("ready")
    process.send_signal(signal.SIGTERM)  # as a client of podman passes it on
    wrapped.file("told")
    wrapped.stop().wait(waiting.PATIENCE)
    assert wrapped.ended().rc == 128 + signal.SIGKILL
    assert wrapped.file("told") == "told"


def test_a_stop_that_only_the_client_passes_on_ends_what_the_leader_leaves(
    wrapped: Wrapped,
) -> None:
    wrapped.patience, wrapped.grace = 1, 0
    process = wrapped.start(f"(trap '' TERM; {FOR_EVER}) & wait")
    left = int(wrapped.file("ready"))
    process.send_signal(signal.SIGTERM)
    run = wrapped.ended()
    assert (run.rc, run.stopped, run.cut) == (128 + signal.SIGTERM, True, True)
    assert not alive(left)


def test_a_stop_while_a_helper_still_writes_does_not_undo_the_end(wrapped: Wrapped) -> None:
    process = wrapped.start(
        f"exec > >({ONCE_IT_ENDED}; echo ready >ready; read -r go <go; exec cat)\n"
        "mkfifo go; echo last; exit 0"
    )
    wrapped.file("ready")
    process.send_signal(signal.SIGTERM)
    (wrapped.root / "go").write_text("go\n")
    run = wrapped.ended()
    assert wrapped.lines == ["last"]
    assert (run.rc, run.stopped, run.cut) == (0, False, False)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["dead", "stopped"])
def test_without_its_wrapper_an_execution_is_stopped_from_its_leader_on(
    wrapped: Wrapped, wrapper: str
) -> None:
    wrapped.patience, wrapped.grace = 1, 3
    solver = f"bash -c '{CHECKPOINT.replace(chr(39), chr(34))}; {FOR_EVER}'"
    process = wrapped.start(f"trap 'echo told >>told' TERM; {solver}; exit 0")
    solving = int(wrapped.file("ready"))
    process.send_signal(signal.SIGKILL if wrapper == "dead" else signal.SIGSTOP)
    assert wrapped.stop().wait(waiting.PATIENCE) == 0
    assert wrapped.file("told") == "told"
    assert wrapped.file("saved") == "saved"
    assert not alive(solving)
    assert wrapped.free()


ALONE = ("unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.mark.skipif(subprocess.run([*ALONE, "true"]).returncode != 0, reason="no namespaces here")
@pytest.mark.parametrize("leaves", [False, True])
def test_only_an_execution_that_may_have_left_something_is_searched_for(
    wrapped: Wrapped, tmp_path: Path, leaves: bool
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    counting = programs / "grep"
    counting.write_text(f'#!/bin/sh\necho >>"$here/greps"\nexec {shutil.which("grep")} "$@"\n')
    counting.chmod(0o755)
    # Beside other processes, which may have started since, it would be searched for as well.
    text = "setsid -f sleep 999 >second.log 2>&1" if leaves else "exit 0"
    wrapped.start(text, ("sh",), path=f"{programs}:{os.environ['PATH']}", before=ALONE)
    assert wrapped.ended().rc == 0
    searches = (tmp_path / "greps").read_text().count("\n")
    assert searches > 1 if leaves else searches == 1
