"""`python -m machine_faults MACHINE --home DIR --seed S --faults N`: attack a machine.

MACHINE solves the jobset `attacked`, see ../campaign.yml, and DIR is its user's home as the host
sees it. Faults are drawn from the seed, one at a time; after each, the machine is left alone until
every worker and as many partitions as there are workers are at work again. What the solvers wrote
down meanwhile is then held against the queue, see proof.py. Runs as root on the host.
"""

import argparse
import contextlib
import os
import statistics
import sys
import time
from pathlib import Path
from random import Random

import psutil
from kit.waiting import NeverCame, until

from machine_faults.faults import KINDS, Strike
from machine_faults.machine import Machine
from machine_faults.proof import Proof

_DEADLINE = 120.0  # seconds for the machine to come back by itself
_TO_THE_END = 2.5  # seconds that a partition may take in the end, all workers together


def main() -> int:
    """Attack; 0 when nothing is violated."""
    parser = argparse.ArgumentParser(prog="machine_faults", description=__doc__)
    parser.add_argument("machine")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--faults", type=int, required=True)
    given = parser.parse_args()
    enter()
    with Machine(given.machine, given.home) as machine:
        campaign = Campaign(machine)
        try:
            campaign.attack(given.seed, given.faults)
            campaign.end()
        except NeverCame as never:
            campaign.proof.violations.append(str(never))
        return campaign.close(given.seed)


def enter() -> None:
    """Run where the machines' Podman does, see ../../machine/podman: it is to see our mounts."""
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        namespace = "--mount=/run/sagequeue-machines/cgroup2"
        ours = [sys.executable, "-m", "machine_faults", *sys.argv[1:]]
        os.execvp("nsenter", ["nsenter", namespace, f"--wdns={Path.cwd()}", *ours])  # noqa: S606


class Campaign:
    """The faults so far, and what is violated."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.proof = Proof(machine)
        self.took: list[float] = []  # seconds to resume, of the faults that ended a solver
        self.skipped: set[str] = set()

    def attack(self, seed: int, wanted: int) -> None:
        """Strike so many times, every kind once before any comes again."""
        deck: list[str] = []
        until(lambda: self.at_work(0), "the workers' start", _DEADLINE)
        while len(self.proof.strikes) < wanted and not self.proof.violations:
            # Of its own, since how much a fault draws depends on what it finds.
            draw = Random(f"{seed} {self.machine.name} {len(self.proof.strikes)}")  # noqa: S311
            if not deck:
                deck = [kind for kind in sorted(KINDS) if kind not in self.skipped]
                draw.shuffle(deck)
            kind = deck.pop()
            self.moment(draw)
            try:
                strike = KINDS[kind](self.machine, draw)
            except psutil.NoSuchProcess:
                deck.insert(0, kind)
                continue  # it ended by itself, just before
            if strike is None:
                self.skipped.add(kind)  # this host does not let us
                continue
            strike.kind = kind
            self.proof.strikes.append(strike)
            seconds = self.back(strike)
            print(f"{len(self.proof.strikes):5}  {strike}: resumed in {seconds:.1f} s", flush=True)
            self.proof.check()

    def moment(self, draw: Random) -> None:
        """Let the work get on a little."""

        def steps() -> int:
            return sum(line.event != "kept" for line in self.machine.journal.read())

        there = steps() + draw.randrange(1, 12)
        until(lambda: steps() >= there, "the next cases", _DEADLINE)

    def back(self, strike: Strike) -> float:
        """Wait until the machine is at work again; how long it took from when it could."""
        until(lambda: self.at_work(strike.lifted), f"work after {strike}", _DEADLINE)
        strike.over = time.monotonic_ns()
        could = max(strike.lifted, self.machine.container_began())
        began = self.machine.at_work(strike.lifted)
        seconds = max(max(began.values(), default=could) - could, 0) / 1e9
        if self.proof.ended_by(strike):
            self.took.append(seconds)
        return seconds

    def at_work(self, since: int) -> bool:
        """Whether all workers are there, and as many solvers as there is work for, since then."""
        machine = self.machine
        wanted = min(machine.workers, len(machine.unfinished()))
        return (
            len(machine.at_work(since)) >= wanted
            and len(machine.processes("worker")) == machine.workers
        )

    def end(self) -> None:
        """Have all cases done; only recovery is started by us, earlier than its timer would."""
        machine = self.machine
        if self.proof.violations:
            return
        machine.hurry()
        deadline = time.monotonic() + _DEADLINE + _TO_THE_END * len(machine.unfinished())
        while machine.unfinished() and time.monotonic() < deadline:
            machine.recover()
            with contextlib.suppress(NeverCame):
                until(lambda: not machine.unfinished(), "the end of all jobs", 10.0)
        self.proof.check(at_the_end=True)

    def close(self, seed: int) -> int:
        """Print what is violated, and the closing line."""
        for text in self.proof.violations:
            print(f"VIOLATION {text}")
        took = ""
        if self.took:
            took = (
                f"; resumed within {statistics.median(self.took):.1f} s (median), "
                f"{max(self.took):.1f} s (worst)"
            )
        suite = self.machine.name.rpartition("-")[2]
        number = len(self.proof.violations)
        done = f"faults: {len(self.proof.strikes)} on {suite}, seed {seed}: {number} violations"
        skipped = "".join(f"; NOT TRIED: {kind}" for kind in sorted(self.skipped))
        print(f"{done}{took}{skipped}")
        return bool(number)


if __name__ == "__main__":
    sys.exit(main())
