"""The command on PATH, and what bash completes of it, after `ansible-playbook site.yml`."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from project import CopyProject
from test_site import Site, changed

Complete = Callable[..., list[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, copy_project: CopyProject) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("c")
    made = Site(base, copy_project(base / "p"))
    try:
        made.play("-e", "jobset=endless")
        # A second jobset, as far as a shell looks.
        (made.var / "quick").mkdir()
        (made.var / "quick" / "quick_off2.env").touch()
        settings = made.home / ".config" / "sagequeue" / "quick.env"
        settings.write_text(f'DONE_DIR="{made.var}/quick"\n')
        yield made
    finally:
        made.shut_down()


@pytest.fixture
def complete(site: Site) -> Complete:
    """What bash offers for the last of the words when Tab is hit."""
    # Where bash-completion looks for the completion of a command that it has none of yet.
    script = site.home / ".local/share/bash-completion/completions/sagequeue"

    def complete(*words: str) -> list[str]:
        line = f"""
            . {shlex.quote(str(script))}
            rule=($(complete -p sagequeue))
            COMP_WORDS=({shlex.join(("sagequeue", *words))}) COMP_CWORD={len(words)}
            for ((i = 0; i < ${{#rule[@]}}; i++)); do
                [ "${{rule[i]}}" = -F ] && "${{rule[i + 1]}}" sagequeue
            done
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        result = subprocess.run(
            ["bash", "--norc", "-c", line], check=True, capture_output=True, text=True,
            env={"HOME": str(site.home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert result.stderr == ""
        return sorted(filter(None, result.stdout.splitlines()))

    return complete


def test_the_command_is_on_the_users_path(site: Site) -> None:
    link = site.home / ".local" / "bin" / "sagequeue"
    assert os.readlink(link) == f"{sys.prefix}/bin/sagequeue"
    assert site.run(str(link), "--version").stdout.startswith("sagequeue ")


def test_verbs_complete(complete: Complete) -> None:
    assert complete("retry") == ["retry-failed"]
    assert {"progress", "explain", "logs", "shell"} <= set(complete(""))


def test_options_complete(complete: Complete) -> None:
    assert complete("retry-failed", "--re") == ["--reset-attempts"]
    assert "--follow" in complete("logs", "--f")


def test_jobsets_complete_and_the_link_to_the_active_one_is_none(complete: Complete) -> None:
    assert complete("progress", "--jobset", "") == ["endless", "quick"]
    assert complete("progress", "--jobset", "q") == ["quick"]


def test_jobs_complete_of_the_jobset_that_is_meant(complete: Complete) -> None:
    assert complete("explain", "") == ["endless_off0", "endless_off1", "endless_off2"]
    assert complete("explain", "--jobset", "quick", "") == ["quick_off2"]


def test_zsh_has_a_completion_by_the_name_that_it_looks_for(site: Site) -> None:
    script = site.home / ".local/share/zsh/site-functions/_sagequeue"
    assert script.read_text().startswith("#compdef sagequeue\n")


def test_what_somebody_else_calls_so_stays(site: Site) -> None:
    link = site.home / ".local" / "bin" / "sagequeue"
    link.unlink()
    link.write_text("#!/bin/sh\n")
    try:
        said = " ".join(site.play("-e", "jobset=endless").split())
        assert f"{link} is not this project's and stays as it is" in said
        assert link.read_text() == "#!/bin/sh\n"
    finally:
        link.unlink()


def test_a_link_to_another_clone_is_renewed(site: Site) -> None:
    link = site.home / ".local" / "bin" / "sagequeue"
    link.unlink(missing_ok=True)
    link.symlink_to("/another/clone/.venv/bin/sagequeue")
    assert changed(site.play("-e", "jobset=endless")) == 1
    assert os.readlink(link) == f"{sys.prefix}/bin/sagequeue"
