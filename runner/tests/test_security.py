"""What jobs, settings, state files, stop files and logs hold is data, and nothing but data."""

import json
import os
import resource
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig import Rig, rig
from sagequeue import cli
from sagequeue import config as configuration
from sagequeue.config import Config
from sagequeue.exceptions import ConfigError, SagequeueError
from sagequeue.explain import explain
from sagequeue.jobs import JobState
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202etxt"
OBEYED = {chr(c) for c in (*range(32), *range(127, 160), 0x202E)} - {"\n"}
# A note of what it was called with, by a workload that is no shell.
TELLS = "import json, sys; json.dump(sys.argv[1:], open({!r}, 'w'))\n"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig", stride=1, total=1, SLEEP_EMPTY=1) as made:
        yield made


# A shell


def test_no_value_of_settings_jobs_state_files_or_stop_files_is_read_by_a_shell(
    tmp_path: Path,
) -> None:
    evil = "$(touch owned) `touch owned`; touch owned; ${IFS} 'x' & > owned | *"
    demo = Rig(tmp_path / evil.replace("/", ""), stride=1)
    told = tmp_path / "told"
    script = demo.root / f"{evil}.py"
    script.write_text(TELLS.format(str(told)))
    words = [evil, 'two "words"', "-c", "--x=$(id)", "back\\slash", ""]
    demo.configure(SCRIPT=script, SAGE_BASE_ARGS=shlex.join(words), TOTAL_CASES=None)
    try:
        demo.run("enqueue")
        job = demo.spool.file(PENDING, "demo_off0")
        job.write_text(f'{job.read_text()}NOTE="$(touch owned)"\nLAST_REASON="`touch owned`"\n')
        demo.config.state_file(0).write_text("$(touch owned)\n")  # type: ignore[union-attr]
        demo.worker(1)
        demo.until_state(DONE, 0)
        demo.gate.write_text("$(touch owned); touch owned\n")
        for verb in ("progress", "explain 0", "logs", "recover", "request-stop", "clear-stop"):
            demo.run(*verb.split())
    finally:
        demo.stop()
    assert json.loads(told.read_text()) == [*words, "--stride", "1", "--offset", "0"]
    assert not list(tmp_path.rglob("owned"))
    assert not Path("owned").exists()


# Directories


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("JOBSET", "../other"),
        ("JOBSET", "a/b"),
        ("JOBSET", ".."),
        ("JOBSET", "a\u0000b"),
        ("JOBSET", "x\ny"),
        ("LOG_PREFIX", "../log"),
        ("LOG_PREFIX", ".hidden"),
        ("LOG_PREFIX", "a\x1b[2J"),
        ("STOP_FILE_HOST", "relative"),
        ("RUN_DIR", "../run"),
    ],
)
def test_a_name_that_would_leave_its_directory_is_refused(
    env_file: Path, key: str, value: str
) -> None:
    with pytest.raises(ConfigError):
        configuration.load(env_file, {key: value})


@pytest.mark.parametrize(
    "job", ["../../etc/passwd", "demo_off../0", "/etc/passwd", "0/../1", "demo_off0\n", "\x1b[2J"]
)
def test_a_job_is_named_by_its_offset_and_by_nothing_that_leads_elsewhere(
    config: Config, spool: Spool, job: str
) -> None:
    try:
        said = explain(config, job)
    except SagequeueError as error:
        said = [jobs_words(str(error))]
    assert not [line for line in said if "root:" in line or "malformed" in line]


def jobs_words(text: str) -> str:
    assert not OBEYED & set(text)
    return text


@pytest.mark.parametrize("offset", ["../../0", "0/../../x", "-1", "1e1", "\u0660"])
def test_an_offset_in_a_file_is_a_number_or_the_file_is_no_job(
    spool: Spool, put: Callable[..., str], offset: str
) -> None:
    put(PENDING, 0, f"OFFSET={offset}\n")
    before = set(spool.config.project_root.rglob("*"))
    assert cli.main(["recover"]) == 0
    assert cli.main(["progress", "--json"]) == 0
    added = set(spool.config.project_root.rglob("*")) - before
    assert {path.parent for path in added} <= {spool.config.run_dir}


# Terminals


VERBS = (
    "progress", "progress --json", "found", "found --json", "logs", "explain 0", "explain 1",
    "explain 2", "config", "diag", "recover", "enqueue --force", "retry-failed",
    "clear-stop --if-reason x", "request-stop", "idle", "doctor", "migrate --check",
    f"explain demo_off{ESCAPES}", f"logs --jobset {ESCAPES}",
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=[ascii(verb) for verb in VERBS])
def test_whatever_is_printed_holds_nothing_that_a_terminal_obeys(
    verb: str, spool: Spool, put: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = spool.config
    for state, offset in ((FAILED, 0), (RUNNING, 1), (PENDING, 2)):
        put(state, offset, LAST_REASON="\u202e\u2066reason", COLOUR="\u202e", LAST_OUTCOME="failed")
        spool.file(state, f"demo_off{state}{ESCAPES}").write_text(f"OFFSET={ESCAPES}\n")
        config.log_file(offset).write_text(f"{ESCAPES}\r\nSAT found for {ESCAPES}\n")
    spool.owner_file("demo_off1").write_text("OWNER_WORKER_ID=\u202e1\nOWNER_PID=1\n")
    config.stop_file_host.write_text(f"{ESCAPES}\n{ESCAPES}")
    finding = {"offset": ESCAPES, "gidx": ESCAPES, "found_at": ESCAPES, "lines": [ESCAPES]}
    (config.results_dir / f"demo{ESCAPES}.json").write_text(json.dumps(finding))
    config.state_file(0).write_text(ESCAPES)  # type: ignore[union-attr]
    cli.main(verb.split())
    told = capsys.readouterr()
    assert told.out + told.err
    assert not OBEYED & set(told.out + told.err)


def test_a_worker_says_nothing_that_a_terminal_or_a_journal_obeys(demo: Rig) -> None:
    demo.run("enqueue")
    for state in (PENDING, RUNNING, FAILED):
        demo.spool.file(state, f"demo_off{state}{ESCAPES}").write_text("nonsense")
    demo.gate.write_text(ESCAPES)
    demo.worker(1)
    demo.until(lambda: "action=summary" in demo.said(1), "recovery")
    demo.gate.unlink()
    demo.until_state(DONE, 0)
    assert r"\x1b" in demo.said(1)
    assert not OBEYED & set(demo.said(1))


# Files that the container may have put there


PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda path, precious: path.symlink_to(precious),
    "dangling link": lambda path, precious: path.symlink_to("/nowhere/at/all"),
    "link to a device": lambda path, precious: path.symlink_to("/dev/zero"),
    "FIFO": lambda path, precious: os.mkfifo(path),
    "directory": lambda path, precious: path.mkdir(),
    "2 GB": lambda path, precious: (path.touch(), os.truncate(path, 2 << 30)),
}


ALL_OF_THEM = """
import sys
from sagequeue import cli
print([cli.main([*verb.split(), "--env-file", sys.argv[1]]) for verb in sys.argv[2:]])
"""


def _small() -> None:
    """Less memory than the largest file."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("what", ["state file", "stop file"])
def test_a_state_or_stop_file_is_not_followed_not_waited_for_and_not_read_to_its_end(
    demo: Rig, what: str, plant: str
) -> None:
    precious = demo.root / "precious"
    precious.write_text("0\n")
    path = demo.gate if what == "stop file" else demo.config.state_file(0)
    assert path is not None
    PLANTS[plant](path, precious)
    demo.run("enqueue")
    verbs = ["progress", "explain 0", "recover", "request-stop", "diag", "clear-stop"]
    answer = subprocess.run(
        [sys.executable, "-c", ALL_OF_THEM, demo.env_file, *verbs], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, preexec_fn=_small,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    clears = not (what == "stop file" and plant == "directory")
    assert answer.stdout.splitlines()[-1] == str([0, 0, 0, 0, 0, 1 - clears]), answer.stderr
    assert clears or "is a directory; move it away" in answer.stderr
    assert precious.read_text() == "0\n"
    assert what == "state file" or not clears or not os.path.lexists(path)


@pytest.mark.parametrize("plant", PLANTS)
def test_a_job_whose_state_file_is_something_else_fails_and_is_held(demo: Rig, plant: str) -> None:
    path = demo.config.state_file(0)
    assert path is not None
    # A workload that does not look at it, so that nothing but the runner does.
    script = demo.root / "fails.py"
    script.write_text("raise SystemExit(1)\n")
    demo.configure(SCRIPT=script)
    PLANTS[plant](path, demo.env_file)
    demo.run("enqueue")
    demo.worker(1)
    demo.until_state(FAILED, 0)
    assert demo.job(0)["LAST_REASON"] == "state_corrupt"
    assert "Its state file is wrong" in demo.run("explain", "0").stdout


@pytest.mark.parametrize(
    "place",
    [
        "queue/pending/demo_off0.env", "queue/pending/.demo_off0.env.tmp", "log/demo_off0.log",
        "queue/running/demo_off0.env.owner", "queue/running/.demo_off0.env.owner.tmp",
        "run/demo_off0.lock", "run/demo_off0.result", "run/.demo_off0.result.tmp",
        "run/demo_off0.group", "run/.demo_off0.group.tmp",
        "run/worker-1.lock", "run/recover.lock", "run/enqueue.lock",
    ],
)  # fmt: skip
def test_nothing_is_written_through_a_link_in_the_queues_directories(demo: Rig, place: str) -> None:
    precious = demo.root / "precious"
    precious.write_text("OFFSET=0\n")
    demo.spool.create()
    link = demo.config.state_dir / place
    link.symlink_to(precious)
    demo.run("enqueue", check=False)
    demo.enqueued.clear()
    worker = demo.worker(1)
    demo.until(lambda: demo.said(1), "any word of the worker")
    demo.run("recover", check=False)
    demo.run("retry-failed", check=False)
    worker.terminate()
    demo.until_ended(worker)
    assert precious.read_text() == "OFFSET=0\n"
    assert stat.S_IMODE(precious.stat().st_mode) == 0o644


# Who may write


def test_whatever_the_umask_nobody_else_may_write_what_the_runner_makes(demo: Rig) -> None:
    before = os.umask(0)
    try:
        demo.run("enqueue")
        worker = demo.worker(1)
        demo.until_state(DONE, 0)
        demo.run("request-stop")
    finally:
        os.umask(before)
    worker.terminate()
    demo.until_ended(worker)
    made = [demo.gate, *demo.config.state_dir.rglob("*")]
    assert [path for path in made if path.stat().st_mode & 0o022] == []
    locks = [path for path in made if path.suffix == ".lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in locks} == {0o600}
