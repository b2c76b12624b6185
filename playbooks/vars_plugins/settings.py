"""Reads the files of experiments and settings before Ansible does, and finds what is wrong in them.

Ansible names neither the file nor the line when it cannot read a file of variables, keeps the last
of two equal keys, and takes `2024:` for a number. Here the first ends the run, and the others are
in the variable `settings_mistakes`, which playbooks/tasks/own_file.yml refuses or warns of.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleParserError
from ansible.plugins.vars import BaseVarsPlugin
from yaml import MappingNode, Node, ScalarNode, SequenceNode

ROOT = Path(__file__).resolve().parents[2]
PLACE = "group_vars/all"
# In the order in which Ansible reads them: what a later one says holds.
SHIPPED, MACHINE, OWN = FILES = ("jobsets.yml", "main.yml", "my.yml")
# What each calls its jobsets.
JOBSETS = {SHIPPED: "jobsets", OWN: "my_jobsets"}
# libyaml is ten times as fast, and not in every PyYAML.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAGS = {"!vault", "!vault-encrypted", "!unsafe"}  # what Ansible knows
MERGE, NULL = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:null"
KINDS = {"int": "a number", "float": "a number", "bool": "true or false", "null": "no value"}
KINDS["timestamp"] = "a date"
# Numbers of YAML 1.2, which are text in the older YAML that Ansible reads.
NUMBER = re.compile(r"[-+]?([.][0-9]+|[0-9]+([.][0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+")

# text: what is wrong, and where; jobset: the one whose record it is in, or "" if it is in none
Mistake = dict[str, str]


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
    tops = {name: tree(name, loader) for name in FILES}
    jobsets = {name: entries(tops[name]).get(key, (None, None))[1] for name, key in JOBSETS.items()}
    mistakes = [mistake for name, top in tops.items() for mistake in doubles(name, top)]
    mistakes += [mistake for name, node in jobsets.items() for mistake in records(name, node)]
    shipped, own = map(entries, jobsets.values())
    for name in (name for name in own if name in shipped):
        said = f"the jobset {name} is in {at(SHIPPED, shipped[name][0])}, too. Give yours another"
        mistakes.append(wrong(OWN, own[name][0], f"{said} name, and a state_file of its own."))
    return mistakes + list(settings(tops[OWN], known(tops[MACHINE])))


def tree(name: str, loader: Any) -> MappingNode | None:
    """The file as YAML's nodes, or None if it holds nothing; Ansible's `loader` opens a vault.

    Raises AnsibleParserError, with the place, for what Ansible cannot read.
    """
    path, place, text = ROOT / PLACE / name, f"{PLACE}/{name}", ""
    if not path.exists() and not path.is_symlink():
        return None
    try:
        data = path.read_bytes()
        secret = data.startswith(b"$ANSIBLE_VAULT;")
        text = str(loader.get_text_file_contents(str(path))) if secret else data.decode()
        top = yaml.compose(text, Loader=LOADER)
    except OSError as error:
        to = f", a link to {path.readlink()}," if path.is_symlink() else ""
        said = f"{place}{to} cannot be read: {error.strerror}. Correct that, or move it away."
        raise AnsibleParserError(said) from None
    except UnicodeDecodeError as error:
        said = f"{place}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8 text."
        raise AnsibleParserError(said) from None
    except yaml.YAMLError as error:
        raise AnsibleParserError(f"{place}{unread(text, error)}") from None
    if top is None or top.tag == NULL:
        return None
    if not isinstance(top, MappingNode):
        said = f"{at(name, top)}: the file holds {form(top)}. It must hold names with values, each"
        raise AnsibleParserError(f"{said} at the beginning of a line: `sagequeue_memory: 4G`.")
    for node in nodes(top):
        if node.tag.startswith("!") and node.tag not in TAGS:
            said = f"{at(name, node)}: {node.tag} means nothing here. Put a value that begins with"
            raise AnsibleParserError(f"{said} ! in quotes.")
        for key, _ in node.value if isinstance(node, MappingNode) else ():
            if not isinstance(key, ScalarNode):
                said = f"{at(name, key)}: {form(key)} stands where a name belongs. Put a value that"
                raise AnsibleParserError(f'{said} begins with {{{{ in quotes: "{{{{ … }}}}".')
    return top


def unread(text: str, error: yaml.YAMLError) -> str:
    """Where and why the text is not YAML."""
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem_mark:
        return f" is not YAML: {' '.join(str(error).split())}"
    mark, since = error.problem_mark, error.context_mark
    reason = f"{error.context} (line {since.line + 1}) " if since and error.context else ""
    reason += f"{error.problem}. See that names of one level begin in one column, and quotes end"
    line = [*text.splitlines(), "", ""][mark.line]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        reason = "it is indented with a tab. Put blanks in its place"
    return f", line {mark.line + 1}, column {mark.column + 1}, is not YAML: {reason}."


def at(file: str, node: Node) -> str:
    """The place of a node."""
    return f"{PLACE}/{file}, line {node.start_mark.line + 1}"


def form(node: Node) -> str:
    """What a node is, in words."""
    if isinstance(node, ScalarNode):
        return f"the text `{node.value[:60]}`"
    return "a list" if isinstance(node, SequenceNode) else "a mapping"


def wrong(file: str, node: Node, text: str, jobset: str = "") -> Mistake:
    """A mistake at a node."""
    return {"text": f"{at(file, node)}: {text}", "jobset": jobset}


def nodes(top: Node | None) -> Iterator[Node]:
    """Every node of the tree but keys, once; anchors can make a circle."""
    seen: set[int] = set()
    left = [top]
    while left:
        node = left.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, MappingNode):
            left += [value for _, value in reversed(node.value)]
        elif isinstance(node, SequenceNode):
            left += reversed(node.value)


def mappings(top: Node | None) -> Iterator[MappingNode]:
    """Every mapping of the tree."""
    return (node for node in nodes(top) if isinstance(node, MappingNode))


def kind(key: ScalarNode) -> str | None:
    """What YAML takes a name for, if not for text."""
    number = not key.style and NUMBER.fullmatch(key.value)
    return "a number" if number else KINDS.get(key.tag.rpartition(":")[2])


def entries(node: Node | None) -> dict[str, tuple[ScalarNode, Node]]:
    """A mapping's keys as they are written, each with its two nodes; of equal ones the last."""
    pairs = node.value if isinstance(node, MappingNode) else []
    return {key.value: (key, value) for key, value in pairs if key.tag != MERGE}


def merged(node: Node, seen: set[int]) -> Iterator[ScalarNode]:
    """A record's keys, those that it takes over by `<<` among them."""
    if id(node) in seen or isinstance(node, ScalarNode):
        return
    seen.add(id(node))
    for part in node.value:
        if isinstance(node, SequenceNode):
            yield from merged(part, seen)
        elif part[0].tag == MERGE:
            yield from merged(part[1], seen)
        else:
            yield part[0]


def doubles(file: str, top: MappingNode | None) -> Iterator[Mistake]:
    """Keys that one mapping has twice."""
    for mapping in mappings(top):
        first: dict[tuple[str, str], ScalarNode] = {}
        for key in (key for key, _ in mapping.value if key.tag != MERGE):
            if (before := first.setdefault((key.tag, key.value), key)) is not key:
                there = f"{key.value} stands in line {before.start_mark.line + 1} already, and YAML"
                yield wrong(file, key, f"{there} would keep the last only. Keep one of them.")


def records(file: str, node: Node | None) -> Iterator[Mistake]:
    """Names and records that are none, and keys that no record has."""
    if node and node.tag != NULL and not isinstance(node, MappingNode):
        said = f"{JOBSETS[file]} is {form(node)}. It must be names, each with its record below it,"
        yield wrong(file, node, f"{said} as in {PLACE}/{SHIPPED}; no `-` before the name.")
    for name, (key, record) in entries(node).items():
        if kind(key):
            said = f"YAML reads the name {name} as {kind(key)}. Give the jobset another one, of"
            yield wrong(file, key, f'{said} a-z, 0-9 and _, or put it in quotes: "{name}":')
        if not isinstance(record, MappingNode):
            said = f"{name} has no record. Its lines (script, stride, state_file …) belong below"
            yield wrong(file, key, f"{said} the name, indented further.", name)
        for part in merged(record, set()):
            if part.value not in record_keys():
                near = get_close_matches(part.value.lower(), record_keys(), 1)
                hint = f"{near[0]} is probably meant" if near else f"{', '.join(record_keys())} are"
                yield wrong(file, part, f"{part.value} is no key of a record; {hint}.", name)


@cache
def record_keys() -> list[str]:
    """What a jobset's record may hold, as the role says."""
    text = (ROOT / "roles/jobset/meta/argument_specs.yml").read_text()
    specs = yaml.load(text, Loader=LOADER)["argument_specs"]  # noqa: S506  a SafeLoader
    return list(specs["preflight"]["options"]["jobset_record"]["options"])


def known(machine: MappingNode | None) -> list[str]:
    """The names of all settings: those of main.yml, and the roles' own."""
    defaults = (path.read_text() for path in ROOT.glob("roles/*/defaults/main.yml"))
    names = [*entries(machine), *(re.findall(r"(?m)^(\w+):", "\n".join(defaults)))]
    return [name for name in names if not name.startswith("ansible_")]


def settings(top: MappingNode | None, known: list[str]) -> Iterator[Mistake]:
    """Names in the user's file that set nothing. What resembles no setting may be a variable."""
    prefixes = tuple(f"{name.partition('_')[0]}_" for name in known)
    # Records may have a common part that is anchored elsewhere, for `<<`.
    merges = [value for m in mappings(top) for key, value in m.value if key.tag == MERGE]
    bases = {id(base) for m in merges for base in (m, *m.value)}
    for name, (key, value) in entries(top).items():
        near = [n for n in (f"sagequeue_{name}",) if n in known]
        near += get_close_matches(name, [*known, JOBSETS[OWN]], 1, 0.8)
        said = ""
        if name == JOBSETS[SHIPPED]:
            said = f"{name} would replace those of {SHIPPED}. Call yours {JOBSETS[OWN]}."
        elif kind(key):
            said = f"YAML reads the name {name} as {kind(key)}. No setting has such a name."
        elif name in record_keys():
            said = f"{name} belongs into a jobset's record, indented further than the name."
        elif name in known:
            if value.tag == NULL:
                said = f"{name} has no value. Give it one, or put # before it."
        elif near and name != JOBSETS[OWN]:
            said = f"there is no setting {name}; {near[0]} is probably meant."
        elif name.startswith(prefixes):
            said = f"there is no setting {name}; {PLACE}/{MACHINE} has them."
        elif "script" in entries(value) and id(value) not in bases:
            said = f"{name} is a jobset's record. It belongs below {JOBSETS[OWN]}:, indented."
        if said:
            yield wrong(OWN, key, said)
