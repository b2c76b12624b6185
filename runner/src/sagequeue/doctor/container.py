"""Checks of the image, the container, and Jupyter in it."""

import http.client
import os
import re
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from sagequeue import config as configuration
from sagequeue import container
from sagequeue.doctor.finding import Finding, fail, ok, warn
from sagequeue.doctor.patient import Patient, quoted
from sagequeue.exceptions import SagequeueError

_UNIT = "sagequeue-container.service"
RESTART = f"systemctl --user restart {_UNIT}"
# Exit statuses of `podman exec` itself.
_NOT_RUN = (125, 126)
_SMOKE = "/usr/local/share/sagequeue/smoke.py"


@dataclass(frozen=True)
class _Wanted:
    """What the container's unit says: `mounts` is target to source, `port` Jupyter's."""

    image: str
    settings: str
    mounts: dict[str, str]
    port: int


def _wanted() -> _Wanted | None:
    """What is installed, None when nothing is."""
    try:
        text = (Path.home() / ".config/systemd/user" / _UNIT).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    (start,) = re.findall(r"(?m)^ExecStart=(.*)$", text.replace("\\\n", " "))
    words = shlex.split(start)
    options = words[words.index("run") + 1 :]
    count = next(n for n, word in enumerate(options) if not word.startswith("-"))
    pairs = [word.split("=", 1) for word in options[:count] if "=" in word]
    volumes = [value.split(":") for key, value in pairs if key == "--volume"]
    settings = next(v for k, v in pairs if k == "--label" and v.startswith("sagequeue.settings="))
    publish = next(value for key, value in pairs if key == "--publish")
    return _Wanted(
        image=options[count],
        settings=settings.partition("=")[2],
        mounts={volume[1]: volume[0] for volume in volumes},
        port=int(publish.split(":")[1]),
    )


def user_namespace(patient: Patient) -> Iterator[Finding]:
    """The container's user is one of the user's ids."""
    if not patient.podman or patient.config is None:
        return
    try:
        uid, gid = patient.mapped_ids
    except SagequeueError as error:
        yield fail(
            f"Podman's namespace lacks the container's user: {error}", "podman system migrate"
        )
    else:
        yield ok(f"the container's user 1000:1000 is {uid}:{gid} here")


def image(patient: Patient) -> Iterator[Finding]:
    """The image with Sage is there."""
    if not patient.podman or (wanted := _wanted()) is None:
        return
    if container.image_id(wanted.image):
        yield ok(f"{wanted.image} is there")
    else:
        yield fail(f"there is no image {wanted.image}; it is built", patient.play)


def running(patient: Patient) -> Iterator[Finding]:
    """The container runs, as the settings say."""
    settings = patient.config
    if not patient.podman or settings is None:
        return
    wanted, found = _wanted(), patient.container
    if wanted is None:
        yield fail(f"the unit {_UNIT} is not installed", patient.play)
        return
    if found is None or not found.running:
        yield fail(f"no container {settings.service} runs", f"systemctl --user start {_UNIT}")
        return
    if not found.settings:
        yield fail(
            f"the container {settings.service} was not started by this project",
            f"podman stop {settings.service} && systemctl --user start {_UNIT}",
        )
        return
    image_id = container.image_id(wanted.image)
    if image_id and found.image_id != image_id:
        yield warn(
            f"the container is of an older image than {wanted.image} is now; a restart ends all "
            "cases at hand",
            RESTART,
        )
    if found.settings != wanted.settings:
        yield warn(
            "the container has older settings than its unit; a restart ends all cases at hand",
            RESTART,
        )
    if found.settings == wanted.settings and found.image_id == image_id:
        yield ok(f"the container {settings.service} runs with {wanted.image}")


def mounts(patient: Patient) -> Iterator[Finding]:
    """The container sees the directories that the settings name."""
    settings = patient.config
    if not patient.podman or settings is None or (wanted := _wanted()) is None:
        return
    found = patient.container
    if found is None or not found.running:
        return
    wrong = [
        f"{target} is {found.mounts.get(target, 'nothing')} and not {source}"
        for target, source in wanted.mounts.items()
        if os.path.realpath(found.mounts.get(target, "")) != os.path.realpath(source)
    ]
    directory = os.path.dirname(settings.stop_file_cont)
    if (source := found.mounts.get(directory)) is None:
        wrong.append(f"STOP_FILE_CONT {settings.stop_file_cont} is in no mount")
    elif os.path.realpath(source) != os.path.realpath(settings.stop_file_host.parent):
        wrong.append(f"{directory} is {source} and not {settings.stop_file_host.parent}")
    if not wrong:
        yield ok("the container sees the directories that the settings name")
    for cause in wrong:
        yield fail(f"in the container {cause}; this ends all cases at hand", RESTART)


def inside(service: str, *argv: str) -> CompletedProcess[str]:
    """Run a command in the container; SagequeueError when that is what cannot be done."""
    answer = container.run(service, *argv)
    if answer.returncode in _NOT_RUN:
        raise SagequeueError(f"podman exec: {container.said(answer)}")
    return answer


def sage(patient: Patient) -> Iterator[Finding]:
    """Sage's Python solves in the running container."""
    settings = patient.config
    if settings is None or not patient.contained or _wanted() is None:
        return
    answer = container.run(settings.service, settings.sage_bin, "-python", _SMOKE)
    if answer.returncode == 0:
        yield ok(f"Sage answers, and {answer.stdout.strip()} solves")
    else:
        yield fail(
            f"Sage cannot solve in the container: {container.said(answer)}",
            patient.operation("rebuild_image"),
        )


def token(patient: Patient) -> Iterator[Finding]:
    """Nobody else can read Jupyter's token."""
    if not patient.podman or patient.config is None:
        return
    path = _token_file()
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        yield fail(f"there is no {path}; it is made", patient.play)
        return
    if mode & 0o077:
        yield fail(
            f"{path} has mode {mode:04o}: whoever reads it can run programs in the container",
            f"chmod 0600 {quoted(path)}",
        )
    else:
        yield ok("Jupyter's token is in a file of mode 0600")


def _token_file() -> Path:
    return configuration.config_dir() / "jupyter_token"


def jupyter(patient: Patient) -> Iterator[Finding]:
    """Jupyter answers, to that token."""
    if not patient.contained or (wanted := _wanted()) is None or not _token_file().exists():
        return
    where = f"http://127.0.0.1:{wanted.port}"
    secret = _token_file().read_text(encoding="utf-8").strip()
    server = http.client.HTTPConnection("127.0.0.1", wanted.port, timeout=10)
    try:
        server.request("GET", "/api/status", headers={"Authorization": f"token {secret}"})
        status = server.getresponse().status
    except OSError as error:
        yield warn(
            f"Jupyter does not answer on {where}: {error}; solvers are none the worse. It is "
            "started again within seconds, unless the container is restarted, which ends all cases",
            RESTART,
        )
        return
    finally:
        server.close()
    if status == http.HTTPStatus.OK:
        yield ok(f"Jupyter answers on {where}")
    else:
        yield warn(
            f"Jupyter on {where} answers the token with {status}; it has the one that the "
            "container was started with, and a restart ends all cases at hand",
            f"{patient.play} && {RESTART}",
        )


CHECKS = (user_namespace, image, running, mounts, sage, token, jupyter)
