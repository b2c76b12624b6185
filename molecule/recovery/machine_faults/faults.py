"""What can go wrong, one function a kind: each does it to the machine, and lifts it again.

What a kind may do to solvers is in its `Strike`; proof.py takes nothing else for an excuse. Left
to the local suite, which does it for a runner alone: a clock that is set. Here that is the host's.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from kit.waiting import until

from machine_faults.machine import JOBSET, Machine, Role

_RETRIES = 3
_ANOTHER = 60.0  # seconds for a container that was given up to be replaced
_JUNK = (b"", b"\0" * 64, b"\xff\xfe$(reboot)\n", b"OFFSET=\n", b"nothing of the kind\n")


@dataclass
class Strike:
    """One fault: when it began and was lifted, and what it may have done to which offsets' solvers.

    `ends` them, `loses` their results, `fails` them (which costs an attempt), `stalls` them;
    `offsets` is None for all. `over`: when the machine was at work again.
    """

    began: int
    offsets: frozenset[int] | None
    ends: bool = False
    loses: bool = False
    fails: bool = False
    stalls: bool = False
    kind: str = ""
    lifted: int = field(default_factory=time.monotonic_ns)
    over: int = 0

    def __str__(self) -> str:
        """As the log has it."""
        what = "" if self.offsets is None else f", offset {', '.join(map(str, self.offsets))}"
        return f"{self.kind}{what}"

    def hits(self, offset: int, begin: int, end: int) -> bool:
        """Whether it may have met the offset's solver between those times."""
        mine = self.offsets is None or offset in self.offsets
        return mine and self.began <= end and begin <= (self.over or time.monotonic_ns())


Kind = Callable[[Machine, Random], Strike | None]
KINDS: dict[str, Kind] = {}


def kind(name: str) -> Callable[[Kind], Kind]:
    """Give a function its place in `KINDS`."""

    def add(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return add


# Signals to one process


def _victim(machine: Machine, role: str, draw: Random) -> Role:
    """One process of that role; a solver has failures left before it would be held."""

    def found() -> list[Role]:
        return [
            victim
            for victim in machine.processes(role)
            if role != "solver" or machine.failed[victim.number] < _RETRIES
        ]

    return draw.choice(until(found, f"a {role}"))


def _offsets(machine: Machine, victim: Role) -> frozenset[int]:
    return machine.jobs_of(victim.number) if victim.role == "worker" else frozenset([victim.number])


def _signalled(role: str, number: signal.Signals, *effects: str) -> Kind:
    def strike(machine: Machine, draw: Random) -> Strike:
        victim = _victim(machine, role, draw)
        offsets, began = _offsets(machine, victim), time.monotonic_ns()
        if "fails" in effects:
            machine.failed.update(offsets or ())
        victim.process.send_signal(number)
        if number is signal.SIGSTOP:
            time.sleep(draw.uniform(0.5, 3.0))
            victim.process.send_signal(signal.SIGCONT)
        done = Strike(began, offsets)
        for effect in effects:
            setattr(done, effect, True)
        return done

    return strike


_KILL, _TERM, _STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP
for _role, _number, _effects in (
    ("worker", _KILL, ()),
    ("worker", _STOP, ()),
    # What the client and conmon do about a signal is Podman's business, and differs by release.
    ("client", _KILL, ()),
    ("client", _TERM, ("ends",)),
    ("client", _STOP, ()),
    ("conmon", _KILL, ("ends", "loses")),
    ("conmon", _TERM, ("ends", "loses")),
    ("conmon", _STOP, ()),
    ("wrapper", _KILL, ("loses",)),
    ("wrapper", _TERM, ("ends",)),
    ("wrapper", _STOP, ()),
    ("solver", _KILL, ("ends", "fails")),
    ("solver", _TERM, ("ends", "fails")),
    ("solver", _STOP, ("stalls",)),
):
    _name = f"{_number.name} to a {_role}"
    KINDS[_name] = _signalled(_role, _number, *_effects)


@kind("SIGTERM to a worker, which stops it, and a start")
def _worker_stopped(machine: Machine, draw: Random) -> Strike:
    victim = _victim(machine, "worker", draw)
    offsets, began = _offsets(machine, victim), time.monotonic_ns()
    victim.process.terminate()
    victim.process.wait(60.0)
    machine.user(f"systemctl --user start sagequeue@{victim.number}")
    return Strike(began, offsets, ends=True)


@kind("SIGKILL to a worker's whole control group")
def _group_killed(machine: Machine, draw: Random) -> Strike:
    victim = _victim(machine, "worker", draw)
    offsets, began = _offsets(machine, victim), time.monotonic_ns()
    machine.user(f"systemctl --user kill --signal=KILL sagequeue@{victim.number}")
    return Strike(began, offsets, ends=True, loses=True)


# Everything at once


def _everything(command: str) -> Kind:
    """A command line of the user's that ends all solvers."""

    def strike(machine: Machine, draw: Random) -> Strike:
        began = time.monotonic_ns()
        machine.user(command)
        return Strike(began, None, ends=True, loses=True)

    return strike


KINDS["the container is stopped"] = _everything("podman stop --time 3 sagemath")
KINDS["the container is killed"] = _everything("podman kill sagemath")
KINDS["the container is removed"] = _everything("podman rm --force --time 0 sagemath")
KINDS["the container is restarted"] = _everything("systemctl --user restart sagequeue-container")
KINDS["the container's whole control group is killed"] = _everything(
    "systemctl --user kill --signal=KILL sagequeue-container"
)


@kind("SIGKILL to the container's conmon")
def _container_conmon(machine: Machine, draw: Random) -> Strike:
    """Podman may take 20 seconds until it gives the container up, and solvers work on till then."""
    before, began = machine.container_began(), time.monotonic_ns()
    _victim(machine, "container's conmon", draw).process.kill()
    until(lambda: machine.container_began() > before, "another container", _ANOTHER)
    return Strike(began, None, ends=True, loses=True)


@kind("the container is out for a while")
def _out(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    machine.user("systemctl --user stop sagequeue-container")
    time.sleep(draw.uniform(3.0, 15.0))
    machine.user("systemctl --user start sagequeue-container")
    return Strike(began, None, ends=True, loses=True)


@kind("the container is killed, and its image gone")
def _image_gone(machine: Machine, draw: Random) -> Strike | None:
    # Where it lies in a store of its own, see ../../machine/settle.
    stores = machine.home / ".config/containers/storage.conf"
    if not stores.exists():
        return None
    began, away = time.monotonic_ns(), stores.with_suffix(".away")
    stores.rename(away)
    machine.user("systemctl --user kill --signal=KILL sagequeue-container")
    time.sleep(draw.uniform(3.0, 8.0))
    away.rename(stores)
    return Strike(began, None, ends=True, loses=True)


@kind("the user's systemd is restarted")
def _manager(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    machine.root("systemctl restart user@1000")
    return Strike(began, None, ends=True, loses=True)


@kind("the power is cut")
def _power(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    machine.switch("kill")
    for offset in range(machine.stride):  # nothing moves while it is off
        if len(places := machine.places(offset)) != 1:
            machine.told.append(f"with the power off, offset {offset} lies in {places}")
    machine.switch("start")
    machine.booted()
    return Strike(began, None, ends=True, loses=True)


# Workers and recoveries in numbers


@kind("all workers are restarted eight times")
def _restarts(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    machine.user("for i in 1 2 3 4 5 6 7 8; do systemctl --user restart 'sagequeue@*'; done")
    return Strike(began, None)


@kind("all workers are killed five times")
def _kills(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    for _ in range(5):
        for _ in range(machine.workers):
            worker = _victim(machine, "worker", draw).process
            worker.kill()
            worker.wait(60.0)
    return Strike(began, None)


@kind("a worker is killed, and recoveries run at once")
def _recoveries(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    _victim(machine, "worker", draw).process.kill()
    recover = "~/.local/bin/sagequeue recover"
    machine.user(f"{{ {recover} & {recover} & {recover} & wait; }} >/dev/null")
    return Strike(began, None)


# Files, while they are in use


def _put(path: Path, content: bytes) -> None:
    """Other content in the same file, wherever it is moved; none is made."""
    with contextlib.suppress(FileNotFoundError), open(os.open(path, os.O_WRONLY), "wb") as file:
        os.ftruncate(file.fileno(), 0)
        file.write(content)


@kind("a worker's process id is another's, and it is killed")
def _reused(machine: Machine, draw: Random) -> Strike:
    worker = _victim(machine, "worker", draw)
    began = time.monotonic_ns()
    for offset in machine.jobs_of(worker.number):
        owner = machine.spool / f"queue/running/{JOBSET}_off{offset}.env.owner"
        with contextlib.suppress(FileNotFoundError):
            lines = owner.read_text().splitlines()
            kept = [line for line in lines if not line.startswith("OWNER_PID=")]
            _put(owner, "\n".join(["OWNER_PID=1", *kept, ""]).encode())
    worker.process.kill()
    return Strike(began, None)


@kind("an owner file is spoilt, and its worker killed")
def _owner(machine: Machine, draw: Random) -> Strike:
    worker = _victim(machine, "worker", draw)
    began = time.monotonic_ns()
    for offset in machine.jobs_of(worker.number):
        owner = machine.spool / f"queue/running/{JOBSET}_off{offset}.env.owner"
        if draw.random() < 0.5:
            owner.unlink(missing_ok=True)
        else:
            _put(owner, draw.choice(_JUNK))
    worker.process.kill()
    return Strike(began, None)


@kind("a job file is spoilt for a while")
def _job(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    # A running one, or the next to be claimed.
    offset = draw.choice([*machine.lying("running"), *machine.lying("pending")[:1]])
    machine.failed[offset] += 1  # mended where it failed, it is retried
    for path in machine.places(offset):
        _put(path, draw.choice(_JUNK))
    time.sleep(draw.uniform(0.5, 3.0))
    good = f"OFFSET={offset}\nENQUEUED_AT=2026-01-01T00:00:00+00:00\n".encode()
    for path in machine.places(offset):
        _put(path, good)
    machine.recover()
    return Strike(began, frozenset([offset]), fails=True)


@kind("a state file is spoilt")
def _state(machine: Machine, draw: Random) -> Strike:
    # Its solver puts another in its place after the next case.
    victim = _victim(machine, "solver", draw)
    state = machine.notebooks / f"{JOBSET}_state_{machine.stride}_{victim.number}.txt"
    began, junk = time.monotonic_ns(), draw.choice(_JUNK)
    _put(state, junk)
    time.sleep(1.0)
    if state.exists() and state.read_bytes() == junk:
        last = [line.value for line in machine.journal.read() if line.offset == victim.number]
        _put(state, f"{last[-1]}\n".encode())
    return Strike(began, frozenset([victim.number]), fails=True)


@kind("the settings are spoilt for a while")
def _settings(machine: Machine, draw: Random) -> Strike:
    began, good = time.monotonic_ns(), machine.settings.read_bytes()
    _put(machine.settings, draw.choice(_JUNK))
    time.sleep(draw.uniform(0.5, 3.0))
    _put(machine.settings, good)
    return Strike(began, None)


@kind("the stop gate flaps")
def _gate(machine: Machine, draw: Random) -> Strike:
    began = time.monotonic_ns()
    for _ in range(draw.randrange(3, 10)):
        machine.gate.touch()
        time.sleep(draw.uniform(0.0, 0.4))
        machine.gate.unlink(missing_ok=True)
        time.sleep(draw.uniform(0.0, 0.4))
    return Strike(began, None)


@kind("the disk is full for a while")
def _full(machine: Machine, draw: Random) -> Strike | None:
    if not machine.own_filesystem:
        return None
    began, filler = time.monotonic_ns(), machine.spool / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    time.sleep(draw.uniform(1.0, 4.0))
    filler.unlink()
    return Strike(began, None, loses=True)


@kind("the queue is read-only for a while")
def _read_only(machine: Machine, draw: Random) -> Strike | None:
    began, inside = time.monotonic_ns(), f"/home/user/sagequeue/var/{JOBSET}"
    if not machine.root(f"mount --bind {inside} {inside} && mount -o remount,bind,ro {inside}"):
        return None
    time.sleep(draw.uniform(1.0, 4.0))
    machine.root(f"umount --lazy {inside}")
    return Strike(began, None, loses=True)
