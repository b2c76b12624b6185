"""Reading a partition's log: once, on from where reading ended, by inode.

What is found is kept in this order: solutions, one record each; cases, in the ledger; and then the
position. A crash between two of them has some of the log read again, and what is known already is
known again: a solution by its lines, a case by its execution and its place in the log. Nothing of
a log is left out, and nothing counts twice.

Whoever holds the ledger's lock may read. A worker does so while its solver is at work, recovery
when there is no worker, and whoever settles an execution reads to the end before anything else.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Self

from sagequeue import durable, findings, ledger, logfile, position, sources
from sagequeue.config import Config
from sagequeue.execution import Execution
from sagequeue.ledger import Ledger, Line
from sagequeue.output import Output, key

_CHUNK = 1 << 20
# A line that is longer is taken in parts. A solution can be some megabytes long.
_LONGEST = 1 << 26
# Bytes read after which the position is kept: whoever reads may be killed.
_SAVE_AFTER = 1 << 26


def never() -> bool:
    """Do not interrupt."""
    return False


class Reader:
    """Reads one partition's log; a context that holds the right to."""

    def __init__(self, config: Config, name: str, offset: int, held: Ledger) -> None:
        self.config, self.name, self.offset = config, name, offset
        self.ledger = held
        self.at = position.load(config, name, offset)
        self.out = Output(config, name, offset, self.at)
        # What the ledger has and the position does not know of.
        for line in held.lines(self.at.ledger):
            self.out.known.add(key(line))
            self.at.summary.add(line)
        self.at.ledger = held.size
        self._began = self.at.inode, self.at.byte
        self.out.changed = bool(self.out.known)

    @classmethod
    def open(cls, config: Config, name: str, offset: int, *, wait: bool = True) -> "Reader | None":
        """The reader; None while somebody else reads, if this is not to `wait`."""
        path = config.ledger_dir / f"{name}.jsonl"
        try:
            held = Ledger.open(path, wait=wait)
        except (FileNotFoundError, NotADirectoryError):
            # Not where all of the jobset's directory is away: it may come back.
            if not config.ledger_dir.parent.is_dir():
                raise
            durable.make_directory(config.ledger_dir)
            held = Ledger.open(path, wait=wait)
        return None if held is None else cls(config, name, offset, held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Keep what was read, unless it was given up."""
        try:
            if kind is None and (self.out.changed or self._began != (self.at.inode, self.at.byte)):
                self._save()
        finally:
            self.ledger.__exit__(kind, *error)

    def read(
        self, run: Execution | None, log: int | None = None, *, over: bool,
        interrupted: Callable[[], bool] = never,
    ) -> bool:  # fmt: skip
        """Read on, up to the end as it is now; False when that was `interrupted`.

        `run` is the job's execution, None when there is none; `log` a descriptor of its log that
        the caller kept open, if any; `over` says that nothing writes into the log any more. Unless
        it does, the caller may be late: of an execution that was settled nothing is read.
        """
        if run is not None and not over and self._is_settled(run):
            return True
        self.out.worker = run.worker if run else "-"
        copy = sources.copy(self.config, self.offset, run) if run and log is None else None
        if copy is not None and copy != self.at.inode:
            self.at.execution, self.at.over = "", True  # all of it is read again
        current = copy or sources.current(self.config, self.offset, self.at, run)
        done = True
        inodes = sources.inodes(self.config, self.offset, self.at, run, current, over=over)
        for inode in inodes:
            ended = over or inode != current
            done = done and self._follow(inode, run, current, log, over=ended, ask=interrupted)
        if copy is not None:
            self._is_lost()
        if done and over:
            self.out.close()
        return done

    def _is_settled(self, run: Execution) -> bool:
        """Whether the execution was settled since its record was read.

        Then its end was read, and what the log has more is left over, or a later execution's.
        """
        if not run.word:  # its record cannot be read
            return False
        if self.at.execution == run.word:
            return self.at.over
        return self.ledger.ended(run.word)

    def _follow(
        self, inode: int, run: Execution | None, current: int | None, log: int | None, *,
        over: bool, ask: Callable[[], bool],
    ) -> bool:  # fmt: skip
        """Read one file on to its end."""
        at = self.at
        begins = run if inode == current else None

        def is_it(fd: int) -> bool:
            known = at.byte > 0 and logfile.known(fd, at.byte, at.before)
            return known or self._starts(fd, begins)

        if at.inode != inode:
            self._line_end()
            at.inode, at.byte, at.before = inode, 0, ""
            self.out.changed = True
        self.out.own = run is None or begins is not None
        with contextlib.ExitStack() as stack:
            if log is not None and os.fstat(log).st_ino == inode:
                fd = log
            else:
                found = logfile.find(self.config, self.offset, inode, is_it)
                if found is None:
                    self._begin(run, inode == current)
                    self._is_lost()
                    return True
                fd = found
                stack.callback(os.close, fd)
            if not logfile.known(fd, at.byte, at.before):
                self._was_truncated(run)
            try:
                if self._is_new(begins) and not self._starts(fd, begins):
                    self._begin(begins, True)
                    self._is_lost()  # it was truncated since
                return self._read_from(fd, begins, ask, over=over)
            finally:
                at.before = logfile.before(fd, at.byte)

    def _is_new(self, run: Execution | None) -> bool:
        return run is not None and bool(run.word) and self.at.execution != run.word

    def _starts(self, fd: int, run: Execution | None) -> bool:
        return run is not None and logfile.starts(fd, run.log_start, self.offset)

    def _begin(self, run: Execution | None, here: bool) -> None:
        """What is read from now on is that execution's."""
        if run is None or not here or not self._is_new(run):
            return
        self.out.close()
        at = self.at
        at.execution, at.over, at.lost, at.gap = run.word, False, False, False
        at.gidx, at.solutions, at.new = None, 0, 0
        self.out.changed = True

    def _was_truncated(self, run: Execution | None) -> None:
        """Begin at the file's start again; what was not read yet may be in copies of it."""
        at = self.at
        copies = logfile.copies(self.config, self.offset, at.inode, at.byte, at.before)
        for fd, at.byte in copies:
            self._read_from(fd, run, never, over=True)
        self._is_lost()
        at.byte, at.before = 0, ""

    def _read_from(
        self, fd: int, run: Execution | None, ask: Callable[[], bool], *, over: bool
    ) -> bool:
        """Read a file to its end; what follows the first line of an execution is its output."""
        if run is not None and self._is_new(run) and self._starts(fd, run):
            # What comes before this execution is what was left over from earlier ones.
            if not self._read(fd, run.log_start, ask, over=True):
                return False
            self._begin(run, True)
        return self._read(fd, None, ask, over=over)

    def _is_lost(self) -> None:
        """Lines of an execution that is not settled yet may have been lost."""
        self.out.changed = True
        self.at.lost = self.at.lost or not self.at.over
        self.at.gap = True

    def _read(self, fd: int, end: int | None, ask: Callable[[], bool], *, over: bool) -> bool:
        """Read a file on, to byte `end` or to its end as it is now, line by line."""
        at, rest, saved = self.at, b"", self.at.byte
        end = os.fstat(fd).st_size if end is None else end
        while at.byte + len(rest) < end:
            if ask():
                return False
            begin = at.byte + len(rest)
            chunk = os.pread(fd, min(_CHUNK, end - begin), begin)
            if not chunk:
                break
            cut = chunk.rfind(b"\n") + 1
            if cut:
                self.out.lines(rest + chunk[:cut])
                rest = chunk[cut:]
            else:
                rest += chunk
                # A progress bar may draw for days without ending a line.
                cut = max(0, rest.rfind(b"\r", 0, -1)) if len(rest) >= _CHUNK else 0
                cut = cut or (len(rest) if len(rest) > _LONGEST else 0)
                if cut:
                    self.out.lines(rest[:cut])
                    rest = rest[cut:]
            if at.byte - saved > _SAVE_AFTER:
                saved = at.byte
                at.before = logfile.before(fd, saved)
                self._save()
        if rest and over:
            self.out.lines(rest)
        return True

    def _line_end(self) -> None:
        """Another file follows."""
        self.out.close()
        self.at.gidx = None

    def end(self, line: Line) -> None:
        """Add to the ledger what became of the execution, which is settled."""
        self.out.close()
        self.at.over = True
        self.out.cases.append(line)
        self.at.summary.add(line)
        self.out.changed = True

    def _save(self) -> None:
        at = self.at
        if at.lines:  # a person should see it now, not when its last detail has come
            findings.keep_open(
                self.config, self.name, self.offset, at.lines_gidx, at.lines, self.out.worker
            )
        cases = any(line["kind"] == ledger.CASE for line in self.out.cases)
        self.ledger.add(self.out.cases, sync=cases)
        self.out.cases.clear()
        at.ledger = self.ledger.size
        position.save(self.config, self.name, at)
        self.out.changed = False
