"""What a shipped workload prints of a case is on the disk before the state file counts the case."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from workload import FILES, Workload

# Runs the script; notes, of each state file as it is put in place, its number, how much of the log
# was synced, and what the log had.
WATCHED = """
import os, runpy, sys

script, notes, fault = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
replace, fsync, synced = os.replace, os.fsync, 0


def noting_replace(source, target):
    gidx, log = open(source).read().strip(), open("/proc/self/fd/1").read()
    with open(notes, "a") as file:
        file.write(f"{gidx} {synced == len(log)} {f'] DONE  gidx={gidx} ' in log}\\n")
    replace(source, target)


def noting_fsync(descriptor):
    global synced
    if descriptor == 1:
        synced = os.fstat(1).st_size
        if fault:
            raise OSError(fault, os.strerror(fault))
    fsync(descriptor)


os.replace, os.fsync = noting_replace, noting_fsync
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""
SCRIPTS = {
    "template": ("template.sage", "--total_cases 6 --work_secs 0"),
    "rank": ("rank_boundary_sat_v18.sage", "--graph petersen --rank 3 --scan_all_J --stride 20"),
    "solution": ("rank_boundary_sat_v18.sage", "--graph petersen --rank 4 --scan_all_J"),
    "distribution": (
        "rank_boundary_sat_v18.sage",
        "--graph petersen --distribution --samples 900 --batch 300 --seed 7",
    ),
}


def watched(directory: Path, which: str, fault: int = 0) -> tuple[int, list[str]]:
    name, arguments = SCRIPTS[which]
    script = directory / name
    script.write_bytes((FILES / name).read_bytes())
    notes = directory / "notes"
    notes.touch()
    with open(directory / "log", "wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, script, notes, str(fault), *arguments.split()],
            stdout=log, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    return done.returncode, notes.read_text().splitlines()


@pytest.mark.parametrize("which", SCRIPTS)
def test_the_done_line_is_on_the_disk_before_the_state_file_is_in_place(
    tmp_path: Path, which: str
) -> None:
    status, notes = watched(tmp_path, which)
    assert status == 0
    assert notes
    assert [note.split()[1:] for note in notes] == [["True", "True"]] * len(notes)
    done = re.findall(r"\] DONE  gidx=(\d+) ", (tmp_path / "log").read_text())
    assert [note.split()[0] for note in notes] == done


@pytest.mark.parametrize("which", SCRIPTS)
@pytest.mark.parametrize(("fault", "counts"), [(22, True), (30, True), (95, True), (5, False)])
def test_what_cannot_be_synced_is_passed_over_and_an_error_of_the_disk_is_not(
    tmp_path: Path, which: str, fault: int, counts: bool
) -> None:
    status, notes = watched(tmp_path, which, fault)
    assert (status == 0, bool(notes)) == (counts, counts)


def test_a_terminal_will_do(template: Workload) -> None:
    import pty

    ours, its = pty.openpty()
    done = template.run("--total_cases", 2, "--work_secs", 0, capture_output=False, stdout=its)
    assert done.returncode == 0
    del ours
