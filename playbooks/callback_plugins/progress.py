"""Ansible's default output, and what a step is doing while it runs."""

import atexit
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils import color

# Ansible loads this file by its path, and takes every file of this directory for a plugin.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))

from sagequeue_progress import status
from sagequeue_progress.output import Output
from sagequeue_progress.region import Region

DOCUMENTATION = """
    name: progress
    type: stdout
    short_description: default output, with what the running step does
    description:
      - Prints what P(ansible.builtin.default#callback) prints.
      - On a terminal, the last lines show the running step, its number, its time, that of the
        whole, and what its command said last, with a bar where a total is known.
      - Elsewhere, and with C(-v), a step that takes long says so in a line now and then.
      - What the command of a step prints is read from a file named after the step's role,
        C(~/.local/state/sagequeue/output/ROLE.log). The role has its command write that file.
    extends_documentation_fragment:
      - default_callback
      - result_format_callback
    options:
      line_after:
        description: Seconds after which a step says in a line that it runs.
        type: float
        default: 5
        env: [{name: ANSIBLE_PROGRESS_LINE_AFTER}]
        ini: [{section: callback_progress, key: line_after}]
      line_every:
        description: Seconds from one such line to the next.
        type: float
        default: 30
        env: [{name: ANSIBLE_PROGRESS_LINE_EVERY}]
        ini: [{section: callback_progress, key: line_every}]
    requirements:
      - rich, for the lines that are drawn
"""

OUTPUT = Path("~/.local/state/sagequeue/output").expanduser()
TICK = 0.25
# Seconds before a step is drawn, so that quick ones do not flicker.
SHOWN_AFTER = 0.2


def draws(verbosity: int) -> bool:
    """Whether standard output is a terminal on which lines can be drawn over, and rich is there."""
    return (
        verbosity == 0
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
        and not os.environ.get("CI")
        and find_spec("rich") is not None
    )


class CallbackModule(Default):  # type: ignore[misc]  # Ansible has no types
    """The plugin. A thread draws; whatever it does, it does while it holds Display's lock.

    Display holds the same lock while it writes, while it asks something, and while Ansible forks:
    no lock of rich, of standard output or of an import is taken when a worker is made.
    """

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "progress"

    def __init__(self) -> None:
        super().__init__()
        self._lock = self._display._lock
        self._pid = os.getpid()
        self._region = Region()
        self._draws = False
        # None between two steps: what was drawn stays until there is something else to show.
        self._step: status.Step | None = None
        self._task: Any = None
        self._next_line = 0.0
        self._done: set[str] = set()
        self._began = time.monotonic()
        self._asking = 0
        self._mid_line = False
        self._ended = threading.Event()

    # What Ansible calls.

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Begin: from here on, the lines make way for whatever is displayed."""
        display = self._display
        self._draws = draws(display.verbosity)
        display.display = self._making_way(display.display, self._show)
        display.prompt = self._making_way(display.prompt, self._ask)
        if hasattr(display, "prompt_until"):  # not in an Ansible that is refused as too old
            display.prompt_until = self._making_way(display.prompt_until, self._ask)
        super().v2_playbook_on_start(playbook)
        threading.Thread(target=self._run, name="progress", daemon=True).start()
        atexit.register(self._end)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End: the recap is the last output."""
        self._end()
        super().v2_playbook_on_stats(stats)

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        super()._task_start(task, prefix)
        role = task._role
        output = Output(
            OUTPUT / f"{role.get_name(include_role_fqcn=False) if role else 'play'}.log",
            Path(role._role_path) / "files" if role else None,
        )
        now = time.monotonic()
        with self._lock:
            self._task = task
            self._step = status.Step(len(self._done) + 1, task.get_name().strip(), now, output)
            self._next_line = now + self.get_option("line_after")

    def _print_task_banner(self, task: Any) -> None:
        # The thread prints it early, for a step that takes long.
        with self._lock:
            if self._last_task_banner != task._uuid:
                super()._print_task_banner(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """As the default; the step is over."""
        self._over(result)
        super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """As the default; the step is over."""
        self._over(result)
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """As the default; the step is over."""
        self._over(result)
        super().v2_runner_on_unreachable(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """As the default; the step is over, and has no number."""
        self._over(result, counts=False)
        super().v2_runner_on_skipped(result)

    # What shows it.

    def _over(self, result: Any, counts: bool = True) -> None:
        with self._lock:
            if counts:
                self._done.add(result.task._uuid)
            self._step = None
            if result.task.debugger:
                # It asks without Display's help.
                self._erase()

    def _making_way(
        self, method: Callable[..., Any], run: Callable[..., Any]
    ) -> Callable[..., Any]:
        @wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() != self._pid:
                # A worker, which has no terminal, and none of the threads that may hold the lock.
                return method(*args, **kwargs)
            return run(method, *args, **kwargs)

        return wrapper

    def _show(self, method: Callable[..., None], msg: str, *args: Any, **kwargs: Any) -> None:
        with self._lock:
            self._erase()
            self._mid_line = not kwargs.get("newline", True) and not msg.endswith("\n")
            with self._surviving():
                method(msg, *args, **kwargs)
                # Ansible does it when it forks and at the end: a reader of a pipe would see a step
                # when it is long over, and no task is started where the reader is gone.
                sys.stdout.flush()
                sys.stderr.flush()

    def _ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._erase()
            self._asking += 1
        try:
            return method(*args, **kwargs)
        finally:
            self._asking -= 1

    def _run(self) -> None:
        while not self._ended.wait(TICK):
            with self._lock:
                self._tick(time.monotonic())

    def _tick(self, now: float) -> None:
        step = self._step
        if step is None or self._ended.is_set() or self._asking or self._mid_line:
            return
        step.output.read()
        if self._draws:
            if now >= step.began + SHOWN_AFTER:
                with self._surviving():
                    columns, rows = self._region.size()
                    self._region.draw(
                        status.drawn(step, now, self._began, columns, rows, color.ANSIBLE_COLOR)
                    )
        elif now >= self._next_line:
            self._next_line = now + self.get_option("line_every")
            self._print_task_banner(self._task)
            self._display.display(status.line(step, now), color=constants.COLOR_VERBOSE)

    def _erase(self) -> None:
        with self._surviving():
            self._region.erase()

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Go on without the terminal, or the reader of the pipe, that is gone."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self._draws = False
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:
                    null = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null, stream.fileno(), inheritable=False)
                    os.close(null)

    def _end(self) -> None:
        self._ended.set()
        with self._lock:
            self._step = None
            self._erase()
