"""The last words in a log that are not the runner's."""

from pathlib import Path

import pytest
from sagequeue.joblog import last_words

START = "[worker 1] start offset=0 job=demo_off0 at now\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        (f"{START}one\ntwo\n\n", "two"),
        (f"{START}one\nsagequeue: sage -preparse ended with exit status 1\n", "one"),
        (f"{START}sagequeue: it made no file\n", "it made no file"),
        (f"of another\n{START}sagequeue: it made no file\n", "it made no file"),
        (f"of another\n{START}", ""),
        (f"{START}one\n[worker 1] interrupted offset=0 at now\n", "one"),
        (f"{START}no end", "no end"),
        (f"{START}\x1b[31mred\x07 \xff\u2028x\n", "x"),
        (f"{START}{'x' * 100_000}\n", "x" * 400),
    ],
)
def test_the_last_line_that_is_not_ours(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    assert last_words(path) == words


def test_a_log_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none") == last_words(tmp_path) == ""
