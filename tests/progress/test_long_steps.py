"""The roles' long commands: what they print is followed, and when they fail, the way out is named.

`podman` and `apt-get` are programs here that say what the real ones have said.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from plays import ROOT, Play, Start, command, environment

IMAGE = {
    "registry": (
        "STEP 1/13: FROM localhost:1/none\nTrying to pull localhost:1/none:latest...\n"
        "Error: creating build container: initializing source docker://localhost:1/none:latest: "
        'pinging container registry localhost:1: Get "https://localhost:1/v2/": '
        "dial tcp 127.0.0.1:1: connect: connection refused\n",
        "cannot be had from its registry",
    ),
    "proxy": (
        "STEP 1/13: FROM r.invalid/none/none\n"
        "Error: creating build container: initializing source docker://r.invalid/none/none:latest: "
        'pinging container registry r.invalid: Get "https://r.invalid/v2/": '
        "proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused\n",
        "Set HTTPS_PROXY and HTTP_PROXY",
    ),
    "disk": (
        "STEP 4/13: RUN apt-get update\nE: Write error - write (28: No space left on device)\n"
        "E: The package lists or status file could not be parsed or opened.\n",
        "The disk is full",
    ),
    "index": (
        "STEP 6/13: RUN pip\nLooking in indexes: http://127.0.0.1:9/simple\n"
        "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) "
        "after connection broken by 'NewConnectionError('...')': /simple/alabaster/\n"
        "ERROR: Could not find a version that satisfies the requirement alabaster==1.0.0 "
        "(from versions: none)\nERROR: No matching distribution found for alabaster==1.0.0\n",
        "for a mirror PIP_INDEX_URL",
    ),
    "certificate": (
        "STEP 1/13: FROM docker.io/library/debian:bookworm-slim\n"
        "Error: creating build container: pinging container registry r.invalid: "
        'Get "https://r.invalid/v2/": tls: failed to verify certificate: '
        "x509: certificate signed by unknown authority\n",
        "update-ca-certificates",
    ),
    "packages": (
        "STEP 4/13: RUN apt-get update\nErr:1 http://mirror.invalid/debian bookworm InRelease\n"
        "  Temporary failure resolving 'mirror.invalid'\n"
        "E: Unable to locate package python3-venv\n",
        "set HTTP_PROXY",
    ),
    "anything": ("STEP 13/13: RUN ./sage\nit does not solve\n", "The image could not be built."),
}
APT = {
    "lock": (
        "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)\n",
        "Another program installs packages",
    ),
    "network": (
        "Err:1 http://mirror.invalid/debian bookworm InRelease\n"
        "W: Failed to fetch http://mirror.invalid/debian/dists/bookworm/InRelease  Temporary "
        "failure resolving 'mirror.invalid'\nE: Package 'podman' has no installation candidate\n",
        "/etc/apt/apt.conf.d/80proxy",
    ),
    "unknown": ("Reading package lists...\nE: Unable to locate package podman\n", "/etc/apt"),
    "disk": ("E: You don't have enough free space in /var/cache/apt/archives/.\n", "is full"),
    "anything": ("E: Sub-process /usr/bin/dpkg returned an error code (1)\n", "could not install"),
}
PLAYED = """
- name: Fail in every way
  hosts: localhost
  gather_facts: false
  vars: {variables}
  tasks:
    - name: Fail
      ansible.builtin.include_tasks: one.yml
      loop: {names}
"""
ONE = """
- name: Run the role
  environment: {{SAID: "{base}/{{{{ item }}}}", PATH: "{base}:{{{{ lookup('env', 'PATH') }}}}"}}
  block:
    - name: Fail
      ansible.builtin.include_role: {{name: {role}, tasks_from: {tasks}}}
  rescue:
    - name: Keep what it said
      ansible.builtin.copy:
        dest: "{base}/{{{{ item }}}}.msg"
        content: "{{{{ ansible_failed_result.msg }}}}"
"""
# One that has no image yet. Told to, it waits in the middle.
PODMAN = """#!/bin/sh
case $1 in
    build) cat "$SAID" >&2; [ ! -e "$SAID.wait" ] || cat "$SAID.wait"; exit 125 ;;
    images) echo '[]' ;;
    *) exit 1 ;;
esac
"""
APT_GET = '#!/bin/sh\ncat "$SAID"\nexit 100\n'


def prepare(
    base: Path, program: str, script: str, said: dict[str, tuple[str, str]], role: str, tasks: str,
    **variables: object,
) -> Path:  # fmt: skip
    (base / program).write_text(script)
    (base / program).chmod(0o755)
    for name, (text, _) in said.items():
        (base / name).write_text(text)
    (base / "one.yml").write_text(ONE.format(base=base, role=role, tasks=tasks))
    variables |= {"ansible_become": False}
    play = base / "roles.yml"
    play.write_text(PLAYED.format(variables=json.dumps(variables), names=json.dumps(list(said))))
    return play


def image(base: Path, said: dict[str, tuple[str, str]]) -> Path:
    variables = {
        "podman_image_context_dir": f"{base}/context",
        "__podman_image_uid_map": {"rc": 0, "stdout_lines": ["0 0 65536"]},
    }
    return prepare(base, "podman", PODMAN, said, "podman_image", "build", **variables)


def check(play: Path, home: Path, said: dict[str, tuple[str, str]]) -> None:
    done = subprocess.run(
        command(play), env=environment(home), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    for name, (text, words) in said.items():
        message = (play.parent / f"{name}.msg").read_text()
        assert words in message.split("\n")[0], name
        assert text.splitlines()[-1][:300].rstrip() in message, name


def test_a_build_that_fails_says_why_and_what_to_do(tmp_path: Path, play: Play) -> None:
    check(image(tmp_path, IMAGE), play.home, IMAGE)
    log = play.log.with_name("podman_image.log").read_text()
    assert log == IMAGE["anything"][0]


def test_packages_that_cannot_be_had_too(tmp_path: Path, play: Play) -> None:
    missing = ["podman"]
    file = prepare(
        tmp_path, "apt-get", APT_GET, APT, "wsl_systemd", "packages", __wsl_systemd_missing=missing
    )
    check(file, play.home, APT)
    assert play.log.with_name("wsl_systemd.log").read_text() == APT["anything"][0]


@pytest.mark.parametrize("lines", [3, 175])
def test_what_a_build_prints_is_seen_while_it_runs(
    tmp_path: Path, play: Play, start: Start, lines: int
) -> None:
    lock = ROOT / "roles" / "podman_image" / "files" / "passagemath.lock"
    names = [line.split()[0] for line in lock.read_text().splitlines() if "==" in line]
    collected = "".join(f"Collecting {name}\n  Downloading it (1 kB)\n" for name in names[:lines])
    step = f"STEP 6/13: RUN pip install -r /any/{lock.name}\n"
    said = {"collects": (f"{step}{collected}Downloading it\n  all of it\n", "")}
    play.file = image(tmp_path, said)
    os.mkfifo(tmp_path / "collects.wait")
    terminal = start()
    screen = terminal.until(lambda screen: "all of it" in screen.below)
    assert "build | Build the image" in screen.below[0]
    assert screen.below[1].endswith(f" {lines}/{len(names)}")
    # Then it prints nothing: what is seen to change is the disk.
    screen = terminal.until(
        lambda screen: "MB on the disk so far. Downloading it" in screen.below[-1]
    )
    assert screen.below[1].endswith(f" {lines}/{len(names)}")
    (tmp_path / "collects.wait").write_text("")
    assert terminal.end() == 0
