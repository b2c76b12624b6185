"""Print the command's completion, by shtab, with jobsets and jobs as they are at the Tab."""

import argparse
import sys
from collections.abc import Iterator

import shtab
from sagequeue import cli

# What both shells understand. A directory that is not there has nothing to complete.
_LISTS = r"""
_sagequeue_jobsets() {
    ls "$HOME/.config/sagequeue" 2>/dev/null | sed -n 's/[.]env$//p' | grep -vx sagequeue
}

# Takes the words of the command line, which may name a jobset.
_sagequeue_jobs() {
    local jobset=sagequeue directory
    while [ $# -gt 1 ]; do
        [ "$1" = --jobset ] && jobset=$2
        shift
    done
    sed -n 's/^\(PENDING\|RUNNING\|DONE\|FAILED\)_DIR="*\([^"]*\)"*$/\2/p' \
        "$HOME/.config/sagequeue/$jobset.env" 2>/dev/null |
        while IFS= read -r directory; do ls "$directory" 2>/dev/null; done | sed -n 's/[.]env$//p'
}
"""
_PREAMBLES = {
    "bash": r"""
_sagequeue_complete_jobset() { compgen -W "$(_sagequeue_jobsets)" -- "$1"; }
_sagequeue_complete_job() { compgen -W "$(_sagequeue_jobs "${COMP_WORDS[@]}")" -- "$1"; }
""",
    "zsh": r"""
_sagequeue_complete_jobset() { compadd -- ${(f)"$(_sagequeue_jobsets)"}; }
_sagequeue_complete_job() { compadd -- ${(f)"$(_sagequeue_jobs "${words[@]}")"}; }
""",
}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from parsers(verb)


def main(shell: str) -> None:
    """Print it."""
    command = cli.parser()
    for parser in parsers(command):
        for action in parser._actions:
            if action.dest in ("jobset", "job"):
                action.complete = {shell: f"_sagequeue_complete_{action.dest}"}
            elif action.dest == "env_file":
                action.complete = shtab.FILE
    print(shtab.complete(command, shell, preamble=_LISTS + _PREAMBLES[shell]), end="")


if __name__ == "__main__":
    main(sys.argv[1])
