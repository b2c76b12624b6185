"""A jobset in a temporary directory, and the way a test puts job files into its queue."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kinds import Put
from kit import jobset
from rig import Rig, rig
from sagequeue import config as configuration
from sagequeue import keyvalue
from sagequeue.config import Config
from sagequeue.jobs import JobState, job_name
from sagequeue.spool import Spool
from wrapped import SHELLS, Wrapped


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """An env file's keys: 10 cases, so partitions of 3, 3, 2 and 2."""
    project, notebooks = tmp_path / "project", tmp_path / "notebooks"
    for path in (project, notebooks):
        path.mkdir()
    (notebooks / "demo.py").write_text("raise SystemExit(0)\n")
    # A solver is known by its arguments: so no other test's is taken for one of this jobset.
    return jobset.keys(project, notebooks, SAGE_BASE_ARGS=f"--of {tmp_path}")


@pytest.fixture
def env_file(tmp_path: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """That env file, configured and active for a user whose home is empty otherwise."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for key in (*keys, "SAGE_TAG", "LOG_PREFIX", "STATE_DIR", "QUEUE_DIR"):
        monkeypatch.delenv(key, raising=False)
    path = configuration.config_dir() / "demo.env"
    path.parent.mkdir(parents=True)
    path.write_text(jobset.render(keys))
    (path.parent / "sagequeue.env").symlink_to(path.name)
    return path


@pytest.fixture
def config(env_file: Path) -> Config:
    """The configuration in that file."""
    return configuration.load(env_file, {})


@pytest.fixture
def spool(config: Config) -> Spool:
    """Its queue, empty."""
    spool = Spool(config)
    spool.create()
    return spool


@pytest.fixture
def put(spool: Spool) -> Put:
    """Puts a job file into a state; returns the job's name. `text` replaces its whole content."""

    def put(
        state: JobState, offset: int = 0, text: str | bytes | None = None, **more: object
    ) -> str:
        name = job_name(spool.config.jobset, offset)
        if text is None:
            known = {"OFFSET": offset, "ENQUEUED_AT": "2024-01-01T00:00:00+00:00", **more}
            text = keyvalue.render({key: str(value) for key, value in known.items()})
        content = text.encode() if isinstance(text, str) else text
        spool.file(state, name).write_bytes(content)
        return name

    return put


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory in which programs are found first."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    """A jobset whose solvers do as they are told, with its jobs enqueued."""
    with rig(tmp_path / "rig") as made:
        made.run("enqueue")
        yield made


@pytest.fixture(params=SHELLS)
def wrapped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wrapped]:
    """An execution of the wrapper, once under each shell."""
    made = Wrapped(tmp_path, request.param)
    try:
        yield made
    finally:
        made.close()
