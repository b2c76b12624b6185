"""The log of one partition, kept within bounds without losing a line of the current execution."""

import os

from sagequeue import durable, regular
from sagequeue.config import Config

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MIB = 1 << 20


def make_directory(config: Config) -> None:
    """Make the logs' directory again if it was moved away.

    Not where all of the jobset's directory is away: it may come back.
    """
    if config.state_dir.is_dir():
        durable.make_directory(config.log_dir)


def begin(config: Config, offset: int) -> int:
    """A descriptor that appends to the log, for an execution that has not begun.

    Only for whoever has the job's lock: nobody writes there then. A log that is over its limit
    becomes `<log>.1`, in place of an earlier one. Before the workload starts, the caller syncs the
    directory of an empty log: what the workload syncs in it must be found under its name.
    """
    path = config.log_file(offset)
    make_directory(config)
    fd = os.open(path, _APPEND, 0o666)
    try:
        regular.demand(fd, path)
    except BaseException:
        os.close(fd)
        raise
    if 0 < config.log_limit * _MIB < os.fstat(fd).st_size:
        os.close(fd)
        os.replace(path, f"{path}.1")
        fd = os.open(path, _APPEND, 0o666)
    os.set_blocking(fd, True)  # it is the workload's standard output
    return fd
