"""Checks of the container, of what is shared with it, and of the units, each both ways."""

import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sagequeue import services
from sagequeue.config import Config, config_dir
from sagequeue.doctor import Check, container, examine, queue, sharing, workers
from sagequeue.doctor.finding import Finding, Level
from sagequeue.doctor.patient import Patient
from sagequeue.unit import Unit

IMAGE = "localhost/sagequeue-sagemath:10.8-pycryptosat"
# What runs in the container runs here, where all is at the same place.
PODMAN = """\
#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
"container inspect") cat "$here/container" ;;
"image inspect") cat "$here/image" ;;
"unshare cat") printf '0 %s 1\\n1 100000 65536\\n' 7 7 ;;
exec*) shift 2; exec "$@" ;;
esac || { echo "no such object" >&2; exit 125; }
"""


def look(check: Check, patient: Patient) -> list[Finding]:
    return [finding for _, finding in examine(patient, [check])]


def only(check: Check, patient: Patient) -> Finding:
    (finding,) = look(check, patient)
    return finding


def levels(check: Check, patient: Patient) -> set[Level]:
    return {finding.level for finding in look(check, patient)}


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def patient(config: Config, programs: Path, port: int) -> Patient:
    """A jobset in a container that runs, and is as its unit says."""
    notebooks = str(config.stop_file_host.parent)
    unit = Path.home() / ".config/systemd/user/sagequeue-container.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(
        "[Service]\n"
        "ExecStart=/usr/bin/podman run --name=sagemath --replace --rm \\\n"
        "    --label=sagequeue.settings=abc --env=HOME=/home/sage \\\n"
        f"    --publish=127.0.0.1:{port}:8888 --volume={notebooks}:{notebooks} \\\n"
        f"    {IMAGE} \\\n"
        "    sh -c 'while :; do ./sage -n jupyterlab --port=8888; sleep 5; done'\n"
    )
    (programs / "podman").write_text(PODMAN)
    (programs / "podman").chmod(0o755)
    (programs / "image").write_text('[{"Id": "1ma9e"}]')
    has(programs, notebooks)
    return Patient(replace(config, runtime="podman", service_manager="systemd"))


def has(
    programs: Path, notebooks: str, settings: str = "abc", image: str = "1ma9e", up: bool = True
) -> None:
    """What the container is like."""
    mounts = [{"Destination": notebooks, "Source": notebooks}]
    found = {
        "Id": "c0ffee",
        "Image": image,
        "State": {"Running": up, "StartedAt": "2024-05-01T10:00:00Z"},
        "Config": {"Labels": {"sagequeue.settings": settings}},
        "Mounts": mounts,
    }
    (programs / "container").write_text(json.dumps([found]))


def notebooks_of(patient: Patient) -> Path:
    assert patient.config is not None
    return patient.config.stop_file_host.parent


# Image and container


def test_a_container_as_its_unit_says(patient: Patient) -> None:
    assert levels(container.image, patient) == {Level.OK}
    assert levels(container.running, patient) == {Level.OK}
    assert levels(container.mounts, patient) == {Level.OK}


def test_no_image(patient: Patient, programs: Path) -> None:
    (programs / "image").unlink()
    found = only(container.image, patient)
    assert (found.level, IMAGE in found.cause) == (Level.FAIL, True)


def test_no_unit(patient: Patient) -> None:
    (Path.home() / ".config/systemd/user/sagequeue-container.service").unlink()
    assert "not installed" in only(container.running, patient).cause
    assert look(container.image, patient) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_container_that_does_not_run(patient: Patient, programs: Path, there: bool) -> None:
    if there:
        has(programs, str(notebooks_of(patient)), up=False)
    else:
        (programs / "container").unlink()
    found = only(container.running, patient)
    assert (found.level, found.remedy.split()[2]) == (Level.FAIL, "start")
    for check in (container.mounts, container.sage, container.jupyter, sharing.exchange):
        assert look(check, patient) == []


@pytest.mark.parametrize(
    ("settings", "image", "words"),
    [("older", "1ma9e", "older settings"), ("abc", "0ld", "older image")],
)
def test_a_container_that_is_out_of_date(
    patient: Patient, programs: Path, settings: str, image: str, words: str
) -> None:
    has(programs, str(notebooks_of(patient)), settings, image)
    found = only(container.running, patient)
    assert (found.level, words in found.cause) == (Level.WARN, True)
    assert found.remedy == "systemctl --user restart sagequeue-container.service"


def test_a_container_that_is_not_ours(patient: Patient, programs: Path) -> None:
    has(programs, str(notebooks_of(patient)), settings="")
    assert "not started by this project" in only(container.running, patient).cause


def test_a_container_with_other_notebooks(patient: Patient, programs: Path, tmp_path: Path) -> None:
    mine = str(notebooks_of(patient))
    has(programs, mine)
    text = (programs / "container").read_text()
    (programs / "container").write_text(
        text.replace(f'"Source": "{mine}"', f'"Source": "{tmp_path}"')
    )
    assert levels(container.mounts, patient) == {Level.FAIL}


def test_a_stop_file_that_the_container_cannot_see(patient: Patient) -> None:
    assert patient.config is not None
    outside = replace(patient.config, stop_file_cont="/elsewhere/demo_stop.txt")
    found = only(container.mounts, Patient(outside))
    assert (found.level, "in no mount" in found.cause) == (Level.FAIL, True)


@pytest.mark.parametrize(
    ("program", "level", "words"),
    [
        ("echo pycryptosat 5.17.0", Level.OK, "pycryptosat 5.17.0"),
        ("echo there is none >&2; exit 1", Level.FAIL, "there is none"),
    ],
)
def test_sage_in_the_container(
    patient: Patient, programs: Path, program: str, level: Level, words: str
) -> None:
    (programs / "sage").write_text(f"#!/bin/sh\n{program}\n")
    (programs / "sage").chmod(0o755)
    assert patient.config is not None
    found = only(container.sage, Patient(replace(patient.config, sage_bin="sage")))
    assert (found.level, words in found.cause) == (level, True)


def test_the_containers_user(
    patient: Patient, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 7)
    assert "100999:100999" in only(container.user_namespace, patient).cause
    (programs / "podman").write_text("#!/bin/sh\necho 0 7 1; echo 0 7 1\n")
    assert only(container.user_namespace, patient).remedy == "podman system migrate"


def test_the_workload_as_the_container_sees_it(patient: Patient) -> None:
    assert levels(queue.workload, patient) == {Level.OK}
    assert patient.config is not None
    Path(patient.config.script).unlink()
    assert levels(queue.workload, patient) == {Level.FAIL}


# Jupyter


def test_the_token_is_for_nobody_else(patient: Patient) -> None:
    token = config_dir() / "jupyter_token"
    assert levels(container.token, patient) == {Level.FAIL}
    token.write_text("secret")
    token.chmod(0o644)
    found = only(container.token, patient)
    assert found.level is Level.FAIL
    subprocess.run(["sh", "-c", found.remedy], check=True)
    assert levels(container.token, patient) == {Level.OK}


@pytest.fixture
def jupyter(port: int) -> Iterator[None]:
    """Something that knows the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == "token secret"
            self.send_response(200 if known else 403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("token", "level"), [("secret\n", Level.OK), ("other", Level.WARN)])
@pytest.mark.usefixtures("jupyter")
def test_jupyter_and_its_token(patient: Patient, token: str, level: Level) -> None:
    (config_dir() / "jupyter_token").write_text(token)
    assert only(container.jupyter, patient).level is level


def test_jupyter_that_does_not_answer(patient: Patient) -> None:
    assert look(container.jupyter, patient) == []
    (config_dir() / "jupyter_token").write_text("secret")
    assert only(container.jupyter, patient).level is Level.WARN


# The directory that both use


def lists(directory: Path, users: set[int], *kinds: str, mask: int = 7) -> None:
    """Give the directory access lists, as setfacl does."""
    entries = [(1, 7, 2**32 - 1), *((2, 7, uid) for uid in sorted(users)), (4, 5, 2**32 - 1)]
    packed = b"".join(
        struct.pack("<HHI", *e) for e in [*entries, (16, mask, 2**32 - 1), (32, 5, 2**32 - 1)]
    )
    for kind in kinds:
        os.setxattr(directory, f"system.posix_acl_{kind}", struct.pack("<I", 2) + packed)


@pytest.fixture
def sides(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The user and the container's user, as this machine has them."""
    monkeypatch.setattr(sharing.container, "mapped_ids", lambda: (100999, 100999))
    return {os.getuid(), 100999}


def test_both_sides_have_access(patient: Patient, sides: set[int]) -> None:
    lists(notebooks_of(patient), sides, "access", "default")
    assert levels(sharing.sharing, patient) == {Level.OK}


def test_no_lists_at_all(patient: Patient, sides: set[int]) -> None:
    found = only(sharing.sharing, patient)
    assert found.level is Level.FAIL
    assert all(f"{kind}u:{uid}:rwX" in found.remedy for kind in ("", "d:") for uid in sides)


def test_a_list_that_only_new_files_lack(patient: Patient, sides: set[int]) -> None:
    directory = notebooks_of(patient)
    lists(directory, sides, "access")
    lists(directory, {os.getuid()}, "default")
    assert only(sharing.sharing, patient).remedy == f"setfacl -m d:u:100999:rwX {directory}"


def test_a_mask_that_takes_it_away_again(patient: Patient, sides: set[int]) -> None:
    lists(notebooks_of(patient), sides, "access", "default", mask=5)
    assert levels(sharing.sharing, patient) == {Level.FAIL}


def test_what_one_side_writes_the_other_reads(patient: Patient, programs: Path) -> None:
    directory = notebooks_of(patient)
    before = set(directory.iterdir())
    assert levels(sharing.exchange, patient) == {Level.OK}
    (programs / "podman").write_text(PODMAN.replace('exec "$@"', "echo Permission denied; exit 1"))
    assert levels(sharing.exchange, patient) == {Level.FAIL}
    assert set(directory.iterdir()) == before


def test_a_link_that_the_container_leaves_for_its_file_is_not_written_through(
    patient: Patient, programs: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("there\n")
    plant = f'echo there >>"$5"; ln -s {precious} "$6"; exit 0'
    (programs / "podman").write_text(PODMAN.replace('exec "$@"', plant))
    assert levels(sharing.exchange, patient) == {Level.FAIL}
    assert precious.read_text() == "there\n"


def test_a_container_in_which_nothing_can_be_run_is_nobodys_file(
    patient: Patient, programs: Path
) -> None:
    refused = "echo crun: no control group >&2; exit 126"
    (programs / "podman").write_text(PODMAN.replace('exec "$@"', refused))
    for check in (sharing.exchange, queue.workload):
        found = only(check, patient)
        assert (found.level, "crun: no control group" in found.cause) == (Level.WARN, True)
    assert levels(container.sage, patient) == {Level.FAIL}


# Units


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What the service manager has: two workers that are well, but for these changes of one."""

    class Manager:
        def __init__(self, there: list[Unit]) -> None:
            self.there = there

        def units(self) -> list[Unit]:
            return self.there

    def make(**changes: object) -> None:
        well = [Unit(f"sagequeue@{n}.service", "active", True, n, True, True) for n in (1, 2)]
        changed = [replace(well[0], **changes), well[1]]  # type: ignore[arg-type]
        monkeypatch.setattr(services, "for_config", lambda _: Manager(changed))

    return make


UNITS = (workers.units, workers.leftovers, workers.vintage)
ALL_OK = (Level.OK, Level.OK, Level.OK)


@pytest.mark.parametrize(
    ("changes", "found", "remedy"),
    [
        ({}, ALL_OK, ""),
        (
            {"state": "inactive", "pid": None, "current": None},
            (Level.WARN, Level.OK, Level.OK),
            "systemctl --user start sagequeue@1.service",
        ),
        (
            {"state": "failed", "pid": None, "current": None},
            (Level.FAIL, Level.OK, Level.OK),
            "systemctl --user start sagequeue@1.service",
        ),
        (
            {"state": "activating", "pid": None, "current": None},
            (Level.WARN, Level.OK, Level.OK),
            "./bootstrap sagequeue journal",
        ),
        (
            {"enabled": False},
            (Level.WARN, Level.OK, Level.OK),
            "systemctl --user enable sagequeue@1.service",
        ),
        (
            {"wanted": False},
            (Level.OK, Level.WARN, Level.OK),
            "systemctl --user disable --now sagequeue@1.service",
        ),
        (
            {"current": False},
            (Level.OK, Level.OK, Level.WARN),
            "./bootstrap sagequeue restart",
        ),
        (
            {"outside": True},
            (Level.WARN, Level.OK, Level.OK),
            "./bootstrap sagequeue restart",
        ),
    ],
)
def test_units(
    patient: Patient,
    units: Callable[..., None],
    changes: dict[str, object],
    found: tuple[Level, ...],
    remedy: str,
) -> None:
    units(**changes)
    results = [only(check, patient) for check in UNITS]
    assert tuple(result.level for result in results) == found
    assert [result.remedy for result in results if result.remedy] == ([remedy] if remedy else [])


def test_programs_of_supervisor_are_never_enabled(
    config: Config, units: Callable[..., None]
) -> None:
    units(enabled=False)
    patient = Patient(config)
    assert levels(workers.units, patient) == {Level.OK}
    units(state="inactive", enabled=False, pid=None)
    assert only(workers.units, patient).remedy == "./bootstrap sagequeue start"
    units(wanted=False, enabled=False)
    assert only(workers.leftovers, patient).remedy.endswith("supervisord.conf stop "
                                                            "sagequeue@1.service")  # fmt: skip


def test_a_manager_that_cannot_be_asked_is_told_of_once(patient: Patient, programs: Path) -> None:
    (programs / "systemctl").write_text("#!/bin/sh\necho Failed to connect to bus >&2; exit 1\n")
    (programs / "systemctl").chmod(0o755)
    assert only(workers.units, patient).level is Level.FAIL
    assert [look(check, patient) for check in (*UNITS[1:], workers.reload)] == [[], [], []]


@pytest.mark.parametrize(
    ("loaded", "reload", "found"),
    [
        ("loaded", "no", {Level.OK}),
        ("loaded", "yes", {Level.WARN}),
        ("not-found", "no", {Level.FAIL}),
    ],
)
def test_units_as_systemd_has_read_them(
    patient: Patient,
    units: Callable[..., None],
    programs: Path,
    loaded: str,
    reload: str,
    found: set[Level],
) -> None:
    units()
    shown = f"Id=sagequeue@1.service\\nLoadState={loaded}\\nNeedDaemonReload={reload}\\n"
    (programs / "systemctl").write_text(f"#!/bin/sh\nprintf '{shown}'\n")
    (programs / "systemctl").chmod(0o755)
    assert levels(workers.reload, patient) == found


# The runner


def installed(program: str) -> Path:
    """A version of the runner; returns its command."""
    version = Path.home() / ".local/share/sagequeue/runner/abc/bin"
    version.mkdir(parents=True)
    (version / "sagequeue").write_text(f"#!/bin/sh\n{program}\n")
    (version / "sagequeue").chmod(0o755)
    (version.parent.parent / "current").symlink_to("abc")
    return version / "sagequeue"


def test_the_installed_runner(patient: Patient) -> None:
    missing = only(workers.runner, patient)
    assert (missing.level, "-t install_units" in missing.remedy) == (Level.FAIL, True)
    program = installed("echo sagequeue 1.0")
    assert only(workers.runner, patient).cause == "sagequeue 1.0 is installed"
    program.write_text("#!/bin/sh\nexit 1\n")
    broken = only(workers.runner, patient)
    assert (broken.level, broken.remedy.split()[:2]) == (
        Level.FAIL,
        ["rm", str(program.parent.parent / "installed")],
    )


def test_the_command_that_a_shell_finds(patient: Patient) -> None:
    link = Path.home() / ".local/bin/sagequeue"
    assert levels(workers.command, patient) == {Level.WARN}
    link.parent.mkdir(parents=True)
    link.symlink_to(installed("exit 0"))
    assert levels(workers.command, patient) == {Level.OK}
    link.unlink()
    link.symlink_to("nowhere")
    assert levels(workers.command, patient) == {Level.FAIL}
