"""What an execution prints, taken line by line: its cases, its solutions, what looks like one."""

from typing import Any

from sagequeue import findings, ledger, negation, solutions
from sagequeue.config import Config
from sagequeue.ledger import Line
from sagequeue.position import Position

# Lines that may come between a solution and its details.
_PATIENCE = 1000
# Lines in which an opened bracket has to be closed.
_MORE = 200
_NEAR = 5
_NEAR_LENGTH = 300


class Output:
    """Takes lines, and keeps `at`, the position, in step with them.

    `own` is whether the lines are of the log that the execution was given. They may be of another
    file that has the log's name by now, as an editor makes it, with a copy of what was read before:
    a solution there counts only if it is new.
    `cases` are the ledger's new lines; `known` are those that the ledger has and that are read a
    second time. `changed` is whether there is something to keep.
    """

    def __init__(self, config: Config, name: str, offset: int, at: Position) -> None:
        self.config, self.name, self.offset, self.at = config, name, offset, at
        self.cases: list[Line] = []
        self.known: set[tuple[str, str, str]] = set()
        self.worker = "-"
        self.changed, self.own = False, True
        self._pattern = solutions.Pattern(config.found_pattern) if config.found_pattern else None

    def lines(self, block: bytes) -> None:
        """Take in whole lines, which begin at the position."""
        base, marks = self.at.byte, solutions.Marked(block)
        begin = 0
        while begin < len(block):
            if self._pattern is None and not self.at.lines:
                begin = marks.line(begin)
                if begin < 0:
                    break
            end = block.find(b"\n", begin) + 1 or len(block)
            self.at.byte = base + begin
            self._line(block[begin:end])
            begin = end
        self.at.byte = base + len(block)

    def _line(self, line: bytes) -> None:
        hidden = solutions.overwritten(line) if b"\r" in line else []
        for text in (*hidden, solutions.text(line)):
            before, shown = solutions.cut(text)
            if solutions.solution(before) is not None or solutions.detail(before) is not None:
                self._say(before)
            self._say(shown)

    def _say(self, shown: str) -> None:
        if not (self.at.lines and self._goes_on(shown)):
            self._take(shown)

    def _goes_on(self, shown: str) -> bool:
        """Take a line of a value that has several, as a list, an array or a matrix; whether it is.

        They follow one another. If the bracket is not closed, the lines are taken as they come.
        """
        at = self.at
        if at.idle:
            return False
        if not at.more and solutions.is_row(at.lines[-1], shown):
            at.lines.append(shown)
            self.changed = True
            return True
        if not solutions.is_open([at.lines[-1], *at.more]):
            return False
        if self._tells(shown) or len(at.more) >= _MORE:
            self._give_up()
            return False
        at.more.append(shown)
        if not solutions.is_open([at.lines[-1], *at.more]):
            at.lines, at.more = at.lines + at.more, []
        self.changed = True
        return True

    def _tells(self, shown: str) -> bool:
        """Whether a line has a meaning of its own."""
        begins = solutions.start(shown) is not None or solutions.done(shown) is not None
        says = self._solution(shown) is not None or solutions.detail(shown) is not None
        return begins or says or shown.startswith("[worker ")

    def _give_up(self) -> None:
        more, self.at.more = self.at.more, []
        self.at.idle = 1
        for line in more:
            self._take(line)

    def _take(self, shown: str) -> None:
        at = self.at
        if (gidx := solutions.start(shown)) is not None:
            self.close()
            at.gidx, at.solved, at.gap = gidx, False, False
        elif (case := solutions.done(shown)) is not None:
            self.close()
            self._case(case)
        elif (said := self._solution(shown)) is not None:
            self.close()
            at.lines, at.lines_gidx, at.lines_at = [said], at.gidx, at.byte
            at.solutions += self.own
            at.idle, at.solved, self.changed = 0, True, True
        elif at.lines and (said := solutions.detail(shown)) is not None:
            at.lines.append(said)
            at.idle, self.changed = 0, True
        elif at.lines and (shown.startswith("[") or at.idle >= _PATIENCE):
            self.close()
        else:
            at.idle += 1
            if negation.looks_like_one(shown) and not shown.startswith("[worker "):
                self._near(shown)

    def _solution(self, shown: str) -> str | None:
        said = solutions.solution(shown)
        if said is None and self._pattern is not None:
            try:
                return shown if self._pattern.matches(shown) else None
            except TimeoutError:
                self._near(f"(the pattern took longer than a second) {shown}")
        return said

    def _near(self, shown: str) -> None:
        at = self.at
        at.nearly += 1
        if len(at.near) < _NEAR:
            at.near.append(shown[:_NEAR_LENGTH])
        self.changed = True

    def _case(self, case: solutions.Case) -> None:
        at = self.at
        line: dict[str, Any] = {
            "kind": ledger.CASE, "gidx": case.gidx, "verdict": case.verdict,
            "seconds": case.seconds, "time": case.time, "execution": at.execution,
            "inode": at.inode, "at": at.byte,
        }  # fmt: skip
        if case.tally is not None:
            line["tally"] = case.tally
        if at.gap:  # a solution may have been among the lines that were lost
            line["gap"] = True
        if key(line) not in self.known:
            self.cases.append(line)
            at.summary.add(line)
        if case.verdict and not at.solved:
            self._near(f"case {case.gidx} ended with sat=True, and no solution was seen in it")
        at.gidx, at.solved, at.gap, self.changed = None, False, False, True

    def close(self) -> None:
        """Record the solution that was being read: nothing that follows belongs to it."""
        at = self.at
        if at.lines:
            new = findings.record(
                self.config, self.offset, at.lines_gidx, at.lines, worker=self.worker,
                execution=at.execution, inode=at.inode, at=at.lines_at,
            )  # fmt: skip
            at.new += new
            at.solutions += new and not self.own
            at.lines, at.more, at.lines_gidx, self.changed = [], [], None, True
            findings.close(self.config, self.name)


def key(line: Line) -> tuple[str, str, str]:
    """By what a case's line is known again: the log, the place in it, the case."""
    return str(line.get("inode")), str(line.get("at")), str(line.get("gidx"))
