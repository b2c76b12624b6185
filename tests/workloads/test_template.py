"""The template workload keeps what the queue relies on, whatever happens to it."""

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest
from workload import Workload, done_cases

QUICK = ("--total_cases", 40, "--work_secs", 0, "--stride", 4)
STAMP = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d\]"


def test_a_partition_takes_every_case_of_its_residue_and_completes(template: Workload) -> None:
    result = template.run(*QUICK, "--offset", 3)
    assert (result.returncode, result.stderr) == (0, "")
    assert done_cases(result.stdout) == list(range(3, 40, 4))
    assert (template.directory / "state_template_stride4_off3.txt").read_text() == "39\n"


def test_the_log_lines_are_those_that_progress_reads(template: Workload) -> None:
    lines = template.run("--total_cases", 4, "--work_secs", 0, "--stride", 3).stdout.splitlines()
    assert re.fullmatch(rf"{STAMP} START gidx=0 local=0 off=0 stride=3", lines[0])
    done = rf"{STAMP} DONE  gidx=3 local=1 off=0 stride=3 sat=False dt=\d+\.\d+s"
    assert re.fullmatch(done, lines[3])
    assert re.fullmatch(rf"{STAMP} COMPLETE off=0 stride=3 cases=2", lines[4])
    assert len(lines) == 5


def test_progress_every_thins_the_starts_and_each_case_has_its_done_line(
    template: Workload,
) -> None:
    """A case without one would count as unconfirmed."""
    result = template.run(*QUICK, "--offset", 0, "--progress_every", 3)
    assert re.findall(r"START gidx=(\d+)", result.stdout) == ["0", "12", "24", "36"]
    assert done_cases(result.stdout) == list(range(0, 40, 4))
    assert (template.directory / "state_template_stride4_off0.txt").read_text() == "36\n"


def test_an_offset_beyond_the_last_case_is_an_empty_partition(template: Workload) -> None:
    result = template.run("--total_cases", 2, "--stride", 4, "--offset", 3)
    assert result.returncode == 0
    assert "COMPLETE off=3 stride=4 cases=0" in result.stdout


def test_resume_goes_on_after_the_state_file_and_a_plain_run_begins_anew(
    template: Workload,
) -> None:
    state = template.directory / "my_state"
    state.write_text("31\n")
    resumed = template.run(*QUICK, "--offset", 3, "--resume", "--state_file", state)
    assert done_cases(resumed.stdout) == [35, 39]
    again = template.run(*QUICK, "--offset", 3, "--resume", "--state_file", state)
    assert (again.returncode, done_cases(again.stdout)) == (0, [])
    assert "COMPLETE" in again.stdout
    anew = template.run(*QUICK, "--offset", 3, "--state_file", state)
    assert done_cases(anew.stdout) == list(range(3, 40, 4))


def test_a_relative_state_file_is_taken_from_the_working_directory(
    template: Workload, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    template.run(*QUICK, "--state_file", "mine", cwd=elsewhere)
    assert (elsewhere / "mine").read_text() == "36\n"
    template.run(*QUICK, "--state_prefix", "x", cwd=elsewhere)
    assert (template.directory / "state_x_stride4_off0.txt").exists()


def test_a_corrupt_state_file_is_refused_and_left_alone(
    template: Workload, corrupt_state: bytes
) -> None:
    state = template.directory / "state_template_stride4_off3.txt"
    state.write_bytes(corrupt_state)
    result = template.run(*QUICK, "--offset", 3, "--resume")
    assert (result.returncode, result.stdout) == (2, "")
    assert str(state) in result.stderr
    assert "remove it" in result.stderr
    assert state.read_bytes() == corrupt_state


def test_a_state_file_that_cannot_be_read_is_refused(template: Workload) -> None:
    (template.directory / "state_template_stride4_off0.txt").mkdir()
    result = template.run(*QUICK, "--resume")
    assert result.returncode == 2
    assert "state_template_stride4_off0.txt" in result.stderr


def test_the_stop_file_ends_the_run_between_two_cases(template: Workload) -> None:
    stop = template.directory / "stop"
    endless = ("--total_cases", 100000, "--work_secs", "0.01", "--stop_file", stop)
    with template.start(*endless) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " DONE  gidx=2 " in line:
                stop.touch()
                break
        rest = process.stdout.read()
    assert process.returncode == 0
    last = (template.directory / "state_template_stride1_off0.txt").read_text().strip()
    assert f"STOP  stop file present: {stop}; last gidx done={last}" in rest
    assert rest.count("START") == rest.count("DONE")


def test_with_the_stop_file_there_from_the_start_nothing_is_done(template: Workload) -> None:
    stop = template.directory / "stop"
    stop.touch()
    result = template.run(*QUICK, "--stop_file", stop)
    assert result.returncode == 0
    assert "last gidx done=none" in result.stdout
    assert not list(template.directory.glob("state_*"))


def test_killed_again_and_again_it_skips_no_case_and_repeats_at_most_the_last(
    template: Workload,
) -> None:
    state = template.directory / "state_template_stride1_off0.txt"
    arguments = ("--total_cases", 1500, "--work_secs", 0, "--resume")
    seen: list[int] = []
    kills = 0
    for lines in (1, 2, 17, 40, 3, 80, 5, None):
        before = int(state.read_text()) if state.exists() else -1
        done = done_cases(template.read_until_killed_at(lines, *arguments))
        assert done == list(range(before + 1, done[-1] + 1))
        seen += done
        kills += 1
    assert sorted(set(seen)) == list(range(1500))
    assert len(seen) - 1500 < kills


def test_a_case_in_progress_does_not_count(template: Workload) -> None:
    with template.start("--work_secs", 1000) as process:
        assert process.stdout is not None
        assert " START gidx=0 " in process.stdout.readline()
        process.kill()
    assert [path.name for path in template.directory.iterdir()] == [template.script.name]


def test_whoever_reads_the_state_file_sees_one_whole_integer(template: Workload) -> None:
    state = template.directory / "state_template_stride1_off0.txt"
    state.write_text("0\n")
    seen, over = [], threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(state.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    template.run("--total_cases", 300, "--work_secs", 0, "--resume")
    over.set()
    reader.join()
    assert all(re.fullmatch(rb"\d+\n", content) for content in seen)
    numbers = [int(content) for content in seen]
    assert numbers == sorted(numbers)
    assert [path.name for path in template.directory.glob("*tmp*")] == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664)])
def test_the_state_file_can_be_read_by_the_other_user_id(
    template: Workload, umask: int, mode: int
) -> None:
    template.run(*QUICK, umask=umask)
    state = template.directory / "state_template_stride4_off0.txt"
    assert state.stat().st_mode & 0o777 == mode


def test_what_a_killed_run_left_half_written_does_not_disturb_the_next(template: Workload) -> None:
    left = template.directory / "state_template_stride4_off0.txt.tmp"
    left.write_text("9999999")
    left.chmod(0)
    assert template.run(*QUICK, "--resume").returncode == 0
    assert (template.directory / "state_template_stride4_off0.txt").read_text() == "36\n"


def test_when_the_log_cannot_be_written_the_case_is_not_counted(template: Workload) -> None:
    with open("/dev/full", "w") as full:
        result = template.run(*QUICK, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert result.returncode not in (0, 2)
    assert not list(template.directory.glob("state_*"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--stride 0", "--stride"),
        ("--stride 4 --offset 4", "--offset"),
        ("--stride 4 --offset -1", "--offset"),
        ("--stride four", "--stride"),
        ("--total_cases -1", "--total_cases"),
        ("--progress_every 0", "--progress_every"),
        ("--work_secs -1", "--work_secs"),
        ("--work_secs nan", "--work_secs"),
        ("--state_prefix ../x", "--state_prefix"),
        ("--off 1", "--off"),
        ("--surprise", "--surprise"),
    ],
)
def test_a_wrong_argument_is_named_and_ends_with_2(
    template: Workload, arguments: str, named: str
) -> None:
    result = template.run(*arguments.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert named in result.stderr.splitlines()[-1]


def test_it_survives_sages_preparser(template: Workload, preparser: Path) -> None:
    result = template.preparsed(preparser).run(*QUICK, "--offset", 3)
    assert (result.returncode, result.stderr) == (0, "")
    assert done_cases(result.stdout) == list(range(3, 40, 4))
    assert (template.directory / "state_template_stride4_off3.txt").read_text() == "39\n"
    assert template.preparsed(preparser).run("--stride", 0, env=dict(os.environ)).returncode == 2
