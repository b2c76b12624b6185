"""The `sagequeue` command: one parser, one error boundary; the verbs are in `verbs`."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from sagequeue import __version__, exceptions
from sagequeue.exceptions import SagequeueError
from sagequeue.jobs import printable_lines
from sagequeue.verbs import Verb, container, doctor, look, migrate, queue, service

_EPILOG = """exit status:
  0   done; a worker that was told to stop or drained
  1   refused or failed; the message says what to do
  2   the command line is wrong
  75  busy: another process is at it; try again later
  78  the configuration is wrong; trying again does not help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit status."""
    # A file name need not be text; telling of it must not be an error of its own.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = parser().parse_args(argv)
    # Whatever the shell's: who may write the queue may have programs run.
    os.umask(os.umask(0o022) | 0o022)
    verb: Verb = arguments.verb
    try:
        status = verb(arguments) or 0
        sys.stdout.flush()
        return status
    except SagequeueError as error:
        print(printable_lines(f"sagequeue: {error}"), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read has read enough, as `grep -q` does; nothing more is to be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exceptions.EXIT_REFUSED
    except OSError as error:
        print(printable_lines(f"sagequeue: {error}"), file=sys.stderr)
        return exceptions.EXIT_REFUSED
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = argparse.ArgumentParser(
        prog="sagequeue",
        description="Runs the partitions of one enumeration from a durable queue on disk.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command_line.add_argument("--version", action="version", version=f"sagequeue {__version__}")
    verbs = command_line.add_subparsers(required=True, metavar="VERB")
    which = argparse.ArgumentParser(add_help=False)
    group = which.add_mutually_exclusive_group()
    group.add_argument("--jobset", metavar="NAME", help="a configured jobset (default: the active)")
    group.add_argument("--env-file", metavar="PATH", help="a jobset's env file")

    def add(name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, parents=[which], help=text, description=text)
        command.set_defaults(verb=verb)
        return command

    for family in (queue, service, look, container, doctor, migrate):
        family.register(add)
    return command_line
