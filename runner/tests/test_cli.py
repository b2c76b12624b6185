"""The command: exit statuses, messages without tracebacks, and which jobset it means."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kinds import Put, read_log
from kit import jobset
from sagequeue import __version__, cli, keyvalue
from sagequeue import config as configuration
from sagequeue.config import Config
from sagequeue.jobs import JobState
from sagequeue.owner import try_lock
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
Said = Callable[[], tuple[list[str], list[str]]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What came on standard output and on standard error since the last time, in lines."""

    def said() -> tuple[list[str], list[str]]:
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured.out.splitlines(), captured.err.splitlines()

    return said


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


# Exit statuses


def test_a_reader_that_has_read_enough_gets_no_complaint(config: Config) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "sagequeue", "config", "--env-file", str(config.env_file)]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


def test_what_was_done_exits_0(env_file: Path, said: Said) -> None:
    assert cli.main(["enqueue"]) == 0
    assert said() == (["enqueued=4 requeued=0 skipped=0"], [])


def test_what_was_refused_exits_1_and_says_why(env_file: Path, said: Said) -> None:
    assert cli.main(["enqueue", "--offset", "4"]) == 1
    assert said() == ([], ["sagequeue: offset 4 is not from 0 to 3 (STRIDE - 1)"])


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["nonsense"],
        ["worker"],
        ["worker", "one"],
        ["enqueue", "--offset", "x"],
        ["enqueue", "--offset", "9" * 5000],
        ["enqueue", "--nonsense"],
        ["enqueue", "--jobset", "a", "--env-file", "b"],
        ["progress", "--watch", "--json"],
        ["recover", "--every", "often"],
    ],
)
def test_a_wrong_command_line_exits_2(line: list[str], env_file: Path, said: Said) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(line)
    assert caught.value.code == 2
    out, err = said()
    assert out == []
    assert err[0].startswith("usage: sagequeue")


def test_what_is_busy_exits_75(config: Config, spool: Spool, put: Put, said: Said) -> None:
    held = spool.lock(put(RUNNING, 0))
    assert held is not None
    with held:
        assert cli.main(["purge", "--yes"]) == 75
    out, err = said()
    assert out == []
    assert err[0].startswith("sagequeue: nothing was removed: demo_off0 is running")


def test_a_worker_whose_place_is_taken_exits_75(spool: Spool, said: Said) -> None:
    held = try_lock(spool.config.run_dir / "worker-1.lock")
    assert held is not None
    with held:
        assert cli.main(["worker", "1"]) == 75
    assert said() == ([], ["sagequeue: worker 1 of demo is running already"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"STRIDE": "0"}, "STRIDE '0' must be a whole number, 1 or more"),
        ({"JOBSET": ""}, "JOBSET is not set"),
        ({"SAGE_BASE_ARGS": "--offset=3"}, "SAGE_BASE_ARGS must not hold --offset=3"),
        ({"PROJECT_ROOT": "/mnt/c/x"}, "lies on a Windows drive"),
    ],
)
@pytest.mark.parametrize("verb", ["worker 1", "recover", "enqueue", "progress", "config", "found"])
def test_a_wrong_configuration_exits_78_whatever_the_verb(
    verb: str,
    change: dict[str, str],
    message: str,
    env_file: Path,
    keys: dict[str, str],
    said: Said,
) -> None:
    env_file.write_text(jobset.render(keys | change))
    assert cli.main(verb.split()) == 78
    out, (err,) = said()
    assert out == []
    assert err.startswith(f"sagequeue: {env_file.parent}/")
    assert message in err


def test_a_missing_env_file_exits_78_and_says_what_makes_one(env_file: Path, said: Said) -> None:
    assert cli.main(["worker", "1", "--env-file", "/nowhere/x.env"]) == 78
    (err,) = said()[1]
    assert err.startswith("sagequeue: /nowhere/x.env does not exist. Configured: demo. ")
    assert "`ansible-playbook site.yml -e jobset=NAME` configures one" in err


def test_an_unknown_jobset_exits_78_with_those_that_exist(env_file: Path, said: Said) -> None:
    assert cli.main(["enqueue", "--jobset", "dmeo"]) == 78
    (err,) = said()[1]
    assert "no jobset named dmeo" in err
    assert "Configured: demo." in err


@pytest.mark.parametrize("number", ["0", "-1"])
def test_workers_are_numbered_from_1(number: str, env_file: Path, said: Said) -> None:
    assert cli.main(["worker", number]) == 78
    assert said()[1] == [f"sagequeue: worker {number}: workers are numbered from 1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SCRIPT": "/nowhere/demo.py"}, "SCRIPT '/nowhere/demo.py' is not a file"),
        ({"SCRIPT": "demo.py"}, "SCRIPT 'demo.py' is not a file"),
        ({"SAGE_BIN": "/nowhere/sage"}, "SAGE_BIN '/nowhere/sage' is not a program"),
        ({"SAGE_BIN": "/etc/passwd"}, "SAGE_BIN '/etc/passwd' is not a program"),
    ],
)
def test_a_worker_that_could_start_nothing_exits_78_and_claims_nothing(
    change: dict[str, str], message: str, env_file: Path, keys: dict[str, str], said: Said
) -> None:
    env_file.write_text(jobset.render(keys | change))
    cli.main(["enqueue"])
    said()
    assert cli.main(["worker", "1"]) == 78
    assert message in said()[1][0]
    assert len(Spool(configuration.load(env_file, {})).names(PENDING)) == 4


def test_an_error_of_the_system_exits_1_with_its_message(
    config: Config, keys: dict[str, str], said: Said
) -> None:
    config.project_root.rmdir()
    config.project_root.write_text("")
    assert cli.main(["enqueue"]) == 1
    out, (err,) = said()
    assert out == []
    assert err.startswith("sagequeue: ")
    assert str(config.project_root) in err


def test_the_module_is_the_command_and_its_exit_status_the_processs(env_file: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sagequeue", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    refused = run("enqueue", "--jobset", "dmeo")
    assert refused.returncode == 78
    assert refused.stderr.startswith("sagequeue: no jobset named dmeo")
    assert refused.stderr.count("\n") == 1
    assert run("--version").stdout == f"sagequeue {__version__}\n"


def test_help_documents_the_exit_statuses(said: Said) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = "\n".join(said()[0])
    for status in ("0 ", "1 ", "2 ", "75 ", "78 "):
        assert f"\n  {status}" in text


# Purge asks


@pytest.mark.parametrize("text", ["", "\n", "y\n", "yes\n", "dem\n", "rook_r3\n"])
def test_purge_removes_nothing_unless_the_jobsets_name_is_typed(
    text: str, spool: Spool, put: Put, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(DONE, 0)
    answer(monkeypatch, text)
    assert cli.main(["purge"]) == 1
    assert "nothing was removed (--yes does not ask)" in said()[0][0]
    assert spool.locate("demo_off0") == [DONE]


def test_purge_removes_when_the_jobsets_name_is_typed(
    spool: Spool, put: Put, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(DONE, 0)
    answer(monkeypatch, " demo \n")
    assert cli.main(["purge"]) == 0
    assert spool.locate("demo_off0") == []


def test_purge_says_in_its_question_what_else_would_go(
    config: Config, spool: Spool, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.log_file(0).write_text("")
    state_file = config.state_file(0)
    assert state_file is not None
    state_file.write_text("0\n")
    answer(monkeypatch, "no\n")
    assert cli.main(["purge", "--logs", "--state-files"]) == 1
    assert said()[0][0].startswith("Remove every job of demo and 1 state files and 1 logs? ")
    assert cli.main(["purge", "--logs", "--yes"]) == 0
    assert not config.log_file(0).exists()
    assert state_file.exists()


# The other verbs


def test_the_verbs_of_an_operator_reach_their_operations(
    config: Config, spool: Spool, put: Put, said: Said
) -> None:
    assert cli.main(["request-stop", "--reason", "two\n  lines"]) == 0
    assert config.stop_file_host.read_text().startswith("two lines 20")
    assert cli.main(["clear-stop"]) == 0
    assert not config.stop_file_host.exists()
    put(FAILED, 0, ATTEMPTS=3)
    assert cli.main(["retry-failed"]) == 0
    assert spool.read(PENDING, "demo_off0").count("ATTEMPTS") == 3
    put(FAILED, 1, ATTEMPTS=3)
    assert cli.main(["retry-failed", "--reset-attempts"]) == 0
    assert spool.read(PENDING, "demo_off1").count("ATTEMPTS") == 0
    put(RUNNING, 2)
    assert cli.main(["requeue-running"]) == 0
    put(DONE, 3)
    assert cli.main(["enqueue", "--force", "--offset", "3"]) == 0
    assert len(spool.names(PENDING)) == 4
    assert said()[0][-1] == "enqueued=0 requeued=1 skipped=0"


def test_config_prints_an_env_file_of_what_is_in_force(
    env_file: Path, config: Config, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIDE", "16")
    assert cli.main(["config"]) == 0
    out, _ = said()
    assert out[0].startswith(f"# {env_file}")
    values = keyvalue.parse("\n".join(out))
    assert values["STRIDE"] == "16"
    assert values["PENDING_DIR"] == str(config.pending_dir)
    assert set(values) == {name.upper() for name in Config.__dataclass_fields__} - {"ENV_FILE"}


def test_progress_says_how_far_it_is_to_people_and_to_programs(
    spool: Spool, put: Put, said: Said
) -> None:
    put(PENDING, 0)
    assert cli.main(["progress"]) == 0
    assert "0/10 cases" in "\n".join(said()[0])
    assert cli.main(["progress", "--json"]) == 0
    assert json.loads("\n".join(said()[0]))["counts"]["pending"] == 1


def test_found_shows_what_was_found_and_where_its_record_is(
    config: Config, spool: Spool, said: Said
) -> None:
    assert cli.main(["found"]) == 0
    assert said()[0] == ["demo: found: nothing so far (0 of 10 cases)"]
    lines = "[t] START gidx=4 x\nSAT found for J = [0, 1]\nFound perm: [" + "1, " * 100 + "0]\n"
    config.log_file(0).write_text(lines)
    read_log(config)
    (path,) = config.results_dir.glob("*.json")
    assert cli.main(["found"]) == 0
    out, _ = said()
    assert out[0].startswith("found: offset 0, gidx 4, ")
    assert out[1].strip() == "SAT found for J = [0, 1]"
    assert out[2].strip() == lines.splitlines()[2]
    assert out[3] == f"  record: {path}"
    assert cli.main(["found", "--json"]) == 0
    assert json.loads("\n".join(said()[0]))[0]["J"] == [0, 1]


# Recovery of every jobset


@pytest.fixture
def other(env_file: Path, keys: dict[str, str]) -> Config:
    """A second jobset that is configured."""
    path = env_file.with_name("other.env")
    path.write_text(jobset.render(keys | {"JOBSET": "other"}))
    return configuration.load(path, {})


def orphan(config: Config) -> Spool:
    spool = Spool(config)
    spool.create()
    spool.file(RUNNING, f"{config.jobset}_off0").write_text("OFFSET=0\n")
    return spool


def test_recover_goes_over_every_configured_jobset(
    config: Config, other: Config, said: Said
) -> None:
    spools = [orphan(config), orphan(other)]
    assert cli.main(["recover"]) == 0
    summaries = [line for line in said()[0] if "action=summary" in line]
    assert [line.split()[3] for line in summaries] == ["jobset=demo", "jobset=other"]
    assert [len(spool.names(PENDING)) for spool in spools] == [1, 1]


def test_recover_goes_over_the_jobset_that_is_named(
    config: Config, other: Config, said: Said
) -> None:
    spools = [orphan(config), orphan(other)]
    assert cli.main(["recover", "--jobset", "other"]) == 0
    assert [len(spool.names(PENDING)) for spool in spools] == [0, 1]


def test_one_jobsets_fault_does_not_keep_the_others_from_being_recovered(
    config: Config, other: Config, said: Said
) -> None:
    config.env_file.write_text("nonsense\n")
    spool = orphan(other)
    assert cli.main(["recover"]) == 78
    assert len(spool.names(PENDING)) == 1
    assert said()[1] == [f"sagequeue: {config.env_file}: line 1 is not KEY=value"]


@pytest.mark.parametrize("key", ["JOBSET", "QUEUE_DIR"])
def test_recover_goes_over_every_jobset_though_the_environment_is_one_jobsets(
    key: str, config: Config, other: Config, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    spools = [orphan(config), orphan(other)]
    monkeypatch.setenv(key, str(getattr(config, key.lower())))
    cli.main(["recover"])
    assert [spool.names(PENDING) for spool in spools] == [["demo_off0"], ["other_off0"]]


def test_recover_says_when_another_recovery_is_at_it(config: Config, said: Said) -> None:
    spool = orphan(config)
    held = try_lock(config.run_dir / "recover.lock")
    assert held is not None
    with held:
        assert cli.main(["recover"]) == 0
    (line,) = said()[0]
    assert line.endswith(" action=warn jobset=demo reason=recovery_is_running")
    assert spool.names(RUNNING) == ["demo_off0"]


@pytest.mark.parametrize("every", ["0", "-1", "nan", "inf"])
def test_recovery_is_not_repeated_without_a_pause(
    every: str, env_file: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*_: object) -> int:
        raise AssertionError("a pass was made")

    monkeypatch.setattr("sagequeue.verbs.queue._recover_once", again)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("signal.set_wakeup_fd", lambda *_, **__: None)
    try:
        status: object = cli.main(["recover", "--every", every])
    except SystemExit as stop:
        status = stop.code
    assert status in (2, 78)
    assert said()[1]


def test_every_verb_takes_an_env_file(env_file: Path, said: Said, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.env"
    os.rename(env_file, moved)
    verbs = ["recover", "enqueue", "retry-failed", "requeue-running", "request-stop", "clear-stop"]
    for verb in (*verbs, "progress", "found", "config"):
        assert cli.main([verb, "--env-file", str(moved)]) == 0
    assert cli.main(["purge", "--yes", "--env-file", str(moved)]) == 0
