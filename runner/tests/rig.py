"""A queue in a temporary directory with real workers and real solvers."""

import io
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from unittest import mock

import psutil
from kit import jobset, waiting
from kit.journal import Journal, Line
from kit.waiting import PATIENCE
from sagequeue import cli, config
from sagequeue.config import Config
from sagequeue.jobs import JobState
from sagequeue.spool import Spool

JOBSET = "demo"
_HERE = {"clear-stop", "enqueue", "explain", "found", "request-stop", "retry-failed", "status"}


class Rig:
    """One jobset; `home` is where its solvers keep their journal and get their orders."""

    def __init__(self, root: Path, stride: int = 4, total: int = 12, **settings: object) -> None:
        self.root, self.home = root, root / "home"
        self.home.mkdir(parents=True)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.enqueued: set[str] = set()
        self.env_file = root / f"{JOBSET}.env"
        self.gate = self.home / f"{JOBSET}_stop.txt"
        self.journal = Journal(self.home / "journal")
        self.settings: dict[str, object] = {
            **jobset.solving(root, self.home, STRIDE=stride, TOTAL_CASES=total, STOP_GRACE=5)
        }
        self.configure(**settings)

    def configure(self, **settings: object) -> None:
        """Write the env file; a value of None takes the key out."""
        self.settings.update(settings)
        self.env_file.write_text(jobset.render(self.settings))

    def grow(self, stride: int, total: int) -> None:
        """Have so many partitions and cases."""
        now = f"--total {self.settings['TOTAL_CASES']} "
        arguments = str(self.settings["SAGE_BASE_ARGS"]).replace(now, f"--total {total} ")
        self.configure(STRIDE=stride, TOTAL_CASES=total, SAGE_BASE_ARGS=arguments)

    @property
    def config(self) -> Config:
        return config.load(self.env_file, {})

    @property
    def spool(self) -> Spool:
        return Spool(self.config)

    def run(self, *verb: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one verb to its end: in this process, unless it starts processes or signals them."""
        words = [*verb, "--env-file", str(self.env_file)]
        if verb[0] in _HERE:
            result = _run_here(words)
        else:
            result = subprocess.run(
                [sys.executable, "-m", "sagequeue", *words], check=False, text=True,
                capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
            )  # fmt: skip
        if check:
            result.check_returncode()
        if verb[0] == "enqueue" and result.returncode == 0:
            stride = range(self.config.stride)
            offsets = [int(verb[verb.index("--offset") + 1])] if "--offset" in verb else stride
            self.enqueued.update(f"{JOBSET}_off{k}" for k in offsets)
        return result

    def worker(
        self, number: int = 1, before: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start worker N, by the command `before`; its output goes to `root/worker-N.out`."""
        with open(self.root / f"worker-{number}.out", "ab") as out:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", "sagequeue", "worker", str(number), "--env-file",
                 str(self.env_file)], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env,
            )  # fmt: skip
        self.workers.append(process)
        return process

    def said(self, number: int = 1) -> str:
        """What worker N printed so far."""
        path = self.root / f"worker-{number}.out"
        return path.read_text() if path.exists() else ""

    def orders(self, offset: int, **todo: object) -> None:
        """What the offset's solver is to do, see solver.py."""
        jobset.orders(self.home, offset, **todo)

    def go(self, offset: int) -> None:
        """Let a solver that waits go on."""
        with open(self.home / f"off{offset}.go", "w") as fifo:
            fifo.write("go")

    def events(self, event: str, offset: int | None = None) -> list[Line]:
        return [e for e in self.journal.read() if e.event == event and offset in (None, e.offset)]

    def log(self, offset: int) -> str:
        path = self.config.log_file(offset)
        return path.read_text() if path.exists() else ""

    def where(self, offset: int) -> list[JobState]:
        return self.spool.locate(f"{JOBSET}_off{offset}")

    def until_free(self, offset: int) -> None:
        """Wait until nothing holds the job's lock."""

        def free() -> bool:
            lock = self.spool.lock(f"{JOBSET}_off{offset}")
            if lock is not None:
                lock.close()
            return lock is not None

        self.until(free, f"a free lock of {offset}")

    def job(self, offset: int) -> dict[str, str]:
        """The job file's keys, wherever it lies."""
        name = f"{JOBSET}_off{offset}"
        (state,) = self.spool.locate(name)
        return dict(self.spool.read(state, name).extra)

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Return when the condition holds, looked at after every change below the root."""
        waiting.until(condition, what, below=self.root, report=self.report)

    def until_event(self, event: str, offset: int, count: int = 1) -> Line:
        self.until(lambda: len(self.events(event, offset)) >= count, f"{event} of {offset}")
        return self.events(event, offset)[count - 1]

    def until_state(self, state: JobState, *offsets: int) -> None:
        self.until(lambda: all(self.where(k) == [state] for k in offsets), f"{offsets} {state}")

    def until_ended(self, process: subprocess.Popen[bytes]) -> int:
        return process.wait(timeout=PATIENCE)

    def freeze(self, worker: subprocess.Popen[bytes], number: int = 1) -> None:
        """Stop worker N by SIGSTOP, when it has no lock but that of its number.

        It has a job's lock while it starts the solver, and the ledger's while it reads the log.
        Stopped then, it would keep everybody from the job.
        """

        def frozen() -> bool:
            worker.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if locked(worker.pid) == [f"worker-{number}.lock"]:
                return True
            worker.send_signal(signal.SIGCONT)
            return False

        self.until(frozen, "a moment without a lock")

    def until_gone(self, pid: int) -> None:
        self.until(lambda: not alive(pid), f"the end of {pid}")

    def report(self) -> str:
        """Everything that is known, for a failing test."""
        tree = subprocess.run(["ls", "-R", self.root], capture_output=True, text=True).stdout
        texts = [
            *self.root.glob("*.out"),
            *self.home.glob("journal"),
            *self.root.glob("var/*/log/*"),
        ]
        ends = (f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}" for path in texts)
        return "\n".join((tree, *ends))

    def check(self) -> None:
        """The invariants: see docs/queue.md, "What holds"."""
        assert not self.events("overlap"), f"two solvers for one offset\n{self.report()}"
        spool = self.spool
        places = Counter(name for state in JobState for name in spool.names(state))
        assert set(places.values()) <= {1}, f"a job in two directories: {places}"
        assert self.enqueued <= places.keys(), f"jobs lost: {self.enqueued - places.keys()}"
        cases = Counter((e.offset, e.value) for e in self.events("kept"))
        twice = {case: n for case, n in cases.items() if n > 1}
        assert not twice, f"cases solved twice: {twice}"
        for name in spool.names(JobState.DONE):
            offset = int(name.rpartition("_off")[2])
            assert self.config.complete(offset), f"{name} is done and not complete"

    def stop(self) -> None:
        """End every process that has to do with this rig."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
        for process in psutil.process_iter(["cmdline", "environ"]):
            words = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
            if any(str(self.root) in word for word in words) and process.pid != os.getpid():
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def locked(pid: int) -> list[str]:
    """The names of the files on which a process has an flock."""
    place, names = Path(f"/proc/{pid}"), []
    for about in (place / "fdinfo").iterdir():
        with suppress(FileNotFoundError):
            if "\nlock:" in about.read_text():
                names.append((place / "fd" / about.name).readlink().name)
    return names


def wrapper_of(solver: int) -> psutil.Process:
    """The wrapper around a solver."""
    parent = psutil.Process(solver).parent()
    assert parent is not None
    assert "sagequeue-wrapper" in parent.cmdline()
    return parent


def _run_here(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Call the command in this process, which saves the start of an interpreter."""
    out, err = io.StringIO(), io.StringIO()
    with ExitStack() as here:
        here.callback(os.umask, os.umask(0o022))
        here.enter_context(redirect_stdout(out))
        here.enter_context(redirect_stderr(err))
        here.enter_context(mock.patch("sys.stdin", here.enter_context(open(os.devnull))))
        try:
            status = cli.main(list(words))
        except SystemExit as error:  # a wrong command line
            status = int(error.code or 0)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


@contextmanager
def rig(root: Path, **settings: object) -> Iterator[Rig]:
    made = Rig(root, **settings)
    try:
        yield made
        made.check()
    finally:
        made.stop()
