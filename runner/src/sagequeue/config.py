"""A jobset's env file, read once into a frozen record.

The keys are those of docs/queue.md. Variables of the same names in the process's environment win,
so that a unit or a test may set them.
"""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sagequeue import keyvalue, regular
from sagequeue.exceptions import ConfigError, StateCorrupt, StateUnreadable

JOBSET_NAME = re.compile(r"[a-z0-9_]+")
ACTIVE = "sagequeue"
RUNTIMES = ("local", "podman")
SERVICE_MANAGERS = ("systemd", "supervisor")
_WINDOWS_DRIVE = re.compile(r"/mnt/[a-z](/|$)")
_STATE_TEXT = re.compile(rb"(?:-1|[0-9]{1,18})\s*")


def config_dir() -> Path:
    """Where env files are: `~/.config/sagequeue`."""
    return Path.home() / ".config" / "sagequeue"


# A partition is a job, and its files are looked at one by one.
_MOST_PARTITIONS = 1_000_000


@dataclass(frozen=True)
class Config:
    """One jobset's settings; a field is an env file's key in small letters.

    Paths are absolute. `sleep_empty` and `stop_grace` are seconds, `log_limit` is MiB,
    `nice` is from 0 to 19, as in nice(1).
    `found_pattern` is a regular expression for lines that are solutions, too, or empty.
    `total_cases` is None when the size of the enumeration is not known, `state_file_host` is empty
    when there is no state file.
    """

    env_file: Path
    project_root: Path
    jobset: str
    state_dir: Path
    queue_dir: Path
    pending_dir: Path
    running_dir: Path
    done_dir: Path
    failed_dir: Path
    run_dir: Path
    log_dir: Path
    runtime: str
    service_manager: str
    service: str
    container_workdir: str
    sage_bin: str
    script: str
    stop_file_cont: str
    stop_file_host: Path
    state_file_host: str
    stride: int
    workers: int
    total_cases: int | None
    log_prefix: str
    sleep_empty: float
    sage_base_args: tuple[str, ...] = field(repr=False)
    max_failed_retries: int
    stop_grace: float
    log_limit: int
    nice: int
    found_pattern: str

    @property
    def ledger_dir(self) -> Path:
        """Where the ledger is, and how far each log was read."""
        return self.state_dir / "ledger"

    @property
    def results_dir(self) -> Path:
        """Where findings are kept."""
        return self.state_dir / "results"

    @property
    def threads(self) -> int:
        """Solver threads for one worker, so that all workers together use each core once."""
        return max(1, len(os.sched_getaffinity(0)) // self.workers)

    @property
    def gated(self) -> bool:
        """Whether the stop gate is there now."""
        return os.path.lexists(self.stop_file_host)

    def log_file(self, offset: int) -> Path:
        """The log of one offset."""
        return self.log_dir / f"{self.log_prefix}_off{offset}.log"

    def state_file(self, offset: int) -> Path | None:
        """The workload's state file of one offset, None when the jobset names none."""
        if not self.state_file_host:
            return None
        text = self.state_file_host.replace("{stride}", str(self.stride))
        return Path(text.replace("{offset}", str(offset)))

    def cases(self, offset: int) -> int | None:
        """How many cases the partition has, None when that is not known."""
        if self.total_cases is None:
            return None
        return max(0, -((offset - self.total_cases) // self.stride))

    def last_gidx(self, offset: int) -> int:
        """The last case done by the state file, -1 when none is.

        Raises StateCorrupt for nonsense and for what is not a regular file, StateUnreadable if the
        file cannot be read now, which says nothing of its content.
        """
        path = self.state_file(offset)
        if path is None:
            return -1
        try:
            content = regular.read(path, 65)
        except FileNotFoundError:
            return -1
        except regular.NoRegularFile as error:
            raise StateCorrupt(f"cannot read {path}: {error.strerror}") from None
        except OSError as error:
            raise StateUnreadable(f"cannot read {path}: {error.strerror}") from None
        gidx = int(content) if len(content) <= 64 and _STATE_TEXT.fullmatch(content) else None
        if gidx == -1:
            return -1
        total = self.total_cases
        if gidx is None or gidx % self.stride != offset or (total is not None and gidx >= total):
            raise StateCorrupt(
                f"{path} does not hold one case number of partition {offset} of {self.stride}; "
                "correct it or move it away (the partition then starts anew)"
            )
        return gidx

    def state_trouble(self, offset: int) -> str | None:
        """Why the state file cannot be read now, with its path; None when it can, or need not."""
        try:
            self.last_gidx(offset)
        except StateUnreadable as error:
            return str(error)
        except StateCorrupt:
            pass
        return None

    def complete(self, offset: int) -> bool | None:
        """Whether the state file says that the partition is done; None when that can't be known.

        Raises StateCorrupt and StateUnreadable as `last_gidx` does.
        """
        cases = self.cases(offset)
        if cases is None or not self.state_file_host:
            return None
        return cases == 0 or self.last_gidx(offset) == offset + (cases - 1) * self.stride


def env_files() -> list[Path]:
    """Every configured jobset's env file, the link to the active one left out, by name."""
    return sorted(p for p in config_dir().glob("*.env") if p.stem != ACTIVE)


def find(jobset: str | None, env_file: str | None, environ: Mapping[str, str]) -> Config:
    """The configuration that a command's `--jobset` or `--env-file` means, else the active one.

    Raises ConfigError, with the list of what exists for an unknown jobset.
    """
    if env_file is not None:
        return load(Path(env_file), environ)
    path = config_dir() / f"{jobset or ACTIVE}.env"
    if not path.exists():
        what = f"no jobset named {jobset}" if jobset else "no jobset is active"
        raise ConfigError(f"{what}: {_absent(path)}")
    if not jobset:
        return load(path, environ)
    found = load(path, {key: value for key, value in environ.items() if key != "JOBSET"})
    if found.jobset != jobset:
        raise ConfigError(f"{path} is of JOBSET {found.jobset}; was it copied? Correct it there")
    return found


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check one env file; ConfigError names the key and the remedy."""
    try:
        text = path.read_text(encoding="utf-8")
        values = keyvalue.parse(text)
    except FileNotFoundError:
        raise ConfigError(_absent(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not text.endswith("\n"):
        raise ConfigError(f"{path} has no end of its last line: it may have been cut off; add it")
    values.update({key: environ[key] for key in _KEYS if key in environ})
    try:
        keyvalue.render(values)  # the environment may hold what a file cannot
        return _build(path, values)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _absent(path: Path) -> str:
    known = ", ".join(p.stem for p in env_files()) or "none yet"
    return (
        f"{path} does not exist. Configured: {known}. "
        "`ansible-playbook site.yml -e jobset=NAME` configures one"
    )


def render(config: Config) -> str:
    """The settings in force, as an env file."""
    values: dict[str, str] = {}
    for name in _FIELDS:
        value = getattr(config, name)
        if name == "sage_base_args":
            value = shlex.join(value)
        elif isinstance(value, float):
            value = f"{value:.9f}".rstrip("0").rstrip(".")
        values[name.upper()] = "" if value is None else str(value)
    return keyvalue.render(values)


def _build(path: Path, values: dict[str, str]) -> Config:
    jobset = _need(values, "JOBSET")
    if not JOBSET_NAME.fullmatch(jobset) or jobset == ACTIVE:
        raise ConfigError(f"JOBSET {jobset!r} must be made of a-z, 0-9 and _, and not {ACTIVE!r}")
    root = _path(_need(values, "PROJECT_ROOT"), "PROJECT_ROOT")

    def directory(key: str, default: Path) -> Path:
        return _path(values.get(key) or str(default), key)

    state = directory("STATE_DIR", root / "var" / jobset)
    queue = directory("QUEUE_DIR", state / "queue")
    runtime = values.get("RUNTIME") or "podman"
    if runtime not in RUNTIMES:
        raise ConfigError(f"RUNTIME {runtime!r} is not one of {', '.join(RUNTIMES)}")
    manager = values.get("SERVICE_MANAGER") or SERVICE_MANAGERS[runtime != "podman"]
    if manager not in SERVICE_MANAGERS:
        raise ConfigError(
            f"SERVICE_MANAGER {manager!r} is not one of {', '.join(SERVICE_MANAGERS)}"
        )
    if "-pycryptosat" in values.get("SAGE_TAG", ""):
        raise ConfigError("SAGE_TAG must be the plain tag, without -pycryptosat")
    total = values.get("TOTAL_CASES", "")
    stop_host = _path(_need(values, "STOP_FILE_HOST"), "STOP_FILE_HOST")
    prefix = values.get("LOG_PREFIX") or jobset
    if "/" in prefix or prefix.startswith("."):
        raise ConfigError(f"LOG_PREFIX {prefix!r} must be the beginning of a file name")
    return Config(
        env_file=path,
        project_root=root,
        jobset=jobset,
        state_dir=state,
        queue_dir=queue,
        pending_dir=directory("PENDING_DIR", queue / "pending"),
        running_dir=directory("RUNNING_DIR", queue / "running"),
        done_dir=directory("DONE_DIR", queue / "done"),
        failed_dir=directory("FAILED_DIR", queue / "failed"),
        run_dir=directory("RUN_DIR", state / "run"),
        log_dir=directory("LOG_DIR", state / "log"),
        runtime=runtime,
        service_manager=manager,
        service=values.get("SERVICE") or "sagemath",
        container_workdir=values.get("CONTAINER_WORKDIR") or "/sage",
        sage_bin=values.get("SAGE_BIN") or "./sage",
        script=_need(values, "SCRIPT"),
        stop_file_cont=values.get("STOP_FILE_CONT") or str(stop_host),
        stop_file_host=stop_host,
        state_file_host=_state_pattern(values.get("STATE_FILE_HOST", "")),
        stride=_stride(values),
        workers=_whole(values, "WORKERS", "1", 1),
        total_cases=_whole(values, "TOTAL_CASES", None, 0) if total else None,
        log_prefix=prefix,
        sleep_empty=_seconds(values, "SLEEP_EMPTY", "30", above=0),
        sage_base_args=_base_args(values),
        max_failed_retries=_whole(values, "MAX_FAILED_RETRIES", "3", 0),
        stop_grace=_seconds(values, "STOP_GRACE", "10", above=-1),
        log_limit=_whole(values, "LOG_LIMIT", "64", 0),
        nice=_whole(values, "NICE", "10", 0, 19),
        found_pattern=_pattern(values.get("FOUND_PATTERN", "")),
    )


_FIELDS = [name for name in Config.__dataclass_fields__ if name != "env_file"]
_KEYS = (*(name.upper() for name in _FIELDS), "SAGE_TAG")


def _need(values: Mapping[str, str], key: str) -> str:
    value = values.get(key, "")
    if not value:
        raise ConfigError(f"{key} is not set")
    return value


def _path(text: str, key: str) -> Path:
    if not text.startswith("/"):
        raise ConfigError(f"{key} {text!r} must be an absolute path")
    if key != "STOP_FILE_HOST" and _WINDOWS_DRIVE.match(os.path.realpath(text)):
        raise ConfigError(
            f"{key} {text!r} lies on a Windows drive, where renames and locks do not hold; "
            "keep the queue on the Linux side, for example below your home directory"
        )
    return Path(text)


def _whole(
    values: Mapping[str, str], key: str, default: str | None, least: int, most: int | None = None
) -> int:
    text = values.get(key) or default
    if text is None:
        raise ConfigError(f"{key} is not set")
    number = int(text) if re.fullmatch(r"[0-9]{1,15}", text) else -1
    if number < least or (most is not None and number > most):
        limits = f", {least} or more" if most is None else f" from {least} to {most}"
        raise ConfigError(f"{key} {text[:24]!r} must be a whole number{limits}")
    return number


def _stride(values: Mapping[str, str]) -> int:
    stride = _whole(values, "STRIDE", None, 1)
    if stride > _MOST_PARTITIONS:
        raise ConfigError(
            f"STRIDE {stride} is more than {_MOST_PARTITIONS}: each partition is a job, a file; put"
            " more cases into one"
        )
    return stride


def _seconds(values: Mapping[str, str], key: str, default: str, above: float) -> float:
    text = values.get(key) or default
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) <= above:
        raise ConfigError(f"{key} {text[:24]!r} must be a number of seconds")
    return float(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError) as error:
        raise ConfigError(f"FOUND_PATTERN {text!r} is no regular expression: {error}") from None
    return text


def _state_pattern(text: str) -> str:
    if text and not (text.startswith("/") and "{offset}" in text):
        raise ConfigError(
            f"STATE_FILE_HOST {text!r} must be an absolute path with {{offset}} in it"
        )
    return text


def _base_args(values: Mapping[str, str]) -> tuple[str, ...]:
    # It is the last key that the play writes: a file without it was cut off between two lines.
    if "SAGE_BASE_ARGS" not in values:
        raise ConfigError('SAGE_BASE_ARGS is not set; for none, write SAGE_BASE_ARGS=""')
    try:
        words = tuple(shlex.split(values["SAGE_BASE_ARGS"]))
    except ValueError as error:
        raise ConfigError(f"SAGE_BASE_ARGS cannot be split into words: {error}") from None
    for word in words:
        if word.partition("=")[0] in ("--stride", "--offset"):
            raise ConfigError(
                f"SAGE_BASE_ARGS must not hold {word}: every worker adds --stride and --offset "
                "itself; take it out (STRIDE sets the stride)"
            )
    return words
