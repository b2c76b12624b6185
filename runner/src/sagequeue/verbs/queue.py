"""Verbs that act on the queue."""

import argparse
import sys
import time
from collections.abc import Callable

from sagequeue import config, exceptions
from sagequeue.exceptions import ConfigError, SagequeueError
from sagequeue.jobs import printable
from sagequeue.verbs import Add, load, tell


def register(add: Add) -> None:
    """Declare them."""
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
    clear = add("clear-stop", _clear_stop, "take the stop gate away; findings stay")
    clear.add_argument(
        "--if-reason", default="", metavar="TEXT", help="only if each line begins so"
    )
    purge = add("purge", _purge, "remove every job; keeps all other files")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    for kind in ("state-files", "logs", "results", "ledger"):
        purge.add_argument(f"--{kind}", action="store_true", help=f"remove the {kind} as well")


def _worker(arguments: argparse.Namespace) -> None:
    from sagequeue.worker import Worker

    settings = load(arguments)
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


def _recover_once(arguments: argparse.Namespace, said: Callable[[str], None]) -> int:
    """One pass over the jobset that is named, else over every one that is configured."""
    from sagequeue import recovery
    from sagequeue.spool import Spool

    named = arguments.jobset or arguments.env_file
    jobsets: list[str | None] = [None] if named else [str(p) for p in config.env_files()]
    status = 0
    for path in jobsets:
        try:
            # One jobset's variables must not be every jobset's.
            settings = config.find(None, path, {}) if path else load(arguments)
            spool = Spool(settings)
            spool.create()
            if not recovery.recover(spool, said):
                said(recovery.line("warn", jobset=settings.jobset, reason="recovery_is_running"))
        except (SagequeueError, OSError) as error:
            # One jobset's fault must not keep the others from being recovered.
            print(printable(f"sagequeue: {error}"), file=sys.stderr, flush=True)
            status = getattr(error, "exit_code", exceptions.EXIT_REFUSED)
    return status


def _enqueue(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.enqueue(load(arguments), arguments.offset, force=arguments.force, tell=tell)


def _retry_failed(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.retry_failed(load(arguments), reset=arguments.reset_attempts, tell=tell)


def _requeue_running(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.requeue_running(load(arguments), tell=tell)


def _request_stop(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    operations.request_stop(load(arguments), " ".join(arguments.reason.split()), tell=tell)


def _clear_stop(arguments: argparse.Namespace) -> None:
    from sagequeue import operations

    reason = " ".join(arguments.if_reason.split())
    operations.clear_stop(load(arguments), only=reason, tell=tell)


def _purge(arguments: argparse.Namespace) -> int:
    from sagequeue import operations

    settings = load(arguments)
    named = (arguments.state_files, arguments.logs, arguments.results, arguments.ledger)
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
    operations.purge(settings, also, tell=tell)
    return 0
