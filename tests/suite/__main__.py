"""Run a size of the project's tests: `./test`, `./test unit` or `./test long` calls this.

Two steps run at a time, one on a single processor; SAGEQUEUE_LANES sets another number. A step
that passes prints one line, a step that fails prints everything. The run ends with a table of
seconds. SAGEQUEUE_TIMES=FILE takes the same as JSON.
"""

import os
import signal
import sys
from types import FrameType

from run import run
from steps import SIZES


def end(number: int, _frame: FrameType | None) -> None:
    """End as after Ctrl-C, which ends the steps that run."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """The exit status: 0 if everything passed, 1 if not, 2 for a wrong command line."""
    size = "".join(sys.argv[1:])
    if size not in SIZES:
        print("usage: python tests/suite whole|unit|long", file=sys.stderr)
        return 2
    # SIGINT, too: a shell that starts us in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    usual = min(2, len(os.sched_getaffinity(0)))
    count = int(os.environ.get("SAGEQUEUE_LANES") or usual)
    try:
        return 0 if run(size, count) else 1
    except KeyboardInterrupt:
        print("Interrupted. What the steps left, the next run removes.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
