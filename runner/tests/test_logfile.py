"""By which names a partition's log is known."""

import os

import pytest
from sagequeue import logfile
from sagequeue.config import Config

# Of log rotation, which does not compress at once.
ROTATED = [
    "demo_off1.log.1",
    "demo_off1.log.01",
    "demo_off1.1.log",
    "demo_off1.log-20261201",
    "demo_off1.log.20261201",
    "demo_off1-20261201.log",
    "demo_off1.log-20261201-093000",
    "demo_off1-20261201-093000.log",
    "demo_off1.log-2026-12-01",
    "demo_off1.log.2026-12-01_09:30",
    "demo_off1.log-20261201T093000Z",
    "demo_off1.log-2026-12-01T09:30:00+01:00",
    "demo_off1.log-1764581400",
]
# A person's; if such a file has the log's inode, it is the log all the same.
OTHERS = ["demo_off1.log.old", "demo_off1.log~", "demo_off1.txt", "demo_off1.log.1.bak"]
ANOTHER = ["demo_off12.log", "demo_off12.log.1", "demo_off.log", "demo2_off1.log", "demo_off1.log"]


@pytest.mark.parametrize("name", [*ROTATED, *OTHERS, *ANOTHER])
@pytest.mark.parametrize("compressed", ["", ".gz", ".xz", ".zst", ".bz2"])
def test_a_log_is_known_by_the_names_that_rotation_gives(
    config: Config, name: str, compressed: str
) -> None:
    path = config.log_dir / f"{name}{compressed}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    named = name in (*ROTATED, "demo_off1.log", "demo_off12.log", "demo_off12.log.1")
    read = not compressed and name in (*ROTATED, *OTHERS)
    assert logfile.all_of(config) == ([path] if named else [])
    assert logfile.beside(config, 1) == ([path] if read else [])
    renamed = [(offset, status.st_ino) for offset, status in logfile.renamed(config)]
    ours = read or (name == "demo_off12.log.1" and not compressed)
    offset = 12 if name.startswith("demo_off12") else 1
    assert renamed == ([(offset, os.stat(path).st_ino)] if ours else [])
