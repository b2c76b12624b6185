"""`ansible-playbook site.yml`, in a copy of the project, for an empty home."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kit.waiting import until
from project import CopyProject, long

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
        self.modules = base / "modules"  # what is in there hides what is installed
        self.modules.mkdir()
        self.var = project / "var"
        self.jobsets(quick=QUICK, endless=ENDLESS)

    def jobsets(self, **records: Record) -> None:
        """Have these jobsets in place of those that are shipped (JSON is YAML too)."""
        file = self.project / "group_vars" / "all" / "jobsets.yml"
        file.write_text(json.dumps({"jobsets": records}))

    def run(
        self, *command: str, cwd: Path | None = None, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run it in the project, or elsewhere; `more` are variables of its environment."""
        environ = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:{sys.prefix}/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(self.modules),
        } | more
        return subprocess.run(
            command, cwd=cwd or self.project, env=environ, timeout=120, capture_output=True,
            text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def play(self, *args: str) -> str:
        result = self.run("ansible-playbook", "site.yml", *args)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def refused(self, *args: str) -> str:
        """What it said when it would not; one line, as a person reads it."""
        result = self.run("ansible-playbook", "site.yml", *args)
        assert result.returncode != 0, result.stdout
        return " ".join((result.stdout + result.stderr).split())

    def verb(self, *words: str) -> str:
        """What a verb of the command said."""
        result = self.run("sagequeue", *words)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

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
        until(
            lambda: len(list(directory.glob("*.env"))) == count, f"{count} jobs in {directory}",
            seconds, below=directory, report=lambda: str(sorted(os.listdir(directory))),
        )  # fmt: skip

    def await_solvers(self, jobset: str, count: int) -> None:
        """Return when there are so many solvers; each writes into its log when it starts."""
        logs = self.var / jobset / "log"
        until(lambda: len(self.solvers(jobset)) == count, f"{count} solvers", below=logs)

    def shut_down(self) -> None:
        pid_file = self.home / ".local" / "state" / "sagequeue" / "supervisord.pid"
        if pid_file.exists():
            daemon = psutil.Process(int(pid_file.read_text()))
            self.supervisorctl("shutdown")
            daemon.wait(timeout=60)


def changed(output: str) -> int:
    return int(re.findall(r"changed=(\d+)", output)[-1])


def changes(output: str) -> set[str]:
    """The tasks that changed something, as Ansible has it."""
    tasks = output.split("\nTASK [")[1:]
    return {task.partition("]")[0] for task in tasks if "\nchanged: [localhost]" in task}


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject) -> Site:
    """A machine on which nothing has been provisioned."""
    # A short name: a socket's path below it must stay under 100 characters.
    base = tmp_path_factory.mktemp("s")
    return Site(base, copy_project(base / "p"))


@pytest.fixture(scope="module")
def provisioned(
    tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject
) -> Iterator[tuple[Site, str, str]]:
    """A site, what its first run said, and what --check said before that."""
    base = tmp_path_factory.mktemp("s")
    site = Site(base, copy_project(base / "p"))
    try:
        announced = site.play("-e", "jobset=endless", "--check")
        yield site, site.play("-e", "jobset=endless"), announced
    finally:
        site.shut_down()


@pytest.fixture
def site(provisioned: tuple[Site, str, str]) -> Site:
    """A machine whose two workers are at cases that never end."""
    site = provisioned[0]
    site.jobsets(quick=QUICK, endless=ENDLESS)
    site.await_solvers("endless", 2)
    return site


def test_the_first_run_tells_the_mode_and_how_to_watch_stop_and_resume(
    provisioned: tuple[Site, str, str],
) -> None:
    site, said, _ = provisioned
    assert "in embedded mode, because" in said
    assert "does not come back after a reboot" in said
    for command in ("progress --watch", "request-stop", "sagequeue stop", "clear-stop"):
        assert command in said
    assert set(site.workers()) == {"recover", "endless-1", "endless-2"}
    assert (site.project / "group_vars" / "all" / "my.yml").exists()
    active = site.home / ".config" / "sagequeue" / "sagequeue.env"
    assert os.readlink(active) == "endless.env"
    assert active.stat().st_mode & 0o777 == 0o644


def test_check_mode_announces_everything_that_the_first_run_changes(
    provisioned: tuple[Site, str, str],
) -> None:
    _, said, announced = provisioned
    assert changes(announced) == changes(said)
    assert len(changes(said)) == changed(said) > 10


def test_a_second_run_changes_nothing_and_disturbs_no_solver(site: Site) -> None:
    before = site.workers(), site.solvers("endless")
    assert changed(site.play("-e", "jobset=endless")) == 0
    assert changed(site.play("-e", "jobset=endless", "--check", "--diff")) == 0
    assert (site.workers(), site.solvers("endless")) == before


def test_the_doctor_finds_nothing_wrong(site: Site) -> None:
    found = json.loads(site.run("sagequeue", "doctor", "--json").stdout)["findings"]
    assert {finding["check"] for finding in found} > {"env_file", "workload", "units", "solvers"}
    wrong = {finding["check"]: finding for finding in found if finding["level"] != "OK"}
    # How much there is of these is the host's own affair.
    assert not {check: wrong[check] for check in wrong.keys() - {"disk", "cores", "memory"}}


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
    said = site.play("-e", "jobset=quick")
    assert changed(said) == 0
    assert "All jobs of quick are done" in said
    assert "found: nothing" in said


def test_new_settings_reach_new_workers_and_the_old_ones_are_named(site: Site) -> None:
    before = site.workers(), site.solvers("endless")
    site.jobsets(endless=template("endless", 3600, 3, workers=3))
    said = site.play("-e", "jobset=endless")
    site.await_jobs("endless", "running", 3)
    assert before[0].items() <= site.workers().items()
    site.await_solvers("endless", 3)
    assert before[1] < site.solvers("endless")
    assert "Nothing that runs was stopped" in said
    assert "Older settings, or an older runner: endless-1, endless-2." in said

    # What the message says to type; solvers work on.
    solvers = site.solvers("endless")
    assert "restart --jobset endless\n" in said
    assert site.verb("restart", "--jobset", "endless").endswith("work on and are adopted\n")
    assert site.workers().keys() >= {"recover", "endless-1", "endless-2", "endless-3"}
    assert site.workers()["endless-1"] != before[0]["endless-1"]
    assert site.solvers("endless") == solvers
    assert "Nothing that runs" not in site.play("-e", "jobset=endless")

    with_three = site.workers()
    site.jobsets(endless=template("endless", 3600, 3, workers=2))
    said = site.play("-e", "jobset=endless")
    assert site.workers() == with_three
    assert "Too many: endless-3." in said

    # What the message says to type; the solver ends, and its job goes back.
    site.supervisorctl("stop", "endless-3")
    assert len(list((site.var / "endless" / "queue" / "pending").glob("*.env"))) == 1
    site.verb("restart")
    assert "Nothing that runs" not in site.play("-e", "jobset=endless")


def test_workers_that_are_started_anew_adopt_their_solvers_however_soon(site: Site) -> None:
    solvers = site.solvers("endless")
    for _ in range(3):
        before = site.workers()
        site.verb("restart")
        after = site.workers()
        assert after.keys() == before.keys()
        assert after["endless-1"] != before["endless-1"]
        assert after["recover"] == before["recover"]
    site.supervisorctl("signal", "KILL", "endless-1")
    site.verb("restart")
    assert site.solvers("endless") == solvers
    assert "ATTEMPTS" not in "".join(
        job.read_text() for job in (site.var / "endless" / "queue" / "running").glob("*.env")
    )


def test_stop_ends_the_solvers_and_start_has_them_again(site: Site) -> None:
    refused = site.run("sagequeue", "idle")
    assert refused.returncode == 75
    assert "`sagequeue stop` ends them now" in refused.stderr
    assert site.verb("stop").endswith(
        "endless: workers stopped: 2; solvers ended, and their jobs went back\n"
    )
    assert site.solvers("endless") == set()
    assert len(list((site.var / "endless" / "queue" / "pending").glob("*.env"))) == 3
    assert set(site.workers()) >= {"recover"}
    assert site.verb("idle") == "endless: no solver lives\n"
    assert site.verb("stop").startswith("endless: no worker ran")
    assert site.verb("start").endswith("endless: started: endless-1, endless-2\n")
    site.await_solvers("endless", 2)
    assert site.verb("start").startswith("endless: everything runs already")


def test_stop_ends_a_solver_whose_worker_is_gone(site: Site) -> None:
    site.supervisorctl("signal", "HUP", "endless-1")
    assert "endless: workers stopped" in site.verb("stop")
    assert site.solvers("endless") == set()
    assert not list((site.var / "endless" / "queue" / "running").glob("*.env"))
    site.verb("start")
    site.await_solvers("endless", 2)


def test_status_and_journal_tell_of_the_workers(site: Site) -> None:
    said = site.verb("status")
    for name in ("recover", "endless-1", "endless-2"):
        assert re.search(rf"^{name} +active +\d+", said, re.MULTILINE)
    assert said.splitlines()[-1] == (
        "endless: 2 of 2 workers run; jobs: 1 pending, 2 running, 0 done, 0 failed; findings: 0"
    )
    units = json.loads(site.verb("status", "--json"))["units"]
    assert [(unit["name"], unit["current"]) for unit in units] == [
        ("recover", None), ("endless-1", True), ("endless-2", True),
    ]  # fmt: skip
    journal = site.verb("journal", "-n", "2").splitlines()
    # As in systemd's, what a worker has said stays when it is gone.
    assert {line.split()[0] for line in journal[:-1]} >= {"[endless-1]", "[endless-2]"}
    assert journal[-1].startswith("endless: ")


def test_there_is_no_container_to_start_or_stop(site: Site) -> None:
    for verb in ("up", "down"):
        refused = site.run("sagequeue", verb)
        assert refused.returncode == 1
        assert "there is no container. In the embedded mode" in refused.stderr


def test_disabled_workers_do_not_come_back_with_the_process_manager(site: Site) -> None:
    site.play("-e", "jobset=quick")
    site.verb("disable", "--jobset", "quick")
    assert not any(name.startswith("quick") for name in site.workers())
    assert len(site.solvers("endless")) == 2
    assert (
        "jobset=quick` sets them up" in site.run("sagequeue", "start", "--jobset", "quick").stderr
    )
    site.verb("stop", "--jobset", "endless")
    site.shut_down()
    assert "was started, with recovery" in site.verb("start", "--jobset", "endless")
    assert set(site.workers()) == {"recover", "endless-1", "endless-2"}
    assert "so are recovery and the process manager;" in site.verb("disable", "--jobset", "endless")
    assert site.solvers("endless") == set()
    assert site.workers() == {}
    site.play("-e", "jobset=endless")
    site.await_solvers("endless", 2)


@pytest.mark.parametrize("text", [None, *long("for the night\n")])
def test_stopped_workers_start_again_and_the_operators_stop_gate_stays(
    site: Site, text: str | None
) -> None:
    """None: what the container put there is a FIFO, and nobody reads from it."""
    site.supervisorctl("stop", "all")
    assert site.solvers("endless") == set()
    gate = site.notebooks / "endless_stop.txt"
    os.mkfifo(gate) if text is None else gate.write_text(text)
    try:
        announced = site.play("-e", "jobset=endless", "--check")
        said = site.play("-e", "jobset=endless")
        assert changes(announced) == changes(said)
        assert set(site.workers()) >= {"recover", "endless-1", "endless-2"}
        assert text is None or gate.read_text() == text
        assert f"stop gate: {text or ''}".strip() in said
        assert "sagequeue clear-stop --jobset endless" in said
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
    assert "Make group_vars/all/my.yml" in said
    assert not (bare.project / "group_vars" / "all" / "my.yml").exists()
    assert_nothing_written(bare)


def foreign(directory: Path) -> dict[str, str]:
    """The environment of a user whose Ansible is set up for other projects."""
    # The second has no connection of its own, so it would be ssh's.
    (directory / "hosts").write_text("a.example\nlocalhost\n")
    config = directory / "ansible.cfg"
    # Somebody else: root becomes root without a word.
    config.write_text(
        "[defaults]\nroles_path=/nowhere\n[privilege_escalation]\nbecome=true\nbecome_user=nobody\n"
    )
    return {
        "ANSIBLE_CONFIG": str(config), "ANSIBLE_INVENTORY": str(directory / "hosts"),
        "ANSIBLE_ROLES_PATH": "/nowhere",
    }  # fmt: skip


@pytest.mark.parametrize("place", ["writable", *long("root", "configured")])
def test_a_play_finds_all_that_it_needs_whatever_the_configuration_is(
    bare: Site, tmp_path: Path, place: str
) -> None:
    """By what --check says of a machine that is not set up, which is of every role."""
    elsewhere = foreign(tmp_path)
    if place == "writable":
        # As on a Windows drive. Ansible does not read the configuration of such a directory.
        bare.project.chmod(0o777)
    result = bare.run(
        "ansible-playbook", str(bare.project / "site.yml"), "--check",
        *("-e", "jobset=quick", "-e", "sagequeue_mode=embedded"),
        cwd=Path("/") if place == "root" else bare.project,
        **(elsewhere if place == "configured" else {}),
    )  # fmt: skip
    assert ("world writable" in result.stderr) is (place == "writable")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "in embedded mode, because" in result.stdout
    assert_nothing_written(bare)


@pytest.mark.parametrize("configured", [False, True])
def test_an_operation_finds_all_that_it_needs_from_any_directory(
    bare: Site, tmp_path: Path, configured: bool
) -> None:
    """By what the command says of a jobset that is not set up."""
    result = bare.run(
        *("ansible-playbook", str(bare.project / "ops.yml"), "-t", "print_config"),
        *("-e", "jobset=quick"),
        cwd=Path("/"), **(foreign(tmp_path) if configured else {}),
    )  # fmt: skip
    said = " ".join((result.stdout + result.stderr).split())
    assert f"no jobset named quick: {bare.home}/.config/sagequeue/quick.env does not" in said


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
            "no jobset named 'rook_r4'. There are: quick. Choose one of them with -e jobset=NAME,"
            " or add a record to group_vars/all/my.yml",
        ),
        ({}, ["x=y"], "Say which jobset to run. There are: quick."),
        ({"Quick-2": QUICK}, [], "names of jobsets will not do: Quick-2"),
        ({"quick": QUICK | {"args": "--resume --stride 3"}}, [], "args holds --stride or --offset"),
        ({"quick": QUICK | {"state_file": "state.txt"}}, [], "must have {stride} and {offset}"),
        ({"quick": QUICK | {"script": "mine.sage"}}, [], "there is no mine.sage in"),
        ({}, ["sagequeue_notebooks_dir=/mnt/c/Users/me"], "lies on a Windows drive"),
        ({}, ["sagequeue_mode=systemd"], "systemd is not what started this machine"),
        *long(
            ({"quick": QUICK | {"stride": 0}}, [], "stride is `0`. It is a whole number"),
            ({"quick": QUICK | {"workers": 4}}, [], "4 workers for 3 partitions"),
            ({"quick": QUICK | {"args": "--offset=3"}}, [], "args holds --stride or --offset"),
            (
                {"quick": QUICK | {"args": "--stop_file {stop_fil}"}},
                [],
                "args holds {stop_fil}, which",
            ),
            ({"copy": QUICK}, [], "quick and copy have the same state files"),
            ({"quick": QUICK | {"needs_sage": True}}, [], "Two ways out: install Sage"),
            ({}, ["sagequeue_var_dir=/mnt/d/var"], "lies on a Windows drive"),
            ({}, [f"sagequeue_state_dir=/{'long' * 30}"], "a socket's path may have 99"),
        ),
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


@pytest.mark.parametrize(
    ("arguments", "module", "words"),
    [
        (
            "--x 1\n --sat_backend='cryptominisat'",
            "pycryptosat",
            ["auto there, or cadical;", "PYTHON=/path/to/python3.13", "run it in the container"],
        ),
        (
            "--sat_backend auto --sat_backend cadical",
            "pysat",
            ["auto there, or cryptominisat;", "make .venv anew"],
        ),
    ],
)
def test_a_solver_that_the_workers_python_has_not_is_refused_before_anything_is_written(
    bare: Site, arguments: str, module: str, words: list[str]
) -> None:
    (bare.modules / f"{module}.py").write_text("raise ImportError('none here')")
    bare.jobsets(quick=QUICK | {"args": arguments})
    said = bare.refused("-e", "jobset=quick")
    solver = arguments.split()[-1].split("=")[-1].strip("'")
    assert f"args insists on --sat_backend {solver}, and `{sys.prefix}/bin/python" in said
    assert f"cannot import {module} (ImportError: none here)" in said
    assert [word for word in words if word not in said] == []
    assert_nothing_written(bare)


@pytest.mark.parametrize("arguments", ["--sat_backend cryptominisat", *long("--sat_backend auto")])
def test_a_solver_that_is_there_or_left_open_is_not_refused(bare: Site, arguments: str) -> None:
    text = "" if "cryptominisat" in arguments else "raise ImportError('none here')"
    (bare.modules / "pycryptosat.py").write_text(text)
    bare.jobsets(quick=QUICK | {"args": arguments})
    bare.play("-e", "jobset=quick", "-e", "sagequeue_mode=embedded", "--check")
    assert_nothing_written(bare)


def test_sages_own_python_is_asked_for_the_solver_where_the_workload_needs_sage(bare: Site) -> None:
    sage = bare.home / "bin" / "sage"
    sage.parent.mkdir()
    sage.write_text(f'#!/bin/sh\n[ "$1" = -python ] && shift && exec {sys.executable} "$@"\n')
    sage.chmod(0o755)
    (bare.modules / "pycryptosat.py").write_text("raise ImportError('none here')")
    bare.jobsets(quick=QUICK | {"args": "--sat_backend cryptominisat", "needs_sage": True})
    said = bare.refused("-e", "jobset=quick", "-e", "sagequeue_mode=embedded")
    assert f"`{sage} -python`, which would run the script, cannot import pycryptosat" in said
    assert "install it: `sage -pip install pycryptosat`" in said
    assert_nothing_written(bare)
