"""What cases count is added up over partitions, each case once."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from kinds import read_log
from rich.console import Console
from sagequeue import progress, view
from sagequeue.config import Config
from sagequeue.progress import Survey, survey
from sagequeue.spool import Spool


def picture(config: Config, facts: Survey) -> str:
    out = io.StringIO()
    Console(file=out, width=120, highlight=False).print(view.draw(config, facts))
    return out.getvalue()


def done(gidx: int, told: str) -> str:
    return f"[t] DONE  gidx={gidx} local=0 off=0 stride=4 {told} dt=0.5s\n"


def write(config: Config, offset: int, last: int | None, *lines: str) -> None:
    """A partition's log, and its state file."""
    config.log_file(offset).write_text("".join(lines))
    path = config.state_file(offset)
    assert path is not None
    if last is not None:
        path.write_text(f"{last}\n")
    read_log(config, offset)


def test_the_cases_of_all_partitions_are_added_up(config: Config, spool: Spool) -> None:
    write(config, 0, 4, done(0, "tally=rook:6:2,rook:8:10"), done(4, "tally=rook:8:5"))
    write(config, 1, 1, done(1, "tally=shri:8:7"))
    write(config, 2, 2, done(2, "tally=-"))
    facts = survey(config)
    assert facts.tally == {"rook": {6: 2, 8: 15}, "shri": {8: 7}}
    assert facts.tally_cases == 4
    shape = json.loads(json.dumps(progress.as_json(facts)))
    assert shape["tally"] == {"rook": {"6": 2, "8": 15}, "shri": {"8": 7}}


def test_a_case_done_twice_counts_once_and_the_last_line_holds(
    config: Config, spool: Spool
) -> None:
    write(config, 0, 4, done(0, "tally=a:1:100"), done(4, "tally=a:1:1"), done(0, "tally=a:1:5"))
    assert survey(config).tally == {"a": {1: 6}}


def test_what_the_state_file_does_not_know_of_does_not_count(config: Config, spool: Spool) -> None:
    write(config, 0, 0, done(0, "tally=a:1:1"), done(4, "tally=a:1:1"), done(1, "tally=a:1:1"))
    write(config, 1, None, done(1, "tally=a:1:1"))
    facts = survey(config)
    assert (facts.tally, facts.tally_cases) == ({"a": {1: 1}}, 1)


def test_a_log_that_was_moved_aside_still_counts(config: Config, spool: Spool) -> None:
    older = Path(f"{config.log_file(0)}.1")
    older.write_text(done(0, "tally=a:2:1") + done(4, "tally=a:2:50"))
    write(config, 0, 8, done(4, "tally=a:2:1"), done(8, "tally=a:2:1"))
    assert survey(config).tally == {"a": {2: 3}}


def test_counts_beyond_any_machine_word_are_exact(config: Config, spool: Spool) -> None:
    write(config, 0, 4, *(done(g, f"tally=a:4:{2**90}") for g in (0, 4)))
    assert survey(config).tally == {"a": {4: 2**91}}


@pytest.mark.parametrize(
    "told",
    [
        "tally=",
        "tally=a:1:",
        f"tally=a:1:{'9' * 61}",
        "tally=a/b:4:10",
        "tally=a:1:2,y:-1:5",
        "tally=a:1:2,",
        "tally=a:1:2 tally=:1:1",
        "tallyho=a:1:2",
    ],
)
def test_a_case_that_says_what_is_no_tally_does_not_count_at_all(
    config: Config, spool: Spool, told: str
) -> None:
    write(config, 0, 4, done(0, told), done(4, "tally=a:1:7"))
    facts = survey(config)
    assert (facts.tally, facts.tally_cases) == ({"a": {1: 7}}, 1)
    assert "tally of 1 of 2 cases, for the logs have no more" in picture(config, facts)


def test_a_line_that_was_torn_does_not_spoil_the_next(config: Config, spool: Spool) -> None:
    torn = done(0, "tally=rook:4:123").split("23")[0]
    write(config, 0, 0, torn + done(0, "tally=rook:4:123"))
    assert survey(config).tally == {"rook": {4: 123}}


def test_lines_without_a_case_are_passed_over(config: Config, spool: Spool) -> None:
    config.log_file(0).write_bytes(
        b"\xff tally=a:1:1\n[t] DONE  gidx=x tally=a:1:1\n[t] DONE  tally=a:1:1\n"
        b"[t] DONE  gidx=0 tally=a:2:3 dt=1s\r\n[t] DONE  gidx=4 tally=a:2:1"
    )
    path = config.state_file(0)
    assert path is not None
    path.write_text("8")
    read_log(config)
    assert survey(config).tally == {"a": {2: 4}}


def test_a_case_that_is_done_again_long_after_counts_once(config: Config, spool: Spool) -> None:
    """The partition was begun anew, by hand: what each case counted last holds."""
    config = replace(config, total_cases=None)
    first = [done(4 * k, "tally=a:1:10") for k in range(40)]
    write(config, 0, 4 * 39, *first, *(done(4 * k, "tally=a:1:1") for k in range(30)))
    assert survey(config).tally == {"a": {1: 130}}
    assert survey(config).tally_cases == 40
    write(config, 0, 4 * 9)
    assert survey(config).tally == {"a": {1: 10}}


def test_what_lies_megabytes_back_still_counts(config: Config, spool: Spool) -> None:
    beats = "[t] HEARTBEAT gidx=4 elapsed=1s\n" * 100_000
    write(config, 0, 4, done(0, "tally=a:1:1"), beats, done(4, "tally=a:1:2"), beats)
    assert survey(config).tally == {"a": {1: 3}}


def test_progress_shows_a_column_for_each_name(config: Config, spool: Spool) -> None:
    write(config, 0, 0, done(0, "tally=rook:6:250,rook:8:750"))
    write(config, 1, 1, done(1, "tally=shri:8:1000000"))
    text = picture(config, survey(config))
    shown = [line.split() for line in text.splitlines()]
    assert ["counted", "rook", "%", "shri", "%"] in shown
    assert ["6", "250", "25", "-"] in shown
    assert ["8", "750", "75", "1,000,000", "100"] in shown
    assert ["all", "1,000", "1,000,000"] in shown
    assert "tally of 2 cases:" in text
