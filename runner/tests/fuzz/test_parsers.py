"""No bytes, whoever wrote them, get out of a parser what it does not say that it gives."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinds import read_log
from sagequeue import findings
from targets import CONFIG, TARGETS
from words import WORDS

BYTES = st.lists(
    st.one_of(
        st.sampled_from(WORDS),
        st.binary(max_size=8),
    ),
    max_size=30,
).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.one_of(BYTES, st.binary(max_size=200)))
def test_a_parser_gives_what_it_says_or_refuses_in_words(name: str, data: bytes) -> None:
    with mock.patch("os.fsync"):
        TARGETS[name](data)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", TARGETS)
def test_a_line_that_is_very_long_is_no_delay(name: str) -> None:
    for begin in (b"", b"FOUND ", b"OFFSET=7\nX=", b"[now] DONE ", b'"', b"token"):
        for byte in (b" ", b"9", b"\\", b"[", b"=", b"\x00", b"\n", b"\xff"):
            TARGETS[name](begin + byte * 50_000)


def test_a_solution_of_very_many_lines_is_no_delay() -> None:
    lines = "".join(f"Found x{number}: {number}\n" for number in range(50_000))
    CONFIG.log_file(1).write_text(f"FOUND x=1\n{lines}")
    read_log(CONFIG, 1)
    (found,) = findings.read(CONFIG)
    assert len(found["lines"]) == 50_001


@pytest.mark.slow
def test_the_fuzzer_that_coverage_guides_finds_nothing_in_ten_seconds(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="there is no wheel of atheris for this machine")
    answer = subprocess.run(
        [sys.executable, Path(__file__).parent, "--seconds", "10"], cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, f"{answer.stderr[-4000:]}\n{answer.stdout[-4000:]}"
    assert "Done " in answer.stderr, "nothing was run"
