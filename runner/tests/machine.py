"""Real rootless Podman for tests, on a host that was not made for it.

An unprivileged user of its own runs Podman. Where the host's cgroups are not version 2, all of it
happens in a mount namespace that shows cgroup v2, which crun insists on. The container has Debian
with Python, made here, since no registry is needed for that. Needs root, Podman and mmdebstrap,
which `./test` installs.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

USER = "sagequeue-test"
IMAGE = "localhost/sagequeue-runner-test:1"
CONTAINER = "sagequeue-runner-test"
_SHIM = """#!/bin/sh
# Podman as the test's user, with the caller's descriptors.
export HOME={home} XDG_RUNTIME_DIR={runtime}
exec {enter} setpriv --reuid {user} --regid {user} --init-groups {podman} "$@"
"""
_VIEW = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; echo ready; exec sleep inf"


class Machine:
    """`bin` comes first on PATH for whatever is to use this Podman; `shared` is bind-mounted."""

    def __init__(self, root: Path) -> None:
        for tool in ("podman", "mmdebstrap", "setpriv", "newuidmap"):
            if shutil.which(tool) is None:
                raise RuntimeError(f"{tool} is not installed; `./test` installs it")
        if os.getuid() != 0:
            raise RuntimeError("the Podman tests need root, to make a user and a mount namespace")
        self.root, self.bin, self.shared = root, root / "bin", root / "shared"
        self.bin.mkdir(parents=True)
        self.shared.mkdir()
        self.view: subprocess.Popen[str] | None = None
        enter = ""
        if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            self.view = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", _VIEW],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert self.view.stdout is not None
            assert self.view.stdout.readline() == "ready\n"
            enter = f"nsenter --target {self.view.pid} --mount"
        user = self._user()
        runtime = root / "runtime"
        runtime.mkdir(mode=0o700)
        os.chown(runtime, user.pw_uid, user.pw_gid)
        shim = self.bin / "podman"
        shim.write_text(
            _SHIM.format(home=user.pw_dir, runtime=runtime, user=USER, enter=enter,
                         podman=shutil.which("podman"))
        )  # fmt: skip
        shim.chmod(0o755)
        self._image()

    def _user(self) -> pwd.struct_passwd:
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            subprocess.run(["useradd", "--create-home", USER], check=True)
            user = pwd.getpwnam(USER)
        # Podman 4 falls back to copying whole trees unless told that the kernel can overlay.
        conf = Path(user.pw_dir, ".config/containers/storage.conf")
        conf.parent.mkdir(parents=True, exist_ok=True)
        conf.write_text('[storage]\ndriver = "overlay"\n')
        for path in (conf, conf.parent, conf.parent.parent):
            os.chown(path, user.pw_uid, user.pw_gid)
        return user

    def podman(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / "podman", *words], check=check, text=True, capture_output=True, cwd="/"
        )

    def _image(self) -> None:
        if self.podman("image", "exists", IMAGE, check=False).returncode == 0:
            return
        tree = self.root / "image.tar"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", "bookworm", tree],
            check=True,
        )
        tree.chmod(0o644)
        self.podman("import", "--quiet", str(tree), IMAGE)
        tree.unlink()

    def start(self) -> None:
        """A new container, as unprivileged as the real one."""
        self.podman("rm", "--force", "--ignore", "--time=0", CONTAINER)
        self.podman(
            "run", "--detach", f"--name={CONTAINER}", "--network=none", "--cgroups=disabled",
            "--ulimit=nofile=20000:20000", "--ulimit=nproc=32768:32768", "--user=1000:1000",
            f"--volume={self.shared}:{self.shared}", IMAGE, "sleep", "inf",
        )  # fmt: skip

    def close(self) -> None:
        self.podman("rm", "--force", "--ignore", "--time=0", CONTAINER, check=False)
        # Its pause process would keep this mount namespace for the next one.
        subprocess.run(["pkill", "--uid", USER], check=False)
        if self.view is not None:
            self.view.kill()
            self.view.wait()
