"""Job files: read strictly, written so that nothing in them is lost."""

import pytest
from sagequeue import jobs
from sagequeue.exceptions import MalformedJob
from sagequeue.jobs import Job

NAME = "demo_off7"


def parse(content: bytes, name: str = NAME) -> Job:
    return jobs.parse(name, content, "demo", 8)


def test_a_job_is_read_with_all_its_keys() -> None:
    job = parse(b"OFFSET=7\nENQUEUED_AT=2024-01-01T00:00:00Z\nATTEMPTS=2\nLAST_REASON=rc_1\n")
    assert (job.name, job.offset, job.jobset) == (NAME, 7, "demo")
    assert job.count("ATTEMPTS") == 2
    assert job.count("INTERRUPTS") == 0
    assert job.last_reason == "rc_1"
    assert job.last_outcome == ""


def test_unknown_keys_are_kept_in_their_order_and_with_their_values() -> None:
    text = 'OFFSET=7\nCOLOUR=blue\nNOTE="two words; \\$(x) \\"q\\""\nENQUEUED_AT=x\n'
    assert parse(text.encode()).render() == text


def test_crlf_is_read_and_unix_line_ends_are_written() -> None:
    job = parse(b"OFFSET=7\r\nATTEMPTS=1\r\nMINE=a b\r\n")
    assert job.render() == 'OFFSET=7\nATTEMPTS=1\nMINE="a b"\n'


def test_shell_metacharacters_in_a_value_stay_text() -> None:
    job = parse(b"OFFSET=7\nNOTE=$(touch /tmp/x); `id` && x | y > z\n")
    assert job.extra["NOTE"] == "$(touch /tmp/x); `id` && x | y > z"
    assert parse(job.render().encode()) == job


def test_an_empty_counter_counts_as_none() -> None:
    assert parse(b"OFFSET=7\nATTEMPTS=\n").count("ATTEMPTS") == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no_offset"),
        (b"\n\n", "no_offset"),
        (b"# OFFSET=7\n", "no_offset"),
        (b"ENQUEUED_AT=x\n", "no_offset"),
        (b"offset=7\n", "no_offset"),
        (b"\x00\x01\x02\xff\xfe", "not_key_value"),
        (b"\x7fELF\x02\x01", "not_key_value"),
        (b"OFFSET=7\nNOTE=\xff\n", "not_key_value"),
        (b"\xef\xbb\xbfOFFSET=7\n", "not_key_value"),
        (b"OFFSET 7\n", "not_key_value"),
        (b"OFFSET=7\nOFFSET=7\n", "not_key_value"),
        (b"OFFSET=7; rm -rf /\n", "bad_offset"),
        (b"OFFSET=$(id)\n", "bad_offset"),
        (b"OFFSET=`id`\n", "bad_offset"),
        (b"OFFSET=\n", "bad_offset"),
        (b"OFFSET=-7\n", "bad_offset"),
        (b"OFFSET=+7\n", "bad_offset"),
        (b"OFFSET=7.0\n", "bad_offset"),
        (b"OFFSET=0x7\n", "bad_offset"),
        (b"OFFSET=7_0\n", "bad_offset"),
        (b"OFFSET= 7\n", "bad_offset"),
        ("OFFSET=\u0667\n".encode(), "bad_offset"),
        (b"OFFSET=8\n", "bad_offset"),
        (b"OFFSET=" + b"7" * 300 + b"\n", "bad_offset"),
        (b"OFFSET=" + b"7" * 5000 + b"\n", "bad_offset"),
        (b"OFFSET=" + b"0" * 299 + b"7\n", "bad_offset"),
        (b"OFFSET=6\n", "name_mismatch"),
        (b"OFFSET=7\nATTEMPTS=many\n", "bad_count"),
        (b"OFFSET=7\nATTEMPTS=-1\n", "bad_count"),
        (b"OFFSET=7\nATTEMPTS=1.5\n", "bad_count"),
        (b"OFFSET=7\nINTERRUPTS=" + b"9" * 5000 + b"\n", "bad_count"),
        (b"OFFSET=7\nINTERRUPTS=$(id)\n", "bad_count"),
        (b"OFFSET=7\nNOTE=" + b"x" * 1_000_000 + b"\n", "too_large"),
        (b"\n" * 1_000_000, "too_large"),
    ],
)
def test_a_malformed_file_is_told_apart_in_one_word(content: bytes, reason: str) -> None:
    with pytest.raises(MalformedJob) as caught:
        parse(content)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("it")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["demo_off07", "demo_off8", "other_off7", "demo", "demo_off"])
def test_the_offset_and_the_file_name_must_agree(name: str) -> None:
    with pytest.raises(MalformedJob) as caught:
        parse(b"OFFSET=7\n", name)
    assert caught.value.reason == "name_mismatch"
    assert name in str(caught.value)


def test_with_sets_and_takes_out_keys_in_a_copy() -> None:
    job = Job("demo", 7, {"ATTEMPTS": "1", "MINE": "kept"})
    changed = job.with_(ATTEMPTS=2, LAST_REASON="rc_1", MISSING=None)
    assert changed.extra == {"ATTEMPTS": "2", "MINE": "kept", "LAST_REASON": "rc_1"}
    assert changed.with_(ATTEMPTS=None).extra == {"MINE": "kept", "LAST_REASON": "rc_1"}
    assert job.extra == {"ATTEMPTS": "1", "MINE": "kept"}


def test_time_is_iso_8601_with_its_offset() -> None:
    from datetime import datetime

    assert datetime.fromisoformat(jobs.now()).tzinfo is not None
