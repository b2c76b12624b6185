"""Variables that are given with -e: names that there are not, and values of another kind."""

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible import context

from refusals import CLONE, NO, PLAYBOOKS, YES

OURS = ("sagequeue_", "jobset_", "podman_image_", "wsl_systemd_", "ops_", "__")
NUMBERS = {"count": r"[0-9]{1,9}", "int": r"-?[0-9]+", "float": r"-?[0-9]+([.][0-9]+)?"}


class Options:
    """What was given with -e to the playbooks of these files, beside what there is."""

    def __init__(self, given: dict[str, Any], files: set[str]) -> None:
        tags, plays = context.CLIARGS["tags"], {Path(name).stem for name in files}
        # `rebuild_image` and `teardown` are playbooks, too.
        self.operations = set(tags) if "ops" in plays else plays
        self.given = {str(name): value for name, value in given.items()}
        self.told = _yaml(PLAYBOOKS / "vars" / "options.yml") if given else {}

    def wrong(self) -> Iterator[str]:
        """Sentences about names and values."""
        for name, value in self.given.items():
            option = self.told["play_options"].get(name)
            if option:
                if not fits(value, option):
                    yield f"{name} is {_shown(value)}. It is {option['is']}."
                else:
                    yield from self._unrestricted(name, option)
            elif name == "_raw_params":
                yield f"-e {value} has no name. It is -e NAME=VALUE, as in -e jobset=petersen_r3."
            elif not name.startswith("ansible_"):
                yield from self._setting(name, value)

    def _unrestricted(self, name: str, option: dict[str, Any]) -> Iterator[str]:
        """A sentence about an option that none of the operations takes, or one does not heed."""
        if not self.operations.intersection(of := option.get("of", self.operations)):
            asked = ", ".join(sorted(self.operations))
            yield f"{name} is of {' and '.join(of)}, and does nothing for {asked}. Leave it out."
        elif heedless := self.operations.intersection(option.get("all", [])):
            asked = ", ".join(sorted(heedless))
            yield f"{name} does not restrict {asked}, which is for all {name}s. Leave it out."

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
        elif isinstance(value, str) and not self._is_read(name):
            yield (
                f"There is no variable {name}, and nothing reads it. Leave it out; a jobset is "
                "named with -e jobset=NAME."
            )

    def _is_read(self, name: str) -> bool:
        """Whether a variable of the user's own may have a purpose."""
        others = [str(value) for other, value in self.given.items() if other != name]
        texts = [*others, *map(_text, _own_files())]
        return any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts)


def _own_files() -> list[Path]:
    """What Ansible reads of group_vars/all; editors keep files there that it passes over."""
    paths = sorted((CLONE / "group_vars" / "all").glob("*.y*ml"))
    return [path for path in paths if path.is_file() and not path.name.startswith(".")]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


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
    paths = [*CLONE.glob("roles/*/defaults/main.yml"), *_own_files()]
    text = "\n".join(map(_text, paths))
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
