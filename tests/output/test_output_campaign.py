"""Every solution that executions print is recorded, or its case is listed as unconfirmed.

SAGEQUEUE_EXECUTIONS executions, each of which prints one solution through `tee` and ends, while
their logs are rotated, and workers and solvers are killed at random. Nothing here asks the runner
what is true: what was printed follows from the rounds that were played.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kit import jobset, waiting

EXECUTIONS = int(os.environ.get("SAGEQUEUE_EXECUTIONS", "300"))
SEED = int(os.environ.get("SAGEQUEUE_SEED", "1"))
STRIDE, WORKERS = 100, 4
WORKLOAD = Path(__file__).with_name("workload.sh")
# Seconds between two faults, and between two rotations.
_FAULT, _ROTATION = 0.01, 0.3

pytestmark = [
    pytest.mark.skipif(not shutil.which("logrotate"), reason="logrotate is not installed"),
    pytest.mark.timeout(3600),
]


class Campaign:
    """Rounds of a jobset's executions, with faults."""

    def __init__(self, root: Path, chance: random.Random, mode: str, way: str) -> None:
        self.root, self.home, self.chance = root, root / "home", chance
        (self.home / "pids").mkdir(parents=True)
        (self.home / "mode").write_text(mode)
        self.env_file = root / "demo.env"
        settings = jobset.keys(
            root, self.home, SAGE_BIN="/bin/bash", SCRIPT=WORKLOAD, SAGE_BASE_ARGS=str(self.home),
            STRIDE=STRIDE, TOTAL_CASES=STRIDE, STATE_FILE_HOST=self.home / "state_{offset}",
            WORKERS=WORKERS, MAX_FAILED_RETRIES=10**6,
        )  # fmt: skip
        self.env_file.write_text(jobset.render(settings))
        self.queue, self.logs = root / "var/demo/queue", root / "var/demo/log"
        self.rules = root / "logrotate"
        self.rules.write_text(f"{self.logs}/*.log {{\nrotate 500\nmissingok\n{way}\n}}\n")
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.killed = {"worker": 0, "solver": 0, "helper": 0}
        self.rotations = 0

    def run(self, *verb: str) -> str:
        command = [sys.executable, "-m", "sagequeue", *verb, "--env-file", str(self.env_file)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(self, number: int) -> None:
        with open(self.root / f"worker-{number}.out", "ab") as out:
            self.workers[number] = subprocess.Popen(
                [sys.executable, "-m", "sagequeue", "worker", str(number), "--env-file",
                 str(self.env_file)], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def play(self, number: int, *, helpers: bool) -> None:
        """Have each partition solved once, with faults until all are through."""
        (self.home / "round").write_text(f"{number}\n")
        for path in self.home.glob("state_*"):
            path.unlink()
        self.run("enqueue", "--force")
        rotated = time.monotonic()

        def through() -> bool:
            nonlocal rotated
            self.fault(helpers=helpers)
            if time.monotonic() - rotated > _ROTATION:
                self.rotate()
                rotated = time.monotonic()
            return not any(os.listdir(self.queue / state) for state in ("pending", "running"))

        waiting.until(
            through, f"the end of round {number}", 600, wait=lambda left: time.sleep(_FAULT),
            report=self.report,
        )  # fmt: skip

    def lose(self, number: int, offset: int) -> None:
        """Have one partition's log truncated while its worker stands, after the solution is in it.

        Chance may lose no line in a short campaign; this one is lost for certain.
        """
        (self.home / "round").write_text(f"{number}\n")
        before, after = self.home / "before", self.home / "after"
        for path in (before, after):
            os.mkfifo(path)
        log = self.logs / f"demo_off{offset}.log"
        self.run("enqueue", "--offset", str(offset))
        self.start(1)
        self.until(lambda: any((self.home / "pids").iterdir()), "the workload")
        self.workers[1].send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.workers[1].pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        before.write_text("go\n")
        self.until(lambda: line(number, offset) in log.read_text(), "the solution in the log")
        os.truncate(log, 0)
        after.write_text("go\n")
        self.workers[1].send_signal(signal.SIGCONT)
        self.until(lambda: any(os.listdir(self.queue / "done")), "the end of the execution")
        for path in (before, after):
            path.unlink()

    def until(self, condition: Callable[[], object], what: str) -> None:
        waiting.until(condition, what, below=self.root, report=self.report)

    def fault(self, *, helpers: bool) -> None:
        for worker, process in self.workers.items():
            if process.poll() is not None:
                self.start(worker)
        if self.chance.random() < 0.03:
            process = self.workers[self.chance.choice(sorted(self.workers))]
            process.kill()
            process.wait()
            self.killed["worker"] += 1
        self.kill_solver("helper" if helpers and self.chance.random() < 0.5 else "solver")

    def kill_solver(self, which: str) -> None:
        paths = list((self.home / "pids").iterdir())
        self.chance.shuffle(paths)
        for path in paths:
            numbers = path.read_text().split()
            if len(numbers) < 2:
                continue
            pid = int(numbers[which == "helper"])
            word = b"tee" if which == "helper" else os.fsencode(WORKLOAD)
            try:
                ours = word in Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                ours = False
            if ours:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed[which] += 1
                return
            path.unlink()

    def rotate(self) -> None:
        command = ["logrotate", "--force", "--state", str(self.root / "rotated"), str(self.rules)]
        answer = subprocess.run(command, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        self.rotations += 1

    def report(self) -> str:
        left = [f"{path}" for path in self.queue.glob("[pr]*/*")]
        said = [path.read_text()[-2000:] for path in self.root.glob("worker-*.out")]
        return "\n".join([*left, *said])

    def end(self) -> None:
        for process in self.workers.values():
            process.kill()
            process.wait()

    def found(self) -> list[str]:
        """The first line of each finding."""
        return [finding["lines"][0] for finding in json.loads(self.run("found", "--json"))]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)  # logrotate refuses what others may write to
    return tmp_path


def line(number: int, offset: int) -> str:
    return f"FOUND round={number} offset={offset}"


@pytest.mark.parametrize("way", ["create", "nocreate"])
def test_no_solution_is_lost_when_workers_and_solvers_are_killed(
    root: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(root, random.Random(SEED), "plain", way)
    rounds = max(1, EXECUTIONS // 2 // STRIDE)
    try:
        for worker in range(1, WORKERS + 1):
            campaign.start(worker)
        for number in range(rounds):
            campaign.play(number, helpers=False)
    finally:
        campaign.end()
    campaign.run("recover")
    expected = sorted(line(number, k) for number in range(rounds) for k in range(STRIDE))
    found = sorted(campaign.found())
    with capsys.disabled():
        told = _told(campaign)
        print(f"\noutput: {len(found)} findings of {len(expected)} executions, {way}, {told}")
    assert sorted(set(expected) - set(found)) == [], "lost"
    assert found == expected, "some were recorded twice"


def test_what_is_lost_is_listed_as_unconfirmed(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Helpers are killed, too, and copytruncate loses what comes between copy and truncation."""
    campaign = Campaign(root, random.Random(SEED), "reports", "copytruncate")
    rounds = max(1, EXECUTIONS // 4 // STRIDE)
    try:
        campaign.lose(rounds, 7)
        lost = unconfirmed(campaign, rounds)
        assert lost == [7]
        for worker in range(2, WORKERS + 1):
            campaign.start(worker)
        for number in range(rounds):
            campaign.play(number, helpers=True)
            campaign.run("recover")
            lost += unconfirmed(campaign, number)
    finally:
        campaign.end()
    with capsys.disabled():
        print(f"\noutput: {len(lost)} lines lost, each of them unconfirmed, {_told(campaign)}")


def unconfirmed(campaign: Campaign, number: int) -> list[int]:
    """The offsets whose line of that round was lost; each has to be listed as unconfirmed."""
    told: dict[str, Any] = json.loads(campaign.run("progress", "--json"))
    found, lost = set(campaign.found()), []
    for partition in told["partitions"]:
        offset = partition["offset"]
        if line(number, offset) in found or not partition["cases_done"]:
            continue
        lost.append(offset)
        assert partition["unconfirmed"] == [[offset, offset]], (number, partition)
        assert not partition["covered"]
    assert "nothing in all" not in campaign.run("found")
    return lost


def _told(campaign: Campaign) -> str:
    killed = ", ".join(f"{count} {what}s killed" for what, count in campaign.killed.items())
    return f"{campaign.rotations} rotations, {killed} (seed {SEED})"
