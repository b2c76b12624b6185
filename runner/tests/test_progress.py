"""How far it is: facts from state files, logs and the queue; a picture that is safe to print."""

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from kinds import Put, read_log
from rich.console import Console
from sagequeue import config as configuration
from sagequeue import keyvalue, progress, view
from sagequeue.config import Config
from sagequeue.jobs import JobState
from sagequeue.owner import read_owner, try_lock, write_owner
from sagequeue.progress import Survey, survey
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState


@pytest.fixture(autouse=True)
def workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Four workers hold their locks, as living ones do, where the test has a queue."""
    with ExitStack() as stack:
        for number in (1, 2, 3, 4) if "put" in request.fixturenames else ():
            spool = request.getfixturevalue("spool")
            lock = try_lock(spool.config.run_dir / f"worker-{number}.lock")
            assert lock is not None
            stack.enter_context(lock)
        yield


def picture(settings: Config, facts: Survey, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(view.draw(settings, facts))
    return out.getvalue()


def state_file(config: Config, offset: int, text: str) -> None:
    path = config.state_file(offset)
    assert path is not None
    path.write_text(text)


def log(config: Config, offset: int, *seconds: float) -> None:
    config.log_file(offset).write_text(
        "".join(f"[t] DONE  gidx={offset} local=0 off=0 sat=False dt={dt}s\n" for dt in seconds)
    )
    read_log(config, offset)


def test_a_queue_that_was_not_created_yet_has_nothing_done(config: Config) -> None:
    facts = survey(config)
    assert facts.counts == {"pending": 0, "running": 0, "done": 0, "failed": 0}
    assert (facts.cases_done, facts.cases_total, facts.eta_seconds) == (0, 10, None)
    assert [p.state for p in facts.partitions] == ["none"] * 4
    assert [p.cases_total for p in facts.partitions] == [3, 3, 2, 2]
    assert not config.state_dir.exists()
    assert "0/10 cases" in picture(config, facts)
    assert "found: nothing so far" in picture(config, facts)


def test_jobs_are_counted_by_state_and_cases_by_state_file(
    config: Config, spool: Spool, put: Put
) -> None:
    put(DONE, 0)
    put(RUNNING, 1)
    put(FAILED, 2, LAST_OUTCOME="failed", LAST_REASON="rc_1", ATTEMPTS=1)
    put(PENDING, 3)
    state_file(config, 0, "8\n")
    state_file(config, 1, "5\n")
    state_file(config, 2, "-1\n")
    facts = survey(config)
    assert facts.counts == {"pending": 1, "running": 1, "done": 1, "failed": 1}
    assert [p.cases_done for p in facts.partitions] == [3, 2, 0, 0]
    assert [p.last_gidx for p in facts.partitions] == [8, 5, None, None]
    assert [p.percent for p in facts.partitions] == [100.0, pytest.approx(200 / 3), 0.0, 0.0]
    assert facts.cases_done == 5
    assert facts.partitions[2].reason == "rc_1"
    assert facts.partitions[2].attempts == 1
    text = picture(config, facts)
    assert "jobs: pending 1  running 1  done 1  failed 1" in text
    assert "5/10 cases (50.0 %), 5 left" in text
    assert "offset 2: rc_1, retried 1 times; recovery will retry it" in " ".join(text.split())


def test_an_empty_partition_is_complete(config: Config) -> None:
    facts = survey(replace(config, total_cases=2))
    assert [p.percent for p in facts.partitions] == [0.0, 0.0, 100.0, 100.0]
    empty = survey(replace(config, total_cases=0))
    assert "0/0 cases (100.0 %), 0 left" in picture(config, empty)


def test_without_a_total_there_is_no_percent_and_no_estimate(
    config: Config, spool: Spool, put: Put
) -> None:
    put(RUNNING, 1)
    state_file(config, 1, "5\n")
    log(config, 1, 2.0, 3.0)
    facts = survey(replace(config, total_cases=None))
    assert facts.eta_seconds is None
    assert facts.cases_total is None
    assert facts.partitions[1].percent is None
    assert facts.partitions[1].cases_done == 2
    assert "2/-" in picture(config, facts)


@pytest.mark.parametrize(
    ("extra", "held"),
    [
        ({"LAST_OUTCOME": "failed", "ATTEMPTS": 2}, False),
        ({"LAST_OUTCOME": "failed", "ATTEMPTS": 3}, True),
        ({"LAST_OUTCOME": "found"}, True),
        ({"LAST_OUTCOME": "interrupted", "LAST_REASON": "no_progress"}, True),
    ],
)
def test_a_failed_job_that_goes_again_by_itself_is_told_from_a_held_one(
    extra: dict[str, object], held: bool, config: Config, put: Put
) -> None:
    put(FAILED, 0, **extra)
    facts = survey(config)
    assert facts.partitions[0].held is held
    assert ("failed, held" in picture(config, facts)) is held


def test_a_malformed_job_is_held_and_says_why(config: Config, put: Put) -> None:
    put(FAILED, 0, b"\x00\xff")
    partition = survey(config).partitions[0]
    assert (partition.held, partition.reason) == (True, "not_key_value")


def test_a_corrupt_state_file_is_flagged_and_not_guessed_at(config: Config, put: Put) -> None:
    put(RUNNING, 0)
    state_file(config, 0, "99999")
    facts = survey(config)
    assert facts.partitions[0].reason == "state_corrupt"
    assert (facts.partitions[0].cases_done, facts.partitions[0].last_gidx) == (0, None)
    assert "state_corrupt" in picture(config, facts)


def test_the_worker_shown_is_one_that_lives(config: Config, spool: Spool, put: Put) -> None:
    for offset in (0, 1, 2):
        write_owner(spool.owner_file(put(RUNNING, offset)), 7)
    path = spool.owner_file("demo_off1")
    path.write_text(keyvalue.render(read_owner(path) | {"OWNER_START": "1"}))
    spool.owner_file("demo_off2").write_bytes(b"\xff")
    assert [p.worker for p in survey(config).partitions] == ["7", None, None, None]


def test_case_times_are_those_of_the_cases_that_ended(config: Config, spool: Spool) -> None:
    log(config, 0, 4.5, 1.0, 2.0)
    with open(config.log_file(0), "a") as file:
        file.write("[t] DONE  gidx=8 dt=notatime\n[t] START gidx=8\nDONE dt=9s\n[t] DONE cut dt=1")
    read_log(config)
    partition = survey(config).partitions[0]
    assert (partition.case_seconds_median, partition.case_seconds_last) == (2.0, 2.0)
    assert partition.last_activity is not None


def test_no_log_is_read_by_looking(config: Config, spool: Spool) -> None:
    log(config, 0, 1.0)
    config.log_file(0).write_text("[t] DONE  gidx=0 dt=9s\n")
    assert survey(config).partitions[0].case_seconds_median == 1.0


# The estimate


def test_equal_cases_give_an_exact_estimate_over_partitions_and_workers(
    config: Config, put: Put
) -> None:
    for offset in range(4):
        put(PENDING, offset)
    log(config, 0, 10.0, 10.0, 10.0)
    assert survey(replace(config, workers=1)).eta_seconds == (100.0, 100.0)
    assert survey(config).eta_seconds == (50.0, 50.0)
    # No more workers than partitions help, and the longest partition has three cases.
    assert survey(replace(config, workers=4)).eta_seconds == (30.0, 30.0)
    assert survey(replace(config, workers=64)).eta_seconds == (30.0, 30.0)


def test_the_estimate_leaves_out_what_is_done_and_what_will_not_run(
    config: Config, put: Put
) -> None:
    config = replace(config, workers=1)
    put(DONE, 0)
    state_file(config, 0, "8")
    put(RUNNING, 1)
    state_file(config, 1, "5")
    put(FAILED, 2, LAST_OUTCOME="found")
    put(FAILED, 3, LAST_OUTCOME="failed")
    log(config, 1, 10.0, 10.0)
    assert survey(config).eta_seconds == (30.0, 30.0)


def test_the_estimate_is_a_range_around_the_mean_that_narrows_with_more_cases(
    config: Config, put: Put
) -> None:
    config = replace(config, workers=1)
    for offset in range(4):
        put(PENDING, offset)
    widths = []
    for times in (4, 40, 400):
        log(config, 0, *([5.0, 15.0] * times))
        eta = survey(config).eta_seconds
        assert eta is not None
        low, high = eta
        assert 0 < low < 100.0 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_of_one_case_the_estimate_is_half_to_double(config: Config, put: Put) -> None:
    put(PENDING, 0)
    log(config, 0, 10.0)
    assert survey(config).eta_seconds == (15.0, 60.0)


def test_without_a_case_done_there_is_no_estimate(config: Config, put: Put) -> None:
    put(PENDING, 0)
    assert survey(config).eta_seconds is None
    assert "to go" not in picture(config, survey(config))


def test_an_estimate_is_shown_as_a_range(config: Config, put: Put) -> None:
    for offset in range(4):
        put(PENDING, offset)
    log(config, 0, 3600.0, 7200.0, 3600.0, 7200.0)
    assert " h " in picture(config, survey(config))
    assert " to go" in picture(config, survey(config))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "40 ms"),
        (4.52, "4.5 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (86400 * 9 + 3600 * 5, "9 d 5 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert view.duration(seconds) == text


# The gate


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"SAT gidx=4 off=0 stride=4 J=[0]\n", "SAT gidx=4 off=0 stride=4 J=[0]"),
        (b"", ""),
        (b"two\nlines\r\n", "two lines"),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07", r"\x1b[31mred\x1b[0m \x1b]0;title\x07"),
        ("\x9b31m\x85c1".encode(), r"\x9b31m\x85c1"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_gates_text_is_one_line_without_control_characters(
    content: bytes, text: str, config: Config
) -> None:
    config.stop_file_host.write_bytes(content)
    assert progress.gate_reason(config) == text
    shown = picture(config, survey(config))
    assert f"stop gate: {text or '(empty)'}" in shown
    assert not {c for c in shown if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f"}


def test_a_gate_that_cannot_be_read_is_a_gate(config: Config) -> None:
    config.stop_file_host.mkdir()
    assert progress.gate_reason(config) == "unreadable: it is not a regular file"
    config.stop_file_host.rmdir()
    config.stop_file_host.symlink_to("/nowhere/at/all")
    assert progress.gate_reason(config) == "unreadable: it is a symbolic link"


def test_no_gate_is_none(config: Config) -> None:
    assert progress.gate_reason(config) is None
    assert "stop gate" not in picture(config, survey(config))


def test_the_commands_it_names_are_for_the_jobset_it_shows(config: Config, put: Put) -> None:
    put(FAILED, 0, ATTEMPTS=3, LAST_OUTCOME="failed", LAST_REASON="rc_1")
    config.stop_file_host.touch()
    assert "until `sagequeue clear-stop`\n" in picture(config, survey(config))
    (configuration.config_dir() / f"{configuration.ACTIVE}.env").unlink()
    shown = picture(config, survey(config))
    assert "`sagequeue clear-stop --jobset demo`" in shown
    assert "held until `sagequeue retry-failed --jobset demo`" in shown


def test_where_no_worker_runs_it_says_what_starts_them(config: Config, put: Put) -> None:
    put(PENDING)
    facts = replace(survey(config), workers_alive=0)
    assert "no workers run: `sagequeue start` starts them" in picture(config, facts)


def test_a_gate_is_no_markup(config: Config) -> None:
    config.stop_file_host.write_text("[bold]loud[/bold] [/nonsense]")
    assert "[bold]loud[/bold] [/nonsense]" in picture(config, survey(config))


def test_neither_reasons_nor_findings_reach_the_terminal_with_their_escapes(
    config: Config, spool: Spool, put: Put
) -> None:
    text = 'OFFSET=0\nLAST_REASON="\u202e31m[red]x"\nLAST_OUTCOME=failed\n'
    put(FAILED, 0, text)
    finding = {"offset": 0, "gidx": "\x1b[2J", "lines": ["\x1b]0;x\x07 SAT"], "found_at": "\x1b"}
    (config.results_dir / "x.json").write_text(json.dumps(finding))
    shown = picture(config, survey(config))
    assert "SAT" in shown
    assert "[red]x" in shown
    assert not {c for c in shown if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f"}


# For programs


def test_the_json_shape(config: Config, spool: Spool, put: Put) -> None:
    put(RUNNING, 0)
    put(FAILED, 1, b"\xff")
    state_file(config, 0, "4")
    log(config, 0, 2.0, 4.0)
    config.stop_file_host.write_text("why\n")
    (config.results_dir / "x.json").write_text('{"offset": 0, "gidx": 4}')
    shape = json.loads(json.dumps(progress.as_json(survey(config)), allow_nan=False))
    assert list(shape) == [
        "jobset",
        "stride",
        "workers",
        "workers_alive",
        "counts",
        "cases_done",
        "cases_total",
        "eta_seconds",
        "gate",
        "partitions",
        "findings",
        "tally",
        "tally_cases",
    ]
    assert (shape["jobset"], shape["stride"], shape["workers"]) == ("demo", 4, 2)
    assert (shape["cases_done"], shape["cases_total"], shape["gate"]) == (2, 10, "why")
    assert shape["workers_alive"] == 4
    assert shape["eta_seconds"] is None, "nothing gets on while the gate is there"
    assert [f["gidx"] for f in shape["findings"]] == [4]
    assert [p["offset"] for p in shape["partitions"]] == [0, 1, 2, 3]
    first = shape["partitions"][0]
    assert first.pop("last_activity").startswith("20")
    assert first.pop("log") == str(config.log_file(0))
    assert first == {
        "offset": 0,
        "state": "running",
        "cases_done": 2,
        "cases_total": 3,
        "last_gidx": 4,
        "case_seconds_median": 3.0,
        "case_seconds_last": 4.0,
        "worker": None,
        "attempts": 0,
        "held": False,
        "reason": "",
        "percent": pytest.approx(200 / 3),
        "cases_read": 1,
        "unconfirmed": [],
        "cases_unread": 1,
        "log_behind": False,
        "covered": False,
        "solutions": 0,
    }


def test_many_partitions_are_cut_to_those_that_matter(
    config: Config, spool: Spool, put: Put
) -> None:
    config = replace(config, stride=100, total_cases=1000)
    put(RUNNING, 3)
    shown = picture(config, survey(config))
    assert "... and 99 more partitions" in shown
    assert len(progress.as_json(survey(config))["partitions"]) == 100


def test_looking_changes_nothing(config: Config, spool: Spool, put: Put) -> None:
    put(RUNNING, 0)
    spool.owner_file("demo_off0").write_text("OWNER_PID=1\n")
    before = sorted(config.state_dir.rglob("*"))
    survey(config)
    assert sorted(config.state_dir.rglob("*")) == before
