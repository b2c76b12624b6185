"""What `ansible-playbook` refuses before the first task, with the remedy."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from project import ROOT, CopyProject, long
from test_site import Site, assert_nothing_written

STATUS = ["ops.yml", "-t", "status"]
TYPO = ["-e", "joobset=quick"]
SITE = ["site.yml", "-e", "jobset=quick"]
OPTIONS = yaml.safe_load((ROOT / "playbooks" / "vars" / "options.yml").read_text())["play_options"]


class Clone(Site):
    """A clone on a machine on which nothing is set up."""

    def sentences(self, *args: str, cwd: Path | None = None, **environ: str) -> str:
        """What a play was refused with, before it began."""
        result = self.run("ansible-playbook", *args, cwd=cwd, **environ)
        assert result.returncode == 5, result.stdout + result.stderr
        assert "TASK" not in result.stdout
        assert_nothing_written(self)
        return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject) -> Clone:
    base = tmp_path_factory.mktemp("r")
    return Clone(base, copy_project(base / "p"))


def extra(**variables: object) -> list[str]:
    return ["-e", json.dumps(variables)]


@pytest.mark.parametrize(
    ("wrong", "shown", "right"),
    [
        (["template"], '["template"]', ()),
        ({"a": 1}, '{"a": 1}', ()),
        (None, "null", ()),
        ("", "empty", ("remove",)),
        (-1, "-1", ()),
        ("maybe", "'maybe'", ("jobset", "confirm", "remove")),
    ],
)
def test_a_value_of_another_kind_is_answered_with_the_kind(
    clone: Clone, wrong: object, shown: str, right: tuple[str, ...]
) -> None:
    said = clone.sentences(*STATUS, *extra(**dict.fromkeys(OPTIONS, wrong)))
    for name, option in OPTIONS.items():
        assert (f"{name} is {shown}. It is {option['is']}." in said) is (name not in right)


def test_a_setting_of_another_kind_is_answered_with_the_kind(clone: Clone) -> None:
    wrong = extra(sagequeue_var_dir=None, sagequeue_jupyter_port="x", jobsets="quick")
    said = clone.sentences(*SITE, *wrong, "-e", "sagequeue_mode=systm", "-e", "sagequeue_memory=")
    assert "sagequeue_var_dir is null. It is a text" in said
    assert "sagequeue_jupyter_port is 'x'. It is a whole number." in said
    assert "sagequeue_mode is 'systm'. It is auto, systemd, embedded." in said
    assert "sagequeue_memory is empty. It is a text" in said
    assert "jobsets is 'quick'. It is a mapping." in said


def test_a_name_that_resembles_one_of_ours_is_answered_with_that_one(clone: Clone) -> None:
    meant = {
        "joobset": "jobset", "JOBSET": "jobset", "job": "jobset", "ofset": "offset",
        "reset-attempts": "reset_attempts", "attempts": "reset_attempts", "forced": "force",
        "mode": "sagequeue_mode", "sagequeue_modus": "sagequeue_mode",
    }  # fmt: skip
    said = clone.sentences(*STATUS, *extra(**dict.fromkeys(meant, "x")), *extra(ops_gate="x"))
    for name, known in meant.items():
        assert f"There is no variable {name}. Is {known} meant?" in said
    assert "There is no variable ops_gate. Settings are in group_vars/all/main.yml" in said


def test_a_jobset_without_its_option_is_answered_with_the_option(clone: Clone) -> None:
    said = clone.sentences(*STATUS, "-e", "quick", "-e", "jobset_name=quick")
    assert "-e quick has no name. It is -e NAME=VALUE, as in -e jobset=petersen_r3." in said
    assert "jobset_name is set by -e jobset=" in said


def test_what_a_record_holds_is_answered_with_the_record(clone: Clone) -> None:
    said = clone.sentences(*SITE, "-e", "workers=2", "-e", "strid=4")
    place = "stands in the record of quick, in group_vars/all/jobsets.yml or my.yml."
    assert f"workers is not given with -e: workers {place}" in said
    assert f"strid is not given with -e: stride {place}" in said


def test_every_documented_variable_may_be_given_and_so_may_others(clone: Clone) -> None:
    settings = yaml.safe_load((ROOT / "group_vars" / "all" / "main.yml").read_text())
    specs = {name: {} for name in settings} | OPTIONS
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            specs |= entry["options"]
    value = {"int": 1, "float": 1, "count": "1", "bool": "yes", "list": [], "dict": {}}
    given = {
        name: spec.get("choices", [value.get(spec.get("type"), "x")])[0]
        for name, spec in specs.items()
        if name not in ("jobset_name", "sagequeue_units_jobset") and "of" not in spec
    }
    given |= {name: "/x" for name in given if re.fullmatch("sagequeue_.*_dir", name)}
    given |= {
        "sagequeue_mode": "embedded",
        "sagequeue_memory": "1G",
        "sagequeue_sage_flavour": "official",
    }
    given |= {"sagequeue_jupyter_port": 1, "sagequeue_recover_every": 1, "sagequeue_wslconfig": ""}
    given |= {
        "sagequeue_session": {"A": "{{ my_own }}"},
        "ansible_python_interpreter": sys.executable,
    }
    # It begins, and is refused by a task.
    said = clone.refused(*extra(**given, ansible_verbosity=0, unrelated=1, my_own="x"))
    assert "no jobset named 'x'" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*SITE, "-t", "nothing"], "There are no tags here, so -t nothing would run nothing."),
        ([*SITE, "-t", "never"], "for a single operation: ansible-playbook ops.yml -t NAME"),
        (["playbooks/teardown.yml", "-t", "stop"], "There are no tags here, so -t stop"),
        ([*SITE, "--skip-tags", "always"], "--skip-tags is of no use here"),
        ([*STATUS, "--skip-tags", "always"], "--skip-tags is of no use here"),
        ([*SITE, "--start-at-task", "Enqueue"], "--start-at-task would leave out the checks"),
        ([*STATUS, "--step"], "--step asks before each task, and there is no terminal"),
        ([*STATUS, "-i", "host,"], "The inventory has host, but these plays set up the machine"),
        ([*STATUS, "-i", "a,localhost,b"], "The inventory has a, b, but these plays"),
        ([*STATUS, "-i", "localhost,", "-e", "ansible_host=a"], "localhost is a, by ssh, but"),
        ([*STATUS, "-e", "ansible_connection=ssh"], "localhost is localhost, by ssh, but these"),
        ([*STATUS, "-e", "ansible_become=true"], "ansible_become would make everything root's."),
        (
            [*STATUS, "-e", "ansible_host=a"],
            "ansible_host is a, but these plays set up the machine",
        ),
        ([*STATUS, "-e", "ansible_user=a"], "ansible_user is a, but these plays set up the user"),
        ([*STATUS, "-u", "a"], "-u a does not make these plays another user's"),
        ([*STATUS, "-c", "podman"], "-c podman: these plays set up the machine"),
        ([*STATUS, "-e", "graph=rook"], "There is no variable graph, and nothing reads it."),
        ([*SITE, "-e", "how=stop"], "how is of rebuild_image and teardown, and does nothing for"),
        (["ops.yml", "-t", "stop,logs", "-e", "force=yes"], "does nothing for logs, stop."),
        (["playbooks/teardown.yml", "-e", "cached=true"], "and does nothing for teardown."),
        (
            ["ops.yml", "-t", "stop,teardown", "-e", "jobset=a"],
            "jobset does not restrict teardown, which is for all jobsets. Leave it out.",
        ),
    ],
)
def test_a_command_line_by_which_something_else_is_meant_is_refused(
    clone: Clone, arguments: list[str], words: str
) -> None:
    assert words in clone.sentences(*arguments)


@pytest.mark.parametrize("environ", [{}, {"ANSIBLE_INVENTORY": ""}])
def test_an_empty_inventory_runs_no_program_of_the_directory(
    clone: Clone, tmp_path: Path, environ: dict[str, str]
) -> None:
    program = clone.project / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    try:
        said = clone.sentences(*STATUS, *([] if environ else ["-i", ""]), **environ)
    finally:
        program.unlink()
    assert "is no inventory; an empty name means the directory at hand. Leave -i out" in said
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_checked_is_refused(clone: Clone) -> None:
    options = clone.project / "playbooks" / "vars" / "options.yml"
    before = options.read_text()
    options.write_text("[")
    try:
        said = clone.sentences(*SITE)
    finally:
        options.write_text(before)
    assert "The call could not be checked, so nothing was done:" in said


def test_the_files_of_an_editor_keep_nothing_from_being_checked(clone: Clone) -> None:
    """Emacs has a link that leads nowhere beside a file that is being edited."""
    lock = clone.project / "group_vars" / "all" / ".#my.yml"
    lock.symlink_to("somebody@example.1234")
    try:
        said = clone.sentences(*STATUS, "-e", "joobset=quick", ANSIBLE_CALLBACK_PLUGINS="/nowhere")
    finally:
        lock.unlink()
    assert said.endswith("There is no variable joobset. Is jobset meant? -e jobset=…")


@pytest.mark.parametrize("template", ["{{ '' }}", "{{ nowhere }}"])
def test_a_template_that_leads_to_no_name_is_not_the_active_jobset(
    clone: Clone, template: str
) -> None:
    active = clone.home / ".config" / "sagequeue" / "sagequeue.env"
    active.parent.mkdir(parents=True)
    active.write_text("JOBSET=quick\n")
    try:
        result = clone.run("ansible-playbook", *STATUS, "-e", f"jobset={template}")
    finally:
        shutil.rmtree(clone.home / ".config")
    assert result.returncode == 2
    said = " ".join((result.stdout + result.stderr).split())
    assert "is empty." in said or "'nowhere' is undefined" in said


def test_the_users_own_inventory_may_not_make_localhost_another_machine(
    clone: Clone, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("a.example\nlocalhost ansible_connection=ssh ansible_host=b.example\n")
    said = clone.sentences(*STATUS, ANSIBLE_INVENTORY=str(hosts))
    assert "localhost is b.example, by ssh, but these plays set up the machine" in said
    assert "a.example" not in said, "the inventory is for all plays of that user"


@pytest.mark.parametrize("limit", ["nothing", "a.example", "!localhost"])
def test_a_limit_that_leaves_no_host_is_no_success(
    clone: Clone, tmp_path: Path, limit: str
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("a.example\n" if limit == "a.example" else "")
    project = str(clone.project / "ops.yml")
    said = clone.sentences(
        project, *STATUS[1:], "-l", limit, cwd=tmp_path, ANSIBLE_INVENTORY=str(hosts)
    )
    assert f"-l {limit} leaves out localhost, but these plays set up the machine" in said


def test_an_ansible_that_is_too_old_is_refused_with_the_command_that_works(
    clone: Clone, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import ansible.release\n"
        "ansible.__version__ = ansible.release.__version__ = '2.14.18'\n"
        "from ansible.utils.display import Display\n"
        "del Display.prompt_until\n"  # younger than that
    )  # fmt: skip
    said = clone.sentences(*STATUS, PYTHONPATH=str(tmp_path))
    assert said.startswith("[ERROR]: This is ansible-core 2.14.18, and 2.19 or newer is needed.")
    assert said.endswith("environment: ./bootstrap ansible-playbook ops.yml -t status")


@pytest.mark.parametrize("play", ["site.yml", "playbooks/teardown.yml"])
def test_an_environment_without_the_command_is_refused_with_the_one_that_has_it(
    clone: Clone, tmp_path: Path, play: str
) -> None:
    """Nor has it the collections, without which Ansible cannot read most of the roles."""
    packages = next(Path(sys.prefix).glob("lib/python3.*/site-packages"))
    for package in packages.iterdir():
        if package.name != "ansible_collections":
            (tmp_path / package.name).symlink_to(package)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    result = clone.run(
        *(str(tmp_path / "bin" / "python"), f"{sys.prefix}/bin/ansible-playbook"),
        *(str(clone.project / play), "-e", "jobset=quick"),
        cwd=tmp_path, PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert result.returncode == 5, result.stdout + result.stderr
    said = " ".join(result.stderr.split())
    assert f"There is no `sagequeue` beside {tmp_path}/bin/python" in said
    assert f"{clone.project}/bootstrap ansible-playbook {clone.project}/{play} -e" in said


@pytest.fixture
def linkless(clone: Clone) -> Iterator[Clone]:
    """A clone as git makes it where there are no links."""
    for name in ("roles", "group_vars"):
        link = clone.project / "playbooks" / name
        link.unlink()
        link.write_text(f"../{name}")
    yield clone
    for name in ("roles", "group_vars"):
        link = clone.project / "playbooks" / name
        link.unlink()
        link.symlink_to(f"../{name}")


def test_a_clone_without_links_is_refused(linkless: Clone, tmp_path: Path) -> None:
    """From another directory, where the roles are not found by the clone's configuration."""
    said = linkless.sentences(str(linkless.project / "site.yml"), *SITE[1:], cwd=tmp_path)
    assert "playbooks/roles is not a link to ../roles." in said
    assert "Clone it anew with the git of this system" in said


def test_what_only_lists_is_not_refused(clone: Clone) -> None:
    listed = clone.run("ansible-playbook", "ops.yml", "--list-tags")
    assert listed.returncode == 0
    assert "enqueue_one, enqueue_stride" in listed.stdout


@pytest.mark.parametrize(
    "environ",
    [
        {"ANSIBLE_CALLBACK_PLUGINS": "/nowhere"},
        *long(
            {"ANSIBLE_CALLBACK_PLUGINS": "/nowhere", "ANSIBLE_CONFIG": "/nowhere"},
            {"ANSIBLE_STDOUT_CALLBACK": "minimal", "ANSIBLE_CALLBACKS_ENABLED": "timer"},
        ),
    ],
)
def test_other_callbacks_keep_nothing_from_being_refused(
    clone: Clone, environ: dict[str, str]
) -> None:
    assert "There is no variable joobset." in clone.sentences(*STATUS, *TYPO, **environ)
