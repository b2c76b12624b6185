"""A file of settings as YAML's nodes, which know their places in it.

`file` is its name in group_vars/all.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from ansible.errors import AnsibleParserError
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from refusals import CLONE

PLACE = "group_vars/all"
# libyaml is ten times as fast, and not in every PyYAML.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAGS = {"!vault", "!vault-encrypted", "!unsafe"}  # what Ansible knows
MERGE, NULL = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:null"
KINDS = {"int": "a number", "float": "a number", "bool": "true or false", "null": "no value"}
KINDS["timestamp"] = "a date"
# Numbers of YAML 1.2, which are text in the older YAML that Ansible reads.
NUMBER = re.compile(r"[-+]?([.][0-9]+|[0-9]+([.][0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+")


def tree(name: str, loader: Any) -> MappingNode | None:
    """The file as YAML's nodes, or None if it holds nothing; Ansible's `loader` opens a vault.

    Raises AnsibleParserError, with the place, for what Ansible cannot read.
    """
    path, place, text = CLONE / PLACE / name, f"{PLACE}/{name}", ""
    if not path.exists() and not path.is_symlink():
        return None
    if not path.is_file() and path.exists() and not path.is_dir():
        raise AnsibleParserError(f"{place} is no regular file. Put one in its place.")
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


def merged(node: Node, seen: set[int]) -> Iterator[tuple[ScalarNode, Node]]:
    """A record's keys with their values, those that it takes over by `<<` among them."""
    if id(node) in seen or isinstance(node, ScalarNode):
        return
    seen.add(id(node))
    for part in node.value:
        if isinstance(node, SequenceNode):
            yield from merged(part, seen)
        elif part[0].tag == MERGE:
            yield from merged(part[1], seen)
        else:
            yield part[0], part[1]
