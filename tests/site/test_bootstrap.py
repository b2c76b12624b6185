"""`bootstrap`, run as a person runs it: with next to nothing in its environment."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from kit.terminal import Terminal
from project import ROOT, CopyProject

# What a minimal system has besides Python.
TOOLS = [
    "cat",
    "cksum",
    "cut",
    "date",
    "dirname",
    "env",
    "find",
    "flock",
    "grep",
    "head",
    "locale",
    "mv",
    "printf",
    "pwd",
    "rm",
    "sed",
    "sh",
    "sleep",
    "stty",
    "touch",
    "tr",
    "true",
]

# A runner whose build needs nothing, so that most tests here need no network.
BACKEND = """
import pathlib, zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(pathlib.Path(directory) / "sagequeue-1-py3-none-any.whl", "w") as wheel:
        info = "sagequeue-1.dist-info/"
        wheel.writestr("sagequeue_is_here.py", "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: sagequeue\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr(info + "RECORD", "")
    return "sagequeue-1-py3-none-any.whl"

build_wheel = build_editable
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "sagequeue"
version = "1"
"""


class Machine:
    """A project in a directory, an empty home, and a PATH with basic tools and chosen Pythons."""

    def __init__(self, base: Path, project: Path) -> None:
        self.project = project
        self.bin = base / "bin"
        self.home = base / "home"
        self.bin.mkdir()
        self.home.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            if found:
                (self.bin / tool).symlink_to(found)

    @property
    def stamp(self) -> Path:
        return self.project / ".venv" / ".bootstrap"

    def has_python(self) -> "Machine":
        """A `python3` that starts the interpreter of these tests, as a shim does."""
        real = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        return self.has_program("python3", f'exec "{real}" "$@"')

    def has_program(self, name: str, script: str) -> "Machine":
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)
        return self

    def has_fake_python(self, name: str, version: str) -> "Machine":
        """One that knows its version and can do nothing else, `import ensurepip` included."""
        return self.has_program(
            name,
            f'case "$*" in *version_info*) echo {version} ;; *_base_exec*) echo "$0" ;;'
            " *) exit 1 ;; esac",
        )

    def environment(self, **env: str) -> dict[str, str]:
        keep = {key: value for key, value in os.environ.items() if key.endswith(("CERT", "_FILE"))}
        return {**keep, "HOME": str(self.home), "PATH": str(self.bin), **env}

    def start(self, *args: str, cwd: Path | None = None, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(self.project / "bootstrap"), *args],
            env=self.environment(**env),
            cwd=cwd or self.home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def bootstrap(
        self, *args: str, cwd: Path | None = None, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        process = self.start(*args, cwd=cwd, **env)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(args, process.returncode, out, err)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A tiny project: nothing locked, and the runner above."""
    project = tmp_path / "project"
    (project / "runner").mkdir(parents=True)
    shutil.copy2(ROOT / "bootstrap", project)
    (project / "requirements.lock").write_text("# nothing\n")
    (project / "runner" / "pyproject.toml").write_text(PYPROJECT)
    (project / "runner" / "backend.py").write_text(BACKEND)
    return Machine(tmp_path, project)


def test_a_fresh_clone_with_an_empty_home_runs_ansible(
    tmp_path: Path, copy_project: CopyProject
) -> None:
    fresh = Machine(tmp_path, copy_project(tmp_path / "project")).has_python()
    first = fresh.bootstrap("ansible-playbook", "--version")
    assert first.returncode == 0, first.stderr
    assert f"({fresh.project}/.venv/bin/python" in first.stdout
    assert "half a minute" in first.stderr.splitlines()[0]
    assert all(" of " in line for line in first.stderr.splitlines()[1:]), first.stderr
    for command in ("sagequeue", "molecule", "supervisord"):
        assert (fresh.project / ".venv" / "bin" / command).exists()


class Wheels:
    """Two packages in a directory, one of which is locked for this machine; the runner waits."""

    def __init__(self, machine: Machine, base: Path) -> None:
        self.fifo = base / "fifo"
        os.mkfifo(self.fifo)
        wheel = base / "wheels" / "one-1-py3-none-any.whl"
        wheel.parent.mkdir()
        with zipfile.ZipFile(wheel, "w") as file:
            info = "one-1.dist-info/"
            file.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: one\nVersion: 1\n")
            file.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
            file.writestr(info + "RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (machine.project / "requirements.lock").write_text(
            f"one==1 \\\n    --hash=sha256:{digest}\n"
            f'two==1 ; python_version < "3" \\\n    --hash=sha256:{digest}\n'
        )
        backend = machine.project / "runner" / "backend.py"
        path = repr(str(self.fifo))
        backend.write_text(
            f"import os\nif os.path.exists({path}):\n    open({path}).read()\n{BACKEND}"
        )
        self.env = machine.environment(
            PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheel.parent), PIP_CONFIG_FILE=os.devnull
        )

    def go_on(self) -> None:
        """Let it go on; pip loads what builds it several times, and the later ones do not wait."""
        with self.fifo.open("w"):
            self.fifo.unlink()


@pytest.mark.parametrize("columns", [80, 24])
def test_on_a_terminal_one_line_shows_how_far_it_is(
    machine: Machine, tmp_path: Path, columns: int
) -> None:
    wheels = Wheels(machine.has_python(), tmp_path)
    argv = [str(machine.project / "bootstrap"), "true"]
    terminal = Terminal(argv, {**wheels.env, "TERM": "xterm"}, columns)
    words = "installing 1 of 1 packages"[: columns - 1 - len("0:00 ")]
    screen = terminal.until(lambda screen: re.match(rf"\d+:\d\d {words}$", screen.rows[-1]))
    assert len(screen.rows[-1]) < columns
    wheels.go_on()
    assert terminal.end() == 0
    assert terminal.screen.below == [""]
    assert len(terminal.screen.text.splitlines()) == 1


def test_elsewhere_a_line_now_and_then_shows_it(machine: Machine, tmp_path: Path) -> None:
    wheels = Wheels(machine.has_python(), tmp_path)
    # A clock on which each look is half a minute after the last.
    (tmp_path / "now").write_text("0\n")
    (machine.bin / "date").unlink()
    machine.has_program(
        "date", f"read n <{tmp_path}/now; echo $((n + 30)) >{tmp_path}/now; echo $n"
    )
    process = machine.start("true", **wheels.env)
    assert process.stderr is not None
    for line in process.stderr:
        if re.match(r"bootstrap: \d+:\d0 installing 1 of 1 packages$", line):
            break
        assert "\r" not in line
    wheels.go_on()
    assert process.communicate(timeout=120)[0] == ""
    assert process.returncode == 0


def test_ctrl_c_ends_it_and_all_that_it_has_started(machine: Machine, tmp_path: Path) -> None:
    wheels = Wheels(machine.has_python(), tmp_path)
    argv = [str(machine.project / "bootstrap"), "true"]
    terminal = Terminal(argv, {**wheels.env, "TERM": "xterm"})
    terminal.until(lambda screen: "installing 1 of 1 packages" in screen.rows[-1])
    terminal.type("\x03")
    # Nobody has the terminal any more when this returns.
    assert terminal.end() == -signal.SIGINT
    assert terminal.screen.below == [""]
    assert not machine.stamp.exists()


def test_a_current_environment_is_used_silently_and_as_it_is(machine: Machine) -> None:
    machine.has_python().bootstrap("true")
    made = machine.stamp.stat().st_mtime_ns
    again = machine.bootstrap("sh", "-c", 'pwd; echo "$VIRTUAL_ENV"; echo "${PATH%%:*}"', LC_ALL="")
    assert again.stderr == ""
    venv = machine.project / ".venv"
    assert again.stdout.splitlines() == [str(machine.home), str(venv), str(venv / "bin")]
    assert machine.stamp.stat().st_mtime_ns == made

    bare = machine.bootstrap()
    assert bare.returncode == 0
    assert ". .venv/bin/activate" in bare.stdout
    assert machine.bootstrap("sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "C.UTF-8"), ({"LC_ALL": "xx_XX.UTF-8"}, "C.UTF-8"), ({"LANG": "C.UTF-8"}, "")],
)
def test_the_locale_is_utf_8_and_the_users_own_where_that_will_do(
    machine: Machine, given: dict[str, str], expected: str
) -> None:
    ready_made(machine)
    result = machine.bootstrap("sh", "-c", 'echo "$LC_ALL"', **given)
    assert (result.stdout, result.stderr) == (f"{expected}\n", "")


def ready_made(machine: Machine) -> None:
    """An environment that is current, without making one."""
    python = machine.project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    sums = subprocess.run(
        "cat requirements.lock runner/pyproject.toml | cksum",
        shell=True, cwd=machine.project, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    version = "{}.{}.{}".format(*sys.version_info[:3])
    machine.stamp.write_text(f"{machine.project}/.venv\n{version}\n{sums}")


def test_ansible_has_the_clones_configuration_in_the_clone_unless_another_is_set(
    machine: Machine,
) -> None:
    """Of a clone that everybody may write, as on a Windows drive, Ansible would not read it."""
    ready_made(machine)
    machine.has_program("ansible-playbook", 'echo "$ANSIBLE_CONFIG"')

    def said(cwd: Path, *command: str, **env: str) -> str:
        return machine.bootstrap(*command, cwd=cwd, **env).stdout.strip()

    below = machine.project / "runner"
    for cwd in (machine.project, below):
        assert said(cwd, "ansible-playbook") == f"{machine.project}/ansible.cfg"
    assert said(below, "ansible-playbook", ANSIBLE_CONFIG="/my.cfg") == "/my.cfg"
    assert said(machine.home, "ansible-playbook") == ""
    assert said(machine.project, "sh", "-c", 'echo "$ANSIBLE_CONFIG"') == ""


def test_an_interrupted_run_is_repaired_by_the_next(machine: Machine) -> None:
    process = machine.has_python().start("true")
    assert process.stderr is not None
    assert "making" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not machine.stamp.exists()
    after = machine.bootstrap("python", "-c", "import sagequeue_is_here")
    assert after.returncode == 0, after.stderr


def test_a_changed_lock_is_brought_in_without_making_the_environment_anew(machine: Machine) -> None:
    machine.has_python().bootstrap("touch", str(machine.project / ".venv" / "mark"))
    (machine.project / "requirements.lock").write_text("# nothing, in other words\n")
    result = machine.bootstrap("true")
    assert "up to date" in result.stderr
    assert (machine.project / ".venv" / "mark").exists()
    assert machine.bootstrap("true").stderr == ""


def test_a_moved_project_gets_an_environment_of_its_own(machine: Machine) -> None:
    machine.has_python().bootstrap("true")
    machine.project = machine.project.rename(machine.project.with_name("moved here"))
    result = machine.bootstrap("sh", "-c", 'echo "$VIRTUAL_ENV"; head -1 "$VIRTUAL_ENV/bin/pip"')
    assert "making" in result.stderr
    assert result.stdout.splitlines()[0] == f"{machine.project}/.venv"
    assert machine.bootstrap("python", "-m", "pip", "--version").returncode == 0


def test_two_at_once_make_one_environment(machine: Machine) -> None:
    machine.has_python()
    both = [machine.start("python", "-c", "import sagequeue_is_here") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("making") == 1
    assert "".join(said).count("waiting for another") == 1


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    result = machine.bootstrap("true")
    assert result.returncode == 1
    assert "no python3 was found" in result.stderr
    assert "sudo apt install python3 python3-venv" in result.stderr


@pytest.mark.parametrize(
    ("version", "words"), [("3.10.12", "too old"), ("3.9.2", "too old"), ("3.15.0", "too new")]
)
def test_a_python_of_another_age_is_named_with_the_way_out(
    machine: Machine, version: str, words: str
) -> None:
    result = machine.has_fake_python("python3", version).bootstrap("true")
    assert result.returncode == 1
    assert f"python3 is {version}" in result.stderr
    assert words in result.stderr
    assert "PYTHON=/path/to/python" in result.stderr


def test_a_python_without_venv_is_answered_with_the_package(machine: Machine) -> None:
    result = machine.has_fake_python("python3.12", "3.12.3").bootstrap("true")
    assert result.returncode == 1
    assert "sudo apt install python3.12-venv" in result.stderr


def test_pythons_that_do_not_run_or_lack_venv_are_passed_over(machine: Machine) -> None:
    machine.has_program("python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    machine.has_fake_python("python3.12", "3.12.3").has_python()
    result = machine.bootstrap("true")
    assert result.returncode == 0, result.stderr


def test_python_from_the_environment_is_taken_or_refused_by_name(machine: Machine) -> None:
    machine.has_python()
    result = machine.bootstrap("true", PYTHON="/nowhere/python")
    assert result.returncode == 1
    assert "/nowhere/python" in result.stderr


def test_a_network_that_is_not_there_is_said_and_nothing_counts_as_made(machine: Machine) -> None:
    (machine.project / "requirements.lock").write_text(f"nothing==1 --hash=sha256:{'0' * 64}\n")
    machine.has_python()
    result = machine.bootstrap(
        "true",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="0",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert result.returncode == 1
    assert "HTTPS_PROXY" in result.stderr
    assert not machine.stamp.exists()


def test_the_lock_has_a_hash_for_everything_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    requirements = re.findall(r"^\S+==.*(?:\n .*)*", lock, re.MULTILINE)
    assert len(requirements) > 40
    assert all("--hash=sha256:" in requirement for requirement in requirements)
    assert not re.search(r"://|--(extra-)?index-url|--find-links", lock)


def test_the_collections_asked_for_are_those_of_the_bundles() -> None:
    """From the older bundle's, Python 3.13's, to the newer one's."""
    range_of = r"name: (\S+)\n +version: \">=([0-9.]+),<=([0-9.]+)\""
    wanted = re.findall(range_of, (ROOT / "requirements.yml").read_text())
    assert len(wanted) == 3
    site_packages = next(Path(sys.prefix).glob("lib/python3.*/site-packages"))
    for name, oldest, newest in wanted:
        folder = site_packages.joinpath("ansible_collections", *name.split("."))
        manifest = json.loads((folder / "MANIFEST.json").read_text())
        bundle = newest if sys.version_info >= (3, 14) else oldest
        assert manifest["collection_info"]["version"] == bundle, name
