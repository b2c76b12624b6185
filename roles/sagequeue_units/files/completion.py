"""Write the command's completions, by shtab, with jobsets and jobs as they are at the Tab.

completion.py --bash=FILE --zsh=FILE [--check]  prints the files that it writes, or with --check
would write; those that are as they are to be it leaves alone.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

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


def completion(shell: str) -> str:
    """What that shell, bash or zsh, is to read."""
    command = cli.parser()
    for parser in parsers(command):
        for action in parser._actions:
            if action.dest in ("jobset", "job"):
                action.complete = {shell: f"_sagequeue_complete_{action.dest}"}
            elif action.dest == "env_file":
                action.complete = shtab.FILE
    return shtab.complete(command, shell, preamble=_LISTS + _PREAMBLES[shell])


def replace(path: Path, text: bytes) -> None:
    """Put a file there that everybody can read; nobody reads half of it."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(text)
    new.chmod(0o644)
    new.replace(path)


def main() -> int:
    """The exit status: 0, or 1 if a file cannot be written."""
    parser = argparse.ArgumentParser()
    for shell in _PREAMBLES:
        parser.add_argument(f"--{shell}", type=Path, required=True)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    for shell in _PREAMBLES:
        path, text = getattr(given, shell), completion(shell).encode()
        try:
            if path.is_file() and not path.is_symlink() and path.read_bytes() == text:
                continue
            if not given.check:
                replace(path, text)
        except OSError as error:
            print(f"cannot write {path}: {error}", file=sys.stderr)
            return 1
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
