"""The claims of docs/security.md that are about the play, and that every claim has its test."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from project import ROOT

DOCUMENT = (ROOT / "docs" / "security.md").read_text()
UNIT = (ROOT / "roles/sagequeue_units/templates/sagequeue-container.service.j2").read_text()
RUN = UNIT[UNIT.index("ExecStart=") : UNIT.index("ExecStop=")]


def test_every_claim_names_tests_that_are_there() -> None:
    table = DOCUMENT.partition("## What holds")[2].partition("\n## ")[0]
    claims = [row for row in table.splitlines() if row.startswith("| ")][2:]
    for claim in claims:
        named = re.findall(r"`([\w/.]+)::(\w+)`", claim)
        assert named, claim
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{path} has no {test}"
    assert len(claims) > 10


def test_the_container_has_no_privilege_and_is_reached_from_this_machine_only() -> None:
    words = RUN.split()
    assert {"--cap-drop=all", "--security-opt=no-new-privileges", "--user=1000:1000"} <= set(words)
    published = [word for word in words if word.startswith("--publish=")]
    assert len(published) == 1
    assert published[0].startswith("--publish=127.0.0.1:")
    assert not re.search("--privileged|--cap-add|--device|--pid=|--ipc=|--userns=|[.]sock", RUN)
    assert "mode=0400" in RUN
    assert not re.search("--env=JUPYTER_TOKEN=", RUN)


def test_the_container_sees_six_directories_and_not_the_queue() -> None:
    mounts = yaml.safe_load((ROOT / "roles/podman_image/vars/main.yml").read_text())
    sources = [mount["source"] for mount in mounts["podman_image_mounts"]]
    below = "{{ __podman_image_home }}/"
    home = [source.removeprefix(below) for source in sources if source.startswith(below)]
    assert sorted(home) == [
        ".jupyter", ".sagequeue-cache", ".sagequeue-config", ".sagequeue-dot_sage",
        ".sagequeue-local",
    ]  # fmt: skip
    assert set(sources) - {below + name for name in home} == {"{{ podman_image_notebooks_dir }}"}
    # The template mounts those, and nothing of its own.
    assert re.findall(r"--(?:volume|mount)=(\S+)", RUN) == ["{{"]


@pytest.mark.parametrize(
    "path",
    [
        "bootstrap",
        "roles/sagequeue_units/tasks/runner.yml",
        "roles/podman_image/templates/Containerfile.j2",
    ],
)
def test_whatever_is_installed_from_an_index_is_checked_by_its_hash(path: str) -> None:
    text = (ROOT / path).read_text().replace("\\\n", " ")
    installed = re.findall(r"(?m)^.*(?:pip install|pip_install -|extra_args:).*$", text)
    locked = [line for line in installed if re.search(r"[.]lock|extra_args", line)]
    assert locked
    # Without an index there is nothing to be had but what lies in the clone.
    assert [line for line in locked if not re.search("--require-hashes|--no-index", line)] == []


@pytest.mark.parametrize("planted", ["t.sage.new", "t.sage"])
def test_the_script_is_not_deployed_through_a_link(tmp_path: Path, planted: str) -> None:
    tasks = yaml.safe_load((ROOT / "roles/jobset/tasks/workload.yml").read_text())
    (task,) = (task for task in tasks if task["name"].endswith("Deploy the script"))
    shipped, precious = tmp_path / "shipped", tmp_path / "precious"
    shipped.write_text("ours\n")
    precious.write_text("precious\n")
    precious.chmod(0o600)
    (tmp_path / planted).symlink_to(precious)
    command = task["ansible.builtin.shell"]["cmd"]
    command = command.replace("{{ __jobset_shipped | quote }}", str(shipped))
    script = tmp_path / "t.sage"
    subprocess.run(["sh", "-c", command], check=True, env={"script": str(script)})
    assert (precious.read_text(), precious.stat().st_mode & 0o777) == ("precious\n", 0o600)
    assert not script.is_symlink()
    assert (script.read_text(), script.stat().st_mode & 0o777) == ("ours\n", 0o644)
