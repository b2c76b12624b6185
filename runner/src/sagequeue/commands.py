"""Command lines as messages give them, so that they work as they stand."""

import os
import shlex

from sagequeue import config
from sagequeue.config import Config


def command(settings: Config, verb: str) -> str:
    """A verb's command line for this jobset, which is named unless it is the active one."""
    directory = config.config_dir()
    if os.path.realpath(settings.env_file) == os.path.realpath(directory / f"{config.ACTIVE}.env"):
        return f"sagequeue {verb}"
    if settings.env_file == directory / f"{settings.jobset}.env":
        return f"sagequeue {verb} --jobset {settings.jobset}"
    return f"sagequeue {verb} --env-file {shlex.quote(str(settings.env_file))}"


def typed(settings: Config, verb: str) -> str:
    """The same, as it stands in a sentence."""
    return f"`{command(settings, verb)}`"


def play(settings: Config, tag: str) -> str:
    """An operation of ops.yml for this jobset, as it stands in a sentence."""
    return f"`ansible-playbook ops.yml -t {tag} -e jobset={settings.jobset}`"
