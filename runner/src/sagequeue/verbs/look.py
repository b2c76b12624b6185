"""Verbs that only look."""

import argparse
import functools
import json
import os

from sagequeue import config
from sagequeue.exceptions import SagequeueError
from sagequeue.verbs import Add, load, tell, to_look


def register(add: Add) -> None:
    """Declare them."""
    progress = add("progress", _progress, "how far the jobset is, and what it found")
    form = progress.add_mutually_exclusive_group()
    form.add_argument("--watch", action="store_true", help="redraw until interrupted")
    form.add_argument("--json", action="store_true", help="for programs; docs/queue.md")
    found = add("found", _found, "what was found")
    found.add_argument("--json", action="store_true", help="for programs")
    add("config", _config, "the configuration in force")
    logs = add("logs", _logs, "the last lines of each partition's log")
    logs.add_argument("-f", "--follow", action="store_true", help="and all that is added")
    logs.add_argument("--offset", type=int, metavar="K", help="only this one")
    logs.add_argument("-n", type=_count, default=10, metavar="LINES", help="so many (10)")
    explain = add("explain", _explain, "why a job is where it is, what happens next and when")
    explain.add_argument("job", metavar="JOB", help="its name, its offset, or one of its files")
    diag = add("diag", _diag, "all that is to be seen, as one text to paste; no secrets in it")
    diag.add_argument("-n", type=_count, default=20, metavar="LINES", help="of each log (20)")


def _progress(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.live import Live

    from sagequeue import progress, view
    from sagequeue.watch import Signals

    settings = to_look(arguments)
    if arguments.json:
        print(json.dumps(progress.as_json(progress.survey(settings)), indent=1))
        return
    console = Console(highlight=False)
    if not arguments.watch:
        console.print(view.draw(settings, progress.survey(settings)))
        return
    signals = Signals()
    with Live(view.draw(settings, progress.survey(settings)), console=console) as live:
        while not signals.stop:
            signals.wait(1.0)
            live.update(view.draw(settings, progress.survey(settings)))


def _found(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from sagequeue import findings, progress, view

    settings = to_look(arguments)
    if arguments.json:
        print(json.dumps(findings.read(settings), indent=1))
        return
    facts = progress.survey(settings)
    for finding in facts.findings:
        Console(highlight=False, soft_wrap=True).print(view.finding_text(finding))
        tell(f"  record: {finding['file']}")
    if not facts.findings:
        tell(f"{settings.jobset}: {view.nothing(facts)}")
    for text in view.doubts(settings, facts):
        tell(text)


def _config(arguments: argparse.Namespace) -> None:
    settings = load(arguments)
    tell(f"# {os.path.realpath(settings.env_file)}, with the environment's variables over it")
    print(config.render(settings), end="")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _logs(arguments: argparse.Namespace) -> None:
    from sagequeue import logs
    from sagequeue.commands import typed
    from sagequeue.watch import Signals

    settings, offset = load(arguments), arguments.offset
    if offset is not None and not 0 <= offset < settings.stride:
        raise SagequeueError(f"offset {offset} is not from 0 to {settings.stride - 1} (STRIDE - 1)")
    told = logs.Logs(settings, offset, functools.partial(print, flush=arguments.follow))
    if arguments.follow:
        logs.follow(told, arguments.n, Signals())
        return
    there = told.last(arguments.n)
    told.finish()
    which = "" if offset is None else f" --offset {offset}"
    plural = "s" if there != 1 else ""
    counted = f"{there} log{plural}" if there else "no log yet"
    command = typed(settings, f"logs -f{which}")
    tell(f"{settings.jobset}: {counted} in {settings.log_dir}; {command} follows")


def _explain(arguments: argparse.Namespace) -> None:
    from sagequeue import explain

    for line in explain.explain(to_look(arguments), arguments.job):
        tell(line)


def _diag(arguments: argparse.Namespace) -> None:
    from sagequeue import diag

    for line in diag.snapshot(to_look(arguments), arguments.n):
        tell(line)
