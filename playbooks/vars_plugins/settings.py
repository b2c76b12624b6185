"""Reads the files of experiments and settings before Ansible does, and finds what is wrong in them.

Ansible names neither the file nor the line when it cannot read a file of variables, keeps the last
of two equal keys, and takes `2024:` for a number. Here the first ends the run, and the others are
in the variable `settings_mistakes`, which playbooks/tasks/own_file.yml refuses or warns of.
"""

import os
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.vars import BaseVarsPlugin
from yaml import MappingNode, Node, ScalarNode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from refusals import CLONE, PLAYBOOKS
from refusals.nodes import LOADER, MERGE, NULL, PLACE, at, entries, kind, mappings, tree
from refusals.records import SHIPPED, Mistake, record_keys, records, wrong

# Ansible reads SHIPPED first. What a later file says holds.
MACHINE, OWN = "main.yml", "my.yml"
# What the files call their jobsets: the shipped one, and the user's.
JOBSETS, MINE = "jobsets", "my_jobsets"


class VarsModule(BaseVarsPlugin):  # type: ignore[misc]
    """What Ansible asks for the variables of its hosts and groups."""

    is_stateless = True

    def get_vars(self, loader: Any, _path: str, entities: Any) -> dict[str, Any]:
        """Gives `settings_mistakes` to every host. Raises AnsibleParserError as `tree` does."""
        asked = entities if isinstance(entities, list) else [entities]
        every = any(entity.name == "all" for entity in asked)
        return {"settings_mistakes": found(loader)} if every else {}


@cache
def found(loader: Any) -> list[Mistake]:
    """All mistakes. Kept, because Ansible asks before every task and reads each file once."""
    tops = {name: tree(name, loader) for name in (SHIPPED, MACHINE, *own_files(loader))}
    mistakes = [mistake for name, top in tops.items() for mistake in doubles(name, top)]
    shipped = jobsets(tops[SHIPPED], JOBSETS)
    mistakes += records(SHIPPED, JOBSETS, shipped)
    names, seen = known(tops.pop(MACHINE)), dict[str, str]()
    for file, top in list(tops.items())[1:]:
        own = jobsets(top, MINE)
        mistakes += records(file, MINE, own)
        for name, (key, _) in entries(own).items():
            if name in entries(shipped):
                there = at(SHIPPED, entries(shipped)[name][0])
                said = f"the jobset {name} is in {there}, too. Give yours another name, and a"
                mistakes.append(wrong(file, key, f"{said} state_file of its own."))
        mistakes += settings(file, top, names)
        for name, (key, _) in entries(top).items():
            if name in seen:
                said = f"{name} stands in {seen[name]}, too, and only one of them holds. Keep one."
                mistakes.append(wrong(file, key, f"{said} Ansible reads every file here."))
            seen.setdefault(name, at(file, key))
    return mistakes


def own_files(loader: Any) -> list[str]:
    """What Ansible reads of group_vars/all and did not come with the project.

    A copy of `my.yml` is one, if its name ends as of a file of variables, or has no such end.
    """
    directory = str(CLONE / "group_vars")
    every = [os.path.relpath(p, CLONE / PLACE) for p in loader.find_vars_files(directory, "all")]
    return [OWN, *(name for name in every if name not in (SHIPPED, MACHINE, OWN))]


def jobsets(top: MappingNode | None, name: str) -> Node | None:
    """The file's jobsets, which are its value of that name."""
    return entries(top).get(name, (None, None))[1]


def doubles(file: str, top: MappingNode | None) -> Iterator[Mistake]:
    """Keys that one mapping has twice."""
    for mapping in mappings(top):
        first: dict[tuple[str, str], ScalarNode] = {}
        for key in (key for key, _ in mapping.value if key.tag != MERGE):
            if (before := first.setdefault((key.tag, key.value), key)) is not key:
                there = f"{key.value} stands in line {before.start_mark.line + 1} already, and YAML"
                yield wrong(file, key, f"{there} would keep the last only. Keep one of them.")


@cache
def options() -> list[str]:
    """What the plays take with -e."""
    text = (PLAYBOOKS / "vars" / "options.yml").read_text()
    return list(yaml.load(text, Loader=LOADER)["play_options"])  # noqa: S506  a SafeLoader


def known(machine: MappingNode | None) -> list[str]:
    """The names of all settings: those of main.yml, and the roles' own."""
    defaults = (path.read_text() for path in CLONE.glob("roles/*/defaults/main.yml"))
    names = [*entries(machine), *(re.findall(r"(?m)^(\w+):", "\n".join(defaults)))]
    return [name for name in names if not name.startswith("ansible_")]


def settings(file: str, top: MappingNode | None, known: list[str]) -> Iterator[Mistake]:
    """Names in the user's file that set nothing. What resembles no setting may be a variable."""
    prefixes = tuple(f"{name.partition('_')[0]}_" for name in known)
    # Records may have a common part that is anchored elsewhere, for `<<`.
    merges = [value for m in mappings(top) for key, value in m.value if key.tag == MERGE]
    bases = {id(base) for m in merges for base in (m, *m.value)}
    for name, (key, value) in entries(top).items():
        near = [n for n in (f"sagequeue_{name}",) if n in known]
        near += get_close_matches(name.lower(), [*known, MINE], 1, 0.8)
        said = ""
        if name == JOBSETS:
            said = f"{name} would replace those of {SHIPPED}. Call yours {MINE}."
        elif kind(key):
            said = f"YAML reads the name {name} as {kind(key)}. No setting has such a name."
        elif name in options():
            said = f"{name} is given with each call: -e {name}=…. Here it would be for all. Take it"
            said += " out."
        elif name in record_keys():
            said = f"{name} belongs into a jobset's record, indented further than the name."
        elif name in known:
            if value.tag == NULL:
                said = f"{name} has no value. Give it one, or put # before it."
        elif near and name != MINE:
            said = f"there is no setting {name}; {near[0]} is probably meant."
        elif name.startswith(prefixes):
            said = f"there is no setting {name}; {PLACE}/{MACHINE} has them."
        elif "script" in entries(value) and id(value) not in bases:
            said = f"{name} is a jobset's record. It belongs below {MINE}:, indented."
        if said:
            yield wrong(file, key, said)
