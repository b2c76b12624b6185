"""Env files: checked once, every refusal with its key and its remedy; what state files say."""

import errno
import os
import shlex
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import jobset
from sagequeue import config as configuration
from sagequeue import keyvalue
from sagequeue.config import Config
from sagequeue.exceptions import EXIT_CONFIG, ConfigError, StateCorrupt, StateUnreadable


def load(path: Path, keys: dict[str, str], **environ: str) -> Config:
    path.write_text(jobset.render(keys))
    return configuration.load(path, environ)


def load_text(path: Path, text: str) -> Config:
    """The configuration in a file of that text."""
    path.write_text(text)
    return configuration.load(path, {})


def test_paths_follow_from_the_project_root_and_the_jobset(config: Config) -> None:
    state = config.project_root / "var" / "demo"
    assert config.state_dir == state
    assert config.queue_dir == state / "queue"
    assert config.pending_dir == state / "queue" / "pending"
    assert config.running_dir == state / "queue" / "running"
    assert config.done_dir == state / "queue" / "done"
    assert config.failed_dir == state / "queue" / "failed"
    assert config.run_dir == state / "run"
    assert config.log_dir == state / "log"
    assert config.results_dir == state / "results"
    assert config.log_file(3) == state / "log" / "demo_off3.log"


@pytest.mark.parametrize(
    ("runtime", "named", "manager"),
    [
        ("podman", {}, "systemd"),
        ("local", {}, "supervisor"),
        ("local", {"SERVICE_MANAGER": "systemd"}, "systemd"),
        ("podman", {"SERVICE_MANAGER": "supervisor"}, "supervisor"),
    ],
)
def test_the_service_manager_is_the_runtimes_unless_it_is_named(
    env_file: Path, keys: dict[str, str], runtime: str, named: dict[str, str], manager: str
) -> None:
    assert load(env_file, keys | named | {"RUNTIME": runtime}).service_manager == manager


def test_what_is_left_out_has_a_default(env_file: Path, keys: dict[str, str]) -> None:
    for key in ("RUNTIME", "SAGE_BIN", "STATE_FILE_HOST", "WORKERS", "TOTAL_CASES", "STOP_GRACE"):
        del keys[key]
    config = load(env_file, keys)
    assert (config.runtime, config.service, config.sage_bin) == ("podman", "sagemath", "./sage")
    assert (config.container_workdir, config.stop_file_cont) == ("/sage", keys["STOP_FILE_HOST"])
    assert (config.workers, config.max_failed_retries) == (1, 3)
    assert (config.sleep_empty, config.stop_grace) == (30.0, 10.0)
    assert config.total_cases is None
    assert config.state_file(0) is None
    assert config.log_prefix == "demo"


def test_every_path_can_be_set_for_itself(
    env_file: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    names = ["STATE_DIR", "QUEUE_DIR", "PENDING_DIR", "RUNNING_DIR", "DONE_DIR", "FAILED_DIR"]
    names += ["RUN_DIR", "LOG_DIR"]
    keys |= {name: str(tmp_path / name) for name in names}
    config = load(env_file, keys)
    assert {name: getattr(config, name.lower()) for name in names} == {
        name: tmp_path / name for name in names
    }


def test_the_environment_wins_over_the_file(env_file: Path, keys: dict[str, str]) -> None:
    config = load(env_file, keys, STRIDE="16", SAGE_BIN="/usr/bin/sage", OTHER="x")
    assert (config.stride, config.sage_bin) == (16, "/usr/bin/sage")


def test_an_empty_variable_of_the_environment_means_not_set(
    env_file: Path, keys: dict[str, str]
) -> None:
    assert load(env_file, keys, TOTAL_CASES="").total_cases is None
    with pytest.raises(ConfigError, match="STRIDE is not set"):
        load(env_file, keys, STRIDE="")


def test_base_arguments_are_split_as_a_shell_splits_words(
    env_file: Path, keys: dict[str, str]
) -> None:
    keys["SAGE_BASE_ARGS"] = "--graph rook --name 'two words' --x=\"a b\" '' $HOME *"
    words = ("--graph", "rook", "--name", "two words", "--x=a b", "", "$HOME", "*")
    assert load(env_file, keys).sage_base_args == words


def test_a_file_with_windows_line_ends_is_read(env_file: Path, keys: dict[str, str]) -> None:
    env_file.write_bytes(jobset.render(keys).replace("\n", "\r\n").encode())
    assert configuration.load(env_file, {}).stride == 4


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("JOBSET", "", "JOBSET is not set"),
        ("JOBSET", "Rook", "must be made of a-z, 0-9 and _"),
        ("JOBSET", "rook-r3", "must be made of a-z, 0-9 and _"),
        ("JOBSET", "../rook", "must be made of a-z, 0-9 and _"),
        ("JOBSET", "rook r3", "must be made of a-z, 0-9 and _"),
        ("JOBSET", "sagequeue", "not 'sagequeue'"),
        ("PROJECT_ROOT", "", "PROJECT_ROOT is not set"),
        ("PROJECT_ROOT", "relative/path", "must be an absolute path"),
        ("PROJECT_ROOT", "~/sagequeue", "must be an absolute path"),
        ("PROJECT_ROOT", "/mnt/c/Users/me/sagequeue", "keep the queue on the Linux side"),
        ("PROJECT_ROOT", "/mnt/d", "keep the queue on the Linux side"),
        ("STATE_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("QUEUE_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("QUEUE_DIR", "/home/../mnt/c/x", "keep the queue on the Linux side"),
        ("PENDING_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("RUNNING_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("DONE_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("FAILED_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("RUN_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("LOG_DIR", "/mnt/c/x", "keep the queue on the Linux side"),
        ("STATE_DIR", "var/demo", "must be an absolute path"),
        ("QUEUE_DIR", "queue", "must be an absolute path"),
        ("RUN_DIR", "run", "must be an absolute path"),
        ("LOG_DIR", "log", "must be an absolute path"),
        ("RUNTIME", "docker", "is not one of local, podman"),
        ("SERVICE_MANAGER", "upstart", "is not one of systemd, supervisor"),
        ("SAGE_TAG", "10.7-pycryptosat", "must be the plain tag, without -pycryptosat"),
        ("SCRIPT", "", "SCRIPT is not set"),
        ("STOP_FILE_HOST", "", "STOP_FILE_HOST is not set"),
        ("STOP_FILE_HOST", "stop.txt", "must be an absolute path"),
        ("STATE_FILE_HOST", "state_off{offset}.txt", "must be an absolute path with {offset}"),
        ("STATE_FILE_HOST", "/tmp/state.txt", "must be an absolute path with {offset}"),
        ("STRIDE", "", "STRIDE is not set"),
        ("STRIDE", "0", "must be a whole number, 1 or more"),
        ("STRIDE", "-1", "must be a whole number, 1 or more"),
        ("STRIDE", "8.0", "must be a whole number, 1 or more"),
        ("STRIDE", "eight", "must be a whole number, 1 or more"),
        ("STRIDE", "9" * 5000, "must be a whole number, 1 or more"),
        ("STRIDE", "1000001", "more than 1000000: each partition is a job"),
        ("STRIDE", "٨", "must be a whole number, 1 or more"),
        ("WORKERS", "0", "must be a whole number, 1 or more"),
        ("WORKERS", "many", "must be a whole number, 1 or more"),
        ("TOTAL_CASES", "-1", "must be a whole number, 0 or more"),
        ("TOTAL_CASES", "unknown", "must be a whole number, 0 or more"),
        ("MAX_FAILED_RETRIES", "-1", "must be a whole number, 0 or more"),
        ("MAX_FAILED_RETRIES", "3x", "must be a whole number, 0 or more"),
        ("SLEEP_EMPTY", "0", "must be a number of seconds"),
        ("SLEEP_EMPTY", "0.0", "must be a number of seconds"),
        ("SLEEP_EMPTY", "-5", "must be a number of seconds"),
        ("SLEEP_EMPTY", "inf", "must be a number of seconds"),
        ("SLEEP_EMPTY", "nan", "must be a number of seconds"),
        ("NICE", "20", "must be a whole number from 0 to 19"),
        ("NICE", "-1", "must be a whole number from 0 to 19"),
        ("STOP_GRACE", "soon", "must be a number of seconds"),
        ("STOP_GRACE", "1e3", "must be a number of seconds"),
        ("LOG_PREFIX", "a/b", "must be the beginning of a file name"),
        ("LOG_PREFIX", "../x", "must be the beginning of a file name"),
        ("LOG_PREFIX", ".hidden", "must be the beginning of a file name"),
        ("SAGE_BASE_ARGS", "--stride 8", "STRIDE sets the stride"),
        ("SAGE_BASE_ARGS", "--resume --offset 0", "take it out"),
        ("SAGE_BASE_ARGS", "--stride=3", "must not hold --stride=3"),
        ("SAGE_BASE_ARGS", "--offset=3", "must not hold --offset=3"),
        ("SAGE_BASE_ARGS", "'--stride' 3", "STRIDE sets the stride"),
        ("SAGE_BASE_ARGS", "--name 'open", "cannot be split into words"),
    ],
)
@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_wrong_value_is_refused_with_its_key_and_the_remedy(
    where: str, key: str, value: str, said: str, env_file: Path, keys: dict[str, str]
) -> None:
    environ = {key: value} if where == "environment" else {}
    with pytest.raises(ConfigError) as caught:
        load(env_file, keys if environ else {**keys, key: value}, **environ)
    message = str(caught.value)
    assert message.startswith(f"{env_file}: {key} ")
    assert said in message
    assert len(message) < 400
    assert caught.value.exit_code == EXIT_CONFIG


def test_a_link_to_a_windows_drive_is_seen_through(
    env_file: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "drive").symlink_to("/mnt/c/Users")
    with pytest.raises(ConfigError, match="lies on a Windows drive"):
        load(env_file, {**keys, "PROJECT_ROOT": str(tmp_path / "drive")})


def test_the_notebooks_may_lie_on_a_windows_drive(env_file: Path, keys: dict[str, str]) -> None:
    keys["STOP_FILE_HOST"] = "/mnt/c/Users/me/Jupyter/demo_stop.txt"
    assert str(load(env_file, keys).stop_file_host) == keys["STOP_FILE_HOST"]


def test_other_mounts_than_drives_are_no_windows_drives(
    env_file: Path, keys: dict[str, str]
) -> None:
    assert load(env_file, {**keys, "STATE_DIR": "/mnt/data/x"}).state_dir == Path("/mnt/data/x")


@pytest.mark.parametrize("text", [b"JOBSET", b"JOBSET='demo'\n", b"A=1\nA=2\n", b"\xff\xfe"])
def test_a_file_that_is_not_key_value_text_is_a_configuration_error(
    text: bytes, env_file: Path
) -> None:
    env_file.write_bytes(text)
    with pytest.raises(ConfigError, match=str(env_file)):
        configuration.load(env_file, {})


def test_a_file_that_was_cut_off_anywhere_is_refused(env_file: Path, keys: dict[str, str]) -> None:
    whole = keyvalue.render({**keys, "SAGE_BASE_ARGS": "--depth 4"})
    assert load_text(env_file, whole).sage_base_args == ("--depth", "4")
    for length in range(len(whole)):
        with pytest.raises(ConfigError):
            load_text(env_file, whole[:length])


def test_a_file_without_the_workloads_arguments_says_how_to_have_none(
    env_file: Path, keys: dict[str, str]
) -> None:
    del keys["SAGE_BASE_ARGS"]
    with pytest.raises(ConfigError, match='for none, write SAGE_BASE_ARGS=""'):
        load(env_file, keys)


def test_a_file_that_is_not_there_or_cannot_be_read_is_a_configuration_error(
    env_file: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"gone\.env does not exist.*site\.yml"):
        configuration.load(env_file.parent / "gone.env", {})
    with pytest.raises(ConfigError, match=f"cannot read {env_file.parent}"):
        configuration.load(env_file.parent, {})


def test_a_control_character_from_the_environment_is_refused_as_from_the_file(
    env_file: Path, keys: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match="LOG_PREFIX"):
        load(env_file, keys, LOG_PREFIX="two\nlines")


# What is in force


def test_what_config_prints_is_an_env_file_with_the_same_meaning(
    env_file: Path, keys: dict[str, str]
) -> None:
    keys |= {"SAGE_BASE_ARGS": "--name 'two words' --q '\"' --d '$x'", "SLEEP_EMPTY": "0.25"}
    config = load(env_file, keys)
    env_file.write_text(configuration.render(config))
    assert configuration.load(env_file, {}) == config


@given(
    grace=st.one_of(
        st.integers(0, 10**9 - 1).map(str), st.from_regex(r"\A[0-9]{1,9}\.[0-9]{1,9}\Z")
    ),
    words=st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8), max_size=4),
    total=st.one_of(st.just(""), st.integers(0, 10**15 - 1).map(str)),
)
def test_every_configuration_survives_being_printed_and_read(
    tmp_path_factory: pytest.TempPathFactory, grace: str, words: list[str], total: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.env"
    keys = {"PROJECT_ROOT": "/p", "JOBSET": "demo", "STRIDE": "4", "SCRIPT": "/s.py"}
    keys |= {"STOP_FILE_HOST": "/n/stop", "STOP_GRACE": grace, "TOTAL_CASES": total}
    config = load(path, {**keys, "SAGE_BASE_ARGS": shlex.join(words)})
    path.write_text(configuration.render(config))
    assert configuration.load(path, {}) == config


# Which configuration a command means


def test_without_a_name_the_active_jobset_is_meant(env_file: Path) -> None:
    assert configuration.find(None, None, {}).jobset == "demo"


def test_a_jobset_is_found_by_its_name_and_a_file_by_its_path(
    env_file: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.env"
    elsewhere.write_text(jobset.render({**keys, "JOBSET": "other"}))
    assert configuration.find("demo", None, {}).jobset == "demo"
    assert configuration.find(None, str(elsewhere), {}).jobset == "other"


def test_a_jobset_asked_for_by_name_is_not_renamed_by_the_environment(env_file: Path) -> None:
    assert configuration.find("demo", None, {"JOBSET": "other"}).jobset == "demo"


def test_an_unknown_jobset_is_answered_with_those_that_exist(
    env_file: Path, keys: dict[str, str]
) -> None:
    (env_file.parent / "rook_r3.env").write_text(jobset.render({**keys, "JOBSET": "rook_r3"}))
    with pytest.raises(ConfigError) as caught:
        configuration.find("rok_r3", None, {})
    assert "no jobset named rok_r3" in str(caught.value)
    assert "Configured: demo, rook_r3." in str(caught.value)
    assert "site.yml -e jobset=NAME" in str(caught.value)


def test_a_machine_without_any_jobset_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    with pytest.raises(ConfigError, match=r"no jobset is active.*Configured: none yet.*site\.yml"):
        configuration.find(None, None, {})


def test_an_active_link_that_leads_nowhere_is_no_active_jobset(env_file: Path) -> None:
    env_file.rename(env_file.with_name("renamed.env"))
    with pytest.raises(ConfigError, match=r"no jobset is active.*Configured: renamed\."):
        configuration.find(None, None, {})


def test_the_active_link_is_not_listed_as_a_jobset(env_file: Path) -> None:
    assert configuration.env_files() == [env_file]


# Partitions and state files


def test_the_partitions_share_all_cases_out(env_file: Path, keys: dict[str, str]) -> None:
    for stride in (1, 2, 3, 8, 84, 100):
        for total in (0, 1, 7, 8, 84, 455):
            config = load(env_file, keys, STRIDE=str(stride), TOTAL_CASES=str(total))
            for offset in range(stride):
                assert config.cases(offset) == len(range(offset, total, stride))


def state(config: Config, offset: int, content: bytes) -> None:
    path = config.state_file(offset)
    assert path is not None
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "content", "last", "complete"),
    [
        (0, None, -1, False),
        (0, b"-1", -1, False),
        (0, b"-1\n", -1, False),
        (0, b"0\n", 0, False),
        (0, b"4", 4, False),
        (0, b"8\r\n", 8, True),
        (1, b"5\n", 5, False),
        (1, b"9\n", 9, True),
        (2, b"2\n", 2, False),
        (2, b"6\n", 6, True),
        (3, b"7   \n", 7, True),
    ],
)
def test_the_state_file_says_how_far_a_partition_is(
    config: Config, offset: int, content: bytes | None, last: int, complete: bool
) -> None:
    if content is not None:
        state(config, offset, content)
    assert config.last_gidx(offset) == last
    assert config.complete(offset) is complete


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"four",
        b"4 8",
        b"4\n8\n",
        b"4.0",
        b"0x4",
        b"+4",
        b"-4",
        b"-2",
        b"\x00\x00\x00\x00",
        b"\xff\xfe4",
        b"5\n",
        b"12\n",
        b"9" * 30,
        b"4" * 5000,
        b"4" + b" " * 100 + b"4",
        b"$(id)",
    ],
)
def test_a_state_file_without_one_case_of_its_partition_is_corrupt(
    config: Config, content: bytes
) -> None:
    state(config, 0, content)
    for question in (config.last_gidx, config.complete):
        with pytest.raises(StateCorrupt) as caught:
            question(0)
        assert str(config.state_file(0)) in str(caught.value)
        assert "correct it or move it away" in str(caught.value)


def link(path: Path) -> None:
    path.symlink_to(path.with_name("precious"))
    path.with_name("precious").write_text("0")


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(os.path.relpath(path))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, link, socket_file])
def test_what_is_in_the_place_of_a_state_file_and_is_none_is_corrupt(
    config: Config, make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config.state_file(0)
    assert path is not None
    monkeypatch.chdir(path.parent)
    make(path)
    with pytest.raises(StateCorrupt, match=f"cannot read {path}"):
        config.last_gidx(0)


def loop(path: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to(path.parent.name)


def no_directory(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("make", [loop, no_directory])
def test_a_state_file_that_cannot_be_read_now_is_neither_corrupt_nor_empty(
    env_file: Path, keys: dict[str, str], tmp_path: Path, make: Callable[[Path], None]
) -> None:
    config = load(env_file, keys, STATE_FILE_HOST=f"{tmp_path}/states/{{offset}}")
    path = tmp_path / "states" / "0"
    path.parent.mkdir()
    assert config.state_trouble(0) is None
    make(path)
    for question in (config.last_gidx, config.complete):
        with pytest.raises(StateUnreadable, match=f"cannot read {path}: "):
            question(0)
    assert str(path) in str(config.state_trouble(0))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_an_error_of_the_system_says_nothing_of_the_state_files_content(
    config: Config, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    state(config, 0, b"4\n")
    for call in ("open", "read"):
        with monkeypatch.context() as patch:
            patch.setattr(f"sagequeue.regular.os.{call}", fails)
            with pytest.raises(StateUnreadable, match=os.strerror(number)):
                config.last_gidx(0)
    assert config.last_gidx(0) == 4


def test_a_state_file_whose_name_is_too_long_cannot_be_read(
    env_file: Path, keys: dict[str, str]
) -> None:
    config = load(env_file, keys, STATE_FILE_HOST="/tmp/" + "x" * 300 + "{offset}")
    with pytest.raises(StateUnreadable, match="File name too long"):
        config.last_gidx(0)


def test_with_an_unknown_total_any_case_of_the_partition_will_do(
    env_file: Path, keys: dict[str, str]
) -> None:
    config = load(env_file, keys, TOTAL_CASES="")
    state(config, 1, b"4001\n")
    assert config.last_gidx(1) == 4001
    assert config.complete(1) is None
    assert config.cases(1) is None


def test_a_partition_without_cases_is_complete_without_a_state_file(
    env_file: Path, keys: dict[str, str]
) -> None:
    config = load(env_file, keys, TOTAL_CASES="2")
    assert [config.cases(k) for k in range(4)] == [1, 1, 0, 0]
    assert [config.complete(k) for k in range(4)] == [False, False, True, True]


def test_without_a_state_file_nothing_is_known_of_completeness(
    env_file: Path, keys: dict[str, str]
) -> None:
    config = load(env_file, keys, STATE_FILE_HOST="")
    assert config.last_gidx(0) == -1
    assert config.complete(0) is None


def test_the_state_file_is_named_by_its_stride_and_offset(
    env_file: Path, keys: dict[str, str]
) -> None:
    config = load(env_file, keys, STATE_FILE_HOST="/n/{offset}/s{stride}_{offset}.txt")
    assert config.state_file(3) == Path("/n/3/s4_3.txt")


def test_all_workers_together_use_each_core_once(env_file: Path, keys: dict[str, str]) -> None:
    cores = len(os.sched_getaffinity(0))
    assert load(env_file, keys, WORKERS="1").threads == cores
    assert load(env_file, keys, WORKERS=str(cores)).threads == 1
    assert load(env_file, keys, WORKERS=str(10 * cores)).threads == 1


def test_a_configuration_is_frozen(config: Config) -> None:
    with pytest.raises(AttributeError):
        config.stride = 8  # type: ignore[misc]
