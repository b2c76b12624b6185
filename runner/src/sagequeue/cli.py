"""The `sagequeue` command: one parser, one error boundary, one function per verb."""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

from sagequeue import __version__, config, exceptions
from sagequeue.config import Config
from sagequeue.exceptions import ConfigError, SagequeueError

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
    arguments = _parser().parse_args(argv)
    verb: Callable[[argparse.Namespace], int | None] = arguments.verb
    try:
        status = verb(arguments) or 0
        sys.stdout.flush()
        return status
    except SagequeueError as error:
        print(f"sagequeue: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read has read enough, as `grep -q` does; nothing more is to be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exceptions.EXIT_REFUSED
    except OSError as error:
        print(f"sagequeue: {error}", file=sys.stderr)
        return exceptions.EXIT_REFUSED
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sagequeue",
        description="Runs the partitions of one enumeration from a durable queue on disk.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sagequeue {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    which = argparse.ArgumentParser(add_help=False)
    group = which.add_mutually_exclusive_group()
    group.add_argument("--jobset", metavar="NAME", help="a configured jobset (default: the active)")
    group.add_argument("--env-file", metavar="PATH", help="a jobset's env file")

    def add(
        name: str, verb: Callable[[argparse.Namespace], int | None], text: str
    ) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, parents=[which], help=text, description=text)
        command.set_defaults(verb=verb)
        return command

    worker = add("worker", _worker, "claim, run and settle jobs until told to stop")
    worker.add_argument("number", type=int, metavar="N", help="this worker's number, from 1")
    recover = add("recover", _recover, "requeue orphans and retry failures, of every jobset")
    recover.add_argument(
        "--every", type=float, metavar="SECONDS", help="again and again, until told to stop"
    )
    enqueue = add("enqueue", _enqueue, "add the jobs that are missing")
    enqueue.add_argument("--offset", type=int, metavar="K", help="only this one")
    enqueue.add_argument("--force", action="store_true", help="do done and failed jobs again")
    retry = add("retry-failed", _retry_failed, "give failed and held jobs back to pending")
    retry.add_argument("--reset-attempts", action="store_true", help="count attempts from 0 again")
    add("requeue-running", _requeue_running, "end the solvers and give their jobs back to pending")
    stop = add("request-stop", _request_stop, "set the stop gate: finish the cases at hand")
    stop.add_argument("--reason", default="requested by the operator", help="kept in the stop file")
    add("clear-stop", _clear_stop, "take the stop gate away; findings stay")
    purge = add("purge", _purge, "remove every job; keeps state files, logs and results")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    for kind in ("state-files", "logs", "results"):
        purge.add_argument(f"--{kind}", action="store_true", help=f"remove the {kind} as well")
    progress = add("progress", _progress, "how far the jobset is, and what it found")
    form = progress.add_mutually_exclusive_group()
    form.add_argument("--watch", action="store_true", help="redraw until interrupted")
    form.add_argument("--json", action="store_true", help="for programs; docs/queue.md")
    found = add("found", _found, "what was found")
    found.add_argument("--json", action="store_true", help="for programs")
    add("config", _config, "the configuration in force")
    return parser


def _load(arguments: argparse.Namespace) -> Config:
    return config.find(arguments.jobset, arguments.env_file, os.environ)


def _worker(arguments: argparse.Namespace) -> None:
    from sagequeue.worker import Worker

    settings = _load(arguments)
    if arguments.number < 1:
        raise ConfigError(f"worker {arguments.number}: workers are numbered from 1")
    Worker(settings, arguments.number).run()


def _recover(arguments: argparse.Namespace) -> int:
    from sagequeue import recovery
    from sagequeue.watch import Signals

    if arguments.every is None:
        return _recover_once(arguments, recovery.say)
    if not 0 < arguments.every < float("inf"):
        raise ConfigError("--every must be more than 0 seconds")
    signals = Signals()
    while not signals.stop:
        _recover_once(arguments, recovery.say)
        wake = time.monotonic() + arguments.every
        while not signals.stop and (left := wake - time.monotonic()) > 0:
            signals.wait(left)
    return 0


def _recover_once(arguments: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """One pass over the jobset that is named, else over every one that is configured."""
    from sagequeue import recovery
    from sagequeue.spool import Spool

    named = arguments.jobset or arguments.env_file
    jobsets: list[str | None] = [None] if named else [str(p) for p in config.env_files()]
    status = 0
    for path in jobsets:
        try:
            # One jobset's variables must not be every jobset's.
            settings = config.find(None, path, {}) if path else _load(arguments)
            spool = Spool(settings)
            spool.create()
            if not recovery.recover(spool, tell):
                tell(recovery.line("warn", jobset=settings.jobset, reason="recovery_is_running"))
        except (SagequeueError, OSError) as error:
            # One jobset's fault must not keep the others from being recovered.
            print(f"sagequeue: {error}", file=sys.stderr, flush=True)
            status = getattr(error, "exit_code", exceptions.EXIT_REFUSED)
    return status


def _enqueue(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.enqueue(_load(arguments), arguments.offset, force=arguments.force, tell=print)


def _retry_failed(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.retry_failed(_load(arguments), reset=arguments.reset_attempts, tell=print)


def _requeue_running(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.requeue_running(_load(arguments), tell=print)


def _request_stop(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.request_stop(_load(arguments), " ".join(arguments.reason.split()), tell=print)


def _clear_stop(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.clear_stop(_load(arguments), tell=print)


def _purge(arguments: argparse.Namespace) -> int:
    from sagequeue import operations

    settings = _load(arguments)
    named = (arguments.state_files, arguments.logs, arguments.results)
    kept = operations.kept_files(settings)
    also = {what: kept[what] for what, wanted in zip(kept, named, strict=True) if wanted}
    if not arguments.yes:
        more = "".join(f" and {len(paths)} {what}" for what, paths in also.items())
        question = f"Remove every job of {settings.jobset}{more}? Type the jobset's name: "
        try:
            answer = input(question)
        except EOFError:
            answer = ""
        if answer.strip() != settings.jobset:
            print("nothing was removed (--yes does not ask)")
            return exceptions.EXIT_REFUSED
    operations.purge(settings, also, tell=print)
    return 0


def _progress(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.live import Live

    from sagequeue import progress, view
    from sagequeue.watch import Signals

    settings = _load(arguments)
    if arguments.json:
        print(json.dumps(progress.as_json(progress.survey(settings)), indent=1))
        return
    console = Console(highlight=False)
    if not arguments.watch:
        console.print(view.draw(progress.survey(settings)))
        return
    signals = Signals()
    with Live(view.draw(progress.survey(settings)), console=console) as live:
        while not signals.stop:
            signals.wait(1.0)
            live.update(view.draw(progress.survey(settings)))


def _found(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from sagequeue import findings, view

    settings = _load(arguments)
    found = findings.read(settings)
    if arguments.json:
        print(json.dumps(found, indent=1))
    elif found:
        for finding in found:
            Console(highlight=False, soft_wrap=True).print(view.finding_text(finding))
            print(f"  record: {finding['file']}")
    else:
        print(f"{settings.jobset}: nothing found so far (`sagequeue progress` says how far it is)")


def _config(arguments: argparse.Namespace) -> None:
    settings = _load(arguments)
    print(f"# {os.path.realpath(settings.env_file)}, with the environment's variables over it")
    print(config.render(settings), end="")
