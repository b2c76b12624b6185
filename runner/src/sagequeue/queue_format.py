"""The format of a queue's files, one number in `var/<JOBSET>/FORMAT`.

Without that file it is 1: older releases wrote none. Any release may look at a queue; one
that acts on it refuses a format newer than its own.
"""

import contextlib
import re
from pathlib import Path

from sagequeue import __version__, durable, regular
from sagequeue.config import Config
from sagequeue.exceptions import ConfigError

CURRENT = 2
_LONGEST = 16
_NUMBER = re.compile(rb"([1-9][0-9]{0,8})\n")


def file(config: Config) -> Path:
    """Where the number is."""
    return config.state_dir / "FORMAT"


def check(config: Config) -> int:
    """The format of the jobset's queue.

    Raises ConfigError if this release does not know it, OSError if the file cannot be read.
    """
    path = file(config)
    try:
        content = regular.read(path, _LONGEST)
    except FileNotFoundError:
        return 1
    except regular.NoRegularFile as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; move it away") from None
    if len(content) < _LONGEST and not content.endswith(b"\n"):
        return 1  # a power cut left it so, on a disk that does not keep what was synced
    match = _NUMBER.fullmatch(content)
    if match is None:
        raise ConfigError(
            f"{path} does not hold one number; if no newer release of sagequeue used the queue, "
            f"remove it, and this one writes {CURRENT}"
        )
    number = int(match[1])
    if number > CURRENT:
        raise ConfigError(
            f"{path} says {number}: a newer release of sagequeue wrote this queue, and only a "
            f"release that knows format {number} may act on it. This one, {__version__}, knows "
            f"formats up to {CURRENT}; install the newer one again (docs/operations.md, Upgrade "
            "and downgrade)"
        )
    return number


def note(config: Config) -> None:
    """Note the format that this release writes, if an older one, or none, is noted.

    Raises as `check` does.
    """
    if check(config) < CURRENT:
        with contextlib.suppress(OSError):  # a full disk: at the next time, then
            durable.replace(file(config), f"{CURRENT}\n")
