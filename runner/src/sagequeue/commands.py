"""Command lines as messages give them, so that they work as they stand."""

import os

from sagequeue import config
from sagequeue.config import Config


def typed(settings: Config, verb: str) -> str:
    """A verb's command line for this jobset, which is named unless it is the active one."""
    directory = config.config_dir()
    if os.path.realpath(settings.env_file) == os.path.realpath(directory / f"{config.ACTIVE}.env"):
        return f"`sagequeue {verb}`"
    if settings.env_file == directory / f"{settings.jobset}.env":
        return f"`sagequeue {verb} --jobset {settings.jobset}`"
    return f"`sagequeue {verb} --env-file {settings.env_file}`"


def play(settings: Config) -> str:
    """The command that starts the jobset's workers and recovery."""
    return f"`ansible-playbook site.yml -e jobset={settings.jobset}`"
