#!/usr/bin/env python3
"""A workload to copy: every case of its partition waits for a moment, and that is all.

A workload is a script that solves cases 0 .. total-1 of one enumeration, a case being known by
its number, gidx.  Partition K of S takes the cases K, K+S, K+2S, ... and is started with
`--stride S --offset K`.  It may be killed at any time and is then started again with `--resume`.

To write your own: copy this file, replace `solve`, and let `total` in `main` be the number of
your cases.  The rest is what the queue relies on, and can stay as it is:

- the state file holds the last gidx done; it is replaced whole, and only after the case is done;
- a state file that makes no sense is refused, since guessing could leave cases out for ever;
- the stop file is looked at between cases, never during one;
- the DONE line, and all that was printed before it, is on the disk before the state file counts
  the case: a solver may be killed between any two lines, and a solution must not be lost;
- START and DONE lines tell `sagequeue progress` how far the partition is, and a case without a DONE
  line counts as unconfirmed, so each case has one;
- exit code 0 means complete, or stopped by the stop file; 2 means it was called wrongly.

It runs under `python template.sage` and `sage template.sage` alike.  Sage turns the literal 3
into Integer(3), and a caret into a power; where a library insists on Python's int, write int(3).
"""

import argparse
import contextlib
import datetime
import errno
import math
import os
import re
import sys
import time


def solve(gidx, args):
    """One case; returns whether it has a solution.  REPLACE THIS with your mathematics.

    Whatever you find, print it here: when this returns, the case counts as done and is not
    looked at again.  An exception ends the run with the case not done, and it will be repeated.
    """
    time.sleep(args.work_secs)
    return False


def log(text):
    """One line with the local time; flushed, because the log is read while the case runs."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    print(f"[{now}] {text}", flush=True)


def secure_output():
    """Wait until what was printed is on the disk, if standard output can be synced."""
    sys.stdout.flush()
    try:
        os.fsync(sys.stdout.fileno())
    except OSError as error:  # a pipe or a terminal, or a file system that cannot
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP, errno.ENOSYS):
            raise


def read_state(path, cases):
    """The last gidx done, or None if there is no state file; ends the process if it is corrupt."""
    try:
        with open(path, "rb") as file:
            content = file.read(100)
    except FileNotFoundError:
        return None
    except OSError as error:
        return refuse(f"state file cannot be read: {error}")
    if re.fullmatch(rb"[0-9]{1,30}\s*", content) and int(content) in cases:
        return int(content)
    return refuse(
        f"state file {path} is corrupt: it holds {content[:40]!r} and not the number of one of"
        " this partition's cases. Write the last gidx that the log reports as DONE into it, or"
        " remove it to start this partition from its beginning."
    )


def write_state(path, gidx):
    """Replace the state file so that a reader, or a power cut, meets the old one or the new one."""
    temporary = f"{path}.tmp"
    if os.path.exists(temporary):
        os.unlink(temporary)  # left by a run that was killed here
    with open(temporary, "x", encoding="ascii") as file:  # mode by the umask: others read it too
        file.write(f"{gidx}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    with contextlib.suppress(OSError):  # Windows drives can't; at worst a case is repeated
        os.fsync(directory)
    os.close(directory)


def refuse(message):
    """End the process, saying why on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(int(2))


def arguments():
    """The checked command line; a wrong one ends the process with exit code 2."""
    # Defaults are strings, so that argparse makes Python numbers of them under Sage as well.
    parser = argparse.ArgumentParser(description="Cases that only wait.", allow_abbrev=False)
    add = parser.add_argument
    add("--total_cases", type=int, default="455", metavar="N", help="cases of all partitions")
    add("--work_secs", type=float, default="1", metavar="X", help="seconds that a case takes")
    add("--state_prefix", default="template", metavar="P", help="tells state files apart")
    add("--stride", type=int, default="1", metavar="S", help="number of partitions")
    add("--offset", type=int, default="0", metavar="K", help="this partition, 0 .. S-1")
    add("--resume", action="store_true", help="go on after the state file's case")
    add("--state_file", metavar="PATH", help="default: state_<P>_stride<S>_off<K>.txt here")
    add("--stop_file", metavar="PATH", help="end before the next case if this file exists")
    add("--progress_every", type=int, default="1", metavar="M", help="log the start of every M-th case")
    args = parser.parse_args()
    for name, least in (("total_cases", 0), ("stride", 1), ("progress_every", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: must be at least {least}")
    if not 0 <= args.offset < args.stride:
        parser.error(f"--offset {args.offset}: must be 0 .. {args.stride - 1} for this stride")
    if not (math.isfinite(args.work_secs) and args.work_secs >= 0):
        parser.error(f"--work_secs {args.work_secs}: must be a number of seconds, 0 or more")
    if not re.fullmatch("[A-Za-z0-9_-]+", args.state_prefix):
        parser.error(f"--state_prefix {args.state_prefix!r}: letters, digits, _ and - only")
    return args


def main():
    """Do the cases of one partition; returns the exit code."""
    args = arguments()
    total = args.total_cases
    cases = range(args.offset, total, args.stride)

    # The state file lies beside this script, unless told otherwise.
    name = f"state_{args.state_prefix}_stride{args.stride}_off{args.offset}.txt"
    directory = os.path.dirname(os.path.abspath(sys.argv[0]))
    state_file = os.path.abspath(args.state_file or os.path.join(directory, name))
    last = read_state(state_file, cases) if args.resume else None

    begin = 0 if last is None else cases.index(last) + 1
    for local in range(begin, len(cases)):
        gidx = cases[local]
        if args.stop_file and os.path.exists(args.stop_file):
            done = "none" if last is None else last
            log(f"STOP  stop file present: {args.stop_file}; last gidx done={done}")
            return 0
        where = f"gidx={gidx} local={local} off={args.offset} stride={args.stride}"
        if local % args.progress_every == 0:
            log(f"START {where}")
        began = time.monotonic()
        found = solve(gidx, args)
        log(f"DONE  {where} sat={bool(found)} dt={time.monotonic() - began:.3f}s")
        secure_output()  # before the case counts: neither a kill nor a power cut takes a line back
        write_state(state_file, gidx)
        last = gidx
    log(f"COMPLETE off={args.offset} stride={args.stride} cases={len(cases)}")
    return 0


if __name__ == "__main__":
    sys.exit(int(main()))
