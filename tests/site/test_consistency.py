"""What stands in two places says the same in both."""

import re
import runpy
from pathlib import Path

import pytest
import yaml
from project import ROOT

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_the_runner_is_installed_with_the_versions_it_is_tested_with() -> None:
    ours = pins(ROOT / "runner" / "requirements.lock")
    assert set(ours) >= {"inotify-simple", "rich"}
    assert ours.items() <= pins(ROOT / "requirements.lock").items()


@pytest.mark.parametrize("role", ROLES)
def test_every_input_of_a_role_has_a_default_and_a_specification(role: str) -> None:
    directory = ROOT / "roles" / role
    specs = yaml.safe_load((directory / "meta" / "argument_specs.yml").read_text())
    specified = {o for entry in specs["argument_specs"].values() for o in entry["options"]}
    defaults = yaml.safe_load((directory / "defaults" / "main.yml").read_text())
    assert specified == set(defaults)
    assert all(name.startswith(f"{role}_") for name in specified)


def test_the_examples_in_the_users_own_file_are_the_defaults_and_the_documented_one() -> None:
    lines = (ROOT / "playbooks" / "files" / "my.yml").read_text().splitlines()
    assert yaml.safe_load("\n".join(lines)) is None
    example = lines.index("# my_jobsets:")
    end = lines.index("", example)
    text = "\n".join(line.removeprefix("# ") for line in lines[example:end])
    assert text in (ROOT / "docs" / "experiments.md").read_text()
    specs = yaml.safe_load((ROOT / "roles/jobset/meta/argument_specs.yml").read_text())
    keys = specs["argument_specs"]["main"]["options"]["jobset_record"]["options"]
    assert set(yaml.safe_load(text)["my_jobsets"]["mersenne"]) <= set(keys)

    settings = [line.removeprefix("# ") for line in lines if re.match("# [a-z_]+: ", line)]
    defaults = (ROOT / "group_vars" / "all" / "main.yml").read_text().splitlines()
    assert len(settings) > 5
    assert set(settings) <= set(defaults)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_scenario(role: str) -> None:
    assert (ROOT / "molecule" / role / "verify.yml").is_file()


def test_every_play_is_of_this_machine_whatever_inventory_and_configuration_say() -> None:
    # Those that do anything: refused.yml ends at its first task, which needs neither.
    files = sorted(set((ROOT / "playbooks").glob("*.yml")) - {ROOT / "playbooks" / "refused.yml"})
    assert len(files) >= 4
    for path in files:
        (play,) = yaml.safe_load(path.read_text())
        wanted = {"hosts": "localhost", "connection": "local", "become": False}
        assert wanted.items() <= play.items(), path.name


def test_every_operation_is_measured() -> None:
    told = yaml.safe_load((ROOT / "playbooks" / "vars" / "operations.yml").read_text())
    bench = runpy.run_path(str(ROOT / "bench" / "ops.py"))
    assert set(bench["ROWS"]) == set(told["ops_operations"])


def test_the_oldest_ansible_is_the_same_everywhere() -> None:
    plugin = (ROOT / "playbooks" / "callback_plugins" / "refuse.py").read_text()
    (numbers,) = re.findall(r"(?m)^OLDEST = [(](\d+), (\d+)[)]$", plugin)
    oldest = ".".join(numbers)
    for role in ROLES:
        meta = yaml.safe_load((ROOT / "roles" / role / "meta" / "main.yml").read_text())
        assert meta["galaxy_info"]["min_ansible_version"] == oldest
    for play in ("site.yml", "ops.yml"):
        assert f"version('{oldest}', '>=')" in (ROOT / play).read_text()
