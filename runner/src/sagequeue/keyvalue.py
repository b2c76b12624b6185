r"""The one grammar of env, job, owner and result files: `KEY=value` lines, never evaluated.

A value is bare, or in double quotes with backslash escapes (`\"` is `"`, `\\` is a backslash).
Blank lines and lines that start with `#` are skipped; CRLF line ends are read. A bare value may
not hold a double quote or a backslash: a shell would read it otherwise than we do.
"""

import re

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*')
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def parse(text: str, *, repeats: bool = False) -> dict[str, str]:
    """Read `text` into a dict of str to str, in file order.

    With `repeats` a key may come again and its last value counts (files that are appended to).
    Raises ValueError, naming the line, for anything that the grammar does not have.
    """
    values: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r").strip(" \t")
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise ValueError(f"line {number} is not KEY=value")
        if key in values and not repeats:
            raise ValueError(f"line {number} gives {key} a second time")
        values[key] = _value(value, number)
    return values


def _value(text: str, number: int) -> str:
    if _CONTROL.search(text):
        raise ValueError(f"line {number} holds a control character")
    if quoted := _QUOTED.fullmatch(text):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if text.startswith("'") or '"' in text or "\\" in text:
        raise ValueError(f'line {number}: write the value bare or as "value", \\ before \\ and "')
    return text


def render(values: dict[str, str]) -> str:
    """Write `values` so that `parse` gives them back; ValueError for control characters."""
    return "".join(f"{key}={_quote(key, value)}\n" for key, value in values.items())


def _quote(key: str, value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError(f"{key} holds a control character")
    if not value or _BARE.fullmatch(value):
        return value
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
