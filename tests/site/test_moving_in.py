"""`ansible-playbook site.yml` for a user of the shell project, whose tree is as it left it."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import CopyProject, long
from test_site import QUICK, Site, changed, changes, template

# offset: directory, job file, state file; 12 cases in 3 partitions
LEFT = {
    0: ("pending", "OFFSET=0\r\nENQUEUED_AT=2024-05-01T10:00:00+02:00\r\n", 3),
    1: ("running", "OFFSET=1\nENQUEUED_AT=2024-05-01T10:00:00+02:00\n", 7),
    2: ("failed", "OFFSET=2\nENQUEUED_AT=2024-05-01T10:00:00+02:00\nATTEMPTS=1\n", None),
}


class Moving(Site):
    """A site whose owner has the shell project's `quick`, half through, in a clone of its own."""

    def __init__(self, base: Path, project: Path) -> None:
        super().__init__(base, project)
        self.old = self.home / "old"
        self.env_file = self.home / ".config" / "sagequeue" / "sagequeue.env"
        state, inside = self.old / "var" / "quick", "/home/sage/notebooks"
        self.queue = state / "queue"
        args = QUICK["args"].replace("{stop_file}", f"{inside}/quick_stop.txt")  # type: ignore[attr-defined]
        self.settings = (
            f"PROJECT_ROOT={self.old}\nJOBSET=quick\n\nSTATE_DIR={state}\nQUEUE_DIR={self.queue}\n"
            f"PENDING_DIR={self.queue}/pending\nRUNNING_DIR={self.queue}/running\n"
            f"DONE_DIR={self.queue}/done\nFAILED_DIR={self.queue}/failed\n"
            f"RUN_DIR={state}/run\nLOG_DIR={state}/log\n\n"
            f"COMPOSE_FILE={self.old}/podman-compose.yml\nSERVICE=sagemath\n\n"
            f"CONTAINER_WORKDIR=/sage\nSAGE_BIN=./sage\n\nSCRIPT={inside}/template.sage\n\n"
            f"STOP_FILE_CONT={inside}/quick_stop.txt\n"
            f"STOP_FILE_HOST={self.notebooks}/quick_stop.txt\n\n"
            f'STRIDE=3\nLOG_PREFIX=quick\nSLEEP_EMPTY=2\n\nSAGE_BASE_ARGS="{args}"\n'
        )
        self.env_file.parent.mkdir(parents=True)
        self.env_file.write_text(self.settings)
        self.notebooks.mkdir()
        for directory in ("pending", "running", "done", "failed"):
            (self.queue / directory).mkdir(parents=True)
        for directory in ("run", "log"):
            (state / directory).mkdir()
        for offset, (directory, job, gidx) in LEFT.items():
            (self.queue / directory / f"quick_off{offset}.env").write_bytes(job.encode())
            if gidx is not None:
                file = self.notebooks / f"state_quick_stride3_off{offset}.txt"
                file.write_text(f"{gidx}\n")
        owner = "OWNER_PID=4194304\nOWNER_WORKER_ID=1\nOWNER_TS=2024-05-01T10:00:00+02:00\n"
        (self.queue / "running" / "quick_off1.env.owner").write_text(owner)
        self.here = ("-e", f"sagequeue_var_dir={self.old}/var")

    def worker(self) -> "subprocess.Popen[bytes]":
        """Its worker; for a test, one that waits and does nothing."""
        script = self.old / "bin" / "sagequeue-worker.sh"
        script.parent.mkdir()
        script.write_text("#!/bin/bash\nread -r _\n")
        script.chmod(0o755)
        return subprocess.Popen([script, "1"], env={"HOME": str(self.home)}, stdin=subprocess.PIPE)

    def tree(self) -> dict[str, bytes]:
        """Every file that the shell project left."""
        tops = (self.old, self.env_file.parent, self.notebooks)
        files = (path for top in tops for path in top.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}


@pytest.fixture
def moving(tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject) -> Iterator[Moving]:
    base = tmp_path_factory.mktemp("m")
    site = Moving(base, copy_project(base / "p"))
    try:
        yield site
    finally:
        site.shut_down()


def test_it_is_refused_while_its_worker_lives_and_taken_over_afterwards(moving: Moving) -> None:
    worker = moving.worker()
    try:
        before = moving.tree()
        said = moving.refused("-e", "jobset=quick", *moving.here)
        assert f"End it first: kill -KILL {worker.pid}" in said
        assert moving.tree() == before
    finally:
        worker.kill()
        worker.wait()

    said = moving.play("-e", "jobset=quick", *moving.here)
    assert "1 pending, 1 running, 0 done, 1 failed" in said
    assert os.readlink(moving.env_file) == "quick.env"
    assert (moving.env_file.parent / "sagequeue.env.before").read_text() == moving.settings
    moving.var = moving.old / "var"
    moving.await_jobs("quick", "done", 3)
    # The first case of each is the one after its state file's.
    logs = {k: (moving.var / "quick" / "log" / f"quick_off{k}.log").read_text() for k in LEFT}
    starts = {k: re.findall(r"START gidx=(\d+)", log)[0] for k, log in logs.items()}
    assert starts == {0: "6", 1: "10", 2: "2"}
    assert "ATTEMPTS" not in (moving.queue / "done" / "quick_off1.env").read_text()
    assert "ATTEMPTS=2" in (moving.queue / "done" / "quick_off2.env").read_text()
    assert changed(moving.play("-e", "jobset=quick", *moving.here)) == 0


def test_check_mode_shows_it_and_leaves_it_as_it_is(moving: Moving) -> None:
    before = moving.tree()
    said = moving.play("-e", "jobset=quick", *moving.here, "--check", "--diff")
    assert "jobset : env_file | Take over the shell project's settings" in changes(said)
    assert moving.tree() == before


def test_another_jobset_that_is_run_first_takes_the_settings_over_too(moving: Moving) -> None:
    other = template("other", 0.01, 12)
    moving.jobsets(quick=QUICK, other=other)
    moving.play("-e", "jobset=other")
    assert (moving.env_file.parent / "quick.env").read_text() == moving.settings
    assert os.readlink(moving.env_file) == "other.env"


@pytest.mark.parametrize(
    ("records", "here", "words"),
    [
        ({"quick": QUICK | {"stride": 4}}, True, "3 jobs for stride 3"),
        (
            {"quick": QUICK | {"state_file": "s_{stride}_{offset}.txt"}},
            True,
            "has left 2 as state_quick_stride{stride}_off{offset}.txt: what they say is done",
        ),
        *long(
            ({"quick": QUICK}, False, "set sagequeue_var_dir in group_vars/all/my.yml to where it"),
            (
                {"quick": QUICK | {"script": "other.sage"}},
                True,
                "the shell project ran template.sage",
            ),
            ({"other": QUICK}, True, "is printed by `./bootstrap sagequeue migrate --record`"),
        ),
    ],
)
def test_a_record_that_means_something_else_is_refused_before_anything_is_written(
    records: dict[str, dict[str, object]], here: bool, words: str, moving: Moving
) -> None:
    before = moving.tree()
    moving.jobsets(**records)
    said = moving.refused("-e", "jobset=quick", *(moving.here if here else ()))
    assert words in said
    assert moving.tree() == before
