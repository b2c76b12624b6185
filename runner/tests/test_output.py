"""What workers record of what real workloads print, whatever those put between them and the log."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inotify_simple import INotify, flags
from rig import Rig
from sagequeue import findings, progress, view
from sagequeue.jobs import JobState

Script = Callable[..., Rig]


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    """A jobset whose workload is a program of the test's own, with its jobs enqueued."""
    made: list[Rig] = []

    def script(text: str, interpreter: str = "/bin/bash", jobs: int = 1, **settings: object) -> Rig:
        one = Rig(tmp_path / "rig", stride=jobs)
        made.append(one)
        path = one.home / "script"
        path.write_text(text)
        one.configure(
            SAGE_BIN=interpreter, SCRIPT=path, SAGE_BASE_ARGS="", STATE_FILE_HOST="",
            TOTAL_CASES="", STOP_GRACE=5, **settings,
        )  # fmt: skip
        one.run("enqueue")
        return one

    yield script
    for one in made:
        one.stop()


def values(one: Rig, name: str = "g") -> list[int]:
    return sorted(finding[name] for finding in findings.read(one.config))


def wait_for(fifo: Path) -> str:
    """Bash: wait until the test writes into the FIFO."""
    return f"read -r go <{fifo}\n"


def fifo(directory: Path, name: str) -> Path:
    os.mkfifo(path := directory / name)
    return path


def test_what_a_log_that_was_renamed_got_is_recorded(script: Script, tmp_path: Path) -> None:
    go, went = fifo(tmp_path, "go"), fifo(tmp_path, "went")
    one = script(f"echo FOUND g=1\necho >{went}\n{wait_for(go)}echo FOUND g=2\n")
    one.worker(1)
    went.read_text()
    log = one.config.log_file(0)
    log.rename(f"{log}.1")
    log.touch()
    go.write_text("go\n")
    one.until_state(JobState.DONE, 0)
    assert values(one) == [1, 2]
    assert one.log(0).count("[worker 1] done") == 1


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_log_that_was_deleted_got_is_recorded(
    script: Script, tmp_path: Path, killed: bool
) -> None:
    """The worker has it open; when it was killed, the solver has."""
    go, went, end = (fifo(tmp_path, name) for name in ("go", "went", "end"))
    one = script(f"echo FOUND g=1\necho >{went}\n{wait_for(go)}echo FOUND g=2\n{wait_for(end)}")
    worker = one.worker(1)
    went.read_text()
    one.config.log_file(0).unlink()
    if killed:
        worker.kill()
        worker.wait()
        one.worker(1)
        one.until(lambda: "action=adopt" in one.said(1), "adoption")
    go.write_text("go\n")
    one.until(lambda: values(one) == [1, 2], "both, while the solver works on")
    end.write_text("go\n")
    one.until_state(JobState.DONE, 0)
    assert values(one) == [1, 2]


@pytest.mark.skipif(not shutil.which("logrotate"), reason="logrotate is not installed")
@pytest.mark.parametrize("way", ["create", "nocreate", "copytruncate", "create\ncompress"])
def test_logrotate_loses_nothing(script: Script, tmp_path: Path, way: str) -> None:
    go, went = fifo(tmp_path, "go"), fifo(tmp_path, "went")
    lines = "".join(
        f"echo FOUND g={k}\necho >{went}\n{wait_for(go)}echo FOUND g={k + 100}\n" for k in range(4)
    )
    one = script(lines)
    rules = tmp_path / "rules"
    rules.write_text(
        f"{one.config.log_dir}/*.log {{\nsu root root\nrotate 9\n{way}\nmissingok\n}}\n"
    )
    one.worker(1)
    for _ in range(4):
        went.read_text()
        rotate = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(rules)]
        subprocess.run(rotate, check=True, capture_output=True)
        go.write_text("go\n")
    one.until_state(JobState.DONE, 0)
    assert values(one) == [0, 1, 2, 3, 100, 101, 102, 103]
    assert bool(progress.survey(one.config).partitions[0].unconfirmed) is (way == "copytruncate")


def test_a_solution_is_shown_while_its_solver_works_on(script: Script, tmp_path: Path) -> None:
    """The first is complete, and the second may have more lines."""
    go = fifo(tmp_path, "go")
    one = script(f"echo FOUND g=7\necho FOUND g=8\n{wait_for(go)}")
    one.worker(1)
    one.until(lambda: values(one) == [7, 8], "the findings")
    shown = json.loads(one.run("found", "--json").stdout)
    assert [(finding["g"], finding["offset"]) for finding in shown] == [(7, 0), (8, 0)]
    assert one.log(0).endswith("FOUND g=8\n"), "nothing is written there while the solver lives"
    go.write_text("go\n")
    one.until_state(JobState.DONE, 0)
    assert values(one) == [7, 8]
    assert one.log(0).count("[worker 1] found offset=0 job=demo_off0 solutions=2 at ") == 1


def test_looking_opens_no_log(script: Script, tmp_path: Path) -> None:
    """However long the logs are."""
    go = fifo(tmp_path, "go")
    one = script(f"echo FOUND g=7\n{wait_for(go)}", jobs=2)
    worker = one.worker(1)
    one.until(lambda: values(one) == [7], "the finding")
    one.freeze(worker)
    with INotify() as watch:
        watch.add_watch(one.config.log_dir, flags.OPEN | flags.ACCESS)
        for verb in (("progress",), ("progress", "--json"), ("status",), ("found",)):
            one.run(*verb)
        looked_at = watch.read(timeout=0)
    assert [event.name for event in looked_at if not event.mask & flags.ISDIR] == []


def test_a_line_that_is_being_written_is_not_split(script: Script, tmp_path: Path) -> None:
    go, went = fifo(tmp_path, "go"), fifo(tmp_path, "went")
    one = script(
        f"echo FOUND g=1; echo '[t] x'\nprintf 'FOUND g='\necho >{went}\n{wait_for(go)}echo 23\n"
    )
    one.worker(1)
    went.read_text()
    one.until(lambda: values(one) == [1], "the first")
    go.write_text("go\n")
    one.until_state(JobState.DONE, 0)
    assert values(one) == [1, 23]


@pytest.mark.slow
def test_a_stopped_solvers_cases_are_unconfirmed(script: Script, tmp_path: Path) -> None:
    """A state file that moved on past a solution in a buffer that was lost."""
    went = fifo(tmp_path, "went")
    one = script("")
    state = tmp_path / "state_off{offset}"
    one.configure(STATE_FILE_HOST=state, TOTAL_CASES=3)
    (one.home / "script").write_text(f"echo 1 >{tmp_path}/state_off0\necho >{went}\nsleep 1000\n")
    worker = one.worker(1)
    went.read_text()
    worker.send_signal(signal.SIGTERM)
    one.until_ended(worker)
    facts = progress.survey(one.config)
    assert facts.partitions[0].unconfirmed == [(0, 1)]
    assert "unconfirmed: offset 0, gidx 0 to 1" in [*view.doubts(one.config, facts)]
    assert "unconfirmed: offset 0, gidx 0 to 1" in one.run("found").stdout


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_filter_keeps_in_a_block_is_written_at_a_stop_or_its_case_unconfirmed(
    script: Script, tmp_path: Path, killed: bool
) -> None:
    went = fifo(tmp_path, "went")
    one = script("")
    one.configure(STATE_FILE_HOST=tmp_path / "state_off{offset}", TOTAL_CASES=3)
    (one.home / "script").write_text(
        f"cd {tmp_path}\nexec > >(exec sed s/x/y/) 2>&1\necho $! >filter\necho FOUND g=1\n"
        f"echo 0 >state_off0\necho >{went}\nwhile :; do sleep 0.1; done\n"
    )
    worker = one.worker(1)
    went.read_text()
    assert "FOUND" not in one.log(0), "sed has it"
    if killed:
        os.kill(int((tmp_path / "filter").read_text()), signal.SIGKILL)
    worker.send_signal(signal.SIGTERM)
    one.until_ended(worker)
    assert values(one) == ([] if killed else [1])
    assert "unconfirmed: offset 0, gidx 0" in one.run("found").stdout


def test_a_workload_that_empties_its_log_has_its_cases_unconfirmed(script: Script) -> None:
    """Opening /dev/stderr anew truncates the log."""
    one = script("echo FOUND g=1\necho working >/dev/stderr\n")
    one.worker(1)
    one.until_state(JobState.DONE, 0)
    assert "FOUND" not in one.log(0)
    (partition,) = progress.survey(one.config).partitions
    assert values(one) == [1] or partition.unconfirmed == [(0, 0)]
    assert not partition.covered
    assert "nothing in all" not in one.run("found").stdout


@pytest.mark.slow
def test_a_log_of_gigabytes_delays_no_stop(script: Script, tmp_path: Path) -> None:
    """A worker that is told to end leaves what it did not read to whoever comes next."""
    went = fifo(tmp_path, "went")
    one = script(f"echo >{went}\nexec sleep 1000\n")
    worker = one.worker(1)
    went.read_text()
    log = one.config.log_file(0)
    with log.open("ab") as file:  # a hole: nothing is on the disk
        file.truncate(1 << 42)
    worker.send_signal(signal.SIGTERM)
    one.until_ended(worker)
    assert one.where(0) == [JobState.RUNNING]
    assert "not read to its end" in one.said(1)
    os.truncate(log, 1 << 20)
    one.run("recover")
    assert one.where(0) == [JobState.PENDING]
