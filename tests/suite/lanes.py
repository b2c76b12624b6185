"""Runs steps, several at a time, each in a process group of its own."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from steps import ROOT, Step

_GRACE = 20.0  # seconds that a step has to end after each signal


@dataclass(frozen=True)
class Outcome:
    """What became of one step.

    `status` is its exit status, negative for a signal, None if the step was not started. `cpu` is
    the processor time of its processes in seconds. Machines are not part of it: no step is their
    parent.
    """

    step: Step
    status: int | None
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the step ran and exited with 0."""
        return self.status == 0


class Lanes:
    """Runs `count` steps at a time.

    `directory` takes what the steps print. `began` and `ended` are called when a step starts and
    when it has ended, from the lane's own thread.
    """

    def __init__(
        self, count: int, directory: Path, began: Callable[[Step], None],
        ended: Callable[[Outcome], None],
    ) -> None:  # fmt: skip
        self.outcomes: list[Outcome] = []
        self._count, self._directory = count, directory
        self._began, self._ended = began, ended
        self._changed = threading.Condition()
        self._waiting: list[Step] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped = False

    def output(self, step: Step) -> Path:
        """The file with what the step printed."""
        return self._directory / f"{step.slug}.out"

    def run(self, steps: Sequence[Step]) -> None:
        """Run all steps, in their order."""
        self._waiting = list(steps)
        lanes = [threading.Thread(target=self._lane) for _ in range(self._count)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()

    def stop(self) -> None:
        """Start no more steps, and end those that run."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            # At SIGINT, as after Ctrl-C, pytest and Molecule still tidy up.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                for process in self._running.values():
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
                if self._changed.wait_for(lambda: not self._running, _GRACE):
                    return

    def _lane(self) -> None:
        while (step := self._next()) is not None:
            self._began(step)
            outcome = self._run(step)
            with self._changed:
                self._running.pop(step.name, None)
                self.outcomes.append(outcome)
                self._changed.notify_all()
            if not self._stopped:
                self._ended(outcome)

    def _next(self) -> Step | None:
        """Take the next step that may start; wait while that depends on a step that runs."""
        with self._changed:
            while self._waiting and not self._stopped:
                passed = {outcome.step.name: outcome.passed for outcome in self.outcomes}
                for step in self._waiting:
                    if step.after is None or step.after in passed:
                        self._waiting.remove(step)
                        if step.after is None or passed[step.after]:
                            return step
                        self.outcomes.append(Outcome(step, None))
                        self._ended(self.outcomes[-1])
                        break
                else:
                    self._changed.wait()
        return None

    def _run(self, step: Step) -> Outcome:
        start = time.monotonic()
        with self.output(step).open("wb") as output, self._changed:
            if self._stopped:
                return Outcome(step, None)
            process = subprocess.Popen(
                step.command, cwd=ROOT, env={**os.environ, **step.environment},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
            self._running[step.name] = process
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if self._stopped:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - start
        return Outcome(step, process.returncode, seconds, used.ru_utime + used.ru_stime)
