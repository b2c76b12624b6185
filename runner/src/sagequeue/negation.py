"""Whether a line says that nothing was found, before or after the word that it looks for.

No I/O. Programs name an error (`KEY_NOT_FOUND x`), count (`0 FOUND in 3 s`), or print a value that
is none (`FOUND: None`). Such a word may also be part of a solution, which must not be lost:
`FOUND no-three-in-line set`, `strategy=none FOUND x` and `FOUND 0 1 1` are some.
"""

import re
from itertools import islice

# Characters on each side of a word that are looked at, and places of it: lines can have megabytes.
_NEARBY = 80
# The same in a line of prose: Podman's `no container with ID …` has an id of 64 in between.
_CLAUSE_NEARBY = 200
_MOST = 100

_BEGIN = r"(?<![^\W_])"  # a name like NOT_FOUND has several words
_NOT = r"(?:not?|nothing|never|none|without|neither|nor|cannot|zero)"
_SHORT = r"[^\W_]n['\u2019]t"
_NOUN = (
    r"(?:(?:solution|sol|hit|result|match|model|witness|(?:counter-?)?example|case|candidate|graph"
    r"|ordering|answer)(?:e?s)?)"
)
# How a sentence goes on behind a word for nothing; behind a zero, which may be a value (0 in Z).
_END = r"[\s.!]*$|\s*[;!]"
_ON = (
    rf"(?:{_END}|\s+(?:in|so|after|of|out|within|yet|until|till|to|during|at|for|on|with|here|today"
    r"|now|total|overall|elapsed|found)\b(?!\s*=))"
)
_COUNT_ON = (
    r"\s+(?:so\ far|after|out\ of|(?:in|of|within)\s+(?:[0-9]+|all\b|the\b|total\b)|yet|until|till"
    r"|to\ date|total|overall|found)\b"
)

# Before FOUND.
_BEFORE = re.compile(
    rf"""(?ix)(?:
    {_BEGIN}(?<!=)(?<!=\ ){_NOT}(?:[\s_-]+\(?(?:yet|be|been)\)?)?[\s:=_-]*
    | {_SHORT}[\s:=_-]*
    | [*~(\[]not[*~)\]]+\s*
    # NO_SOLUTION: FOUND x; but what the script no_three logs is `no_three: FOUND x`
    | {_BEGIN}no[_-]{_NOUN}[\s:=]*
    | {_BEGIN}(?:{_NOT}|0|un|non)(?:[_.-][^\W\d_]+)*[_.-]
    )$"""
)
# A count begins a message. Behind a word, zero is its number: `rank 0 FOUND in 3 s: x`.
_ZERO = re.compile(
    r"(?i)(?:^|[^\w\s]\s+|\b(?:DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR)\s+|\d:\d\d\S*\s+)"
    r"(?:0|zero)(?:\s*(?:/|of|out of)\s*[0-9]+)?\s+$"
)
_COUNTED = re.compile(rf"(?ix){_END}|{_COUNT_ON}|\s*[/|]\s*[0-9]")
_AFTER = re.compile(
    rf"""(?ix)[*_"'`<(]*(?:
    # Python's None may be the first of several values.
    (?:nothing|(?-i:none|NONE))(?![\w-]|\s*=)
    | (?:none|null|nil|false|no|never|n/a)(?:[*_"'`>)]+\s*$|{_ON}|\s+\()
    # no solution for J=3; but `no three in line: [(0, 1)]`
    | no\s+(?:[^\W\d_]+\s+){{0,3}}?{_NOUN}(?![\w-])
    | no\s+[^\W\d_]+(?![\w-])(?!.*[=\[{{])
    | not(?:[\s.!]*$|\s+(?:yet|one|any|anything|found|a\ single)\b)
    | (?:0|zero)(?:\s+(?:[^\W\d_]+\s+){{0,2}}?{_NOUN}(?![\w-]|\s*=)|{_COUNT_ON})
    )"""
)

# Lower case may be another program's last word, printed without a line end.
_WORD = re.compile(r"(?i)\b(?:found|solutions?)\b|(?-i:[a-z]FOUND)\b")
# Words in between, with nothing that ends a clause. A line can be cut into such words in one way
# only: of many ways, each would be tried, for hours.
_BETWEEN = r"(?:[\s_]+(?:[^\W_]|['\u2019*/%-])+){0,6}?[\s_]*[*-]*"
_CLAUSE = re.compile(
    rf"(?ix)(?:{_BEGIN}{_NOT}(?!-\w)|{_SHORT}){_BETWEEN}$|{_BEGIN}(?:no|not|never)(?:-yet)?-$"
)
_VERB = (
    r"(?:was|were|is|are|has|have|had|do|does|did|can|could|exists?|found|so\ far|counts?|number"
    r"|for)"
)
_SAYS = re.compile(rf"(?ix)(?:[\s_]+(?:{_VERB}|{_NOUN})(?![^\W_]))*[\"']?\s*(?:[:=]|->)?\s*")
_DENIAL = re.compile(rf"(?ix)(?:not|none|null|false|impossible|cannot|{_VERB}n['\u2019]t)(?![\w-])")
_NO_LIST = re.compile(r"(?:0|zero)(?![\w.:=])(?!,?\s*[-+]?\d+(?:[\s\])]*$|[,\s]+[-+]?\d))")
_ZERO_WORDS = re.compile(r"(?i)(?<![\w./-])(?:0|zero)(?:\s+[^\W\d_]+|\s+of\s+\d+){0,3}\s+$")


def denies(before: str) -> bool:
    """Whether what stands before a keyword denies it: `NOT_`, `no solution: `."""
    return bool(_BEFORE.search(before[-_NEARBY:]))


def counts_none(before: str, said: str) -> bool:
    """Whether what a keyword is followed by, or its number before it, is nothing."""
    begin = said[:_NEARBY]
    if _AFTER.match(begin):
        return True
    return bool(_COUNTED.match(f" {begin}") and _ZERO.search(before[-_NEARBY:]))


def looks_like_one(shown: str) -> bool:
    """Whether a line has a word like `solution`, and does not say of each that there is none."""
    places = islice(_WORD.finditer(shown), _MOST)
    return not all(_is_denied(shown, place) for place in places)


def _is_denied(shown: str, place: re.Match[str]) -> bool:
    before = shown[max(0, place.start() - _CLAUSE_NEARBY) : place.start()]
    after = shown[place.end() : place.end() + _NEARBY]
    if _CLAUSE.search(before):
        return True
    says = _SAYS.match(after)
    said = after[says.end() :] if says else after
    if _AFTER.match(said) or _DENIAL.match(said):
        return True
    # One solution may be 0, or have the number 0.
    one = place[0].lower() == "solution" and after[:1] in (":", "=", " ") and "count" not in after
    if not one and _NO_LIST.match(said):
        return True
    counted = (
        place[0].lower() == "solutions" or re.match(r"\s*[.,;|/(]", after) or _COUNTED.match(after)
    )
    return bool(counted and _ZERO_WORDS.search(before))
