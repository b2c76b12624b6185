"""The verbs of the `sagequeue` command, in families of one module each.

A family has `register(add)`, which declares its verbs and their options, and one function a verb:
it takes the parsed command line and returns an exit status, or None for 0. What it prints for
people it prints by `tell`, or by rich from what `jobs.printable` has made harmless.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Protocol

from sagequeue import config, queue_format
from sagequeue.config import Config
from sagequeue.exceptions import ConfigError
from sagequeue.jobs import printable_lines

Verb = Callable[[argparse.Namespace], int | None]


class Add(Protocol):
    """Declares a verb, which also gets `--jobset` and `--env-file`; returns its parser."""

    def __call__(self, name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        """`text` is what the help says of it."""


def tell(text: str) -> None:
    """Print for people; what jobs, files and workloads put into the text is text."""
    print(printable_lines(text), flush=True)


def load(arguments: argparse.Namespace) -> Config:
    """The configuration that the command line means."""
    return config.find(arguments.jobset, arguments.env_file, os.environ)


def to_act(arguments: argparse.Namespace) -> Config:
    """The same, for a verb that acts on the queue; ConfigError if its format is a newer one."""
    settings = load(arguments)
    queue_format.check(settings)
    return settings


def to_look(arguments: argparse.Namespace) -> Config:
    """The same, for a verb that only looks: of a newer format it is said, on standard error."""
    settings = load(arguments)
    try:
        queue_format.check(settings)
    except (ConfigError, OSError) as error:
        what = f"sagequeue: what follows may be wrong: {error}"
        print(printable_lines(what), file=sys.stderr, flush=True)
    return settings
