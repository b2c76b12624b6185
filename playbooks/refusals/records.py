"""What is wrong in jobsets' records, with the places."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode

from refusals import CLONE, NO, YES
from refusals.nodes import LOADER, NULL, PLACE, at, entries, form, kind, merged

SHIPPED = "jobsets.yml"
STR = "tag:yaml.org,2002:str"
WHOLE = re.compile("[-+]?[0-9]{1,15}")
# The runner refuses other numbers, too; here they have a line. Without an entry: 0 or more.
LIMITS: dict[str, tuple[int, int | None]] = {
    "stride": (1, 1_000_000), "workers": (1, None), "nice": (0, 19),
}  # fmt: skip

# text: what is wrong, and where; jobset: the one whose record it is in, or "" if it is in none
Mistake = dict[str, str]


def wrong(file: str, node: Node, text: str, jobset: str = "") -> Mistake:
    """A mistake at a node."""
    return {"text": f"{at(file, node)}: {text}", "jobset": jobset}


def records(file: str, name_of_all: str, node: Node | None) -> Iterator[Mistake]:
    """Names and records that are none, and keys that no record has."""
    if node and node.tag != NULL and not isinstance(node, MappingNode):
        said = f"{name_of_all} is {form(node)}. It must be names, each with its record below it,"
        yield wrong(file, node, f"{said} as in {PLACE}/{SHIPPED}; no `-` before the name.")
    for name, (key, record) in entries(node).items():
        if kind(key):
            said = f"YAML reads the name {name} as {kind(key)}. Give the jobset another one, of"
            yield wrong(file, key, f'{said} a-z, 0-9 and _, or put it in quotes: "{name}":')
        if not isinstance(record, MappingNode):
            said = f"{name} has no record. Its lines (script, stride, state_file …) belong below"
            yield wrong(file, key, f"{said} the name, indented further.", name)
        for part, value in merged(record, set()):
            if part.value not in record_keys():
                near = get_close_matches(part.value.lower(), record_keys(), 1)
                hint = f"{near[0]} is probably meant" if near else f"{', '.join(record_keys())} are"
                yield wrong(file, part, f"{part.value} is no key of a record; {hint}.", name)
            elif said := unfit(value, part.value, record_keys()[part.value]):
                yield wrong(file, value, f"{part.value} is {shown(value)}. It is {said}.", name)


@cache
def record_keys() -> dict[str, Any]:
    """What a jobset's record may hold, each with its specification, as the role says."""
    text = (CLONE / "roles/jobset/meta/argument_specs.yml").read_text()
    specs = yaml.load(text, Loader=LOADER)["argument_specs"]  # noqa: S506  a SafeLoader
    return dict(specs["preflight"]["options"]["jobset_record"]["options"])


def shown(node: Node) -> str:
    """What a value is, in words."""
    if node.tag == NULL:
        return "empty"
    return f"`{node.value[:60]}`" if isinstance(node, ScalarNode) else form(node)


def unfit(node: Node, key: str, spec: dict[str, Any]) -> str:
    """What a value should be, or nothing if it is that. A template may become anything."""
    wanted, plain = spec["type"], isinstance(node, ScalarNode) and node.tag != NULL
    text = str(node.value) if plain else ""
    if "{{" in text or "{%" in text or node.tag.startswith("!"):
        return ""
    if wanted == "str":
        # YAML's 3 has no {stride} in it.
        fits = (bool(text) and node.tag == STR) if spec.get("required") else plain
        return "" if fits else "a text"
    if wanted == "bool":
        return "" if text.lower() in YES + NO else "true or false"
    least, most = LIMITS.get(key, (0, None))
    number = text.strip().replace("_", "")  # YAML's 1_000
    if wanted == "int" and not WHOLE.fullmatch(number):
        number = ""
    try:
        fits = bool(number) and least <= float(number) <= (most or 10**15)
    except ValueError:
        fits = False
    limits = f" from {least} to {most}" if most else f", {least} or more"
    return "" if fits else f"a {'whole ' if wanted == 'int' else ''}number{limits}"
