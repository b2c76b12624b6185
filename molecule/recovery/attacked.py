"""The workload under attack; it keeps its own journal, which the runner never touches.

Started as any workload, with `--stride S --offset K`. In its directory the journal gets a line per
event, appended and synced, `EVENT OFFSET PID NANOSECONDS VALUE`, the time by the clock that all
processes of the machine share:

    start G     goes on after case G        case G   case G is solved, and kept next
    complete G  all cases are done, exit 0  gate G   the stop gate is there, exit 0
    fail RC     exits with RC               overlap PID  another of this offset is alive
"""

import fcntl
import os
import random
import sys
import time

HOME = os.path.dirname(os.path.abspath(__file__))


def file(name: str) -> str:
    """The path of a file beside this one."""
    return os.path.join(HOME, f"attacked_{name}")


def options(words: list[str]) -> dict[str, str]:
    """`--key value …` as a dict."""
    return {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2])}  # noqa: B905


class Solver:
    """One execution."""

    def __init__(self, given: dict[str, str]) -> None:
        self.offset, self.stride = int(given["offset"]), int(given["stride"])
        self.total, self.gate = int(given["total"]), given["gate"]
        self.state = file(f"state_{self.stride}_{self.offset}.txt")
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self.journal = os.open(file("journal"), how, 0o666)

    def note(self, event: str, value: int) -> None:
        """Put an event into the journal, for good."""
        line = f"{event} {self.offset} {os.getpid()} {time.monotonic_ns()} {value}\n"
        os.write(self.journal, line.encode())
        os.fsync(self.journal)

    def fail(self, status: int) -> int:
        """Exit with that status."""
        self.note("fail", status)
        return status

    def be_alone(self) -> None:
        """Hold a lock of our own for the offset; tell of a living process that has it."""
        path = file(f"alone_{self.offset}")
        self.alone = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self.alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.note("overlap", int(os.pread(self.alone, 20, 0) or 0))
        os.ftruncate(self.alone, 0)
        os.pwrite(self.alone, str(os.getpid()).encode(), 0)

    def keep(self, gidx: int) -> None:
        """Put the case into the state file."""
        with open(f"{self.state}.new", "w") as new:
            new.write(f"{gidx}\n")
            new.flush()
            os.fsync(new.fileno())
        os.rename(f"{self.state}.new", self.state)

    def run(self) -> int:
        """Do what is left of the partition; the exit status."""
        self.be_alone()
        last = self.offset - self.stride
        try:
            with open(self.state) as state:
                last = int(state.read())
        except FileNotFoundError:
            pass
        except ValueError:
            return self.fail(2)
        self.note("start", last)
        for gidx in range(last + self.stride, self.total, self.stride):
            if os.path.exists(self.gate):
                self.note("gate", last)
                return 0
            # Told to hurry, it is to come to its end; until then cases take as long as is usual.
            if not os.path.exists(file("hurry")):
                time.sleep(random.uniform(0.2, 0.5))  # noqa: S311
            # First the journal: what the state file has, the journal has.
            self.note("case", gidx)
            self.keep(gidx)
            last = gidx
        self.note("complete", last)
        return 0


if __name__ == "__main__":
    sys.exit(Solver(options(sys.argv[1:])).run())
