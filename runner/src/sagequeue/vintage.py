"""What a worker was started with, noted in its lock file.

So it can be told from what it would be started with now: settings, and the runner itself.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from sagequeue import config
from sagequeue.config import Config
from sagequeue.owner import Lock, held

PACKAGE = Path(__file__).parent


def lock_file(settings: Config, number: int) -> Path:
    """The lock that worker N holds as long as it lives."""
    return settings.run_dir / f"worker-{number}.lock"


def text(settings: Config, package: Path = PACKAGE) -> str:
    """What a worker with these settings, of the runner in `package`, notes."""
    sources = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.sh")]):
        status = path.stat()
        sources.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    wanted = hashlib.sha256(config.render(settings).encode())
    return f"SETTINGS={wanted.hexdigest()[:16]}\nRUNNER={sources.hexdigest()[:16]}\n"


def note(lock: Lock, noted: str) -> None:
    """Write into a worker's lock file what it starts with, right after it was taken."""
    data = noted.encode()
    with suppress(OSError):  # for people: a full disk must not stop the work for it
        # One note is as long as another: over the last one, whoever reads it reads a whole one.
        os.pwrite(lock.fd, data, 0)
        os.ftruncate(lock.fd, len(data))


def current(settings: Config, number: int, package: Path | None) -> bool | None:
    """Whether worker N has these settings, and the runner in `package`; None when it is not there.

    One that has noted nothing is of a runner that did not know how.
    """
    path = lock_file(settings, number)
    if package is None or not held(path):
        return None
    return path.read_text(encoding="utf-8") == text(settings, package)
