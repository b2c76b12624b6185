"""The grammar: what is written is read back, and everything else is refused by its line."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagequeue import keyvalue

KEYS = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20).filter(
    lambda key: not key[0].isdigit()
)
# Every character but the control characters, with those that mean something to a shell often.
PLAIN = st.characters(min_codepoint=9, exclude_categories=["Cs"]).filter(
    lambda c: c == "\t" or not (c < " " or "\x7f" <= c <= "\x9f")
)
VALUES = st.text(st.one_of(st.sampled_from("\"'\\`$# \t=;&|<>()*?~!"), PLAIN), max_size=60)


@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_what_is_rendered_is_parsed_back_in_the_same_order(values: dict[str, str]) -> None:
    assert list(keyvalue.parse(keyvalue.render(values)).items()) == list(values.items())


@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_crlf_line_ends_change_nothing(values: dict[str, str]) -> None:
    text = keyvalue.render(values).replace("\n", "\r\n")
    assert keyvalue.parse(text) == values


@given(st.text(max_size=200))
def test_any_text_is_either_read_or_refused_with_a_line_number(text: str) -> None:
    said = ""
    values: dict[str, str] = {}
    try:
        values = keyvalue.parse(text)
    except ValueError as error:
        said = str(error)
    assert not said or said.startswith("line ")
    assert keyvalue.parse(keyvalue.render(values)) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("\n\n", {}),
        ("# a comment\n  # another\nA=1", {"A": "1"}),
        ("A=1", {"A": "1"}),
        ("  A=1  \n", {"A": "1"}),
        ("A=\n", {"A": ""}),
        ('A=""\n', {"A": ""}),
        ("A=b=c\n", {"A": "b=c"}),
        ("A=two words\n", {"A": "two words"}),
        ('A="two  words" \t\r\n', {"A": "two  words"}),
        (r'A="say \"hi\" \\ \$x"', {"A": 'say "hi" \\ $x'}),
        ("A=$(rm -rf /); `id` #x\n", {"A": "$(rm -rf /); `id` #x"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ],
)
def test_the_grammar_by_example(text: str, values: dict[str, str]) -> None:
    assert keyvalue.parse(text) == values


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A", 1),
        ("A=1\nnonsense\n", 2),
        ("=1", 1),
        ("1A=1", 1),
        ("A =1", 1),
        ("export A=1", 1),
        ("A-B=1", 1),
        ("É=1", 1),
        ("\ufeffA=1", 1),
        ("A=1\n\nA=2", 3),
        ("A=\x00", 1),
        ("A=\x1b[31m", 1),
        ("A=one\rtwo", 1),
        ("A=\x7f", 1),
        ("A=\x9b31m", 1),
        ('A="\x01"', 1),
        ('A="open', 1),
        ('A="a"b', 1),
        ('A="a" "b"', 1),
        ('A=a"b"', 1),
        ("A='single'", 1),
        ("A=back\\slash", 1),
        ('A="ends in a backslash\\"', 1),
    ],
)
def test_anything_else_is_refused_by_its_line(text: str, line: int) -> None:
    with pytest.raises(ValueError, match=rf"^line {line}\b"):
        keyvalue.parse(text)


def test_where_repeats_are_allowed_the_last_one_counts() -> None:
    assert keyvalue.parse("A=1\nB=2\nA=3\n", repeats=True) == {"A": "3", "B": "2"}


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\x00", "\x1b", "\x7f", "\x9b"])
def test_a_control_character_is_not_written(value: str) -> None:
    with pytest.raises(ValueError, match="KEY holds a control character"):
        keyvalue.render({"KEY": value})


def test_a_line_of_a_megabyte_is_read_without_delay() -> None:
    long = '\\"' * 500_000
    assert keyvalue.parse(f'A="{long}"') == {"A": '"' * 500_000}
