"""The workload under attack; it keeps its own journal, which the runner never touches.

Started as any workload, with `--stride S --offset K`, and `--home DIR`: there `journal` gets a line
per event, appended and synced, `EVENT OFFSET PID TICKS NANOSECONDS WRAPPER WORKER VALUE`. TICKS is
the process's start in ticks since boot, which with its number names it for ever; NANOSECONDS are
of the clock that all processes of a boot share; WRAPPER and WORKER are its parent and grandparent.

    start G     goes on after case G          case G      case G is solved, and kept next
    complete G  all cases are done, exit 0    gate G      the stop gate is there, exit 0
    fail RC     exits with RC                 found G     it printed a solution
    child PID   a child of its group lives    overlap PID another of this offset is alive
"""

import fcntl
import os
import sys
import time

CASE_SECONDS = 0.002


def parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ticks() -> str:
    with open("/proc/self/stat") as file:
        return file.read().rpartition(")")[2].split()[19]


def options(words: list[str]) -> dict[str, str]:
    return {
        key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)
    }


def offsets(text: str) -> dict[int, int]:
    """`3:2,5:1` as a dict."""
    return {
        int(k): int(n)
        for k, _, n in (pair.partition(":") for pair in text.split(",") if ":" in pair)
    }


class Solver:
    def __init__(self, given: dict[str, str]) -> None:
        self.offset, self.stride = int(given["offset"]), int(given["stride"])
        self.total, self.home, self.gate = int(given["total"]), given["home"], given["gate"]
        self.state = given["state"].replace("{offset}", given["offset"])
        self.fails = offsets(given["fails"]).get(self.offset, 0)
        self.finds = self.offset in offsets(given["finds"])
        self.has_child = self.offset in offsets(given["children"])
        wrapper = os.getppid()
        self.identity = f"{self.offset} {os.getpid()} {ticks()}"
        self.ancestors = f"{wrapper} {parent(wrapper)}"
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.journal = os.open(f"{self.home}/journal", how, 0o666)

    def note(self, event: str, value: int) -> None:
        line = f"{event} {self.identity} {time.monotonic_ns()} {self.ancestors} {value}\n"
        os.write(self.journal, line.encode())
        os.fsync(self.journal)

    def be_alone(self) -> None:
        """Hold the suite's own lock of the offset; tell of a living process that has it."""
        path = f"{self.home}/alone_{self.offset}"
        self.alone = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self.alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alive = living_holders(path)
            for pid in alive:
                self.note("overlap", pid)
            if not alive:  # the kernel is just closing what a dead one had open
                fcntl.flock(self.alone, fcntl.LOCK_EX)

    def fork_child(self) -> None:
        """A child that outlives this process and holds nothing of the runner's."""
        child = os.fork()
        if child:
            return
        os.close(3)
        while True:
            self.note("child", os.getpid())
            time.sleep(2 * CASE_SECONDS)

    def failures(self) -> int:
        try:
            return os.stat(f"{self.home}/failures_{self.offset}").st_size
        except FileNotFoundError:
            return 0

    def fail(self, status: int) -> int:
        self.note("fail", status)
        return status

    def last(self) -> int:
        try:
            with open(self.state) as file:
                last = int(file.read())
        except FileNotFoundError:
            return self.offset - self.stride
        if last % self.stride != self.offset or last >= self.total:
            raise ValueError(f"{last} is no case of offset {self.offset}")
        return last

    def keep(self, gidx: int) -> None:
        new = f"{self.state}.{os.getpid()}.new"
        with open(new, "w") as file:
            file.write(f"{gidx}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, self.state)

    def case(self, gidx: int) -> bool:
        """Do one case; False when this partition fails by itself here."""
        print(f"[now] START gidx={gidx} off={self.offset} stride={self.stride}", flush=True)
        time.sleep(CASE_SECONDS)
        if gidx >= self.total // 2 and self.failures() < self.fails:
            fd = os.open(
                f"{self.home}/failures_{self.offset}", os.O_WRONLY | os.O_APPEND | os.O_CREAT
            )
            os.write(fd, b"x")
            os.close(fd)
            return False
        if self.finds and gidx >= self.total - self.stride:
            print(f"FOUND number: {gidx}", flush=True)
            self.note("found", gidx)
            with open(self.gate, "w") as file:
                file.write(f"SAT gidx={gidx} off={self.offset} stride={self.stride}\n")
        # First the journal: what the state file has, the journal has.
        self.note("case", gidx)
        self.keep(gidx)
        print(f"[now] DONE  gidx={gidx} sat=False dt=0.0s", flush=True)
        return True

    def run(self) -> int:
        self.be_alone()
        try:
            last = self.last()
        except (OSError, ValueError):
            self.note("start", -1)
            return self.fail(2)
        self.note("start", last)
        if self.has_child:
            self.fork_child()
        try:
            for gidx in range(last + self.stride, self.total, self.stride):
                if os.path.exists(self.gate):
                    self.note("gate", gidx - self.stride)
                    return 0
                if not self.case(gidx):
                    return self.fail(1)
        except OSError:
            return self.fail(3)  # a full disk
        self.note("complete", self.total)
        return 0


def living_holders(path: str) -> list[int]:
    """The processes that have `path` open; one without memory is dead, and closes its files."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            with open(f"/proc/{pid}/statm") as file:
                alive = file.read().split()[0] != "0"
        except OSError:
            continue
        if path in links and alive and int(pid) != os.getpid():
            found.append(int(pid))
    return found


if __name__ == "__main__":
    sys.exit(Solver(options(sys.argv[1:])).run())
