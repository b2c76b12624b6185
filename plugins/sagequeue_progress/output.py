"""What a long command prints, followed in the file that it writes, and how far that says it is."""

import os
import re
import stat
from pathlib import Path

_AT_ONCE = 1 << 20
# Cursor movements and colours; titles and the like.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)

_BUILD = re.compile(r"(?:\[\d+/\d+\] )?STEP (\d+)/(\d+):")
# The file that a command of the build, which follows its number, has pip read.
_REQUIREMENTS = re.compile(r"\bpip install .*-r (\S+)")
# Not at the start of the line: a log of pip's own has the time before it. Older ones do not say
# where a requirement comes from.
_PIP = re.compile(r"\bCollecting \S+(?: .*\(from -r (\S+) \(line \d+\)\))?")
_PIP_INSTALLS = re.compile(r"\bInstalling collected packages:")
_REQUIREMENT = re.compile(r"(?m)^[A-Za-z0-9]\S* *==")
_APT = re.compile(r"(\d+) upgraded, (\d+) newly installed,")
_APT_PACKAGE = re.compile(r"(?:Unpacking|Setting up) \S+ ")


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def printable(text: str) -> str:
    """Return `text` without what a terminal would act on: escape sequences, control characters."""
    plain = _ESCAPES.sub("", text)
    return "".join(letter if letter.isprintable() else " " for letter in plain).strip()


class Output:
    """Follows `path`, which a step's command writes anew when it starts.

    What is in it before belongs to an earlier step. `files` is a directory that has copies of the
    requirements files that pip is told to read.
    """

    def __init__(self, path: Path, files: Path | None = None) -> None:
        self.last = ""
        """The last line that is not empty, printable."""
        self.done = 0
        self.total = 0
        """The command is at part `done` of `total`; 0: it does not say."""
        self._path = path
        self._files = files
        self._build = (0, 0)
        self._asked = ""
        self._rest = ""
        self._offset = 0
        try:
            self._before: tuple[int, ...] | None = _state(path.stat())
        except OSError:
            self._before = None

    def read(self) -> None:
        """Take in what was written since the last call; a file that cannot be read says nothing."""
        try:
            # Without waiting: it may be no file at all.
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or _state(status) == self._before:
                return
            self._before = None
            if self._offset > status.st_size:
                self._offset = 0
            text = os.pread(fd, _AT_ONCE, self._offset)
        except OSError:
            return
        finally:
            os.close(fd)
        self._offset += len(text)
        self._take(self._rest + text.decode(errors="replace"))

    def _take(self, text: str) -> None:
        *lines, self._rest = text.split("\n")
        for line in lines:
            self._count(line)
        for line in reversed([*lines, self._rest[-1000:]]):
            # A bar that is drawn over and over: its last state.
            shown = printable(line.rstrip("\r").rpartition("\r")[2])
            if shown:
                self.last = shown
                return

    def _count(self, line: str) -> None:
        if found := _BUILD.match(line):
            self._build = self.done, self.total = int(found[1]), int(found[2])
            asked = _REQUIREMENTS.search(line)
            self._asked = asked[1] if asked else ""
        elif found := _PIP.search(line):
            total = self._requirements(found[1] or self._asked)
            if not total:
                return
            if total != self.total:
                self.done, self.total = 0, total
            self.done = min(self.done + 1, total)
        elif _PIP_INSTALLS.search(line):
            self.done, self.total = self._build
        elif found := _APT.search(line):
            # Each is unpacked, then set up.
            self.done, self.total = 0, 2 * (int(found[1]) + int(found[2]))
        elif _APT_PACKAGE.match(line):
            self.done = min(self.done + 1, self.total)

    def _requirements(self, name: str) -> int:
        """How many requirements are in the file that pip names; 0 where it cannot be read."""
        for path in (Path(name), *([self._files / Path(name).name] if self._files else [])):
            try:
                return len(_REQUIREMENT.findall(path.read_text()))
            except (OSError, UnicodeDecodeError):
                continue
        return 0
