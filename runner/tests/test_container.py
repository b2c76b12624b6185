"""What Podman says of the container, and the verbs about it, with a stub in Podman's place."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import jobset
from sagequeue import cli, container
from sagequeue.exceptions import SagequeueError

# As Podman 4.3 and 5.4 write it, shortened.
INSPECTED = {
    "Id": "c0ffee",
    "Image": "1ma9e",
    "State": {"Running": True, "StartedAt": "2024-05-01T10:00:00.5+02:00"},
    "Config": {"Labels": {"sagequeue.settings": "abc123"}},
    "Mounts": [{"Destination": "/home/sage/notebooks", "Source": "/home/user/Jupyter"}],
}
MAPS = """\
         0       1000          1
         1     100000      65536
         0       1001          1
         1     200000      65536
"""
Said = Callable[[], tuple[str, str]]


class Podman:
    """A program of that name, first on PATH; `argv` is what it was last called with."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = directory / "podman"

    def says(self, out: object = "", complaint: str = "", status: int = 0) -> None:
        text = out if isinstance(out, str) else json.dumps(out)
        (self.directory / "out").write_text(text)
        (self.directory / "complaint").write_text(complaint)
        self.program.write_text(
            f'#!/bin/sh\ncd {self.directory}\nprintf "%s\\n" "$@" >argv\n'
            f"cat out; cat complaint >&2; exit {status}\n"
        )
        self.program.chmod(0o755)

    @property
    def argv(self) -> list[str]:
        return (self.directory / "argv").read_text().splitlines()


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Podman:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    # Whoever runs the tests may be root, whose containers map no ids.
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    return Podman(directory)


@pytest.fixture
def contained(env_file: Path, keys: dict[str, str]) -> Path:
    """The active jobset's solvers run in the container; Jupyter has its token."""
    env_file.write_text(jobset.render({**keys, "RUNTIME": "podman", "SERVICE": "box"}))
    token = env_file.parent / "jupyter_token"
    token.write_text("5ecre7\n")
    token.chmod(0o600)
    return token


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def said() -> tuple[str, str]:
        captured = capsys.readouterr()
        return captured.out, captured.err

    return said


# What Podman says


def test_a_container_is_read_as_podman_has_it(podman: Podman) -> None:
    podman.says([INSPECTED])
    assert container.inspect("box") == container.Container(
        running=True,
        id="c0ffee",
        image_id="1ma9e",
        settings="abc123",
        mounts={"/home/sage/notebooks": "/home/user/Jupyter"},
        started_at="2024-05-01T10:00:00.5+02:00",
    )
    assert podman.argv == ["container", "inspect", "box"]


def test_a_container_without_labels_has_no_settings(podman: Podman) -> None:
    podman.says([{**INSPECTED, "Config": {"Labels": None}}])
    found = container.inspect("box")
    assert found is not None
    assert found.settings == ""


@pytest.mark.parametrize(
    "complaint",
    [
        "Error: inspecting object: no such container box",
        'Error: no such container "box"',
        "Error: inspecting object: box: image not known",
    ],
)
def test_what_is_not_there_is_none(podman: Podman, complaint: str) -> None:
    podman.says("[]\n", complaint, 125)
    assert container.inspect("box") is None
    assert container.image_id("box") is None


def test_that_podman_does_not_work_is_not_taken_for_an_absence(podman: Podman) -> None:
    podman.says("", "Error: cannot open the store\n", 125)
    with pytest.raises(SagequeueError, match="container box: Error: cannot open the store"):
        container.inspect("box")


def test_an_image_is_known_by_its_id(podman: Podman) -> None:
    podman.says([{"Id": "1ma9e"}])
    assert container.image_id("localhost/sage:1") == "1ma9e"
    assert podman.argv == ["image", "inspect", "localhost/sage:1"]


def test_a_command_in_the_container_that_fails_is_an_answer(podman: Podman) -> None:
    podman.says("some", "and more", 3)
    answer = container.run("box", "ls", "/nowhere at all")
    assert (answer.returncode, answer.stdout, answer.stderr) == (3, "some", "and more")
    assert podman.argv == ["exec", "box", "ls", "/nowhere at all"]


def test_without_podman_it_says_how_to_get_it(
    podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(podman.directory))
    with pytest.raises(SagequeueError, match=r"not installed; `sudo apt install podman`"):
        container.podman("info")


def test_a_podman_that_does_not_answer_is_told(podman: Podman) -> None:
    podman.program.write_text("#!/bin/sh\nexec sleep 60\n")
    podman.program.chmod(0o755)
    with pytest.raises(SagequeueError, match="did not answer within 0 s"):
        container.podman("info", timeout=0.1)


def test_ids_are_read_from_the_user_namespace(podman: Podman) -> None:
    podman.says(MAPS)
    assert container.mapped_ids() == (100999, 200999)


def test_an_id_that_is_not_mapped_is_told_with_the_remedy(podman: Podman) -> None:
    podman.says("0 1000 1\n0 1000 1\n")
    with pytest.raises(SagequeueError, match=r"subuid .*`ansible-playbook site.yml"):
        container.mapped_ids()


# The verbs


def test_the_url_is_all_that_it_prints(podman: Podman, contained: Path, said: Said) -> None:
    podman.program.write_text(
        f"#!/bin/sh\ncase $1 in port) echo 127.0.0.1:9999 ;; *) echo '{json.dumps([INSPECTED])}' ;;"
        " esac\n"
    )
    podman.program.chmod(0o755)
    assert cli.main(["jupyter-url"]) == 0
    assert said() == ("http://127.0.0.1:9999/lab?token=5ecre7\n", "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o400])
def test_a_token_that_others_may_read_is_refused(
    podman: Podman, contained: Path, mode: int, said: Said
) -> None:
    podman.says([INSPECTED])
    contained.chmod(mode)
    assert cli.main(["jupyter-url"]) == 1
    out, complaint = said()
    assert out == ""
    assert f"mode {mode:04o}" in complaint
    assert f"`chmod 600 {contained}`" in complaint
    assert "5ecre7" not in complaint


def test_a_missing_token_is_made_by_the_play(podman: Podman, contained: Path, said: Said) -> None:
    contained.unlink()
    assert cli.main(["jupyter-url"]) == 1
    assert "`ansible-playbook site.yml -e jobset=demo` makes a token" in said()[1]


def test_an_empty_token_is_no_token(podman: Podman, contained: Path, said: Said) -> None:
    contained.write_text("\n")
    assert cli.main(["jupyter-url"]) == 1
    assert "is empty; remove it" in said()[1]


@pytest.mark.parametrize("verb", ["jupyter-url", "shell"])
@pytest.mark.parametrize("there", [True, False])
def test_a_container_that_does_not_run_is_refused_with_what_starts_it(
    podman: Podman, contained: Path, said: Said, verb: str, there: bool
) -> None:
    if there:
        podman.says([{**INSPECTED, "State": {"Running": False, "StartedAt": ""}}])
    else:
        podman.says("[]", "Error: no such container", 125)
    assert cli.main([verb]) == 1
    out, complaint = said()
    assert out == ""
    assert "container box does not run; `sagequeue up` starts it" in complaint


def test_a_container_without_our_port_is_not_ours(
    podman: Podman, contained: Path, said: Said
) -> None:
    podman.program.write_text(
        f"#!/bin/sh\n[ $1 = port ] && exit 125; echo '{json.dumps([INSPECTED])}'\n"
    )
    podman.program.chmod(0o755)
    assert cli.main(["jupyter-url"]) == 1
    assert "publishes no port 8888" in said()[1]


@pytest.mark.parametrize("verb", ["jupyter-url", "shell", "mapped-ids"])
def test_where_solvers_are_processes_of_the_machine_there_is_no_container(
    env_file: Path, said: Said, verb: str
) -> None:
    assert cli.main([verb]) == 1
    assert "processes of this machine (RUNTIME local)" in said()[1]


def test_the_shell_is_podmans_and_begins_where_solvers_do(
    podman: Podman, contained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman.says([INSPECTED])
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execvpe", lambda program, argv, environ: became.append(argv))
    assert cli.main(["shell"]) == 0
    ((program, *options, command),) = became
    assert program == "podman"
    # Without a terminal here, so that Podman is asked for none.
    assert options == ["exec", "--interactive", "--workdir=/sage", "box", "sh", "-c"]
    assert command.endswith("exec sh")


def test_mapped_ids_say_what_they_are_for(podman: Podman, contained: Path, said: Said) -> None:
    podman.says(MAPS)
    assert cli.main(["mapped-ids"]) == 0
    lines = said()[0].splitlines()
    assert lines[:2] == ["uid=100999", "gid=200999"]
    assert lines[-1].startswith("What the container writes is 100999:200999's")
