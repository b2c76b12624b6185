"""The verb that moves in from the shell project."""

import argparse
from pathlib import Path

from sagequeue import config
from sagequeue.verbs import Add, tell


def register(add: Add) -> None:
    """Declare it."""
    migrate = add("migrate", _migrate, "take over the shell project's queue, once it is at rest")
    form = migrate.add_mutually_exclusive_group()
    form.add_argument("--check", action="store_true", help="only look, and refuse what would be")
    form.add_argument("--record", action="store_true", help="its record for my.yml, as YAML")


def _migrate(arguments: argparse.Namespace) -> None:
    from sagequeue import migrate

    path = migrate.left()
    if arguments.env_file or arguments.jobset:
        path = Path(arguments.env_file or config.config_dir() / f"{arguments.jobset}.env")
    if path is None:
        migrate.refuse(None)
        print("nothing of the shell project is left to take over")
        return
    settings = migrate.load(path)
    if arguments.record:
        print(migrate.record(settings), end="")
        return
    migrate.survey(settings, tell)
    migrate.refuse(settings)
    if arguments.check:
        print("If group_vars/all/jobsets.yml has no record that means the same, my.yml beside it")
        print("has to have this one, below my_jobsets:")
        print(migrate.record(settings), end="")
    else:
        migrate.take_over(path, settings, tell)
    tell(f"Next: {migrate.next_command(settings)}")
