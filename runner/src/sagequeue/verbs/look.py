"""Verbs that only look."""

import argparse
import json
import os

from sagequeue import config
from sagequeue.verbs import Add, load


def register(add: Add) -> None:
    """Declare them."""
    progress = add("progress", _progress, "how far the jobset is, and what it found")
    form = progress.add_mutually_exclusive_group()
    form.add_argument("--watch", action="store_true", help="redraw until interrupted")
    form.add_argument("--json", action="store_true", help="for programs; docs/queue.md")
    found = add("found", _found, "what was found")
    found.add_argument("--json", action="store_true", help="for programs")
    add("config", _config, "the configuration in force")


def _progress(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.live import Live

    from sagequeue import progress, view
    from sagequeue.watch import Signals

    settings = load(arguments)
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

    settings = load(arguments)
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
    settings = load(arguments)
    print(f"# {os.path.realpath(settings.env_file)}, with the environment's variables over it")
    print(config.render(settings), end="")
