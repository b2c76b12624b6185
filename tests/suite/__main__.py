"""Run a size of the project's tests: `./test`, `./test unit` or `./test long` calls this.

`long 1/3` is the first of three parts of it.

Two steps run at a time, one on a single processor; SAGEQUEUE_LANES sets another number. A step
that passes prints one line, a step that fails prints everything. The run ends with a table of
seconds. SAGEQUEUE_TIMES=FILE takes the same as JSON.
"""

import os
import re
import signal
import sys
from types import FrameType

from run import run
from steps import SIZES

PART = re.compile("[1-9][0-9]*/[1-9][0-9]*")


def end(number: int, _frame: FrameType | None) -> None:
    """End as after Ctrl-C, which ends the steps that run."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """The exit status: 0 if everything passed, 1 if not, 2 for a wrong command line."""
    size, number, parts = "".join(sys.argv[1:2]), 1, 1
    if asked := sys.argv[2:]:
        number, parts = map(int, asked[0].split("/")) if PART.fullmatch(asked[0]) else (0, 0)
    if size not in SIZES or not 1 <= number <= parts or len(asked) > 1:
        print("usage: python tests/suite whole|unit|long [PART/PARTS]", file=sys.stderr)
        return 2
    # SIGINT, too: a shell that starts us in the background has it ignored.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, end)
    usual = min(2, len(os.sched_getaffinity(0)))
    count = int(os.environ.get("SAGEQUEUE_LANES") or usual)
    try:
        return 0 if run(size, count, (number, parts)) else 1
    except KeyboardInterrupt:
        print("Interrupted. What the steps left, the next run removes.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
