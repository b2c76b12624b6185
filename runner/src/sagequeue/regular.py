"""Reading small files that somebody else may have put there: the container's user, a hand.

The notebooks directory is shared with the container, so a state file or a stop file may be a link,
a FIFO, a directory or of any size. No link is followed, nothing is waited for, and no more is read
than was asked for.
"""

import errno
import os
import stat
from pathlib import Path


class NoRegularFile(OSError):
    """A link, a directory, a FIFO, a socket, a device."""


def read(path: str | Path, most: int) -> bytes:
    """At most `most` bytes from the start of a regular file.

    Raises NoRegularFile if it is something else, OSError if it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # A loop of links on the way to it is an error, too, but the file's own name is not.
        if error.errno == errno.ELOOP and os.path.islink(path):
            raise NoRegularFile(error.errno, "it is a symbolic link", str(path)) from None
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device without a driver
            raise NoRegularFile(error.errno, "it is not a regular file", str(path)) from None
        raise
    try:
        demand(fd, path)
        return os.read(fd, min(most, os.fstat(fd).st_size))
    finally:
        os.close(fd)


def is_regular(fd: int) -> bool:
    """Whether a descriptor is a regular file's."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


def demand(fd: int, path: str | Path) -> None:
    """Raise NoRegularFile, naming `path`, if the descriptor is not a regular file's."""
    if not is_regular(fd):
        raise NoRegularFile(errno.EINVAL, "it is not a regular file", str(path))
