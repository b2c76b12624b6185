"""Solutions in logs become records that last."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from kinds import read_log
from sagequeue import findings, position
from sagequeue.config import Config
from sagequeue.reading import Reader
from sagequeue.spool import Spool

RANK = """\
[worker 1] start offset=0 job=demo_off0 at 2024-01-01T00:00:00+00:00
[2024-01-01T00:00:00] START gidx=4 local=1 off=0 stride=4
c some solver's own words
SAT found for J = [0, 1, 2]
Found perm: [5, 13, 6]
Verified boundary rank: 4
[2024-01-01T00:00:01] DONE  gidx=4 local=1 off=0 sat=True dt=1.0s
[worker 1] done offset=0 job=demo_off0 rc=0 at 2024-01-01T00:00:02+00:00
"""


def found(spool: Spool, text: str | bytes) -> list[dict[str, Any]]:
    """What is found in a log of that text."""
    spool.config.log_file(0).write_bytes(text.encode() if isinstance(text, str) else text)
    read_log(spool.config)
    return findings.read(spool.config)


def record(spool: Spool, text: str) -> list[Path]:
    found(spool, text)
    return sorted(spool.config.results_dir.glob("*.json"))


def test_a_solution_is_its_lines_its_case_and_their_values(spool: Spool) -> None:
    (finding,) = found(spool, RANK)
    lines = ["SAT found for J = [0, 1, 2]", "Found perm: [5, 13, 6]", "Verified boundary rank: 4"]
    assert (finding["gidx"], finding["lines"]) == (4, lines)
    assert (finding["J"], finding["perm"], finding["boundary_rank"]) == ([0, 1, 2], [5, 13, 6], 4)


def test_the_templates_solution_is_found(spool: Spool) -> None:
    text = "[t] START gidx=3 local=0 off=3 stride=4\nFOUND witness=12\nFound note: it is blue\n"
    (finding,) = found(spool, text)
    assert (finding["gidx"], finding["witness"], finding["note"]) == (3, 12, "it is blue")


def test_each_solution_of_a_log_is_found_with_the_case_it_belongs_to(spool: Spool) -> None:
    text = "".join(
        f"[t] START gidx={k} local={k} off=0 stride=1\nSAT found for J = [{k}]\nFound perm: [{k}]\n"
        f"[t] DONE  gidx={k} sat=True dt=1.0s\n"
        for k in range(3)
    )
    told = [(f["gidx"], f["J"], f["perm"]) for f in found(spool, text)]
    assert told == [(k, [k], [k]) for k in range(3)]


def test_a_solution_before_any_start_line_has_no_case(spool: Spool) -> None:
    assert found(spool, "SAT found for J = [0]\n")[0]["gidx"] is None


def test_what_was_printed_after_the_solver_was_found_dead_is_not_the_solutions(
    spool: Spool,
) -> None:
    text = "SAT found for J = [0]\n[worker 1] start offset=0 at now\nFound perm: [9]\n"
    assert "perm" not in found(spool, text)[0]


def test_a_solution_that_was_cut_off_in_mid_line_is_found_all_the_same(spool: Spool) -> None:
    (finding,) = found(spool, "SAT found for J = [0, 1]\nFound perm: [5, 1")
    assert (finding["J"], finding["perm"]) == ([0, 1], "[5, 1")


def test_binary_output_around_a_solution_does_not_hide_it(spool: Spool) -> None:
    text = b"\xff\xfe\x00garbage\nSAT found for J = [0]\n\x80\x81\n"
    assert found(spool, text)[0]["J"] == [0]


def test_lines_without_a_bracket_end_a_solution_at_last(spool: Spool) -> None:
    more = "noise\n" * 1002 + "Found perm: [1]\n"
    (finding,) = found(spool, f"FOUND x=1\nFound y: 2\n{more}")
    assert finding["lines"] == ["FOUND x=1", "Found y: 2"]


@pytest.mark.parametrize("key", ["lines", "gidx", "offset", "jobset", "stride"])
@pytest.mark.parametrize("value", ["3", "null", "x"])
def test_a_value_with_the_name_of_a_key_of_ours_does_no_harm(
    spool: Spool, key: str, value: str
) -> None:
    text = f"[t] START gidx=4 x\nSAT found for J = [0]\nFound {key}: {value}\nFound perm: [1]\n"
    record(spool, text)
    (finding,) = findings.read(spool.config)
    assert finding["lines"] == text.splitlines()[1:]
    assert (finding["jobset"], finding["offset"], finding["stride"]) == ("demo", 0, 4)
    assert (finding["gidx"], finding["perm"]) == (4, [1])


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, '"\\ud800"', "NaN", "-Infinity", ""])
def test_no_value_keeps_a_solution_from_being_recorded(spool: Spool, value: str) -> None:
    record(spool, f"SAT found for J = [0]\nFound perm: {value}\n")
    (finding,) = findings.read(spool.config)
    # A name without a value is no detail.
    assert finding["lines"][1:] == [f"Found perm: {value}"]


def test_a_record_tells_all_that_is_needed_to_repeat_the_case(spool: Spool, config: Config) -> None:
    (path,) = record(spool, RANK)
    assert path.parent == config.results_dir
    told = json.loads(path.read_text())
    assert (told["jobset"], told["offset"], told["stride"], told["gidx"]) == ("demo", 0, 4, 4)
    assert told["perm"] == [5, 13, 6]
    assert told["command"] == [config.sage_bin, config.script, *config.sage_base_args]
    assert told["log"] == str(config.log_file(0))
    assert told["found_at"].startswith("20")
    assert findings.read(config) == [{**told, "file": str(path)}]


def test_a_record_is_strict_json_for_other_programs(spool: Spool) -> None:
    (path,) = record(spool, "SAT found for J = NaN\nFound perm: [Infinity]\n")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)


def test_the_same_solution_printed_again_keeps_its_first_record(spool: Spool) -> None:
    (path,) = record(spool, RANK)
    first = path.read_bytes(), os.stat(path).st_ino
    assert record(spool, RANK + RANK) == [path]
    assert (path.read_bytes(), os.stat(path).st_ino) == first
    assert len(findings.read(spool.config)) == 1


VALUES = {
    "numpy": "FOUND a = [[1 2]\n [3 4]]\n",
    "gap": "FOUND [ 1, 2,\n  3, 4 ]\n",
    "deep": "FOUND f(\n\n[1,\n2]\n)\n",
    "sage": "FOUND [ 1 0]\n[-1 2]\n[ 0 1]\n",
    "detail": "FOUND x=1\nFound perm: [1,\n 2]\n",
}


@pytest.mark.parametrize("after", ["[t] solving on\n", "more (\n", "[t] DONE  gidx=4\n", ""])
@pytest.mark.parametrize("text", VALUES.values(), ids=VALUES)
def test_a_value_of_several_lines_is_kept_whole(spool: Spool, text: str, after: str) -> None:
    lines = [line.lstrip() for line in text.splitlines()]
    (finding,) = found(spool, text + after)
    assert finding["lines"] == lines


@pytest.mark.parametrize(
    "after", ["more\n" * 300, "[t] on\n" * 300, "[t] START gidx=8 x\n", "[1]\n", ""]
)
def test_a_bracket_that_nothing_closes_takes_nothing_in(spool: Spool, after: str) -> None:
    (finding,) = found(spool, "FOUND x :(\nno\n" + after)
    assert finding["lines"] == ["FOUND x :("]


def test_what_comes_after_a_bracket_that_nothing_closes_is_read(spool: Spool) -> None:
    text = "FOUND x=(1\nFound perm: [1,0]\nFOUND x=2\n[t] DONE  gidx=4\n"
    assert [f["lines"] for f in found(spool, text)] == [
        ["FOUND x=(1", "Found perm: [1,0]"],
        ["FOUND x=2"],
    ]


def test_a_details_value_of_several_lines_is_kept_whole(spool: Spool) -> None:
    text = "FOUND x\nc some words\nFound perm: [1,\n 0]\n[t] DONE  gidx=4\n"
    assert found(spool, text)[0]["lines"] == ["FOUND x", "Found perm: [1,", "0]"]


def test_two_solutions_are_two_records(spool: Spool) -> None:
    other = RANK.replace("[0, 1, 2]", "[0, 1, 3]").replace("gidx=4", "gidx=8")
    assert len(set(record(spool, RANK + other))) == 2
    assert [f["gidx"] for f in findings.read(spool.config)] == [4, 8]


def test_two_cases_that_print_the_same_words_are_two_findings(spool: Spool) -> None:
    record(spool, "".join(f"[t] START gidx={k} x\nFOUND a witness\n" for k in (0, 4)))
    assert [f["gidx"] for f in findings.read(spool.config)] == [0, 4]


def test_without_start_lines_the_same_words_are_one_finding_and_are_counted_twice(
    spool: Spool,
) -> None:
    record(spool, "".join(f"FOUND a witness\n[t] DONE  gidx={k} sat=True\n" for k in (0, 4)))
    assert [f["gidx"] for f in findings.read(spool.config)] == [None]
    at = position.load(spool.config, "demo_off0", 0)
    assert (at.solutions, at.new, at.near) == (2, 1, [])


def test_the_results_directory_is_made_anew_when_it_is_gone(spool: Spool) -> None:
    spool.config.results_dir.rmdir()
    assert record(spool, RANK)[0].exists()


def test_a_record_that_could_not_be_written_is_an_error_and_leaves_nothing(spool: Spool) -> None:
    spool.config.results_dir.rmdir()
    spool.config.results_dir.write_text("")
    with pytest.raises(OSError, match=r"place of a directory, move it away: '.*/results'"):
        record(spool, RANK)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\0" * 400, "a link"])
def test_a_spoilt_file_in_a_records_place_is_replaced(spool: Spool, content: bytes | str) -> None:
    (path,) = record(spool, RANK)
    whole = json.loads(path.read_text())
    path.unlink()
    path.write_bytes(content) if isinstance(content, bytes) else path.symlink_to(path.name)
    assert record(spool, RANK + RANK) == [path]
    assert json.loads(path.read_text())["lines"] == whole["lines"]


@pytest.mark.parametrize("name", ["results/{record}", "results/.demo_off0.open"])
def test_a_directory_in_a_findings_place_is_an_error_with_its_path_and_what_to_do(
    spool: Spool, name: str
) -> None:
    (path,) = record(spool, RANK)
    path.unlink()
    there = path.parents[1] / name.format(record=path.name)
    there.mkdir()
    with pytest.raises(IsADirectoryError, match=f"place of a file, move it away: '{there}'"):
        record(spool, RANK + RANK)
    there.rmdir()
    assert record(spool, RANK + RANK) == [path]


@pytest.mark.parametrize("name", ["demo_off0.jsonl", "demo_off0.position", "."])
def test_what_is_in_the_place_of_a_ledger_is_an_error_with_its_path_and_what_to_do(
    config: Config, name: str
) -> None:
    there = config.ledger_dir / name
    if name == ".":
        config.log_dir.mkdir(parents=True)
        there.write_text("")
    else:
        there.mkdir(parents=True)
        config.log_dir.mkdir()
    config.log_file(0).write_text(RANK)
    with pytest.raises(OSError, match=f"move it away: '{there}'"):
        read_log(config)


def test_findings_are_read_by_offset_and_case(config: Config, spool: Spool) -> None:
    for offset, gidx in ((10, 10), (9, 109), (9, 9)):
        path = config.results_dir / f"r{offset}_{gidx}.json"
        path.write_text(json.dumps({"offset": offset, "gidx": gidx}))
    told = [(f["offset"], f["gidx"]) for f in findings.read(config)]
    assert told == [(9, 9), (9, 109), (10, 10)]


def test_what_is_no_finding_is_passed_over(config: Config, spool: Spool) -> None:
    for name, text in {"a": "", "b": "[1]", "c": "{", "d": "null", "e": "\udcff"}.items():
        (config.results_dir / f"{name}.json").write_bytes(text.encode(errors="surrogateescape"))
    (config.results_dir / ".demo_off0_x.json.tmp").write_text("{}")
    (config.results_dir / "directory.json").mkdir()
    assert findings.read(config) == []


def test_a_solution_that_may_have_more_lines_is_shown_and_recorded_when_it_is_complete(
    spool: Spool,
) -> None:
    config, log = spool.config, spool.config.log_file(0)
    text = "[t] START gidx=4 local=0\nSAT found for J = [0]\nFound perm: [1,0]\n[t] DONE  gidx=4\n"
    lines = text.splitlines()
    for end in range(len(text) + 1):
        log.write_text(text[:end])
        reader = Reader.open(config, "demo_off0", 0)
        assert reader is not None
        with reader:
            reader.read(None, over=False)
        shown = [f["lines"] for f in findings.read(config)]
        whole = text[:end].count("\n")
        assert shown == ([lines[1 : min(3, whole)]] if whole > 1 else [])
        assert bool(list(config.results_dir.glob("*.json"))) is (whole == 4)


def test_a_crash_between_a_record_and_its_forerunner_shows_it_once(spool: Spool) -> None:
    lines = ["FOUND x=1"]
    findings.keep_open(spool.config, "demo_off0", 0, 4, lines, "1")
    assert [f["lines"] for f in findings.read(spool.config)] == [lines]
    assert findings.record(spool.config, 0, 4, lines, worker="1", execution="e")
    assert [f["lines"] for f in findings.read(spool.config)] == [lines]
