"""The worker's loop: claims, waits, gates, bad files, full disks. Real processes."""

import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kit.jobset import SOLVER
from programs import without_inotify
from rig import JOBSET, Rig, rig
from sagequeue.jobs import JobState

MALFORMED = {
    "empty": b"",
    "binary": bytes(range(256)) * 8,
    "no_offset": b"ENQUEUED_AT=2026-01-01T00:00:00+00:00\n",
    "negative": b"OFFSET=-1\n",
    "300_digits": b"OFFSET=" + b"9" * 300 + b"\n",
    "5000_digits": b"OFFSET=" + b"9" * 5000 + b"\n",
    "metacharacters": b"OFFSET=$(touch PWNED); `touch PWNED`\n",
    "of_another_job": b"OFFSET=3\n",
    "one_long_line": b"OFFSET=1" + b" " * 1_000_000 + b"\n",
    "twice": b"OFFSET=1\nOFFSET=1\n",
}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig") as made:
        yield made


def test_claims_are_in_offset_order(demo: Rig) -> None:
    demo.grow(12, 12)
    demo.run("enqueue")
    demo.worker(1)
    demo.until_state(JobState.DONE, *range(12))
    assert [e.offset for e in demo.events("start")] == list(range(12))


def test_a_retried_lower_offset_comes_before_what_was_listed_already(demo: Rig) -> None:
    demo.orders(0, exit=[0, 1])
    demo.orders(1, wait_at=1)
    demo.run("enqueue")
    demo.worker(1)
    demo.until_event("waiting", 1)
    demo.orders(0)
    demo.run("recover")
    assert demo.where(0) == [JobState.PENDING]
    demo.go(1)
    demo.until_state(JobState.DONE, *range(4))
    assert [e.offset for e in demo.events("start")] == [0, 1, 0, 2, 3]


def idle(demo: Rig, number: int = 1) -> psutil.Process:
    """A worker that found nothing to do, asleep."""
    process = psutil.Process(demo.worker(number).pid)
    demo.until(lambda: "action=summary" in demo.said(number), "the worker's start")
    demo.until(lambda: process.status() == psutil.STATUS_SLEEPING, "an idle worker")
    return process


def test_an_idle_worker_takes_what_is_enqueued(demo: Rig) -> None:
    demo.configure(SLEEP_EMPTY=100000)
    idle(demo)
    demo.run("enqueue", "--offset", "2")
    demo.until_state(JobState.DONE, 2)


def test_without_inotify_it_looks_every_sleep_empty_seconds(demo: Rig, tmp_path: Path) -> None:
    demo.configure(SLEEP_EMPTY="0.3")
    process = demo.worker(1, env=without_inotify(tmp_path))
    demo.until(lambda: "action=summary" in demo.said(1), "the worker's start")
    fds = [os.readlink(p) for p in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert not any(fd == "anon_inode:inotify" for fd in fds)
    demo.run("enqueue")
    demo.until_state(JobState.DONE, *range(4))
    demo.gate.write_text("by hand\n")
    demo.run("enqueue", "--force")
    demo.gate.unlink()
    demo.until_state(JobState.DONE, *range(4))


def test_nothing_is_claimed_while_the_stop_gate_is_there(demo: Rig) -> None:
    demo.run("request-stop", "--reason", "lunch")
    demo.run("enqueue")
    process = idle(demo)
    assert process.status() == psutil.STATUS_SLEEPING
    assert not demo.events("start")
    demo.run("clear-stop")
    demo.until_state(JobState.DONE, *range(4))


@pytest.mark.parametrize("told", [signal.SIGUSR1, signal.SIGHUP])
@pytest.mark.parametrize("why", ["idle", "gated", "out"])
def test_a_drained_worker_without_a_job_ends_at_once(
    demo: Rig, why: str, told: signal.Signals
) -> None:
    script = demo.root / "solver.py"
    script.write_bytes(SOLVER.read_bytes())
    demo.configure(SCRIPT=script)
    if why == "gated":
        demo.run("request-stop")
    worker = idle(demo)
    if why == "out":
        script.unlink()
    if why != "idle":
        demo.run("enqueue")
    if why == "out":
        demo.until(lambda: "nothing can be started" in demo.said(1), "the worker's words")
    worker.send_signal(told)
    assert demo.until_ended(demo.workers[0]) == 0
    assert sorted(demo.spool.names(JobState.PENDING)) == sorted(demo.enqueued)


# Podman in a few lines: the container is up while ROOT/up is there, and is this host.
PODMAN = """#!/bin/sh
PATH={path}
[ -e {root}/up ] || {{ echo 'Error: no such container' >&2; exit 125; }}
case $1 in
container) echo running ;;
exec) until [ "$1" = box ]; do shift; done; shift; exec "$@" ;;
esac
"""


@pytest.fixture
def podman(demo: Rig) -> Path:
    """Where that podman is to be for the rig's workers; it is not there yet."""
    demo.configure(RUNTIME="podman", SERVICE="box", CONTAINER_WORKDIR=demo.home)
    path = demo.root / "bin" / "podman"
    path.parent.mkdir()
    return path


def install(demo: Rig, podman: Path) -> None:
    new = demo.root / "podman.new"
    new.write_text(PODMAN.format(path=os.environ["PATH"], root=demo.root))
    new.chmod(0o755)
    new.rename(podman)


@pytest.mark.parametrize("missing", ["podman", "container"])
def test_before_podman_or_the_container_is_there_a_worker_waits_and_touches_no_job(
    demo: Rig, podman: Path, missing: str
) -> None:
    demo.run("enqueue")
    reason = "podman is not installed"
    if missing == "container":
        install(demo, podman)
        reason = "podman shows no container box: Error: no such container"
    worker = demo.worker(1, env={**os.environ, "PATH": str(podman.parent)})
    demo.until(lambda: f"nothing can be started: {reason}" in demo.said(1), "the worker's words")
    assert len(demo.spool.names(JobState.PENDING)) == 4
    assert not any(demo.log(k) for k in range(4))
    (demo.root / "up").touch()
    install(demo, podman)
    demo.until_state(JobState.DONE, *range(4))
    assert worker.poll() is None
    assert demo.said(1).count("nothing can be started") == 1
    assert all("INTERRUPTS" not in demo.job(k) for k in range(4))
    assert all(demo.log(k).count("[worker 1] start") == 1 for k in range(4))


def test_when_podman_goes_away_one_try_tells_it(demo: Rig, podman: Path) -> None:
    (demo.root / "up").touch()
    install(demo, podman)
    demo.worker(1, env={**os.environ, "PATH": str(podman.parent)})
    demo.until(lambda: "action=summary" in demo.said(1), "the worker's start")
    podman.unlink()
    demo.run("enqueue")
    demo.until(lambda: "podman is not installed" in demo.said(1), "the worker's words")
    install(demo, podman)
    demo.until_state(JobState.DONE, *range(4))
    assert demo.log(0).count("[worker 1] start") == 2
    assert all("ATTEMPTS" not in demo.job(k) for k in range(4))


def test_a_gate_in_mid_run_pauses_the_job_after_its_case(demo: Rig) -> None:
    demo.orders(0, wait_at=4)
    demo.run("enqueue")
    demo.worker(1)
    demo.until_event("waiting", 0)
    demo.run("request-stop")
    demo.go(0)
    demo.until_state(JobState.PENDING, *range(4))
    assert demo.job(0)["LAST_OUTCOME"] == "paused"
    assert "pause offset=0 job=demo_off0 rc=0 reason=stop_gate" in demo.log(0)
    demo.orders(0)
    demo.run("clear-stop")
    demo.until_state(JobState.DONE, *range(4))


@pytest.mark.parametrize("cleared_by", ["verb", "hand"])
@pytest.mark.parametrize("total", ["12", ""])
def test_a_gate_that_was_there_and_is_gone_again_leaves_the_job_unfinished(
    demo: Rig, cleared_by: str, total: str
) -> None:
    demo.configure(TOTAL_CASES=total)
    demo.orders(0, print=[4, "here"], wait_at=4, exit=[8, 0])
    demo.run("enqueue", "--offset", "0")
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    if cleared_by == "verb":
        worker.kill()  # nobody watches: the record has to tell it
        worker.wait()
        demo.run("request-stop")
        demo.run("clear-stop")
        worker = demo.worker(1)
        demo.until(lambda: "action=adopt" in demo.said(1), "adoption")
    else:
        demo.gate.write_text("by hand\n")
        demo.gate.unlink()
        result = demo.spool.result_file("demo_off0")
        demo.until(lambda: "GATE" in result.read_text(), "the gate noted")
    demo.orders(0, wait_at=8)  # for the next execution, which follows at once
    demo.go(0)
    demo.until(lambda: "pause offset=0" in demo.log(0), "a pause")
    assert demo.where(0) != [JobState.DONE]
    worker.terminate()
    demo.until_ended(worker)
    demo.configure(TOTAL_CASES="12")


def test_the_gate_set_and_cleared_at_every_moment_loses_nothing(demo: Rig) -> None:
    demo.grow(24, 96)
    demo.run("enqueue")
    for number in (1, 2, 3):
        demo.worker(number)
    for turn in itertools.count():
        # The moments are the solvers' own steps, so that each turn meets another one.
        step = len(demo.journal.read()) + turn % 3
        demo.until(
            lambda step=step: (
                len(demo.journal.read()) > step or demo.spool.names(JobState.DONE)[23:]
            ),
            "a step",
        )
        if demo.spool.names(JobState.DONE)[23:]:
            break
        demo.gate.write_text("flap\n")
        if turn % 2:
            demo.until(lambda: not demo.spool.names(JobState.RUNNING), "a quiet queue")
        demo.gate.unlink()
        assert not demo.spool.names(JobState.FAILED), demo.report()
    assert len(demo.events("case")) == 96


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_job_goes_to_failed_and_the_worker_goes_on(demo: Rig, kind: str) -> None:
    demo.run("enqueue")
    path = demo.spool.file(JobState.PENDING, f"{JOBSET}_off1")
    path.write_bytes(MALFORMED[kind])
    worker = demo.worker(1)
    demo.until_state(JobState.DONE, 0, 2, 3)
    demo.until_state(JobState.FAILED, 1)
    said = demo.run("recover").stdout
    assert "action=skip_failed job=demo_off1 reason=" in said
    assert demo.where(1) == [JobState.FAILED]
    demo.run("retry-failed")
    assert demo.where(1) == [JobState.FAILED], "nobody moves it before it is mended"
    assert not list(Path.cwd().rglob("PWNED"))
    assert not list(demo.root.rglob("PWNED"))
    demo.spool.file(JobState.FAILED, f"{JOBSET}_off1").write_text("OFFSET=1\r\n")
    demo.run("retry-failed")
    demo.until_state(JobState.DONE, 1)
    assert worker.poll() is None


@pytest.mark.parametrize("kind", ["directory", "dangling_link", "fifo"])
def test_what_is_no_file_goes_to_failed_too(demo: Rig, kind: str) -> None:
    demo.run("enqueue")
    path = demo.spool.file(JobState.PENDING, f"{JOBSET}_off1")
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/nonexistent")
    worker = demo.worker(1)
    demo.until_state(JobState.DONE, 0, 2, 3)
    demo.until_state(JobState.FAILED, 1)
    assert worker.poll() is None


def test_a_name_that_is_no_offset_goes_to_failed(demo: Rig) -> None:
    demo.run("enqueue", "--offset", "0")
    (demo.config.pending_dir / "demo_off-7.env").write_text("OFFSET=-7\n")
    (demo.config.pending_dir / "notes.txt").write_text("not ours\n")
    demo.worker(1)
    demo.until_state(JobState.DONE, 0)
    demo.until(lambda: (demo.config.failed_dir / "demo_off-7.env").exists(), "its rejection")
    assert (demo.config.pending_dir / "notes.txt").exists()


@pytest.mark.slow
def test_a_command_too_long_to_be_executed_fails_its_job_and_no_worker(demo: Rig) -> None:
    demo.configure(MAX_FAILED_RETRIES=0)
    demo.run("enqueue", "--offset", "0")
    arguments = str(demo.settings["SAGE_BASE_ARGS"])
    demo.configure(SAGE_BASE_ARGS=f"{arguments} --note {'x' * 200_000}")
    worker = demo.worker(1)
    demo.until_state(JobState.FAILED, 0)
    assert demo.job(0)["LAST_REASON"] == "command_too_long"
    assert worker.poll() is None


def test_a_job_that_was_copied_into_pending_is_not_started_beside_itself(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.run("enqueue", "--offset", "0")
    demo.worker(1)
    demo.until_event("waiting", 0)
    copy = demo.spool.file(JobState.PENDING, "demo_off0")
    copy.write_bytes(demo.spool.file(JobState.RUNNING, "demo_off0").read_bytes())
    demo.worker(2)
    demo.run("enqueue", "--offset", "1")
    demo.until_state(JobState.DONE, 1)
    copy.unlink()
    demo.go(0)
    demo.until_state(JobState.DONE, 0)
    assert len(demo.events("start", 0)) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.getuid() != 0:
        pytest.skip("a filesystem of its own is mounted, which takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that is left."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 1024)
        except OSError:
            return ballast


def test_a_full_disk_loses_no_job_and_the_worker_goes_on_when_there_is_room(
    small_disk: Path, demo: Rig
) -> None:
    demo.configure(STATE_DIR=small_disk / "demo")
    demo.orders(0, wait_at=0)
    demo.run("enqueue")
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    ballast = fill(small_disk)
    assert demo.run("enqueue", "--offset", "0", check=False).returncode in (0, 1)
    demo.go(0)
    demo.until_event("complete", 0)
    demo.until(lambda: "No space left on device" in demo.said(1), "the worker's words")
    assert len(demo.where(0)) == 1
    assert worker.poll() is None
    ballast.unlink()
    demo.until_state(JobState.DONE, *range(4))
    assert all("ATTEMPTS" not in demo.job(k) for k in range(4))


def test_an_interrupted_worker_ends_as_if_it_were_told_to(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.run("enqueue")
    worker = demo.worker(1)
    demo.until_event("waiting", 0)
    worker.send_signal(2)
    assert demo.until_ended(worker) == 0
    assert demo.where(0) == [JobState.PENDING]


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"STRIDE": "0"}, "STRIDE"),
        ({"SAGE_BASE_ARGS": "--stride 3"}, "take it out"),
        ({"SCRIPT": "/nonexistent/x.sage"}, "is not a file on this host"),
        ({"SAGE_BIN": "/nonexistent/sage"}, "is not a program on this host"),
        ({"JOBSET": None}, "JOBSET is not set"),
    ],
)
def test_a_configuration_error_has_its_own_exit_status(
    demo: Rig, settings: dict[str, object], remedy: str
) -> None:
    demo.run("enqueue")
    sound = {key: demo.settings[key] for key in settings}
    demo.configure(**settings)
    worker = demo.worker(1)
    assert worker.wait() == 78
    assert remedy in demo.said(1)
    assert "Traceback" not in demo.said(1)
    demo.configure(**sound)


def test_a_sage_script_gets_a_name_of_its_own_so_that_no_two_preparse_into_one_file(
    demo: Rig,
) -> None:
    # As Sage does: write the preparsed program beside the name given.
    sage = demo.root / "sage"
    sage.write_text(
        '#!/bin/sh\nset -e\nif [ "$1" = -preparse ]; then exec cp "$2" "$2.py"; fi\n'
        f'[ "$1" = -python ]; shift\nls -a {demo.home} >>{demo.root}/seen\nexec python3 "$@"\n'
    )
    sage.chmod(0o755)
    script = demo.home / "solver.sage"
    script.write_bytes(Path(demo.settings["SCRIPT"]).read_bytes())  # type: ignore[arg-type]
    demo.configure(SAGE_BIN=sage, SCRIPT=script)
    demo.run("enqueue")
    demo.worker(1)
    demo.worker(2)
    demo.until_state(JobState.DONE, *range(4))
    seen = (demo.root / "seen").read_text().split()
    assert {f".demo_off{k}.sage.py" for k in range(4)} <= set(seen)
    assert "solver.sage.py" not in seen
    assert sorted(p.name for p in demo.home.glob(".*")) == []


def test_workers_and_threads_of_one_process_do_not_share_a_lock(demo: Rig) -> None:
    """Two openings of a lock file exclude each other even in one process (flock, not fcntl)."""
    demo.run("enqueue")
    with demo.spool.lock("demo_off0") as first:  # type: ignore[union-attr]
        got: list[object] = []
        thread = threading.Thread(target=lambda: got.append(demo.spool.lock("demo_off0")))
        thread.start()
        thread.join()
        assert first is not None
        assert got == [None]


def test_a_notebooks_directory_that_is_away_for_a_while_costs_no_attempt(demo: Rig) -> None:
    scripts = demo.root / "scripts"
    scripts.mkdir()
    script = scripts / "solver.py"
    script.write_bytes(Path(demo.settings["SCRIPT"]).read_bytes())  # type: ignore[arg-type]
    demo.configure(SCRIPT=script)
    worker = idle(demo)
    scripts.rename(demo.root / "away")
    demo.run("enqueue")
    demo.until(lambda: "nothing can be started" in demo.said(1), "the worker's words")
    assert worker.is_running()
    assert sorted(demo.spool.names(JobState.PENDING)) == sorted(demo.enqueued)
    (demo.root / "away").rename(scripts)
    demo.until_state(JobState.DONE, *range(4))
    assert all("ATTEMPTS" not in demo.job(k) for k in range(4))
    assert "interrupted offset=0 job=demo_off0 reason=no_directory" in demo.log(0)


@pytest.mark.parametrize("spoilt", ["log", "lock", "result"])
def test_a_job_whose_own_files_are_at_fault_does_not_keep_the_others_from_being_solved(
    demo: Rig, spoilt: str
) -> None:
    demo.run("enqueue")
    path = {
        "log": demo.config.log_file(0),
        "lock": demo.spool.lock_file("demo_off0"),
        "result": demo.spool.result_file("demo_off0"),
    }[spoilt]
    path.unlink(missing_ok=True)
    path.mkdir()
    demo.worker(1)
    demo.until_state(JobState.DONE, 1, 2, 3)
    assert demo.where(0) == [JobState.PENDING]
    assert "demo_off0 cannot be claimed" in demo.said(1)
    path.rmdir()
    demo.until_state(JobState.DONE, 0)


def test_a_file_name_that_is_no_text_ends_no_worker(demo: Rig) -> None:
    demo.run("enqueue")
    name = os.fsencode(demo.config.pending_dir) + b"/demo_off\xff\xfe.env"
    with open(name, "w") as file:
        file.write("OFFSET=1\n")
    worker = demo.worker(1, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    demo.until_state(JobState.DONE, *range(4))
    assert worker.poll() is None
    assert os.path.exists(os.fsencode(demo.config.failed_dir) + b"/demo_off\xff\xfe.env")


def test_a_last_line_without_its_end_does_not_swallow_ours(demo: Rig) -> None:
    demo.orders(0, print=[8, "no end"], exit=[8, 3])
    demo.configure(MAX_FAILED_RETRIES=0)
    demo.run("enqueue", "--offset", "0")
    log = demo.config.log_file(0)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("something without an end")
    demo.worker(1)
    demo.until_state(JobState.FAILED, 0)
    assert "something without an end\n[worker 1] start offset=0" in demo.log(0)


def test_an_exit_status_above_every_signals_is_not_retried_at_once(demo: Rig) -> None:
    demo.orders(0, exit=[0, 255])
    demo.run("enqueue", "--offset", "0")
    demo.worker(1)
    demo.until_state(JobState.FAILED, 0)
    demo.run("enqueue", "--offset", "1")
    demo.until_state(JobState.DONE, 1)  # so the worker would have retried the other before
    assert (demo.job(0)["LAST_REASON"], demo.where(0)) == ("rc_255", [JobState.FAILED])
    assert len(demo.events("start", 0)) == 1
