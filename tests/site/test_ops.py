"""`ansible-playbook ops.yml`, in the embedded mode."""

import os
import re
from collections.abc import Iterator

import pytest
import yaml
from project import ROOT, CopyProject, long
from test_site import Site, changes


class Operator(Site):
    """A site whose owner types `ansible-playbook ops.yml`."""

    def ops(self, *args: str) -> str:
        """What it said, in one line, as a person reads it."""
        result = self.run("ansible-playbook", "ops.yml", *args)
        assert result.returncode == 0, result.stdout + result.stderr
        return " ".join(result.stdout.split())

    def ops_refused(self, *args: str) -> str:
        """What it said when it would not."""
        result = self.run("ansible-playbook", "ops.yml", *args)
        assert result.returncode != 0, result.stdout
        return " ".join((result.stdout + result.stderr).split())

    def changed(self, *args: str) -> set[str]:
        """The verbs that changed something, as Ansible has it."""
        result = self.run("ansible-playbook", "ops.yml", *args)
        assert result.returncode == 0, result.stdout + result.stderr
        # A line between a task's name and its result says that it takes long, on a busy machine.
        task = "run | Call sagequeue "
        named = (name for name in changes(result.stdout) if name.startswith(task))
        return {name.removeprefix(task).split()[0] for name in named}

    def jobs(self, jobset: str, state: str) -> list[str]:
        return sorted(path.stem for path in (self.var / jobset / "queue" / state).glob("*.env"))


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject
) -> Iterator[Operator]:
    base = tmp_path_factory.mktemp("o")
    operator = Operator(base, copy_project(base / "p"))
    try:
        operator.play("-e", "jobset=endless")
        yield operator
    finally:
        operator.shut_down()


@pytest.fixture
def operator(machine: Operator) -> Operator:
    """Two workers of the active jobset are at cases that never end."""
    machine.await_solvers("endless", 2)
    return machine


def test_every_operation_is_a_tag_and_every_tag_an_operation() -> None:
    told = yaml.safe_load((ROOT / "playbooks" / "vars" / "operations.yml").read_text())
    tagged = set()
    for path in (ROOT / "playbooks" / "tasks").glob("*.yml"):
        for task in yaml.safe_load(path.read_text()):
            tagged |= set(task.get("tags", []))
            assert not task.get("tags") or task["tags"][0] == "never", "it would run unnamed"
    assert tagged - {"never"} == set(told["ops_operations"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "No operation was named."),
        (["-t", "request_stop,statsu"], "There is no operation statsu; nothing was done."),
        (["-t", "request_stop", "--skip-tags", "status"], "--skip-tags is of no use here"),
        (["-t", "start,stop"], "make no sense: start and stop."),
        (["-t", "request_stop", "-e", "jobset=no"], "There is no jobset named 'no'. group_vars"),
        (["-t", "enqueue_one", "-e", "offset=3"], "offset 3 is not from 0 to 2"),
        (["-t", "requeue_running", "-e", "offset=1"], "and does nothing for requeue_running"),
        (["-t", "purge_queue"], "-e confirm=endless"),
        (["-t", "purge_queue", "-e", "confirm=endless"], "sagequeue request-stop"),
        (["-t", "teardown", "-e", "remove=all"], "There is no all to remove"),
        (["-t", "rebuild_image"], "No jobset of this machine runs in a container"),
        (["-t", "rebuild_image", "-e", "within=soon"], "It is a number of seconds"),
        *long(
            (["-t", "statsu"], "There is no operation statsu; nothing was done."),
            (["-t", "never"], "There is no operation never; nothing was done."),
            (["-t", "all"], "No operation was named."),
            (["-t", "request_stop", "--skip-tags", "always"], "--skip-tags is of no use here"),
            (["-t", "switch,disable", "-e", "jobset=quick"], "make no sense: switch and disable."),
            (["-t", "request_stop,clear_stop"], "make no sense: request_stop and clear_stop."),
            (["-t", "request_stop", "-e", "jobset=--help"], "There is no jobset named '--help'."),
            (["-t", "enqueue_one"], "-t enqueue_one -e offset=K"),
            (["-t", "enqueue_one", "-e", "offset=$(id)"], "offset is '$(id)'. It is the number of"),
            (
                ["-t", "enqueue_one", "-e", "offset=--force"],
                "offset is '--force'. It is the number",
            ),
            (["-t", "switch", "-e", "jobset=endless"], "is the active jobset already"),
            (["-t", "rebuild_image", "-e", "how=fast"], "It is drain, which lets cases at hand be"),
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence_and_disturbs_nothing(
    operator: Operator, arguments: list[str], words: str
) -> None:
    before = operator.workers(), operator.solvers("endless"), operator.jobs("endless", "pending")
    assert words in operator.ops_refused(*arguments)
    after = operator.workers(), operator.solvers("endless"), operator.jobs("endless", "pending")
    assert after == before
    assert not (operator.notebooks / "endless_stop.txt").exists()


def test_what_cannot_be_named_is_answered_with_what_can(operator: Operator) -> None:
    said = operator.ops_refused("-t", "help")
    for name in ("enqueue_stride", "request_stop", "teardown"):
        assert f" {name} " in said


def test_a_jobset_that_has_never_run_is_set_up_step_by_step(operator: Operator) -> None:
    settings = operator.home / ".config" / "sagequeue"
    operator.ops("-t", "setup", "-e", "jobset=quick")
    assert (operator.var / "quick" / "queue" / "pending").is_dir()
    assert not (settings / "quick.env").exists()
    said = operator.ops("-t", "install_units,env", "-e", "jobset=quick")
    assert "it is the active jobset" in said
    assert (settings / "supervisord.d" / "quick.conf").exists()
    assert operator.jobs("quick", "pending") == []
    assert set(operator.workers()) == {"recover", "endless-1", "endless-2"}
    operator.ops("-t", "env", "-e", "jobset=endless")
    assert os.readlink(settings / "sagequeue.env") == "endless.env"


@pytest.mark.long  # and the scenario ops
def test_operations_run_in_their_natural_order(operator: Operator) -> None:
    operator.ops("-t", "setup,env,enqueue_one", "-e", "jobset=quick", "-e", "offset=1")
    said = operator.ops(
        *("-t", "progress,enqueue_stride,purge_queue,request_stop"),
        *("-e", "jobset=quick", "-e", "confirm=quick"),
    )
    order = [said.index(f"Call sagequeue {verb}") for verb in ("request-stop", "purge", "enqueue")]
    assert order == sorted(order)
    assert said.index("Call sagequeue progress") > order[-1]
    assert operator.jobs("quick", "pending") == [f"quick_off{k}" for k in range(3)]
    assert (operator.notebooks / "quick_stop.txt").exists()
    operator.ops("-t", "clear_stop", "-e", "jobset=quick")
    operator.ops("-t", "env", "-e", "jobset=endless")
    assert not (operator.notebooks / "quick_stop.txt").exists()


def test_check_mode_looks_and_acts_on_nothing(operator: Operator) -> None:
    said = operator.ops("-t", "request_stop,progress", "--check")
    assert "cases" in said
    assert not (operator.notebooks / "endless_stop.txt").exists()


@pytest.mark.long  # and the scenario ops
def test_failed_and_done_jobs_come_back_when_they_are_asked_for(operator: Operator) -> None:
    operator.ops("-t", "setup,env,enqueue_stride,request_stop", "-e", "jobset=quick")
    queue = operator.var / "quick" / "queue"
    (queue / "pending" / "quick_off0.env").rename(queue / "failed" / "quick_off0.env")
    (queue / "pending" / "quick_off1.env").rename(queue / "done" / "quick_off1.env")
    with (queue / "failed" / "quick_off0.env").open("a") as job:
        job.write("ATTEMPTS=3\n")
    operator.ops("-t", "enqueue_stride", "-e", "jobset=quick")
    assert operator.jobs("quick", "done") == ["quick_off1"]
    operator.ops("-t", "enqueue_one", "-e", "jobset=quick", "-e", "offset=1", "-e", "force=true")
    assert operator.jobs("quick", "done") == []
    operator.ops("-t", "retry_failed", "-e", "jobset=quick", "-e", "reset_attempts=true")
    assert operator.jobs("quick", "failed") == []
    assert "ATTEMPTS" not in (queue / "pending" / "quick_off0.env").read_text()
    operator.ops("-t", "env", "-e", "jobset=endless")


def test_an_operation_is_changed_only_if_it_changed_something(operator: Operator) -> None:
    quick = ["-e", "jobset=quick", "-e", "confirm=quick"]
    operator.ops("-t", "setup,env,purge_queue,clear_stop", *quick)
    acting = ["-t", "request_stop,retry_failed,requeue_running,enqueue_stride", *quick]
    assert operator.changed(*acting) == {"request-stop", "enqueue"}
    assert operator.changed(*acting) == set()
    (job,) = (operator.var / "quick" / "queue" / "pending").glob("quick_off0.env")
    job.rename(operator.var / "quick" / "queue" / "failed" / job.name)
    assert operator.changed(*acting) == {"retry-failed"}
    emptying = ["-t", "purge_queue,clear_stop", *quick]
    assert operator.changed(*emptying) == {"purge", "clear-stop"}
    assert operator.changed(*emptying) == set()
    assert operator.changed(*acting, "--check") == {
        "request-stop", "requeue-running", "retry-failed", "enqueue",
    }, "check mode announces what it would call"  # fmt: skip
    operator.ops("-t", "env", "-e", "jobset=endless")


@pytest.mark.parametrize(
    ("said", "unchanged"),
    [
        ("demo: everything runs already: the container and workers 1 to 2; recovery was run", True),
        ("recovery was run; the container and workers 1 to 2 run", False),
        ("demo: the container ran already", True),
        ("demo: the container runs", False),
        ("demo: the container did not run", True),
        ("demo: the container is stopped", False),
        ("demo: no worker ran; solvers ended, and their jobs went back", False),
        ("the stop gate stays, since it is of something else: mine", True),
        ("retried=1 kept=0", False),
        ("removed 10 jobs", False),
    ],
)
def test_what_the_verbs_of_a_container_say_is_understood_too(said: str, unchanged: bool) -> None:
    told = yaml.safe_load((ROOT / "playbooks" / "vars" / "operations.yml").read_text())
    assert bool(re.search(told["ops_unchanged"], said)) is unchanged


def test_workers_are_changed_only_if_they_were_started_or_stopped(operator: Operator) -> None:
    assert operator.changed("-t", "start") == set()
    assert operator.changed("-t", "stop") == {"stop"}
    assert operator.changed("-t", "stop,disable") == {"disable"}
    assert operator.changed("-t", "stop,disable") == set()
    operator.ops("-t", "enable")
    assert operator.changed("-t", "requeue_running,restart") == {"requeue-running", "restart"}


def test_units_are_removed_when_nothing_runs_and_enable_brings_everything_back(
    operator: Operator,
) -> None:
    said = operator.ops_refused("-t", "uninstall_units")
    assert "since these run: endless-1, endless-2, recover." in said
    assert "ansible-playbook ops.yml -t uninstall_units" in said
    assert len(operator.solvers("endless")) == 2

    disabled = ("-t", "disable,uninstall_units", "--check")
    announced = operator.ops(*disabled)
    assert "are removed" not in announced
    assert re.search(r"uninstall \| Remove its settings\] \*+ changed: ", announced)
    assert len(operator.solvers("endless")) == 2

    operator.supervisorctl("stop", "all")
    operator.ops("-t", "uninstall_units")
    left = {path.name for path in (operator.home / ".config" / "sagequeue").iterdir()}
    assert {name for name in left if "supervisord" in name} == set()
    assert len(operator.jobs("endless", "pending")) == 3

    operator.ops("-t", "enable", "-e", "jobset=endless")
    operator.await_solvers("endless", 2)


def test_requeue_running_ends_solvers_and_the_workers_go_on(operator: Operator) -> None:
    before = operator.solvers("endless")
    operator.ops("-t", "requeue_running")
    operator.await_solvers("endless", 2)
    assert not before & operator.solvers("endless")
    jobs = (operator.var / "endless" / "queue").glob("*/*.env")
    assert not any("ATTEMPTS" in job.read_text() for job in jobs)
