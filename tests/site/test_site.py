"""`ansible-playbook site.yml`, in a copy of the project, for an empty home."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from inotify_simple import INotify, flags
from project import CopyProject

Record = dict[str, object]


def template(prefix: str, work_secs: float, cases: int, **changes: object) -> Record:
    """A jobset of the template workload, three partitions for two workers."""
    return {
        "script": "template.sage",
        "stride": 3,
        "workers": 2,
        "total_cases": cases,
        "stop_grace": 2,
        "state_file": f"state_{prefix}_stride{{stride}}_off{{offset}}.txt",
        "args": f"--total_cases {cases} --work_secs {work_secs} --state_prefix {prefix}"
        " --resume --stop_file {stop_file} --progress_every 1",
    } | changes


# The first has done its cases before a play ends, the other is never through.
QUICK = template("quick", 0.01, 12)
ENDLESS = template("endless", 3600, 3)


class Site:
    """A copy of the project with a home directory; `play` is what a person types."""

    def __init__(self, base: Path, project: Path) -> None:
        self.project = project
        self.home = base / "h"
        self.home.mkdir()
        self.notebooks = self.home / "Jupyter"
        self.var = project / "var"
        self.jobsets(quick=QUICK, endless=ENDLESS)

    def jobsets(self, **records: Record) -> None:
        """Edit the one file that a user edits (JSON is YAML too)."""
        file = self.project / "group_vars" / "all" / "jobsets.yml"
        file.write_text(json.dumps({"jobsets": records}))

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        environ = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:{sys.prefix}/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            command, cwd=self.project, env=environ, timeout=120, capture_output=True, text=True
        )

    def play(self, *args: str) -> str:
        result = self.run("ansible-playbook", "site.yml", *args)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def refused(self, *args: str) -> str:
        """What it said when it would not; one line, as a person reads it."""
        result = self.run("ansible-playbook", "site.yml", *args)
        assert result.returncode != 0, result.stdout
        return " ".join((result.stdout + result.stderr).split())

    def supervisorctl(self, *args: str) -> str:
        config = self.home / ".config" / "sagequeue" / "supervisord.conf"
        return self.run("supervisorctl", "-c", str(config), *args).stdout

    def workers(self) -> dict[str, int]:
        """The process id of every program that runs."""
        status = self.supervisorctl("status")
        return {n: int(p) for n, p in re.findall(r"(\S+) +RUNNING +pid (\d+)", status)}

    def solvers(self, jobset: str) -> set[int]:
        """The process ids of the jobset's solvers."""
        script = str(self.notebooks / "template.sage")
        return {
            process.pid
            for process in psutil.process_iter(["cmdline"])
            # python template.sage ...; the wrapper around it names the script further on
            if (process.info["cmdline"] or [])[1:2] == [script]
            and jobset in process.info["cmdline"]
        }

    def await_jobs(self, jobset: str, state: str, count: int, seconds: float = 60) -> None:
        """Return when the queue directory holds so many jobs."""
        directory = self.var / jobset / "queue" / state
        await_change(directory, lambda: len(list(directory.glob("*.env"))) == count, seconds)

    def await_solvers(self, jobset: str, count: int) -> None:
        """Return when there are so many solvers; each writes into its log when it starts."""
        logs = self.var / jobset / "log"
        await_change(logs, lambda: len(self.solvers(jobset)) == count, 60)

    def shut_down(self) -> None:
        pid_file = self.home / ".local" / "state" / "sagequeue" / "supervisord.pid"
        if pid_file.exists():
            daemon = psutil.Process(int(pid_file.read_text()))
            self.supervisorctl("shutdown")
            daemon.wait(timeout=60)


def await_change(directory: Path, holds: Callable[[], bool], seconds: float) -> None:
    """Look whenever something happens in the directory, until it holds."""
    deadline = time.monotonic() + seconds
    with INotify() as watch:
        watch.add_watch(directory, flags.MODIFY | flags.MOVED_TO | flags.MOVED_FROM | flags.CREATE)
        while not holds():
            left = deadline - time.monotonic()
            assert left > 0, f"{directory}: {sorted(os.listdir(directory))}"
            watch.read(timeout=min(1000, int(left * 1000) + 1))


def changed(output: str) -> int:
    return int(re.findall(r"changed=(\d+)", output)[-1])


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject) -> Site:
    """A machine on which nothing has been provisioned."""
    # A short name: a socket's path below it must stay under 100 characters.
    base = tmp_path_factory.mktemp("s")
    return Site(base, copy_project(base / "p"))


@pytest.fixture(scope="module")
def provisioned(
    tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject
) -> Iterator[tuple[Site, str]]:
    base = tmp_path_factory.mktemp("s")
    site = Site(base, copy_project(base / "p"))
    try:
        said = site.play("-e", "jobset=endless")
        yield site, said
    finally:
        site.shut_down()


@pytest.fixture
def site(provisioned: tuple[Site, str]) -> Site:
    """A machine whose two workers are at cases that never end."""
    site = provisioned[0]
    site.jobsets(quick=QUICK, endless=ENDLESS)
    site.await_solvers("endless", 2)
    return site


def test_the_first_run_tells_the_mode_and_how_to_watch_stop_and_resume(
    provisioned: tuple[Site, str],
) -> None:
    site, said = provisioned
    assert "in embedded mode, because" in said
    assert "does not come back after a reboot" in said
    for command in ("progress --watch", "request-stop", "stop all", "clear-stop"):
        assert command in said
    assert set(site.workers()) == {"recover", "endless-1", "endless-2"}
    active = site.home / ".config" / "sagequeue" / "sagequeue.env"
    assert os.readlink(active) == "endless.env"
    assert active.stat().st_mode & 0o777 == 0o644


def test_a_second_run_changes_nothing_and_disturbs_no_solver(site: Site) -> None:
    before = site.workers(), site.solvers("endless")
    assert changed(site.play("-e", "jobset=endless")) == 0
    assert changed(site.play("-e", "jobset=endless", "--check", "--diff")) == 0
    assert (site.workers(), site.solvers("endless")) == before


def test_another_jobset_runs_to_its_end_beside_the_first(site: Site) -> None:
    before = site.workers(), site.solvers("endless")
    site.play("-e", "jobset=quick")
    site.await_jobs("quick", "done", 3)
    assert before[0].items() <= site.workers().items()
    assert site.solvers("endless") == before[1]
    progress = json.loads(site.run("sagequeue", "progress", "--json").stdout)
    assert progress["jobset"] == "quick"
    assert sorted(file.read_text().strip() for file in site.notebooks.glob("state_quick_*")) == [
        "10", "11", "9",
    ]  # fmt: skip
    assert changed(site.play("-e", "jobset=quick")) == 0


def test_new_settings_reach_new_workers_and_the_old_ones_are_named(site: Site) -> None:
    before = site.workers(), site.solvers("endless")
    site.jobsets(endless=template("endless", 3600, 3, workers=3))
    said = site.play("-e", "jobset=endless")
    site.await_jobs("endless", "running", 3)
    assert before[0].items() <= site.workers().items()
    assert before[1] < site.solvers("endless")
    assert "Nothing that runs was stopped" in said
    assert "update endless-1 endless-2\n" in said

    with_three = site.workers()
    site.jobsets(endless=template("endless", 3600, 3, workers=2))
    said = site.play("-e", "jobset=endless")
    assert site.workers() == with_three
    assert "In the settings no more: endless-3." in said

    # What the message says to type; the solver ends, and its job goes back.
    site.supervisorctl("update", "endless-3")
    assert len(list((site.var / "endless" / "queue" / "pending").glob("*.env"))) == 1
    assert "Nothing that runs" not in site.play("-e", "jobset=endless")


def test_stopped_workers_start_again_and_the_operators_stop_gate_stays(site: Site) -> None:
    site.supervisorctl("stop", "all")
    assert site.solvers("endless") == set()
    gate = site.notebooks / "endless_stop.txt"
    gate.write_text("for the night\n")
    try:
        said = site.play("-e", "jobset=endless")
        assert set(site.workers()) >= {"recover", "endless-1", "endless-2"}
        assert gate.read_text() == "for the night\n"
        assert changed(said) == 1
        assert not list((site.var / "endless" / "queue" / "running").glob("*.env"))
    finally:
        site.run("sagequeue", "clear-stop", "--jobset", "endless")
    site.await_solvers("endless", 2)


def test_another_stride_is_refused_while_there_are_jobs_for_the_old_one(site: Site) -> None:
    site.jobsets(quick=QUICK, endless=ENDLESS | {"stride": 5})
    try:
        assert "jobs for stride 3, which are other partitions" in site.refused(
            "-e", "jobset=endless"
        )
        assert len(site.solvers("endless")) == 2
    finally:
        site.jobsets(quick=QUICK, endless=ENDLESS)


def test_a_workload_that_the_user_changed_is_kept_and_said_to_be_theirs(site: Site) -> None:
    script = site.notebooks / "template.sage"
    ours = script.read_bytes()
    script.write_bytes(ours + b"# mine\n")
    said = site.play("-e", "jobset=endless")
    assert script.read_bytes() == ours + b"# mine\n"
    assert "it is yours, it stays" in " ".join(said.split())
    assert changed(said) == 0
    script.write_bytes(ours)


def test_check_mode_on_a_bare_machine_shows_what_would_be_and_writes_nothing(bare: Site) -> None:
    sage = bare.home / "bin" / "sage"
    sage.parent.mkdir()
    sage.write_text("#!/bin/sh\n")
    sage.chmod(0o755)
    bare.jobsets(quick=QUICK | {"needs_sage": True})
    said = bare.play("-e", "jobset=quick", "-e", "sagequeue_mode=embedded", "--check", "--diff")
    assert f'+SAGE_BIN="{sage}"' in said
    assert "sagequeue_mode says so" in said
    assert_nothing_written(bare)


def assert_nothing_written(site: Site) -> None:
    # Ansible's own scratch space aside.
    assert {path.name for path in site.home.iterdir()} <= {".ansible", "bin"}
    assert not site.var.exists()


@pytest.mark.parametrize(
    ("records", "arguments", "words"),
    [
        (
            {},
            ["jobset=rook_r4"],
            "no jobset named 'rook_r4'. group_vars/all/jobsets.yml has: quick.",
        ),
        ({}, ["x=y"], "Say which jobset to run. group_vars/all/jobsets.yml has: quick."),
        ({"quick": QUICK | {"strid": 4}}, [], "jobset_record.strid"),
        ({"Quick-2": QUICK}, [], "names of jobsets will not do: Quick-2"),
        ({"quick": QUICK | {"stride": 0}}, [], "stride is 0"),
        ({"quick": QUICK | {"workers": 4}}, [], "4 workers for 3 partitions"),
        ({"quick": QUICK | {"args": "--resume --stride 3"}}, [], "args holds --stride or --offset"),
        ({"quick": QUICK | {"args": "--offset=3"}}, [], "args holds --stride or --offset"),
        ({"quick": QUICK | {"args": "--stop_file {stop_fil}"}}, [], "args holds {stop_fil}, which"),
        ({"quick": QUICK | {"state_file": "state.txt"}}, [], "must have {stride} and {offset}"),
        ({"copy": QUICK}, [], "quick and copy have the same state files"),
        ({"quick": QUICK | {"script": "mine.sage"}}, [], "there is no mine.sage in"),
        ({"quick": QUICK | {"needs_sage": True}}, [], "Two ways out: install Sage"),
        ({}, ["sagequeue_notebooks_dir=/mnt/c/Users/me"], "lies on a Windows drive"),
        ({}, ["sagequeue_var_dir=/mnt/d/var"], "lies on a Windows drive"),
        ({}, [f"sagequeue_state_dir=/{'long' * 30}"], "a socket's path may have 99"),
        ({}, ["sagequeue_mode=systemd"], "systemd is not what started this machine"),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence_before_anything_is_written(
    bare: Site, records: dict[str, Record], arguments: list[str], words: str
) -> None:
    bare.jobsets(**({"quick": QUICK} | records))
    options = [option for argument in ["jobset=quick", *arguments] for option in ("-e", argument)]
    if arguments == ["x=y"]:
        options = []
    assert words in bare.refused(*options)
    assert_nothing_written(bare)
