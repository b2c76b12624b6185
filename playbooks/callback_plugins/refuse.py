"""Refuses, before the first task, what the plays beside it cannot do or would misunderstand.

Ansible loads this file because it lies beside the playbooks, whatever ansible.cfg says. It cannot
be a task: no task runs if no host matches, if the tag `always` is skipped, or before the task that
--start-at-task names. It must also run in an ansible-core that is too old, with Python 3.9.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible import __version__, constants, context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display

PLAYBOOKS = Path(__file__).resolve().parents[1]
CLONE = PLAYBOOKS.parent
# As in meta/main.yml of the roles, site.yml and ops.yml.
OLDEST = (2, 19)
INVALID_OPTION = 5
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")  # as the filter `bool`
OURS = ("sagequeue_", "jobset_", "podman_image_", "wsl_systemd_", "ops_", "__")
NUMBERS = {"count": r"[0-9]{1,9}", "int": r"-?[0-9]+", "float": r"-?[0-9]+([.][0-9]+)?"}


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible has no types
    """Ends Ansible with a sentence for everything that is wrong."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "refuse"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Takes the playbook, loaded, of which nothing has run. Raises SystemExit to refuse it.

        Any other exception of a callback is only a warning.
        """
        ours = [play for play in playbook.get_plays() if _file(play).parent == PLAYBOOKS]
        if not ours:
            return
        variables = ours[0].get_variable_manager()
        wrong = [*environment()] or [
            *command_line({_file(play).name for play in ours}),
            *inventory(variables),
            *Options(variables.extra_vars).wrong(),
        ]
        for sentence in wrong:
            Display().error(sentence, wrap_text=False)
        if wrong:
            raise SystemExit(INVALID_OPTION)


def _file(play: Any) -> Path:
    """The playbook that a play stands in."""
    return Path(str(play.get_path()).rpartition(":")[0]).resolve()


def environment() -> Iterator[str]:
    """Sentences about what runs the play."""
    there = Path.cwd().resolve() == CLONE
    command = ["./bootstrap" if there else str(CLONE / "bootstrap"), "ansible-playbook"]
    remedy = f"Start it in the project's own environment:  {shlex.join(command + sys.argv[1:])}"
    if tuple(map(int, __version__.split(".")[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield f"This is ansible-core {__version__}, and {oldest} or newer is needed. {remedy}"
    elif not Path(sys.executable).with_name("sagequeue").is_file():
        yield f"There is no `sagequeue` beside {sys.executable}, which runs this play. {remedy}"
    for link in ("roles", "group_vars"):
        if not (PLAYBOOKS / link).is_dir():
            yield (
                f"{PLAYBOOKS / link} is not a link to ../{link}. This clone was made by a git that "
                "makes no links, one of Windows perhaps. Clone it anew with the git of this system"
            )


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
    if given["step"] and not sys.stdin.isatty():
        yield "--step asks before each task, and there is no terminal to answer at. Leave it out."


def inventory(variables: Any) -> Iterator[str]:
    """Sentences about an inventory or a limit by which another machine is meant."""
    hosts = variables._inventory
    limit, remedy = context.CLIARGS["subset"], "these plays set up the machine that they run on. "
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
    local = str(connection).rpartition(".")[2] == "local"
    if not local and (connection or address not in constants.LOCALHOST):
        yield (
            f"localhost is {address}, by {connection or 'ssh'}, but {remedy}Take "
            "ansible_connection and ansible_host out of its variables, or use this project's "
            f"inventory:  -i {shlex.quote(str(CLONE / 'inventory'))}"
        )
    if str(known.get("ansible_become")).lower() in YES:
        yield (
            "ansible_become would make everything root's. The tasks that need root ask for it "
            "themselves: take it out; add -K if sudo asks for a password."
        )


class Options:
    """What was given with -e, beside what there is."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = {str(name): value for name, value in given.items()}
        self.told = _yaml(PLAYBOOKS / "vars" / "options.yml") if given else {}

    def wrong(self) -> Iterator[str]:
        """Sentences about names and values."""
        for name, value in self.given.items():
            option = self.told["play_options"].get(name)
            if option:
                if not fits(value, option):
                    yield f"{name} is {_shown(value)}. It is {option['is']}."
            elif name == "_raw_params":
                yield f"-e {value} has no name. It is -e NAME=VALUE, as in -e jobset=petersen_r3."
            elif not name.startswith("ansible_"):
                yield from self._setting(name, value)
        tags = set(context.CLIARGS["tags"])
        on_all = sorted(tags.intersection(self.told.get("on_all_jobs", [])))
        if "offset" in self.given and on_all and not tags & {"enqueue_one", "logs"}:
            yield f"offset does not restrict {', '.join(on_all)}: it is for all jobs. Leave it out."

    def _setting(self, name: str, value: object) -> Iterator[str]:
        inputs = _inputs()
        record = inputs["jobset_record"]["options"]
        known = {**inputs, **_settings(inputs), **self.told["optional"]}
        if name in self.told["set_by"]:
            by = self.told["set_by"][name]
            yield f"{name} is set by -e {by}=…, for everything that depends on it. Give that."
        elif name in known:
            if value is None or not fits(value, known[name]):
                choices = ", ".join(known[name].get("choices", []))
                means = choices or self.told["type_is"].get(known[name].get("type"), "not null")
                yield f"{name} is {_shown(value)}. It is {means}."
        elif meant := _meant(name, list(self.told["play_options"]), [*known, *record]):
            if meant not in record:
                yield f"There is no variable {name}. Is {meant} meant?  -e {meant}=…"
                return
            of = self.given.get("jobset") or "the jobset"
            yield (
                f"{name} is not given with -e: {meant} stands in the record of {of}, in "
                "group_vars/all/jobsets.yml or my.yml. Set it there, and run site.yml."
            )
        elif name.startswith(OURS):
            yield (
                f"There is no variable {name}. Settings are in group_vars/all/main.yml, the inputs "
                "of the roles in roles/*/defaults/main.yml."
            )


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _inputs() -> dict[str, Any]:
    """The specification of each role's inputs."""
    found: dict[str, Any] = {}
    for path in sorted(CLONE.glob("roles/*/meta/argument_specs.yml")):
        for entry in _yaml(path)["argument_specs"].values():
            found.update(entry["options"])
    return found


def _settings(inputs: dict[str, Any]) -> dict[str, Any]:
    """What each variable of group_vars/all is: the same as the role's input that is set to it.

    By patterns: a file of the user's own may hold what only Ansible can read.
    """
    paths = [*CLONE.glob("roles/*/defaults/main.yml"), *CLONE.glob("group_vars/all/*.yml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    names = re.findall(r"(?m)^([A-Za-z_]\w*):", text)
    found = {name: inputs.get(name, {}) for name in names}
    for name, setting in re.findall(r'(?m)^(\w+): "\{\{ (\w+) \}\}"$', text):
        found[setting] = inputs.get(name, {})
    for setting in re.findall(r'(?m)^(\w+): ""$', text):
        found[setting] = {**found[setting], "empty": True}
    return found


def _meant(name: str, options: list[str], others: list[str]) -> str:
    """What was probably meant; empty if the name resembles none."""
    plain, there = name.lower().replace("-", "_"), [*options, *others]
    for known in (plain, f"sagequeue_{plain}", f"reset_{plain}"):
        if known in there:
            return known
    begun = [known for known in options if len(plain) > 2 and known.startswith(plain)]
    return [*begun, *difflib.get_close_matches(plain, there, n=1, cutoff=0.75), ""][0]


def fits(value: object, spec: dict[str, Any]) -> bool:
    """Whether a value is what a specification says. A template may become anything."""
    kind, text = spec.get("type"), value if isinstance(value, str) else ""
    if "{{" in text or "{%" in text:
        return True
    if "choices" in spec:
        return value in spec["choices"]
    if kind == "str":
        return bool(text.strip()) or (bool(spec.get("empty")) and value == "")
    if kind == "bool":
        return isinstance(value, bool) or str(value).lower() in YES + NO
    if kind in ("list", "dict"):
        return isinstance(value, list if kind == "list" else dict)
    if kind in NUMBERS:
        return not isinstance(value, bool) and bool(re.fullmatch(NUMBERS[kind], str(value)))
    return True


def _shown(value: object) -> str:
    shown = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return "empty" if shown == "''" else shown
