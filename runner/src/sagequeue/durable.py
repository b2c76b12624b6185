"""Files that are complete or not there: temporary name, fsync, rename, fsync of the directory."""

import errno
import os
from pathlib import Path


def write(path: str | Path, text: str, *, sync: bool = True) -> None:
    """Write the text to `path`, through to the disk with `sync`; the name is not synced yet."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    with open(fd, "wb") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        if sync:
            os.fsync(fd)


def replace(path: Path, text: str) -> None:
    """Put a complete file in the place of `path`, for good when this returns."""
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary, text)
    rename(temporary, path)
    sync_directory(path.parent)


def rename(temporary: Path, path: Path) -> None:
    """Put a file in the place of another one, by one rename; the name is not synced yet.

    IsADirectoryError with the remedy, if a directory is in its place.
    """
    try:
        temporary.rename(path)
    except IsADirectoryError:
        raise directory_there(path) from None


def directory_there(path: Path) -> IsADirectoryError:
    """What to raise for a directory in the place of a file."""
    return IsADirectoryError(
        errno.EISDIR, "a directory is in the place of a file, move it away", str(path)
    )


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, where they are not there, for good.

    NotADirectoryError with the remedy, if something else is in its place.
    """
    if not path.is_dir():
        make_directory(path.parent)
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError:
            told = "a file is in the place of a directory, move it away"
            raise NotADirectoryError(errno.ENOTDIR, told, str(path)) from None
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the renames into and out of a directory last."""
    _sync(path, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make what was appended to a file last."""
    _sync(path, os.O_NOFOLLOW)


def _sync(path: Path, flag: int) -> None:
    fd = os.open(path, os.O_RDONLY | flag)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
