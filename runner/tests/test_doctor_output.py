"""What doctor says of lines that only look like solutions."""

import pytest
from kinds import read_log
from sagequeue import doctor
from sagequeue.config import Config
from sagequeue.doctor import output
from sagequeue.doctor.finding import Finding, Level
from sagequeue.doctor.patient import Patient
from sagequeue.spool import Spool


def look(config: Config) -> Finding:
    assert output.near_misses in doctor.CHECKS
    ((_, finding),) = doctor.examine(Patient(config), [output.near_misses])
    return finding


@pytest.fixture
def printed(spool: Spool) -> Config:
    """A jobset of which one partition printed a solution, and others printed nothing."""
    spool.config.log_file(0).write_text("FOUND g=3\nall is well\nno solution\n")
    read_log(spool.config, 0)
    return spool.config


def test_solutions_that_are_recorded_are_in_no_doubt(printed: Config) -> None:
    assert look(printed).level is Level.OK


def test_lines_that_look_like_solutions_are_shown_with_their_log(printed: Config) -> None:
    text = "Solution: \x1b[1m4\n" + "".join(f"a graph was found: {k}\n" for k in range(1, 9))
    printed.log_file(2).write_text(text)
    assert look(printed).level is Level.OK, "who looks reads no log"
    read_log(printed, 2)
    finding = look(printed)
    assert finding.level is Level.WARN
    assert finding.cause.startswith("9 lines look like solutions and are not recorded as such")
    assert "offset 2: 'Solution: 4', offset 2: 'a graph was found: 1'" in finding.cause
    assert "and 2 more" in finding.cause, "the first five are kept, and three shown"
    assert "found_pattern" in finding.cause
    assert finding.remedy.endswith("logs --offset 2 -n 100")


def test_a_line_of_megabytes_is_cut(printed: Config) -> None:
    printed.log_file(1).write_text(f"Solution: {'9' * 3_000_000}\n")
    read_log(printed, 1)
    assert len(look(printed).cause) < 1000
