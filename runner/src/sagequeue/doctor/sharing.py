"""Checks of the directory that the user and the container share."""

import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path

from sagequeue import container
from sagequeue.doctor.container import RESTART, inside
from sagequeue.doctor.finding import Finding, fail, ok
from sagequeue.doctor.patient import Patient, quoted

# linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id.
_ENTRY, _USER, _MASK = "<HHI", 2, 16


def sharing(patient: Patient) -> Iterator[Finding]:
    """The notebooks directory has access lists for the user and the container's user."""
    if not patient.podman or (settings := patient.config) is None:
        return
    directory = settings.stop_file_host.parent
    users = {os.getuid(), patient.mapped_ids[0]}
    missing = [
        f"{prefix}u:{uid}:rwX"
        for kind, prefix in (("access", ""), ("default", "d:"))
        for uid in sorted(users - _listed(directory, kind))
    ]
    if not missing:
        yield ok(f"{directory} has access lists for both sides")
        return
    yield fail(
        f"you and the container cannot share all files in {directory}: its access lists lack "
        + ", ".join(missing),
        f"setfacl -m {','.join(missing)} {quoted(directory)}",
    )


def _listed(directory: Path, kind: str) -> set[int]:
    """The users that the directory's list gives everything, mask included."""
    try:
        acl = os.getxattr(directory, f"system.posix_acl_{kind}")
    except OSError:
        return set()
    entries = list(struct.iter_unpack(_ENTRY, acl[4:]))
    mask = next((may for tag, may, _ in entries if tag == _MASK), 7)
    return {uid for tag, may, uid in entries if tag == _USER and may & mask == 7}


def exchange(patient: Patient) -> Iterator[Finding]:
    """What one side writes into the notebooks directory, the other reads and writes."""
    settings = patient.config
    if settings is None or not patient.contained:
        return
    directory = settings.stop_file_host.parent
    there = os.path.dirname(settings.stop_file_cont)
    word = secrets.token_hex(4)
    ours, theirs = (directory / f".sagequeue-doctor-{word}-{side}" for side in ("here", "there"))
    # Both are there for this moment only.
    try:
        ours.write_text("here\n", encoding="ascii")
        script = 'grep -qx here "$1" && echo there >>"$1" && echo there >"$2"'
        names = (f"{there}/{path.name}" for path in (ours, theirs))
        answer = inside(settings.service, "sh", "-c", script, "sh", *names)
        if answer.returncode != 0:
            yield fail(
                f"the container cannot read and write your files in {directory}: "
                + container.said(answer),
                patient.play,
            )
            return
        # The container could have put a link there, and have it written through.
        fd = os.open(theirs, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "r+", encoding="ascii") as file:
            both = file.read() == "there\n" and ours.read_text(encoding="ascii") == "here\nthere\n"
            file.write("here\n")
        if both:
            yield ok(f"both sides read and write each other's files in {directory}")
        else:
            yield fail(f"the container's {there} is not {directory}", RESTART)
    except OSError as error:
        yield fail(f"you cannot read and write the container's files: {error}", patient.play)
    finally:
        for path in (ours, theirs):
            path.unlink(missing_ok=True)


CHECKS = (sharing, exchange)
