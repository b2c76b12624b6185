"""Refuses, before the first task, what the plays beside it cannot do or would misunderstand.

Ansible loads this file because it lies beside the playbooks, whatever ansible.cfg says. It cannot
be a task: no task runs if no host matches, if the tag `always` is skipped, or before the task that
--start-at-task names. It must also run in an ansible-core that is too old, with Python 3.9.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible import __version__
from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display

PLAYBOOKS = Path(__file__).resolve().parents[1]
CLONE = PLAYBOOKS.parent
sys.path.insert(0, str(PLAYBOOKS))
# As in meta/main.yml of the roles, site.yml and ops.yml.
OLDEST = (2, 19)
INVALID_OPTION = 5


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible has no types
    """Ends Ansible with a sentence for everything that is wrong."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "refuse"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Takes the playbook, loaded, of which nothing has run. Raises SystemExit to refuse it."""
        ours = [play for play in playbook.get_plays() if _file(play).parent == PLAYBOOKS]
        if not ours:
            return
        wrong = [*environment()]
        if not wrong:
            variables = ours[0].get_variable_manager()
            try:
                wrong = _misunderstood(variables, {_file(play).name for play in ours})
            except Exception as error:  # Ansible would warn of it, and run the plays
                said = f"The call could not be checked, so nothing was done: {error!r}. Correct"
                wrong = [f"{said} what this names; if it names nothing of yours, tell us of it."]
        for sentence in wrong:
            Display().error(sentence, wrap_text=False)
        if wrong:
            raise SystemExit(INVALID_OPTION)


def _file(play: Any) -> Path:
    """The playbook that a play stands in."""
    return Path(str(play.get_path()).rpartition(":")[0]).resolve()


def _misunderstood(variables: Any, files: set[str]) -> list[str]:
    """What is wrong with a call of the playbooks of these names."""
    from refusals.call import command_line, inventory  # these need not run in an old Ansible
    from refusals.options import Options

    options = Options(variables.extra_vars, files)
    return [*command_line(files), *inventory(variables), *options.wrong()]


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
