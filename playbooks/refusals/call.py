"""Options of `ansible-playbook` by which something else is meant than these plays do."""

import os
import pwd
import shlex
import sys
from collections.abc import Iterator
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleError

from refusals import CLONE, YES


def command_line(files: set[str]) -> Iterator[str]:
    """Sentences about options that would leave out a part of the plays of these files."""
    given = context.CLIARGS
    if given["skip_tags"]:
        yield (
            "--skip-tags is of no use here: of ops.yml only what is named with -t runs, and the "
            "other playbooks run whole. Leave it out."
        )
    if (named := ",".join(given["tags"])) != "all" and "ops.yml" not in files:
        yield (
            f"There are no tags here, so -t {named} would run nothing. Leave it out; for a single "
            "operation:  ansible-playbook ops.yml -t NAME"
        )
    if given["start_at_task"]:
        yield (
            "--start-at-task would leave out the checks and what later tasks build on. Leave it "
            "out: a play does again only what is missing."
        )
    if (user := given["remote_user"]) not in (None, constants.DEFAULT_REMOTE_USER, _user()):
        yield (
            f"-u {user} does not make these plays another user's: they set up the user who calls "
            f"them, {_user()}. Leave it out, and call them as {user}."
        )
    if (connection := given["connection"]) not in (constants.DEFAULT_TRANSPORT, "local"):
        yield f"-c {connection}: these plays set up the machine that they run on. Leave it out."
    if given["step"] and not sys.stdin.isatty():
        yield "--step asks before each task, and there is no terminal to answer at. Leave it out."


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def inventory(variables: Any) -> Iterator[str]:
    """Sentences about an inventory or a limit by which another machine is meant."""
    hosts = variables._inventory
    limit, remedy = context.CLIARGS["subset"], "these plays set up the machine that they run on. "
    if str(CLONE) in map(os.path.realpath, context.CLIARGS["inventory"] or ()):
        yield (
            f"{CLONE} is no inventory; an empty name means the directory at hand. Leave -i out, "
            "and take ANSIBLE_INVENTORY out of the environment."
        )
        return
    others = [host.name for host in hosts.get_hosts("all", ignore_limits=True)]
    others = [name for name in others if name not in constants.LOCALHOST]
    # A user's own, set for all plays, may name whom it likes.
    if others and list(context.CLIARGS["inventory"]) != list(constants.DEFAULT_HOST_LIST):
        yield (
            f"The inventory has {', '.join(others[:5])}, but {remedy}Leave -i out; another machine "
            "is set up from a clone on it."
        )
    elif not hosts.get_hosts("localhost"):
        yield f"-l {limit} leaves out localhost, but {remedy}Leave -l out."
    try:
        known = variables.get_vars(host=hosts.get_host("localhost"))
    except AnsibleError:  # Ansible meets it again, and says it
        return
    connection, address = known.get("ansible_connection"), known.get("ansible_host", "localhost")
    user = variables.extra_vars.get("ansible_user", _user())
    if user != _user():
        yield (
            f"ansible_user is {user}, but these plays set up the user who calls them, {_user()}. "
            f"Leave it out, and call them as {user}."
        )
    local = str(connection).rpartition(".")[2] == "local"
    if not local and (connection or address not in constants.LOCALHOST):
        yield (
            f"localhost is {address}, by {connection or 'ssh'}, but {remedy}Take "
            "ansible_connection and ansible_host out of its variables, or use this project's "
            f"inventory:  -i {shlex.quote(str(CLONE / 'inventory'))}"
        )
    elif (host := variables.extra_vars.get("ansible_host", address)) not in constants.LOCALHOST:
        yield f"ansible_host is {host}, but {remedy}Leave it out."
    if str(known.get("ansible_become")).lower() in YES:
        yield (
            "ansible_become would make everything root's. The tasks that need root ask for it "
            "themselves: take it out; add -K if sudo asks for a password."
        )
