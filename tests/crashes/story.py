"""A queue's life, told by the commands that an operator types and by workers that are killed.

It is run under strace, as a program of its own: `python story.py DIRECTORY CHAPTER...`. What it
says on standard output goes into the recording, between the runner's own words: `begin …` and
`end …`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "runner/tests"), str(ROOT / "tests")]

from rig import Rig, wrapper_of  # noqa: E402
from sagequeue.jobs import JobState  # noqa: E402

DONE, FAILED, PENDING, RUNNING = JobState.DONE, JobState.FAILED, JobState.PENDING, JobState.RUNNING
STRIDE = 4
FAILS, HELD, FINDS = 1, 2, 3
"""Offsets: one that fails, one that prints a solution and fails, one that finds and is done."""
QUEUE, ACTIVE = "queue", "home/.config/sagequeue/sagequeue.env"
SOLUTION = "SAT found for J=[1, 2]\nFound perm: [1,0]"


def say(text: str) -> None:
    """Put it into the recording."""
    print(text, flush=True)


@contextmanager
def work(rig: Rig, drain: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    """Have worker 1 at work; afterwards it is told to stop, or it is dead."""
    say("begin worker")
    worker = rig.worker()
    yield
    if worker.poll() is None:
        worker.send_signal(drain)
        rig.until_ended(worker)
    say("end worker")


def verb(rig: Rig, *words: str) -> None:
    say(f"begin {' '.join(words)}")
    rig.run(*words)
    say(f"end {' '.join(words)}")


def enqueue(rig: Rig) -> None:
    verb(rig, "enqueue")


def first_run(rig: Rig) -> None:
    """One is done, one fails, one is held, one is done with a finding."""
    rig.orders(FAILS, exit=[FAILS + STRIDE, 3])
    # Its solution is complete, and so recorded, only when it has ended and its result is there.
    rig.orders(HELD, print=[HELD, SOLUTION], exit=[HELD, 3])
    rig.orders(FINDS, print=[FINDS, SOLUTION])
    with work(rig):
        rig.until_state(DONE, 0, FINDS)
        rig.until_state(FAILED, FAILS, HELD)
        rig.until_free(FINDS)


def retry(rig: Rig) -> None:
    """Recovery gives the failed one back, and leaves the held one."""
    verb(rig, "recover")


def pause(rig: Rig) -> None:
    """The stop gate comes in the middle of a case, and goes again."""
    rig.orders(FAILS, wait_at=FAILS + STRIDE)
    with work(rig):
        rig.until_event("waiting", FAILS)
        verb(rig, "request-stop")
        rig.orders(FAILS, wait_at=FAILS + 2 * STRIDE)
        rig.go(FAILS)
        rig.until_state(PENDING, FAILS)
    verb(rig, "clear-stop")


def orphan(rig: Rig) -> None:
    """Worker, wrapper and solver are killed; recovery finds the job."""
    with work(rig):
        solver = rig.until_event("waiting", FAILS, 2).pid
        wrapper_of(solver).kill()
        rig.workers[-1].kill()
        rig.until_ended(rig.workers[-1])
        os.kill(solver, signal.SIGKILL)
        rig.until_gone(solver)
        rig.until_free(FAILS)
    verb(rig, "recover")


def requeue(rig: Rig) -> None:
    """The worker is killed, and its solver is ended by hand."""
    with work(rig):
        rig.until_event("waiting", FAILS, 3)
        rig.workers[-1].kill()
        rig.until_ended(rig.workers[-1])
    verb(rig, "requeue-running")


def second_run(rig: Rig) -> None:
    """All are done in the end."""
    verb(rig, "retry-failed", "--reset-attempts")
    rig.orders(FAILS)
    rig.orders(HELD)
    with work(rig, signal.SIGUSR1):
        rig.until_state(DONE, FAILS, HELD)
        rig.until_free(HELD)


def anew(rig: Rig) -> None:
    """One is done again; then everything goes but the findings, and the queue is filled anew."""
    verb(rig, "enqueue", "--force", "--offset", "0")
    verb(rig, "purge", "--yes", "--state-files")
    verb(rig, "enqueue")


def move_in(rig: Rig) -> None:
    """The shell project's env file becomes the jobset's, and a link to it takes its place."""
    active = rig.root / ACTIVE
    active.parent.mkdir(parents=True)
    active.write_text(rig.env_file.read_text())
    os.sync()
    say("begin migrate")
    subprocess.run(
        [sys.executable, "-m", "sagequeue", "migrate"],
        env={**os.environ, "HOME": str(rig.home)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    say("end migrate")


CHAPTERS = {
    chapter.__name__: chapter
    for chapter in (enqueue, first_run, retry, pause, orphan, requeue, second_run, anew, move_in)
}


def main() -> None:
    # By the queue's path the rig finds what it started; ours and strace's arguments lack it.
    rig = Rig(Path(sys.argv[1]) / QUEUE, STRIDE)
    try:
        for name in sys.argv[2:]:
            say(f"chapter {name}")
            CHAPTERS[name](rig)
    finally:
        rig.stop()


if __name__ == "__main__":
    main()
