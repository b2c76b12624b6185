"""The tests' workload: it keeps a journal that the runner never touches, and obeys orders.

It is one file that imports little: it starts fast, and runs alone in a container, too.

Started as any workload, with `--stride S --offset K`, and with `--total CASES --gate FILE`. Its
files are in `--home DIR`, or else beside this program, where their names begin with its own:
`attacked.py` writes `attacked_journal`. The state file is `--state PATTERN`, with {stride} and
{offset} in it. A case takes `--pace SECONDS`, or `--pace LEAST:MOST`, until there is a file
`hurry`. With `--quiet yes` nothing is printed.

`journal` gets a line for each event, appended in one piece and synced; its format is told in
journal.py. The events, each with its value:

    start G     goes on after case G; -1: the state file holds no case of this partition
    case G      case G is solved, and goes into the state file next
    kept G      case G is in the state file
    complete G  all cases are done, exit 0        gate G    the stop gate is there, exit 0
    fail RC     exits with RC                     found G   it printed a solution
    waiting G   waits in case G                   overlap PID  another of this offset is alive
    child, stray, keeper, writer, escaped, disguised PID    a process that it leaves, see below

`off<K>.json` holds the orders of offset K, read at the start:

    {"wait_at": g}     before case g is done, wait until a test writes to the FIFO off<K>.go
    {"exit": [g, rc]}  end with rc instead of doing case g
    {"die": [g, n]}    end by signal n instead
    {"fails": n}       end with 1 in the middle of the partition, n times
    {"eat": [g, n]}    use n MiB of memory before case g is done
    {"print": [g, s]}  print s before case g is done
    {"find": g}        print a solution in case g, and set the stop gate
    {"deaf": true}     ignore SIGTERM; {"polite": rc}: end with rc at SIGTERM
    {"child": true}    leave a child in the group that holds no descriptor; "stray": outside it
    {"keeper": true}   leave one outside the group that holds every descriptor
    {"writer": true}   leave a child in the group that writes into the journal, without our lock
    {"escaped": words} leave a program outside the session, without environment, with our lock
    {"posted": socket} send our lock to a socket that a test has, where no process has it
    {"disguised": how} leave a child in the session without our lock, whose environment is written
                       over: with "zeros", with a "title", or "apart", in a group of its own
"""

import fcntl
import os
import sys
import time

TYPE_CHECKING = False  # typing's own takes time to import
if TYPE_CHECKING:
    from typing import Any


class Solver:
    def __init__(self, given: dict[str, str]) -> None:
        self.offset, self.stride = int(given["offset"]), int(given["stride"])
        self.total, self.gate = int(given["total"]), given["gate"]
        beside = os.path.splitext(os.path.abspath(__file__))[0] + "_"
        self.place = f"{given['home']}/" if "home" in given else beside
        state = given.get("state", f"{self.place}state_{{stride}}_{{offset}}.txt")
        self.state = state.replace("{stride}", given["stride"]).replace("{offset}", given["offset"])
        self.pace = [float(seconds) for seconds in given.get("pace", "0").split(":")]
        if "quiet" in given:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        self.identity = f"{self.offset} {os.getpid()} {_field('self', 19)}"  # a writer's, too
        self.ancestors = f"{os.getppid()} {_field(os.getppid(), 1)}"
        self.journal = self.opened("journal", os.O_WRONLY | os.O_APPEND)
        self.orders = self.read_orders()

    def opened(self, name: str, how: int) -> int:
        """A descriptor of a file in our place, made if it is missing, that no program inherits."""
        return os.open(self.place + name, how | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def read_orders(self) -> "dict[str, Any]":
        if not os.path.exists(path := f"{self.place}off{self.offset}.json"):
            return {}
        import json  # here, as it takes time, and so do signal and subprocess

        with open(path) as file:
            return dict(json.load(file))

    def ordered(self, what: str, gidx: int) -> "Any":
        """What the order says about this case, or None."""
        case, argument = self.orders.get(what, (None, None))
        return argument if case == gidx else None

    def note(self, event: str, value: int) -> None:
        """Write an event into the journal, for good."""
        # What a killed process left of its last line ends where this one begins.
        what = f"\n{event} {self.identity} {time.monotonic_ns()} {self.ancestors} {value} .\n"
        os.write(self.journal, what.encode())
        if event != "kept":  # nothing that happens later relies on that one
            os.fsync(self.journal)

    def fail(self, status: int) -> int:
        self.note("fail", status)
        return status

    def be_alone(self) -> None:
        """Take the tests' own lock of the offset; note each living process that holds it."""
        self.alone = self.opened(f"off{self.offset}.alone", os.O_RDWR)
        here = os.readlink("/proc/self/ns/pid")
        try:
            fcntl.flock(self.alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder, _, where = os.pread(self.alone, 99, 0).decode().partition(" ")
            # Another container's processes cannot be seen from here.
            for pid in (alive := holders(self.alone) if where in ("", here) else [int(holder)]):
                self.note("overlap", pid)
            if not alive:  # the kernel is just closing what a dead one had open
                fcntl.flock(self.alone, fcntl.LOCK_EX)
        os.ftruncate(self.alone, 0)
        os.pwrite(self.alone, f"{os.getpid()} {here}".encode(), 0)

    def start_others(self) -> None:
        for name, session in (("child", False), ("stray", True), ("keeper", True)):
            if self.orders.get(name):
                import subprocess

                # It closes every descriptor but 0, 1 and 2, unless it is told not to.
                process = subprocess.Popen(
                    ["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=session, close_fds=name != "keeper",
                )  # fmt: skip
                self.note(name, process.pid)
        if self.orders.get("writer") and not os.fork():
            os.close(3)  # the runner's lock
            while True:
                self.note("writer", os.getpid())
                time.sleep(0.004)
        if command := self.orders.get("escaped"):
            import subprocess

            process = subprocess.Popen(
                ["env", "-i", *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True, close_fds=False,
            )  # fmt: skip
            self.note("escaped", process.pid)
        if path := self.orders.get("posted"):
            import socket

            self.post = socket.socket(socket.AF_UNIX)
            self.post.connect(path)
            socket.send_fds(self.post, [b"lock"], [3])
        if (how := self.orders.get("disguised")) and not os.fork():
            import ctypes
            import signal

            os.close(3)
            if how == "apart":
                os.setpgid(0, 0)
            start, end = _field("self", 47), _field("self", 48)  # of the environment's text
            ctypes.memset(start, 0, end - start)
            if how == "title":
                ctypes.memmove(start, b"solver: at work", 15)
            self.note("disguised", os.getpid())
            while True:
                signal.pause()

    def last(self) -> int:
        """The case in the state file, or the one before the first."""
        try:
            with open(self.state) as file:
                last = int(file.read())
        except FileNotFoundError:
            return self.offset - self.stride
        if last % self.stride != self.offset or last >= self.total:
            raise ValueError(f"{last} is no case of offset {self.offset}")
        return last

    def keep(self, gidx: int) -> None:
        """Write the case into the state file, for good."""
        new = f"{self.state}.{os.getpid()}.new"
        with open(new, "w") as file:
            file.write(f"{gidx}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, self.state)
        directory = os.open(os.path.dirname(self.state), os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def fails_here(self, gidx: int) -> bool:
        """Whether the partition is to fail now; it is counted in a file."""
        wanted = self.orders.get("fails", 0)
        if not wanted or gidx < self.total // 2:
            return False
        fd = self.opened(f"off{self.offset}.failures", os.O_WRONLY | os.O_APPEND)
        failed = os.fstat(fd).st_size >= wanted or not os.write(fd, b"x")
        os.close(fd)
        return not failed

    def case(self, gidx: int) -> "int | None":
        """Do one case; the exit status if the orders end the solver here."""
        print(f"[now] START gidx={gidx} local=0 off={self.offset} stride={self.stride}", flush=True)
        least, most = self.pace[0], self.pace[-1]
        if most and not os.path.exists(self.place + "hurry"):
            time.sleep(least + (most - least) * os.urandom(1)[0] / 255)
        if self.fails_here(gidx):
            return 1
        if text := self.ordered("print", gidx):
            print(text, flush=True)
            os.fsync(1)  # it must be on the disk before the case counts as done
        if size := self.ordered("eat", gidx):
            print(f"{len(b'x' * (size << 20))} bytes", flush=True)
        if (status := self.ordered("exit", gidx)) is not None:
            return int(status)
        if number := self.ordered("die", gidx):
            os.kill(os.getpid(), number)
        if self.orders.get("wait_at") == gidx:
            self.note("waiting", gidx)
            with open(f"{self.place}off{self.offset}.go") as fifo:
                fifo.read()
        if self.orders.get("find") == gidx:
            print(f"FOUND number: {gidx}", flush=True)
            self.note("found", gidx)
            with open(self.gate, "w") as file:
                file.write(f"SAT gidx={gidx} off={self.offset} stride={self.stride}\n")
        # First the journal: what the state file has, the journal has.
        self.note("case", gidx)
        self.keep(gidx)
        self.note("kept", gidx)
        print(f"[now] DONE  gidx={gidx} sat=False dt=0.1s", flush=True)
        return None

    def run(self) -> int:
        """Do what is left of the partition; the exit status."""
        self.be_alone()
        if (orders := self.orders).keys() & {"deaf", "polite"}:
            import signal

            ending = signal.SIG_IGN if "deaf" in orders else lambda *_: os._exit(orders["polite"])
            signal.signal(signal.SIGTERM, ending)
        try:
            last = self.last()
        except (OSError, ValueError):
            self.note("start", -1)
            return self.fail(2)
        self.note("start", last)
        self.start_others()
        try:
            for gidx in range(last + self.stride, self.total, self.stride):
                if os.path.exists(self.gate):
                    self.note("gate", last)
                    return 0
                if (status := self.case(gidx)) is not None:
                    return self.fail(status)
                last = gidx
        except OSError:
            return self.fail(3)  # a full disk
        self.note("complete", last)
        return 0


def options(words: list[str]) -> dict[str, str]:
    """`--key value` and `--key=value` as a dict; the last of a key counts."""
    parts = [p for w in words for p in (w.split("=", 1) if w.startswith("--") else [w])]
    return {key[2:]: value for key, value in zip(parts[::2], parts[1::2], strict=True)}


def holders(fd: int) -> list[int]:
    """The other processes that have the file open; one without memory is dead, and closes it."""
    path, found = os.readlink(f"/proc/self/fd/{fd}"), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
            with open(f"/proc/{pid}/statm") as file:
                alive = file.read().split()[0] != "0"
        except OSError:
            continue
        if path in links and alive and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def _field(process: object, number: int) -> int:
    """A field of a process's /proc/PID/stat, counted from its state on; 0 if it is gone."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[number])
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(Solver(options(sys.argv[1:])).run())
