"""What the queue costs, each figure beside its aim and beside a floor measured in the same run.

`python bench/runner.py [NAME ...]` prints a table; README.md says what the rows mean.
"""

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import psutil
from inotify_simple import INotify, flags
from kit import jobset
from rich.console import Console
from rich.table import Table
from sagequeue import config, operations, recovery
from sagequeue.config import Config
from sagequeue.jobs import Job, JobState
from sagequeue.owner import Lock
from sagequeue.runtime import Descriptors, Marks
from sagequeue.settling import Turn
from sagequeue.spool import Spool
from sagequeue.worker import Worker

TEMPLATE = Path(__file__).resolve().parents[1] / "roles" / "jobset" / "files" / "template.sage"
MANY = 100_000
WORKERS = 64
CLAIMS_EACH = 50
JOBS, BLOCK = 200, 10
LATENCIES = 50
IDLE_WORKERS, IDLE_SECONDS = 8, 30.0

FORK = multiprocessing.get_context("fork")


class Row(NamedTuple):
    """One line of the table, as text."""

    what: str
    measured: str
    aim: str
    beside: str
    ratio: str


def bench_jobset(directory: Path, stride: int) -> Config:
    """A jobset of `stride` partitions of one case that takes no time, run by this Python."""
    script = directory / "template.sage"
    shutil.copyfile(TEMPLATE, script)
    arguments = f"--total_cases {stride} --work_secs 0 --state_prefix bench --resume"
    arguments += f" --stop_file {directory}/bench_stop.txt"
    keys = jobset.keys(
        directory, JOBSET="bench", SAGE_BIN=sys.executable, SCRIPT=script, STRIDE=stride,
        TOTAL_CASES=stride, WORKERS=1, STOP_GRACE=10, SAGE_BASE_ARGS=arguments,
    )  # fmt: skip
    env_file = directory / "bench.env"
    env_file.write_text(jobset.render(keys))
    settings = config.load(env_file, {})
    Spool(settings).create()
    return settings


def quiet(line: str) -> None:
    """What is told here interests nobody."""


def enqueue(settings: Config) -> None:
    """Make every job of the jobset pending."""
    operations.enqueue(settings, None, force=False, tell=quiet)


def fsync(directory: Path) -> None:
    """Make the renames in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def flush() -> None:
    """Let the disk finish what earlier measurements left to it."""
    os.sync()


def ms(seconds: float) -> str:
    """A time in milliseconds, to three figures or so."""
    return f"{seconds * 1000:.{0 if seconds >= 0.1 else 1 if seconds >= 0.01 else 2}f} ms"


def p99(times: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(times, n=100)[98]


def times(a: float, b: float) -> str:
    """How many times b is a."""
    return f"{a / b:.2f}"


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Standard output goes to a file, as a worker's goes to a log."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(path, "ab") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


# Claim to finish


def empty_jobset(directory: Path, stride: int) -> Config:
    """A jobset whose jobs are an empty command."""
    directory.mkdir()
    settings = bench_jobset(directory, stride)
    return dataclasses.replace(
        settings, sage_bin="/bin/true", script=str(settings.env_file), state_file_host="",
        total_cases=None,
    )  # fmt: skip


def overhead(directory: Path) -> Iterator[Row]:
    """One worker over jobs that do nothing, and over jobs that do next to nothing in Python."""
    yield _both(directory / "both")
    for name, empty in (("true", True), ("template", False)):
        place = directory / name
        if empty:
            settings = empty_jobset(place, JOBS)
        else:
            place.mkdir()
            settings = bench_jobset(place, JOBS)
        a, b = _overhead(settings, place)
        command = "an empty command" if empty else "a case of 0 s in Python"
        yield Row(
            f"claim to finish of one job, {command}, median of {JOBS}",
            ms(a),
            "5 ms" if empty else "1.6 times",
            f"{ms(b)}: posix_spawn and waitpid of the same command",
            times(a, b),
        )


def _both(directory: Path) -> Row:
    """Two workers over jobs that do nothing: the time from the first claim to the last finish."""
    settings = empty_jobset(directory, 2 * JOBS)
    enqueue(settings)
    flush()

    def work(number: int) -> None:
        with output_to(directory / "workers.log"):
            worker = Worker(settings, number)
            start.wait()
            while worker.spool.names(JobState.PENDING):
                worker.run_once()

    def spawn(number: int) -> None:
        start.wait()
        for _ in range(JOBS):
            pid = os.posix_spawn("/bin/true", ["true"], os.environ)
            os.waitpid(pid, 0)

    seconds = []
    for action in (work, spawn):
        start = FORK.Barrier(3)
        both = [FORK.Process(target=action, args=(number,)) for number in (1, 2)]
        for process in both:
            process.start()
        start.wait()
        began = time.perf_counter()
        for process in both:
            process.join()
        seconds.append((time.perf_counter() - began) / (2 * JOBS))
    assert len(Spool(settings).names(JobState.DONE)) == 2 * JOBS
    queued, bare = seconds
    return Row(
        f"two workers over {2 * JOBS} empty commands: time for each", ms(queued), "5 ms",
        f"{ms(bare)}: posix_spawn and waitpid of the same command, two processes",
        times(queued, bare),
    )  # fmt: skip


def _overhead(settings: Config, directory: Path) -> tuple[float, float]:
    """Seconds from claim to finish of a job, in turn with those of the bare command; medians."""
    enqueue(settings)
    worker = Worker(settings, 1)
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [settings.sage_bin, settings.script, *settings.sage_base_args]
    queued: list[float] = []
    bare: list[float] = []

    def run_queued(offsets: range) -> None:
        for _ in offsets:
            began = time.perf_counter()
            turn = worker.run_once()
            queued.append(time.perf_counter() - began)
            assert turn is Turn.GO_ON, turn

    def run_bare(offsets: range) -> None:
        for offset in offsets:
            argv = [*command, "--stride", str(JOBS), "--offset", str(offset)]
            out = os.open(directory / f"bare_{offset}.log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
            moves = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
            began = time.perf_counter()
            pid = os.posix_spawn(argv[0], argv, environ, file_actions=moves)
            status = os.waitpid(pid, 0)[1]
            bare.append(time.perf_counter() - began)
            os.close(out)
            assert status == 0

    flush()
    with output_to(directory / "worker.log"):
        for number, first in enumerate(range(0, JOBS, BLOCK)):
            offsets = range(first, first + BLOCK)
            both = [run_queued, run_bare]
            for run in both if number % 2 else reversed(both):
                run(offsets)
                for path in filter(None, map(settings.state_file, offsets)):
                    path.unlink()
    assert len(worker.spool.names(JobState.DONE)) == JOBS
    return statistics.median(queued), statistics.median(bare)


# Claims


class Claimer(Worker):
    """A worker that claims as workers do, up to the moment when the solver would be started."""

    claimed = 0

    def launch(self, lock: Lock, job: Job, marks: Marks, given: Descriptors) -> bool:
        """Count the claim; the job stays running, its lock comes free."""
        self.claimed += 1
        return False


def claims(directory: Path) -> Iterator[Row]:
    """64 processes claim at once while 100,000 jobs are pending."""
    settings = bench_jobset(directory, MANY)
    enqueue(settings)
    flush()
    start = FORK.Barrier(WORKERS + 1)

    def claim(number: int, results: Any) -> None:
        worker = Claimer(settings, number)
        worker.candidates.refresh()  # the first listing, once in a worker's life
        taken: list[float] = []
        start.wait()
        used = time.process_time()
        for count in range(1, CLAIMS_EACH + 1):
            began = time.perf_counter()
            while worker.claimed < count:
                worker.run_once()
            taken.append(time.perf_counter() - began)
        results.send((taken, time.process_time() - used))

    pipes = []
    processes = []
    for number in range(1, WORKERS + 1):
        results, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=claim, args=(number, theirs))
        process.start()
        pipes.append(results)
        processes.append(process)
    start.wait()
    began = time.perf_counter()
    told = [results.recv() for results in pipes]
    taken = [seconds for theirs, _ in told for seconds in theirs]
    wall = time.perf_counter() - began
    for process in processes:
        process.join()
    total = WORKERS * CLAIMS_EACH
    assert len(Spool(settings).names(JobState.RUNNING)) == total

    left = sorted(Spool(settings).names(JobState.PENDING))[:total]
    bare: list[float] = []
    flush()
    single_cpu = time.process_time()
    for name in left:
        before = time.perf_counter()
        os.rename(settings.pending_dir / f"{name}.env", settings.running_dir / f"{name}.env")
        fsync(settings.pending_dir)
        fsync(settings.running_dir)
        bare.append(time.perf_counter() - before)
    single_cpu = (time.process_time() - single_cpu) / total
    each_cpu = sum(used for _, used in told) / total
    each, single = wall / total, sum(bare) / total
    what = f"claim, {MANY:,} pending, {WORKERS} workers at once"
    peer = "rename and two directory fsyncs, one process"
    middle, floor = statistics.median(taken), statistics.median(bare)
    yield Row(f"{what}: median", ms(middle), "-", f"{ms(floor)}: {peer}", times(middle, floor))
    yield Row(
        f"{what}: p99", ms(p99(taken)), "-", f"{ms(p99(bare))}: same", times(p99(taken), p99(bare))
    )
    yield Row(
        f"{what}: time per claim of all together",
        ms(each),
        "-",
        f"{ms(single)}: same",
        times(each, single),
    )
    yield Row(
        f"{what}: processor time per claim",
        ms(each_cpu),
        "-",
        f"{ms(single_cpu)}: same",
        times(each_cpu, single_cpu),
    )


# Many jobs


def enqueuing(directory: Path) -> Iterator[Row]:
    """100,000 jobs become pending."""
    settings = bench_jobset(directory, MANY)
    bare = directory / "bare"
    bare.mkdir()
    content = Path(__file__).read_bytes()[:60]
    flush()
    began = time.perf_counter()
    for number in range(MANY):
        fd = os.open(f"{bare}/.bench_off{number}.env.tmp", os.O_WRONLY | os.O_CREAT, 0o666)
        os.write(fd, content)
        os.close(fd)
    os.sync()
    for number in range(MANY):
        os.rename(f"{bare}/.bench_off{number}.env.tmp", f"{bare}/bench_off{number}.env")
    fsync(bare)
    floor = time.perf_counter() - began

    flush()
    began = time.perf_counter()
    enqueue(settings)
    taken = time.perf_counter() - began
    assert len(Spool(settings).names(JobState.PENDING)) == MANY
    yield Row(
        f"enqueue of {MANY:,}",
        f"{taken:.1f} s",
        "10 s",
        f"{floor:.1f} s: the files made and renamed, one sync",
        times(taken, floor),
    )


def recovering(directory: Path) -> Iterator[Row]:
    """100,000 running jobs that nobody has go back to pending."""
    settings = bench_jobset(directory, MANY)
    enqueue(settings)
    names = Spool(settings).names(JobState.PENDING)
    for name in names:
        with Spool(settings).lock(name) or contextlib.nullcontext():
            pass  # every claimed job has a lock file
    flush()
    began = time.perf_counter()
    for name in names:
        os.rename(f"{settings.pending_dir}/{name}.env", f"{settings.running_dir}/{name}.env")
    fsync(settings.pending_dir)
    fsync(settings.running_dir)
    floor = time.perf_counter() - began

    flush()
    spool = Spool(settings)
    with output_to(directory / "recover.log"):
        began = time.perf_counter()
        recovery.recover(spool)
        taken = time.perf_counter() - began
    assert len(spool.names(JobState.PENDING)) == MANY
    yield Row(
        f"recovery of {MANY:,} orphans",
        f"{taken:.1f} s",
        "5 s",
        f"{floor:.1f} s: the renames",
        times(taken, floor),
    )


# What is kept on the disk


def disk(directory: Path) -> Iterator[Row]:
    """100,000 jobs that are pending, and as many that are done, by what 200 leave."""
    for state, count in ((JobState.PENDING, MANY), (JobState.DONE, JOBS)):
        place = directory / state
        place.mkdir()
        settings = bench_jobset(place, count)
        empty = used(settings.state_dir)
        enqueue(settings)
        if state is JobState.DONE:
            worker = Worker(settings, 1)
            with output_to(place / "worker.log"):
                while worker.run_once() is Turn.GO_ON:
                    pass
        flush()
        assert len(Spool(settings).names(state)) == count
        now = used(settings.state_dir)
        inodes, size = (MANY * (a - b) / count for a, b in zip(now, empty, strict=True))
        what = f"{MANY:,} {state} jobs" + (f", from {count}" if count < MANY else "")
        block = os.statvfs(place).f_bsize
        yield Row(f"inodes of {what}", f"{inodes:,.0f}", "-", "1 each", times(inodes, MANY))
        yield Row(
            f"disk use of {what}",
            f"{size / 2**20:,.0f} MiB",
            "-",
            f"{MANY * block / 2**20:,.0f} MiB: a block each",
            times(size, MANY * block),
        )


def used(directory: Path) -> tuple[int, int]:
    """Inodes and bytes of the disk that a directory takes, with all in it, as `du` counts them."""
    found = [os.lstat(directory)]
    for path, directories, files in os.walk(directory):
        found += (os.lstat(os.path.join(path, name)) for name in (*directories, *files))
    return len(found), sum(status.st_blocks * 512 for status in found)


# An idle worker


@contextlib.contextmanager
def workers(settings: Config, count: int) -> Iterator[Sequence[psutil.Process]]:
    """So many workers, each the command as it is, ended by SIGTERM afterwards."""
    command = [sys.executable, "-m", "sagequeue", "worker", "--env-file", str(settings.env_file)]
    with contextlib.ExitStack() as stack:
        processes = []
        for number in range(1, count + 1):
            log = stack.enter_context(open(settings.state_dir / f"worker-{number}.out", "wb"))
            process = psutil.Popen([*command, str(number)], stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGTERM)
            processes.append(process)
        time.sleep(3.0)
        assert all(process.is_running() for process in processes)
        yield processes


def latency(directory: Path) -> Iterator[Row]:
    """One job after the other, each enqueued to workers that wait for work."""
    bare = bare_latency(directory)
    for count in (1, IDLE_WORKERS):
        place = directory / str(count)
        place.mkdir()
        taken = enqueue_to_claim(place, count)
        middle, floor = statistics.median(taken), statistics.median(bare)
        what = f"enqueue to claim, {count} idle {'worker' if count == 1 else 'workers'}"
        yield Row(
            f"{what}: median of {LATENCIES}",
            ms(middle),
            "50 ms",
            f"{ms(floor)}: inotify and rename, nothing else",
            times(middle, floor),
        )
        longest, floor = max(taken), max(bare)
        yield Row(
            f"{what}: longest", ms(longest), "50 ms", f"{ms(floor)}: same", times(longest, floor)
        )


def enqueue_to_claim(directory: Path, count: int) -> list[float]:
    """Seconds from the rename of a job into pending to the news of its rename into running."""
    settings = bench_jobset(directory, LATENCIES)
    appeared: list[float] = []
    claimed: list[float] = []
    rename = Spool.enqueue

    def enqueue_one(offset: int, told: Any) -> None:
        def timed(spool: Spool, lock: Lock | None, job: Job) -> None:
            told.send(time.perf_counter())
            rename(spool, lock, job)

        Spool.enqueue = timed  # type: ignore[assignment,method-assign]
        operations.enqueue(settings, offset, force=False, tell=quiet)

    flush()
    with workers(settings, count), INotify() as running, INotify() as done:
        running.add_watch(settings.running_dir, flags.MOVED_TO)
        done.add_watch(settings.done_dir, flags.MOVED_TO)
        for offset in range(LATENCIES):
            told, theirs = FORK.Pipe(duplex=False)
            process = FORK.Process(target=enqueue_one, args=(offset, theirs))
            process.start()
            name = f"bench_off{offset}.env"
            while name not in [event.name for event in running.read()]:
                pass
            claimed.append(time.perf_counter())
            appeared.append(told.recv())
            process.join()
            while name not in [event.name for event in done.read()]:
                pass
            time.sleep(0.1)
    return [end - start for start, end in zip(appeared, claimed, strict=True)]


def bare_latency(directory: Path) -> list[float]:
    """Seconds from a rename to the rename by which a waiting process answers it."""
    first, second, third = (directory / name for name in ("first", "second", "third"))
    for path in (first, second, third):
        path.mkdir()
    ready = FORK.Event()

    def answer() -> None:
        with INotify() as inotify:
            inotify.add_watch(second, flags.MOVED_TO)
            ready.set()
            for _ in range(LATENCIES):
                for event in inotify.read():
                    os.rename(second / event.name, third / event.name)

    process = FORK.Process(target=answer)
    process.start()
    ready.wait()
    taken = []
    with INotify() as inotify:
        inotify.add_watch(third, flags.MOVED_TO)
        for number in range(LATENCIES):
            (first / str(number)).touch()
            time.sleep(0.05)
            began = time.perf_counter()
            os.rename(first / str(number), second / str(number))
            inotify.read()
            taken.append(time.perf_counter() - began)
    process.join()
    return taken


def idle(directory: Path) -> Iterator[Row]:
    """Eight workers of an empty queue, and one Python that only sleeps."""
    settings = bench_jobset(directory, IDLE_WORKERS)
    sleeper = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with workers(settings, IDLE_WORKERS) as processes:
        before = sum(cpu(process) for process in processes)
        time.sleep(IDLE_SECONDS)
        used = sum(cpu(process) for process in processes) - before
        memory = [process.memory_full_info() for process in processes]
        bare = sleeper.memory_full_info()
    sleeper.kill()
    sleeper.wait()
    share = 100 * used / IDLE_SECONDS
    yield Row(
        f"CPU of {IDLE_WORKERS} idle workers together, {IDLE_SECONDS:.0f} s",
        f"{share:.2f} % of a core",
        "0.2 %",
        "0: asleep (ticks of 10 ms: 0.03 %)",
        "-",
    )
    for kind in ("rss", "uss"):
        most, floor = max(getattr(m, kind) for m in memory), getattr(bare, kind)
        yield Row(
            f"memory of an idle worker, {kind.upper()}, the largest of {IDLE_WORKERS}",
            f"{most / 1e6:.1f} MB",
            "40 MB",
            f"{floor / 1e6:.1f} MB: a Python asleep",
            times(most, floor),
        )


def cpu(process: psutil.Process) -> float:
    """Seconds of processor time so far."""
    spent = process.cpu_times()
    return float(spent.user + spent.system)


MEASUREMENTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "overhead": overhead,
    "claims": claims,
    "enqueue": enqueuing,
    "recovery": recovering,
    "disk": disk,
    "latency": latency,
    "idle": idle,
}


def filesystem(directory: Path) -> str:
    """The type of the filesystem that a directory lies on."""
    mounts = [m for m in psutil.disk_partitions(all=True) if directory.is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(description="What the queue costs, beside aims and floors.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(MEASUREMENTS)} (default: all)"
    )
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), help="on a disk (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list of rows")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - MEASUREMENTS.keys():
        parser.error(f"no measurement is named {', '.join(sorted(unknown))}")
    where = arguments.directory.resolve()
    kind = filesystem(where)
    if kind in ("tmpfs", "ramfs"):
        print(f"{where} is {kind}, where an fsync costs nothing: see --directory", file=sys.stderr)
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
    rows: list[Row] = []
    console = Console(soft_wrap=False)
    # Removed at the end, all at once: ext4 is slow to make files after many were removed.
    with tempfile.TemporaryDirectory(prefix="sagequeue-bench-", dir=where) as temporary:
        for name in arguments.names or MEASUREMENTS:
            if sys.stderr.isatty():
                print(f"{name} …", file=sys.stderr)
            directory = Path(temporary, name)
            directory.mkdir()
            rows += MEASUREMENTS[name](directory)
    if arguments.json:
        print(json.dumps([row._asdict() for row in rows], indent=1))
        return
    title = f"{kind} on {where}, {os.cpu_count()} cores, load at the start {load}"
    table = Table("what", "measured", "aim", "floor or peer in the same run", "ratio", title=title)
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
