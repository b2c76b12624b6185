"""What the machine's fault suite takes for a violation, on journals written here."""

from pathlib import Path

import pytest
from kit import jobset
from kit.journal import Line
from machine_faults.faults import Strike
from machine_faults.machine import Machine
from machine_faults.proof import Proof

STRIDE, CASES = 2, 3
SECOND = 10**9


@pytest.fixture
def proof(tmp_path: Path) -> Proof:
    """Of two partitions of three cases each, whose jobs are pending."""
    settings = tmp_path / ".config/sagequeue"
    settings.mkdir(parents=True)
    keys = jobset.keys(Path("/p"), STRIDE=STRIDE, WORKERS=1, TOTAL_CASES=STRIDE * CASES)
    (settings / "attacked.env").write_text(jobset.render(keys))
    machine = Machine("sagequeue-recovery-bookworm", tmp_path)
    machine.notebooks.mkdir()
    for state in ("pending", "running", "done", "failed"):
        (machine.spool / "queue" / state).mkdir(parents=True)
    for offset in range(STRIDE):
        job(machine, "pending", offset)
    found = Proof(machine)
    found.since = 0
    return found


def job(machine: Machine, state: str, offset: int, *lines: str) -> None:
    path = machine.spool / "queue" / state / f"attacked_off{offset}.env"
    path.write_text("\n".join([f"OFFSET={offset}", *lines, ""]))


def move(machine: Machine, offset: int, state: str) -> None:
    (path,) = machine.places(offset)
    path.rename(machine.spool / "queue" / state / path.name)


def journal(machine: Machine, *lines: str) -> None:
    """`EVENT PID SECONDS VALUE` of offset 0."""
    with machine.journal.path.open("a") as file:
        for line in lines:
            event, pid, seconds, value = line.split()
            at = int(float(seconds) * SECOND)
            file.write(f"{Line(event, 0, int(pid), 1, at, 0, 0, int(value))}\n")


def strike(began: float, over: float, *effects: str, offset: int = 0) -> Strike:
    done = Strike(int(began * SECOND), frozenset([offset]), over=int(over * SECOND))
    for effect in effects:
        setattr(done, effect, True)
    return done


WHOLE = ("start 7 1 -2", "case 7 2 0", "case 7 3 2", "case 7 4 4", "complete 7 5 4")
BROKEN_OFF = ("start 7 1 -2", "case 7 2 0")
GOES_ON = ("start 8 5 0", "case 8 6 2")


def test_a_partition_that_is_solved_in_peace_violates_nothing(proof: Proof) -> None:
    journal(proof.machine, *WHOLE)
    move(proof.machine, 0, "done")
    proof.check()
    assert not proof.violations


@pytest.mark.parametrize(
    ("lines", "violation"),
    [
        ((*BROKEN_OFF, *GOES_ON), "disturbed: offset 0: 7 ended before its time"),
        (("start 7 1 -2", "case 7 4 0"), "disturbed: offset 0: 7 stood still for 3.0 s"),
        ((*WHOLE, "start 8 6 4"), "again: offset 0: 8 began after it was complete"),
        (("start 7 1 -2", "overlap 8 1 7"), "alone: offset 0: 7 was alive when 8 began"),
        (("start 8 1 -2", "case 7 2 0"), "alone: offset 0: {7} wrote after 8 had begun"),
    ],
)
def test_what_a_journal_tells_is_a_violation(
    proof: Proof, lines: tuple[str, ...], violation: str
) -> None:
    journal(proof.machine, *lines)
    proof.check()
    assert proof.violations == [violation]


@pytest.mark.parametrize(
    ("effect", "lines"),
    [
        ("ends", (*BROKEN_OFF, *GOES_ON)),
        ("stalls", ("start 7 1 -2", "case 7 4 0")),
        ("loses", (*WHOLE, "start 8 6 4")),
    ],
)
def test_only_the_fault_that_may_do_it_to_that_offset_at_that_time_is_an_excuse(
    proof: Proof, effect: str, lines: tuple[str, ...]
) -> None:
    journal(proof.machine, *lines)
    proof.strikes = [
        strike(3, 4, "fails"),
        strike(3, 4, effect, offset=1),
        strike(0.1, 0.2, effect),
        strike(7, 8, effect),
    ]
    proof.check()
    assert len(proof.violations) == 1
    proof.violations.clear()
    proof.strikes = [strike(3, 4, effect)]
    proof.check()
    assert not proof.violations


def test_done_without_a_case_is_a_violation(proof: Proof) -> None:
    journal(proof.machine, *BROKEN_OFF)
    move(proof.machine, 0, "done")
    proof.check()
    assert proof.violations == ["done: offset 0 is done without the cases [2, 4]"]


def test_a_job_in_two_directories_or_in_none_is_a_violation(proof: Proof) -> None:
    job(proof.machine, "done", 1)
    (path,) = proof.machine.places(0)
    path.unlink()
    proof.check()
    assert "places: offset 0 lies in []" in proof.violations
    assert "places: offset 1 lies in ['pending', 'done']" in proof.violations


def test_an_attempt_without_a_failure_is_a_violation(proof: Proof) -> None:
    job(proof.machine, "pending", 0, "ATTEMPTS=1")
    proof.strikes = [strike(1, 2, "ends")]
    proof.check()
    assert proof.violations == ["attempts: offset 0 has spent 1 attempts on 0 failures"]
    proof.violations.clear()
    proof.strikes = [strike(1, 2, "ends", "fails")]
    proof.check()
    assert not proof.violations


def test_in_the_end_every_job_is_done(proof: Proof) -> None:
    journal(proof.machine, *WHOLE)
    move(proof.machine, 0, "done")
    proof.check(at_the_end=True)
    assert proof.violations == ["all_done: offset 1 is not done but ['pending']"]
