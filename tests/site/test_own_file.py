"""group_vars/all/my.yml, the user's own experiments and settings, and what is wrong in it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from project import ROOT, CopyProject
from test_ops import Operator
from test_site import QUICK

# For the owner of a read-only directory: root may write all the same, unless that is taken away.
POWERS = "-dac_override,-dac_read_search"
ORDINARY = ("setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}")
UNPRIVILEGED = ORDINARY if os.geteuid() == 0 else ()


class Owner(Operator):
    """A site with `quick` set up, whose owner edits the file."""

    def __init__(self, base: Path, project: Path) -> None:
        super().__init__(base, project)
        self.file = project / "group_vars" / "all" / "my.yml"
        self.jobsets(quick=QUICK)
        quick = ("ops.yml", "-t", "setup,env", "-e", "jobset=quick")
        self.looked = self.run("ansible-playbook", *quick, "--check").stdout
        self.before = self.file.exists()
        self.made = self.run("ansible-playbook", *quick).stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject) -> Owner:
    base = tmp_path_factory.mktemp("w")
    return Owner(base, copy_project(base / "p"))


@pytest.fixture
def owner(machine: Owner) -> Owner:
    """The file is as the play made it."""
    machine.jobsets(quick=QUICK)
    if machine.file.is_dir():
        machine.file.rmdir()
    machine.file.unlink(missing_ok=True)
    shutil.copy(machine.project / "playbooks" / "files" / "my.yml", machine.file)
    return machine


def test_the_first_play_makes_it_and_check_mode_only_announces_it(machine: Owner) -> None:
    for said in (machine.looked, machine.made):
        task = said.partition("Make group_vars/all/my.yml")[2]
        assert task.splitlines()[1] == "changed: [localhost]"
    assert not machine.before
    assert "examples" in machine.file.read_text()


def test_git_ignores_it() -> None:
    command = ["git", "check-ignore", "--quiet", "group_vars/all/my.yml"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def test_its_experiments_and_settings_hold_and_it_stays_as_it_is(
    owner: Owner, tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject
) -> None:
    lines = owner.file.read_text().splitlines()
    start = lines.index("# my_jobsets:")
    end = lines.index("", start)
    example = [line.removeprefix("# ") for line in lines[start:end]]
    var = owner.home / "elsewhere"
    # As an editor of Windows writes it.
    edited = [*lines[:start], *example, f"sagequeue_var_dir: {var}", ""]
    owner.file.write_bytes("\r\n".join(edited).encode())
    before = owner.file.read_bytes(), owner.file.stat()
    owner.notebooks.mkdir(exist_ok=True)
    shutil.copy(ROOT / "roles/jobset/files/template.sage", owner.notebooks / "mersenne.sage")

    owner.ops("-t", "setup,env", "-e", "jobset=mersenne")
    settings = (owner.home / ".config" / "sagequeue" / "mersenne.env").read_text()
    assert f'QUEUE_DIR="{var}/mersenne/queue"' in settings
    assert "--state_prefix mersenne --resume" in settings
    assert (owner.file.read_bytes(), owner.file.stat()) == before

    # Another clone has a file of its own.
    here = owner.project
    try:
        owner.project = copy_project(tmp_path_factory.mktemp("z") / "p")
        said = owner.refused("-e", "jobset=mersenne")
    finally:
        owner.project = here
    assert f"It was set up from another clone, {here}: run this there, or copy the record." in said
    assert "add a record to group_vars/all/my.yml, which has an example" in said


@pytest.mark.parametrize("text", ["", "my_jobsets:  # none yet\r\n"])
def test_a_file_without_experiments_is_as_good_as_none(owner: Owner, text: str) -> None:
    owner.file.write_bytes(text.encode())
    owner.ops("-t", "setup", "-e", "jobset=quick")
    assert owner.file.read_bytes() == text.encode()


def test_a_clone_that_cannot_be_written_in_works_without_it(owner: Owner) -> None:
    owner.file.unlink()
    directory = owner.file.parent
    directory.chmod(0o555)
    try:
        command = ("ansible-playbook", "ops.yml", "-t", "progress", "-e", "jobset=quick")
        result = owner.run(*UNPRIVILEGED, *command)
    finally:
        directory.chmod(0o755)
    said = " ".join(result.stdout.split())
    assert result.returncode == 0, result.stdout + result.stderr
    assert "group_vars/all/my.yml could not be made (" in said
    assert "in a file elsewhere, which every call names: -e @FILE" in said
    assert "quick jobs:" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2\n", ", line 2, column 2, is not YAML: while parsing a flow sequence (line 1"),
        ("my_jobsets:\n\tmine:\n", ", line 2, column 1, is not YAML: it is indented with a tab."),
        ("# mine\n- a\n", ", line 2: the file holds a list. It must hold names with values,"),
        ("a: 1\n".encode("utf-16"), ": byte 1 is not UTF-8. Save the file as UTF-8 text."),
        ("a: \x01\n", " is not YAML: unacceptable character #x0001"),
        ("a: !mine 1\n", ", line 1: !mine means nothing here. Put a value that begins with ! in"),
        ("\na: {{ b }}\n", ", line 2: a mapping stands where a name belongs. Put a value that"),
        (Path("/nowhere/my.yml"), ", a link to /nowhere/my.yml, cannot be read: No such file"),
        (None, " cannot be read: Is a directory. Correct that, or move it away."),
        (os.mkfifo, " is no regular file. Put one in its place."),
    ],
)
def test_what_ansible_cannot_read_is_named_with_its_place(
    owner: Owner, text: "str | bytes | Path | Callable[[Path], None] | None", words: str
) -> None:
    owner.file.unlink()
    if text is None:
        owner.file.mkdir()
    elif callable(text):
        text(owner.file)
    elif isinstance(text, Path):
        owner.file.symlink_to(text)
    else:
        owner.file.write_bytes(text.encode() if isinstance(text, str) else text)
    said = owner.ops_refused("-t", "progress")
    assert f"[ERROR]: group_vars/all/my.yml{words}" in said
    # Once, and without the words of a library.
    assert said.count("my.yml") == words.count("my.yml") + 1


OWN = """\
base: &base {script: template.sage}
deep: &deep {<<: *base, stride: 3, scirpt: x}
my_own_variable: 3
ansible_become_exe: sudo.ws
sagequeue_memroy: 4G
memory: 4G
sagequeue_mode:
2024: 1
stride: 3
sagequeue_nonsense: 3
stray: {script: x, stride: 3}
jobsets: {}
sagequeue_memory: 4G
sagequeue_memory: 5G
my_jobsets:
  quick: {script: x}
  2024: {<<: *base}
  yes: {<<: *base}
  1e3: {<<: *base}
  null: {<<: *base}
  2024-05-01: {<<: *base}
  "2025": {<<: *base}
  other: {<<: *deep, statefile: x}
  empty:
  mine:
    <<: [*deep]
    Workers: 2
    log_limit: 1
    log_limit: 2
    colour: red
SAGEQUEUE_VAR_DIR: /v
jobset: mine
"""
REFUSED = """\
my.yml, line 5: there is no setting sagequeue_memroy; sagequeue_memory is probably meant.
my.yml, line 6: there is no setting memory; sagequeue_memory is probably meant.
my.yml, line 7: sagequeue_mode has no value.
my.yml, line 8: YAML reads the name 2024 as a number. No setting has such a name.
my.yml, line 9: stride belongs into a jobset's record, indented further than the name.
my.yml, line 10: there is no setting sagequeue_nonsense; group_vars/all/main.yml has them.
my.yml, line 11: stray is a jobset's record. It belongs below my_jobsets:, indented.
my.yml, line 12: jobsets would replace those of jobsets.yml. Call yours my_jobsets.
my.yml, line 14: sagequeue_memory stands in line 13 already, and YAML would keep the last only.
my.yml, line 16: the jobset quick is in group_vars/all/jobsets.yml, line 5, too.
my.yml, line 17: YAML reads the name 2024 as a number. Give the jobset another one, of a-z, 0-9
my.yml, line 18: YAML reads the name yes as true or false.
my.yml, line 19: YAML reads the name 1e3 as a number.
my.yml, line 20: YAML reads the name null as no value.
my.yml, line 21: YAML reads the name 2024-05-01 as a date.
my.yml, line 2: scirpt is no key of a record; script is probably meant.
my.yml, line 27: Workers is no key of a record; workers is probably meant.
my.yml, line 29: log_limit stands in line 28 already, and YAML would keep the last only.
my.yml, line 30: colour is no key of a record; script, needs_sage, stride, workers, total_cases,
my.yml, line 31: there is no setting SAGEQUEUE_VAR_DIR; sagequeue_var_dir is probably meant.
my.yml, line 32: jobset is given with each call: -e jobset=…. Here it would be for all. Take it out.
jobsets.yml, line 3: YAML reads the name off as true or false.
jobsets.yml, line 5: quick stands in line 2 already, and YAML would keep the last only.
"""
WARNED = """\
my.yml, line 2: scirpt is no key of a record; script is probably meant.
my.yml, line 23: statefile is no key of a record; state_file is probably meant.
my.yml, line 24: empty has no record. Its lines (script, stride, state_file …) belong below the
jobsets.yml, line 4: strid is no key of a record; stride is probably meant.
"""
SHIPPED = """\
jobsets:
  quick: {script: x}
  off: {script: x}
  shipped: {strid: 3}
  quick: {script: x}
"""


def told(text: str, start: str = "") -> list[str]:
    return [f"{start}group_vars/all/{' '.join(line.split())}" for line in text.splitlines()]


def test_mistakes_are_refused_and_those_of_other_records_are_warnings(owner: Owner) -> None:
    owner.file.write_text(OWN)
    (owner.file.parent / "jobsets.yml").write_text(SHIPPED)
    said = owner.refused("-e", "jobset=mine")
    warned, _, refused = said.partition("Refuse mistakes")
    assert [words for words in told(REFUSED) if words not in refused] == []
    assert [words for words in told(WARNED, "Warning: ") if words not in warned] == []
    for fine in ("my_own_variable", "ansible_become_exe", "2025", "base", "line 1:"):
        assert fine not in said.replace("Origin", "")


def test_operations_that_use_the_files_refuse_mistakes_and_others_warn_of_them(
    owner: Owner,
) -> None:
    owner.file.write_text("my_jobsets:\n  other: {scirpt: x}\nsagequeue_memroy: 4G\n")
    mistake = "group_vars/all/my.yml, line 3: there is no setting sagequeue_memroy"
    said = owner.ops_refused("-t", "env", "-e", "jobset=quick")
    assert "Refuse mistakes" in said.partition(mistake)[0]
    assert "Warning: group_vars/all/my.yml, line 2: scirpt" in said
    owner.file.write_text("my_jobsets:\n  other: {scirpt: x}\n")
    said = owner.ops("-t", "setup", "-e", "jobset=quick")
    assert "Warning: group_vars/all/my.yml, line 2: scirpt" in said, "and another goes on"
    said = owner.ops_refused("-t", "setup", "-e", "jobset=other")
    assert "line 2: scirpt is no key" in said.partition("Refuse mistakes")[2]
    owner.file.write_text("\n\nsagequeue_memroy: 4G\n")
    assert f"Warning: {mistake}" in owner.ops("-t", "progress", "-e", "jobset=quick")


VALUES = """\
my_jobsets:
  mine:
    script:
    stride: 0
    workers: two
    state_file: 3
    total_cases: -5
    log_limit: 1.5
    nice: 20
    stop_grace: soon
    sleep_empty: []
    args: [a]
    needs_sage: perhaps
    max_failed_retries: "3"
    found_pattern: "{{ pattern }}"
    log_prefix: 2024
  other: {stride: 1_000, total_cases: "{{ 2 ** 10 }}", stop_grace: 1.5, needs_sage: no}
"""
UNFIT = """\
my.yml, line 3: script is empty. It is a text.
my.yml, line 4: stride is `0`. It is a whole number from 1 to 1000000.
my.yml, line 5: workers is `two`. It is a whole number, 1 or more.
my.yml, line 6: state_file is `3`. It is a text.
my.yml, line 7: total_cases is `-5`. It is a whole number, 0 or more.
my.yml, line 8: log_limit is `1.5`. It is a whole number, 0 or more.
my.yml, line 9: nice is `20`. It is a whole number from 0 to 19.
my.yml, line 10: stop_grace is `soon`. It is a number, 0 or more.
my.yml, line 11: sleep_empty is a list. It is a number, 0 or more.
my.yml, line 12: args is a list. It is a text.
my.yml, line 13: needs_sage is `perhaps`. It is true or false.
"""


def test_a_value_of_another_kind_is_named_with_its_place(owner: Owner) -> None:
    owner.file.write_text(VALUES)
    said = owner.refused("-e", "jobset=mine")
    assert [words for words in told(UNFIT) if words not in said] == []
    for line in range(14, 18):
        assert f"line {line}:" not in said


def test_a_setting_that_cannot_be_is_refused_wherever_it_stands(owner: Owner) -> None:
    owner.file.write_text(
        "sagequeue_memory: 4 GB\nsagequeue_var_dir: ~/v\nsagequeue_recover_every: 0\n"
        "sagequeue_mode: systm\nsagequeue_sage_flavour: sage\nsagequeue_jupyter_port: 65536\n"
    )
    said = owner.refused("-e", "jobset=quick")
    for words in (
        "sagequeue_memory is 4 GB. It is a number with K, M, G, T or %, without a blank: 12G",
        f"sagequeue_var_dir is ~/v. Write the whole path, from / on: {owner.home}/v.",
        "sagequeue_recover_every is 0. It is a number of seconds, from 1 to 86400.",
        "sagequeue_mode is systm. It is auto, systemd or embedded.",
        "sagequeue_sage_flavour is sage. It is passagemath or official.",
        "sagequeue_jupyter_port is 65536. It is a number from 1 to 65535;",
    ):
        assert words in said
    owner.ops("-t", "progress", "-e", "jobset=quick")


def test_other_files_that_ansible_reads_are_checked_and_may_not_say_the_same(owner: Owner) -> None:
    """A copy would hold in place of the file, or would not: Ansible goes by the names' order."""
    directory = owner.file.parent
    owner.file.write_text("sagequeue_memory: 4G\nmy_jobsets: {}\n")
    copies = {
        "my_old.yml": "# old\nsagequeue_memory: 8G\n", "my.yaml": "my_jobsets: {}\n",
        "more/settings": "sagequeue_memroy: 4G\n",
    }  # fmt: skip
    ignored = ["my.yml~", ".my.yml.swp", "#my.yml#", "my.yml.bak", "my.yml.orig"]
    (directory / "more").mkdir()
    try:
        for name, text in (copies | dict.fromkeys(ignored, "sagequeue_memory: 9G\n")).items():
            (directory / name).write_text(text)
        said = owner.refused("-e", "jobset=quick")
    finally:
        for name in (*copies, *ignored):
            (directory / name).unlink()
        (directory / "more").rmdir()
    place = "group_vars/all/my"
    assert f"{place}_old.yml, line 2: sagequeue_memory stands in {place}.yml, line 1, too" in said
    assert f"{place}.yaml, line 1: my_jobsets stands in {place}.yml, line 2, too" in said
    assert "group_vars/all/more/settings, line 1: there is no setting sagequeue_memroy" in said
    assert not [name for name in ignored if name in said]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("my_jobsets:\n  - mine: {}\n", "line 2: my_jobsets is a list. It must be names, each"),
        ("my_jobsets: mine\n", "line 1: my_jobsets is the text `mine`. It must be names, each"),
    ],
)
def test_what_is_no_mapping_of_jobsets_is_refused(owner: Owner, text: str, words: str) -> None:
    owner.file.write_text(text)
    assert words in owner.ops_refused("-t", "setup", "-e", "jobset=mine")
