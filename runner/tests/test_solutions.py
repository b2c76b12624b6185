"""What is a solution among the lines that programs print, and what only looks like one."""

import pytest
from sagequeue import negation, solutions
from sagequeue.solutions import Case, Pattern

PRINTED = [
    "1234FOUND g=3",
    "SAT found for J = [0]",
    "FOUND x",
    "FOUND: x",
    "FOUND\tx=3",
    "FOUND=3",
    "Found: g=3",
    "  FOUND x",
    "\tFOUND x",
    "[2026-11-28T10:00:00] FOUND g=7",
    "INFO:root:FOUND g=7",
    "INFO     root:main.py:3 FOUND x",
    "2026-11-28 12:00:00,123 - name - INFO - FOUND g=7",
    "I1128 12:00:00.0 1 a.py:3] FOUND x",
    "12:00:01 INFO FOUND x",
    "12:30 FOUND x",
    "06:52:14 PM FOUND x",
    "Sat Nov 28 06:52:14 AM CET FOUND x",
    "2026-11-28 18:52:14 UTC FOUND x",
    "2026-11-28T18:52:14,123 GMT FOUND x",
    "6:52PM INF FOUND x",
    "18:52:14.123 TRACE FOUND x",
    "SUCCESS FOUND x",
    '[1] "FOUND x"',
    "[12:00] worker-3: SAT found for J: [1]",
    "(rank 0) FOUND x",
    "sage: FOUND x",
    "searching... FOUND x",
    "\r3/6 [###] FOUND x",
    "1/6\r2/6\r3/6 FOUND x",
    "still working\rFOUND x",
    " 50%|███   | 3/6 [00:01<00:01, 1.2it/s]FOUND x",
    "\x1b[1;32mFOUND x\x1b[0m",
    "\x1b[2K\x1b[1GFOUND x",
    "\x1b]0;title\x07FOUND x",
    "\x1b(BFOUND x",
    "\x00\x00\x00FOUND x",
    "\ufeffFOUND x",
    "FOUND x\r",
    "FOUND no-three-in-line set: [(0, 1)]",
    "FOUND no three points in line: [(0, 1)]",
    "FOUND No. 7: [1]",
    "FOUND nothing-up-my-sleeve p=3",
    "FOUND None, 3",
    "FOUND [None, 3]",
    "FOUND (None, 3)",
    "FOUND not isomorphic pair: (1, 2)",
    "FOUND 0",
    "FOUND=0",
    "FOUND 0 1 1 0",
    "FOUND 0, 1, 1",
    "FOUND 0 is a root",
    "FOUND 0 in [0, 1]",
    "FOUND 0 of order 3",
    "FOUND zero of f at 3",
    "FOUND not in S: 3",
    "FOUND null graph",
    "0\tFOUND in [0, 1]",
    "FOUND in: [1]",
    "SAT found for J: []",
    "0 FOUND g=3",
    "0\tFOUND g=3",
    "0: FOUND in 3 s: [1]",
    "0FOUND g=3",
    "rank 0: FOUND x",
    "(rank 0) FOUND in 3 s: [1]",
    "3/6 FOUND in 3 s",
    "0/30 FOUND g=3",
    "strategy=none FOUND x",
    "no_three: FOUND g=3",
    "no-three.sage: FOUND g=3",
    "[connected or not] FOUND x",
    "case no 7: FOUND x",
    "KEY_FOUND x",
    "piano_FOUND x",
    "FOUND: none; FOUND g=3",
    f"{'.' * 3_000_000} FOUND x",
    f"{'7' * 3_000_000}\rFOUND x",
]
NOT = [
    "",
    "no solution",
    "UNSAT for J = [0]",
    "UNSAT found for J",
    "not SAT found for J = [0]",
    "Found perm: [1]",
    "Verified boundary rank: 3",
    "NOT FOUND x",
    "NOT: FOUND x",
    "result: NOT FOUND x",
    "NOT_FOUND x",
    "KEY_NOT_FOUND x",
    "404 NOT_FOUND: x",
    "E_NOT_YET_FOUND x",
    "NO_SOLUTION_FOUND x",
    "NO_SUCH_KEY_FOUND: x",
    "no_solution: FOUND x",
    "CANNOT-BE-FOUND x",
    "NOT.FOUND x",
    "NOT (yet) FOUND x",
    "*NOT* FOUND x",
    "[NOT] FOUND x",
    "wasn\u2019t FOUND x",
    "NONE FOUND x",
    "NONE_FOUND: x",
    "0_FOUND x",
    "0 FOUND in 3 s",
    "12:30:01 0 FOUND so far",
    "INFO 0 FOUND of 30",
    "[12:30] 0/30 FOUND after 3 s",
    "0 of 30 FOUND in 3 s",
    "zero FOUND so far",
    "FOUND: none",
    "FOUND NONE",
    "FOUND: None",
    "FOUND=none",
    "FOUND: (none)",
    "FOUND: **none**",
    "FOUND: none, 30 tested",
    "FOUND: none (30 tested)",
    "FOUND: None (30 tested)",
    "FOUND: None for J=3",
    "FOUND: not",
    "FOUND none of 30",
    "FOUND: nothing.",
    "FOUND NOTHING in 3 s",
    "FOUND: False",
    "FOUND: null",
    "FOUND: no",
    "FOUND: n/a",
    "FOUND no solution for J=[0]",
    "FOUND no more solutions",
    "FOUND no triangle",
    "FOUND: not yet",
    "FOUND 0 solutions",
    "FOUND: 0 new graphs in 3 s",
    "FOUND 0 so far",
    "FOUND zero matches",
    "Found: none",
    "Found: 0 solutions",
    "SAT found for: none",
    "SAT found for none of 30",
    "SAT found for 0 cases",
    "case 5: not FOUND x",
    "no solution FOUND x",
    "I FOUND nothing",
    "FOUNDATION y",
    "12:30 KEYS FOUND x",
    "12:30 UTC NOT FOUND x",
    "IT FOUND x",
    '[1] "NOT FOUND x"',
    "NEWFOUND land",
    "xFOUND y",
    "FOUND",
    "FOUND  ",
    "FOUND:",
    "Found:",
    "found x",
    "FOUND x\r3/6 [####]",
    '    print("FOUND g", g)',
    "+ echo 'SAT found for J: [1]'",
    "[t] DONE  gidx=4 sat=False dt=1.0s",
]


def said(line: str) -> str | None:
    return solutions.solution(solutions.text(line.encode() + b"\n"))


@pytest.mark.parametrize("line", PRINTED, ids=lambda line: repr(line[-40:]))
def test_a_solution_is_known_behind_what_programs_put_before_it(line: str) -> None:
    found = said(line)
    assert found is not None
    assert found.startswith(("SAT found for", "FOUND", "Found:"))


@pytest.mark.parametrize("line", NOT)
def test_a_word_of_a_sentence_is_no_solution(line: str) -> None:
    assert said(line) is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SAT found for J = [0, 1]", {"J": [0, 1]}),
        ("SAT found for J: [1]", {"J": [1]}),
        ("FOUND witness=12", {"witness": 12}),
        ("Found: g=3", {"g": 3}),
        ("Found perm: [1,0]", {"perm": [1, 0]}),
        ("Verified boundary rank: 4", {"boundary_rank": 4}),
        ("FOUND a word", {}),
    ],
)
def test_a_pair_gives_a_value(line: str, value: dict[str, object]) -> None:
    assert solutions.value(line) == value


@pytest.mark.parametrize(
    "line", ["Found perm: [1]", "[12:00] Verified rank: 4", "INFO: Found x: 1"]
)
def test_a_detail_is_known_behind_the_same(line: str) -> None:
    found = solutions.detail(solutions.text(line.encode()))
    assert found is not None
    assert found.startswith(("Found", "Verified"))


def test_a_case_is_told_by_its_two_lines() -> None:
    assert solutions.start("[t] START gidx=4 local=1 off=0 stride=4") == 4
    assert solutions.start("START gidx=4") is None
    line = "[t] DONE  gidx=4 local=1 off=0 stride=4 sat=True tally=a:1:2 dt=1.5s"
    assert solutions.done(line) == Case(4, "t", True, 1.5, "a:1:2")
    assert solutions.done("[t] DONE  gidx=4") == Case(4, "t", None, None, None)
    # A solver that was killed left the beginning of one before.
    assert solutions.done("[t] DONE  gidx=4 lo[u] DONE  gidx=8 dt=1s") == Case(
        8, "u", None, 1.0, None
    )
    assert solutions.done("DONE gidx=4 dt=1s") is None


@pytest.mark.parametrize(
    ("line", "looks"),
    [
        ("found a graph: [1]", True),
        ("Solution: 4", True),
        ('{"level":"info","msg":"FOUND g=3"}', True),
        ("FOUND", True),
        ("workingFOUND g=3", True),
        ("Solution: [0, 1, 2]", True),
        ("Solution: 0", True),
        ("Solution 0: [1]", True),
        ("solution = (0,0,1)", True),
        ("solutions: [0]", True),
        ("solutions: 0 1 1", True),
        ("found g=0", True),
        ("found 0, 1, 1", True),
        ("found 0.5", True),
        ("found [0]", True),
        ("rank 0 found g=3", True),
        ("case 0: solution [1]", True),
        ("found a solution, not the best: [1]", True),
        ("Solution [1], no other solution found", True),
        ("no-three: found [(0, 1)]", True),
        ("No. 3: found [1]", True),
        ("solution written to file out.txt", True),
        ("found key: [1]", True),
        ("no solution found", False),
        ("not found", False),
        ("never found a solution", False),
        ("No such solution", False),
        ("no valid 3-colouring was found", False),
        ("there is no further solution", False),
        ("none of the 5 was found", False),
        ("found none", False),
        ("found: none", False),
        ("found nothing so far", False),
        ("Found no solutions", False),
        ("solution: None", False),
        ('{"found": false, "solution": null}', False),
        ("solution does not exist", False),
        ("a solution doesn't exist", False),
        ("solution was not found", False),
        ("found 0 solutions", False),
        ("found 0 so far", False),
        ("SAT found for nothing", False),
        ("FOUND:0 solutions", False),
        ("found 0, tested 30", False),
        ("found 0", False),
        ("found=0", False),
        ('{"found": 0, "tested": 30}', False),
        ("solutions: 0", False),
        ("solutions: 0 of 30", False),
        ("Solutions found: 0", False),
        ("solution count: 0", False),
        ("number of solutions = 0", False),
        ("0 solutions", False),
        ("0 solutions found", False),
        ("0 new solutions in 3 s", False),
        ("0 of 30 found", False),
        ("total: 0 found so far", False),
        (f"Error: no container with ID {'b2' * 32} found in database: no such container", False),
        ("FileNotFoundError: file not found", False),
        ("all is well", False),
    ],
)
def test_what_only_looks_like_a_solution_is_told(line: str, looks: bool) -> None:
    assert negation.looks_like_one(line) is looks


def test_what_r_prints_is_taken_without_its_quotes() -> None:
    assert solutions.text(rb'[1] "FOUND s=\"a\\b\""') == r'FOUND s="a\b"'
    done = solutions.done(solutions.text(b'[1] "[t] DONE  gidx=3 sat=True"\n'))
    assert done is not None
    assert (done.gidx, done.verdict) == (3, True)


def test_a_case_in_colours_is_marked() -> None:
    for word in (b"START", b"DONE"):
        assert solutions.Marked(b"a\n[t] \x1b[1m" + word + b"\x1b[0m  gidx=3\n").line(0) == 2


def test_only_marked_lines_are_looked_at() -> None:
    block = b"a\nFOUND x\nb\nc\n[t] DONE gidx=1\nno solution\nend"
    marked, seen, at = solutions.Marked(block), [], 0
    while (at := marked.line(at)) >= 0:
        end = block.find(b"\n", at) + 1
        seen.append(block[at:end])
        at = end
    assert seen == [b"FOUND x\n", b"[t] DONE gidx=1\n", b"no solution\n"]


def test_a_pattern_of_the_jobsets_own_is_searched_for() -> None:
    assert Pattern(r"^witness \d+").matches("witness 12")
    assert not Pattern(r"^witness \d+").matches("no witness 12")


def test_a_pattern_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pattern, "LIMIT", 0.05)
    with pytest.raises(TimeoutError):
        Pattern("(a+)+$").matches("a" * 100 + "b")
    assert Pattern("(a+)+$").matches("aaa"), "the alarm is off again"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "9" * 2_000_000,
        "\x1b]" * 200_000,
        "FOUND " * 200_000,
        " " * 2_000_000,
        "x FOUND y " * 1_000_000,
        "x Found y " * 1_000_000,
        f"no{'_' * 70}.found " * 10_000,
    ],
    ids=["digits", "escapes", "keywords", "blanks", "sentences", "details", "denials"],
)
def test_a_line_of_megabytes_is_no_delay(text: str) -> None:
    """A search whose time grows with the square of the length would take hours."""
    for line in (text, f"{text} FOUND", f"x {text} FOUND x y"):
        shown = solutions.text(line.encode())
        assert solutions.start(shown) is solutions.done(shown) is None
        solutions.solution(shown)
        solutions.detail(shown)
        negation.looks_like_one(shown)
