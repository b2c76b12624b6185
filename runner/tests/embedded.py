"""A jobset with a real process manager, with the settings that the role renders for it."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from jinja2 import Environment, FileSystemLoader
from rig import Rig
from sagequeue import cli, services
from sagequeue.unit import Unit

Type = Callable[..., str]
TEMPLATES = Path(__file__).parents[2] / "roles" / "sagequeue_units" / "templates"
WORKERS = ("demo-1", "demo-2")


class Embedded(Rig):
    """The active jobset of a home, with the process manager's settings."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, SERVICE_MANAGER="supervisor")
        self.settings_dir = self.home / ".config" / "sagequeue"
        self.state_dir = root / "s"
        (self.settings_dir / "supervisord.d").mkdir(parents=True)
        (self.state_dir / "log").mkdir(parents=True)
        for name in ("demo.env", "sagequeue.env"):
            (self.settings_dir / name).symlink_to(self.env_file)
        self.install()

    def install(self) -> None:
        """What `-t install_units` does."""
        files = {
            "supervisord.conf.j2": self.settings_dir / "supervisord.conf",
            "workers.conf.j2": self.settings_dir / "supervisord.d" / "demo.conf",
        }
        templates = Environment(loader=FileSystemLoader(TEMPLATES), trim_blocks=True)
        templates.filters["quote"] = lambda value: shlex.quote(str(value))
        for name, path in files.items():
            text = templates.get_template(name).render(
                ansible_facts={"user_id": psutil.Process().username()},
                sagequeue_units_jobset="demo",
                sagequeue_units_workers=self.settings["WORKERS"],
                sagequeue_units_stop_grace=self.settings["STOP_GRACE"],
                sagequeue_units_state_dir=self.state_dir,
                sagequeue_units_recover_every=300,
                __sagequeue_units_socket=self.state_dir / "socket",
                __sagequeue_units_bin=Path(sys.executable).parent,
                __sagequeue_units_env_file=self.settings_dir / "demo.env",
            )
            # The pause before each start is for one that fails, time and again.
            path.write_text(text.replace("sleep 1;", "sleep 0.1;"))

    def units(self) -> dict[str, Unit]:
        return {unit.name: unit for unit in services.for_config(self.config).units()}

    def worker_pids(self) -> dict[str, int | None]:
        return {name: unit.pid for name, unit in self.units().items() if name in WORKERS}

    def ctl(self, *words: str) -> None:
        """Run supervisorctl."""
        command = [Path(sys.executable).parent / "supervisorctl", "-c"]
        subprocess.run([*command, self.settings_dir / "supervisord.conf", *words], check=True)


def make(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    """One with its jobs enqueued; in the end everything is stopped. A socket's path is short."""
    made = Embedded(root)
    monkeypatch.setenv("HOME", str(made.home))
    made.run("enqueue")
    try:
        yield made
        made.check()
    finally:
        made.stop()


def typing(demo: Embedded, capsys: pytest.CaptureFixture[str]) -> Type:
    """Types a command, which ends with that status; returns the last line that it says."""

    def typed(*line: str, status: int = 0) -> str:
        capsys.readouterr()
        ended = cli.main(line)
        said = capsys.readouterr()
        assert ended == status, said.out + said.err + demo.report()
        return (said.out + said.err).splitlines()[-1]

    return typed
