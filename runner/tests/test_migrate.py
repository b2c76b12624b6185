"""Moving in from the shell project: a tree as it left one, made by hand from the contract."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from kit.jobset import SOLVER
from rig import JOBSET, Rig
from sagequeue import config, migrate, predecessor
from sagequeue.jobs import JobState
from test_recovery import dead_pid

PENDING, RUNNING, DONE, FAILED = JobState
STRIDE, TOTAL = 10, 50
# offset: directory, job file, owner file, state file
STAMP = "ENQUEUED_AT=2024-05-01T10:00:00+02:00"
LEFT: dict[int, tuple[JobState, str, str | None, int | None]] = {
    0: (PENDING, f"OFFSET=0\r\n{STAMP}\r\n", None, None),
    1: (PENDING, f"OFFSET=1\n{STAMP}\n", None, 11),
    2: (PENDING, f"OFFSET=two\n{STAMP}\n", None, None),
    3: (RUNNING, f"OFFSET=3\n{STAMP}\n", "OWNER_PID={dead}\nOWNER_WORKER_ID=1\n", 23),
    4: (RUNNING, f"OFFSET=4\n{STAMP}\n", "OWNER_PID={other}\nOWNER_WORKER_ID=2\n", 14),
    5: (RUNNING, f"OFFSET=5\n{STAMP}\n", None, 5),
    6: (DONE, f"OFFSET=6\n{STAMP}\n", None, 46),
    7: (FAILED, f"OFFSET=7\n{STAMP}\nATTEMPTS=1\nLAST_RETRY_TS=2024-05-01\n", None, 17),
    8: (FAILED, f"OFFSET=8\n{STAMP}\nATTEMPTS=3\nLAST_RETRY_TS=2024-05-01\n", None, 28),
    9: (DONE, f"OFFSET=9\n{STAMP}\n", None, 19),  # its stop file ended it with 0
}


class Moving:
    """A user of the shell project, with the tree that it left and our command."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.home = rig, rig.root / "user"
        self.configs = self.home / ".config" / "sagequeue"
        self.env_file = self.configs / "sagequeue.env"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.configs.mkdir(parents=True)
        pattern = f"{rig.home}/state_{JOBSET}_stride{{stride}}_off{{offset}}.txt"
        self.args = f"--home {rig.home} --total {TOTAL} --gate {rig.gate} --state {pattern}"
        rig.configure(SAGE_BASE_ARGS=self.args, STATE_FILE_HOST=pattern)
        var = rig.root / "var" / JOBSET
        self.env_file.write_text(
            f"PROJECT_ROOT={rig.root}\nJOBSET={JOBSET}\n\n"
            f"STATE_DIR={var}\nQUEUE_DIR={var}/queue\nPENDING_DIR={var}/queue/pending\n"
            f"RUNNING_DIR={var}/queue/running\nDONE_DIR={var}/queue/done\n"
            f"FAILED_DIR={var}/queue/failed\nRUN_DIR={var}/run\nLOG_DIR={var}/log\n\n"
            f"COMPOSE_FILE={rig.root}/podman-compose.yml\nSERVICE=sagemath\n\n"
            f"CONTAINER_WORKDIR=/sage\nSAGE_BIN=./sage\n\nSCRIPT={SOLVER}\n\n"
            f"STOP_FILE_CONT={SOLVER.parent}/{JOBSET}_stop.txt\nSTOP_FILE_HOST={rig.gate}\n\n"
            f"STRIDE={STRIDE}\nLOG_PREFIX={JOBSET}\nSLEEP_EMPTY=2\n\n"
            f'SAGE_BASE_ARGS="{self.args}"\n'
        )
        self.settings = self.env_file.read_text()
        pids = {"dead": dead_pid(), "other": str(os.getpid())}
        for directory in (*(f"queue/{state}" for state in JobState), "run", "log"):
            (var / directory).mkdir(parents=True)
        for offset, (state, job, owner, gidx) in LEFT.items():
            path = var / "queue" / state / f"{JOBSET}_off{offset}.env"
            path.write_bytes(job.encode())
            if owner:
                path.with_name(f"{path.name}.owner").write_text(owner.format(**pids))
            if gidx is not None:
                rig.config.state_file(offset).write_text(f"{gidx}\n")  # type: ignore[union-attr]
            rig.enqueued.add(f"{JOBSET}_off{offset}")
        (var / "queue" / "running" / f"{JOBSET}_off6.env.owner").write_text("OWNER_PID=1\n")

    def command(self, *verb: str) -> subprocess.CompletedProcess[str]:
        return self.typed(f"sagequeue {' '.join(verb)}")

    def typed(self, line: str) -> subprocess.CompletedProcess[str]:
        """What a shell makes of a line."""
        return subprocess.run(
            ["sh", "-c", line], text=True, capture_output=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip

    def script(self, name: str, **variables: object) -> subprocess.Popen[bytes]:
        """Start one of its scripts, which stays until it is ended."""
        path = self.rig.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/usr/bin/env bash\ntrap '' TERM\nread -r _ <&0\n")
        path.chmod(0o755)
        return self.start([str(path), "1"], {key: str(v) for key, v in variables.items()})

    def worker(self) -> subprocess.Popen[bytes]:
        """Its worker, on this queue."""
        return self.script("sagequeue-worker.sh", PENDING_DIR=self.rig.config.pending_dir)

    def solver(self, offset: int) -> subprocess.Popen[bytes]:
        """Its solver, that its worker left, at a case that does not end."""
        self.rig.orders(offset, wait_at=self.rig.config.last_gidx(offset) + STRIDE)
        argv = [sys.executable, str(SOLVER), *self.args.split()]
        process = self.start([*argv, "--stride", str(STRIDE), "--offset", str(offset)], {})
        self.rig.until_event("waiting", offset)
        return process

    def start(self, argv: list[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            argv, env={**os.environ, **variables}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.processes.append(process)
        # `env`, by which a script finds its shell, has given way to it.
        self.rig.until(lambda: b"env\0" not in _cmdline(process.pid), f"the start of {argv[0]}")
        return process

    def tree(self) -> dict[str, bytes]:
        """Every file below the queue and the settings."""
        tops = (self.rig.root / "var", self.home)
        files = (path for top in tops for path in sorted(top.rglob("*")) if path.is_file())
        return {str(path): path.read_bytes() for path in files}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and leave it a zombie."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def _cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture
def moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moving]:
    monkeypatch.setenv("HOME", str(tmp_path / "r" / "user"))
    rig = Rig(tmp_path / "r", STRIDE, TOTAL)
    moving = Moving(rig)
    try:
        yield moving
    finally:
        for process in moving.processes:
            process.kill()
            process.wait()
        rig.stop()


def end_as_told(moving: Moving, said: str) -> None:
    """Type the commands of a refusal."""
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert commands, said
    for command in commands:
        assert moving.typed(command).returncode == 0, command
    for process in moving.processes:
        process.wait(timeout=60)


def test_a_look_says_what_there_is_and_changes_nothing(moving: Moving) -> None:
    before = moving.tree()
    looked = moving.command("migrate", "--check")
    assert looked.returncode == 0, looked.stderr
    said = looked.stdout
    assert "3 pending, 3 running, 2 done, 2 failed" in said
    assert f"{JOBSET}_off2 is no job: its OFFSET 'two'" in said
    assert "20 cases are done" in said
    assert "by their state files not done: offsets 9." in said
    assert 'script: "solver.py"' in said
    assert said.splitlines()[-1] == (
        f"Next: ./bootstrap ansible-playbook site.yml -e jobset={JOBSET} "
        f"-e sagequeue_var_dir={moving.rig.root}/var"
    )
    assert moving.tree() == before


@pytest.mark.parametrize("script", ["sagequeue-worker.sh", "sagequeue-recover.sh"])
def test_nothing_is_taken_over_while_its_scripts_run_and_the_commands_told_end_them(
    script: str, moving: Moving
) -> None:
    process = moving.script(script)
    before = moving.tree()
    refused = moving.command("migrate")
    assert refused.returncode == 75
    assert f"\n  kill -KILL {process.pid}\n" in refused.stderr
    assert moving.tree() == before
    end_as_told(moving, refused.stderr)
    assert moving.command("migrate").returncode == 0


def test_nothing_is_taken_over_while_one_of_its_solvers_runs(moving: Moving) -> None:
    solver = moving.solver(5)
    refused = moving.command("migrate", "--check")
    assert refused.returncode == 75
    assert f"\n  kill {solver.pid}\n" in refused.stderr
    end_as_told(moving, refused.stderr)
    assert moving.command("migrate", "--check").returncode == 0


def test_a_solver_in_the_container_is_ended_through_podman(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predecessor, "_uid", lambda _: 100999)
    assert predecessor.ending([], [7, 8]) == ["podman unshare kill 7 8"]


def test_workers_of_units_are_stopped_with_their_units_and_the_timer(moving: Moving) -> None:
    timer = moving.home / ".config" / "systemd" / "user" / "sagequeue-recover.timer"
    timer.parent.mkdir(parents=True)
    timer.touch()
    found = [predecessor.Script(7, "sagequeue@1.service"), predecessor.Script(9, "")]
    assert predecessor.ending(found, [], ["sagequeue-container.service"]) == [
        "systemctl --user disable --now sagequeue-container.service sagequeue@1.service "
        "sagequeue-recover.timer",
        "kill -KILL 9",
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "ExecStart=/usr/bin/env bash -lc 'exec \"$PROJECT_ROOT/bin/sagequeue-worker.sh\" %i'",
            True,
        ),
        ("ExecStart=/home/me/.local/share/sagequeue/runner/current/bin/sagequeue worker %i", False),
    ],
)
def test_units_that_are_up_are_the_shell_projects_by_what_they_start(
    text: str, named: bool, moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = moving.home / ".config" / "systemd" / "user"
    wants = directory / "default.target.wants"
    wants.mkdir(parents=True)
    (directory / "sagequeue@.service").write_text(f"[Service]\n{text}\n")
    (wants / "sagequeue@2.service").symlink_to("../sagequeue@.service")
    systemctl = moving.rig.root / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text("#!/bin/sh\necho 'sagequeue@1.service loaded active running worker 1'\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    expected = ["sagequeue@1.service", "sagequeue@2.service"] if named else []
    assert predecessor.units() == expected


def test_a_worker_that_somebody_reads_or_another_users_is_none(moving: Moving) -> None:
    worker = moving.rig.root / "bin" / "sagequeue-worker.sh"
    moving.start(["sh", "-c", "read -r _; : sagequeue-worker.sh"], {})
    moving.start(["tail", "-f", "/dev/null", str(worker)], {})
    moving.script("sagequeue-worker.sh", HOME="/home/somebody")
    assert predecessor.scripts() == []


def test_a_worker_of_ours_does_not_start_beside_one_of_theirs(moving: Moving) -> None:
    theirs = moving.worker()
    ours = moving.rig.worker(1)
    assert moving.rig.until_ended(ours) == 75
    assert f"kill -KILL {theirs.pid}" in moving.rig.said(1)
    assert moving.rig.where(0) == [PENDING]


def test_a_worker_of_ours_does_not_start_beside_a_solver_that_theirs_left(moving: Moving) -> None:
    solver = moving.solver(5)
    assert moving.rig.until_ended(moving.rig.worker(1)) == 75
    assert f"kill {solver.pid}" in moving.rig.said(1)


def test_a_worker_of_theirs_that_ends_while_it_is_looked_at_is_no_hindrance(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = moving.worker()
    (found,) = predecessor.scripts(moving.rig.config.pending_dir)
    assert found.pid == process.pid
    read_bytes = Path.read_bytes

    def read_late(path: Path) -> bytes:
        if path == Path(f"/proc/{process.pid}/environ"):
            _end(process)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_late)
    assert predecessor.scripts(moving.rig.config.pending_dir) == []
    assert process.poll() is not None


def test_a_worker_of_theirs_on_another_queue_or_on_none_is_no_hindrance(moving: Moving) -> None:
    moving.script("sagequeue-worker.sh", PENDING_DIR=moving.rig.root)
    moving.script("sagequeue-worker.sh")
    predecessor.refuse(moving.rig.spool)
    assert "requeued_orphans=3" in moving.rig.run("recover").stdout


@pytest.mark.parametrize("which", ["worker", "solver"])
@pytest.mark.parametrize("verb", [("requeue-running",), ("purge", "--yes")])
def test_jobs_that_the_shell_project_works_on_are_not_settled_by_hand(
    which: str, verb: tuple[str, ...], moving: Moving
) -> None:
    process = moving.worker() if which == "worker" else moving.solver(5)
    refused = moving.rig.run(*verb, check=False)
    assert refused.returncode == 75
    assert f"kill{' -KILL' if which == 'worker' else ''} {process.pid}" in refused.stderr
    assert moving.rig.where(5) == [RUNNING]


@pytest.mark.parametrize("which", ["worker", "solver"])
def test_recovery_leaves_alone_what_the_shell_project_works_on(which: str, moving: Moving) -> None:
    process = moving.worker() if which == "worker" else moving.solver(5)
    said = moving.rig.run("recover").stdout
    for offset in (3, 4, 5):
        warning = f"action=warn job={JOBSET}_off{offset} reason=shell_project_at_work"
        assert warning in said
        assert moving.rig.where(offset) == [RUNNING]
    assert moving.rig.spool.owner_file(f"{JOBSET}_off3").exists()
    process.kill()
    process.wait()
    assert "requeued_orphans=3" in moving.rig.run("recover").stdout
    assert moving.rig.where(5) == [PENDING]
    assert "INTERRUPTS" not in moving.rig.job(5)


def test_recovery_reads_no_process_list_when_every_running_job_is_ours(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> list[str]:
        raise AssertionError("the list of processes was read")

    from sagequeue import recovery

    moving.rig.run("recover")
    monkeypatch.setattr(predecessor, "commands", never)
    assert recovery.recover(moving.rig.spool, lambda _: None)


def test_the_env_file_becomes_the_jobsets_and_is_kept_as_it_was(moving: Moving) -> None:
    assert moving.command("migrate").returncode == 0
    own, before = moving.configs / f"{JOBSET}.env", moving.configs / "sagequeue.env.before"
    assert own.read_text() == before.read_text() == moving.settings
    assert os.readlink(moving.env_file) == own.name
    assert config.find(None, None, {}).jobset == JOBSET
    assert config.env_files() == [own]

    after = moving.tree()
    again = moving.command("migrate")
    assert (again.returncode, again.stdout) == (
        0,
        "nothing of the shell project is left to take over\n",
    )
    assert moving.tree() == after


def test_a_take_over_that_was_cut_off_is_gone_on_with(moving: Moving) -> None:
    (moving.configs / f"{JOBSET}.env").write_text(moving.settings)
    (moving.configs / "sagequeue.env.before").write_text(moving.settings)
    (moving.configs / ".sagequeue.env.new").symlink_to("nowhere")
    assert moving.command("migrate").returncode == 0
    assert os.readlink(moving.env_file) == f"{JOBSET}.env"
    assert sorted(path.name for path in moving.configs.iterdir()) == [
        f"{JOBSET}.env", "sagequeue.env", "sagequeue.env.before",
    ]  # fmt: skip


def test_settings_and_copies_that_are_there_are_never_overwritten(moving: Moving) -> None:
    own, before = moving.configs / f"{JOBSET}.env", moving.configs / "sagequeue.env.before"
    own.write_text(f"{moving.settings}WORKERS=3\n")
    before.write_text("an older one")
    assert moving.command("migrate").returncode == 0
    assert own.read_text() == f"{moving.settings}WORKERS=3\n"
    assert before.read_text() == "an older one"
    assert (moving.configs / "sagequeue.env.before2").read_text() == moving.settings


def test_two_queues_of_one_name_are_refused(moving: Moving) -> None:
    own = moving.configs / f"{JOBSET}.env"
    own.write_text(moving.settings.replace(f"{moving.rig.root}/var", "/elsewhere"))
    refused = moving.command("migrate")
    assert refused.returncode == 1
    assert "has another queue than" in refused.stderr
    assert moving.env_file.read_text() == moving.settings


def test_an_env_file_put_by_elsewhere_is_taken_over_too(moving: Moving) -> None:
    kept = moving.rig.root / "kept.env"
    moving.env_file.rename(kept)
    assert moving.command("migrate", "--env-file", str(kept)).returncode == 0
    assert (moving.configs / f"{JOBSET}.env").read_text() == kept.read_text() == moving.settings


@pytest.mark.parametrize(
    ("args", "name", "total"),
    [
        ("--graph rook --rank 3 --resume", "state_rook_r3", None),
        ("--state_prefix mine --total_cases=455", "state_mine", 455),
        ("--depth 4", f"state_{JOBSET}", None),
    ],
)
def test_the_record_names_the_state_files_by_the_workloads_arguments(
    args: str, name: str, total: int | None, moving: Moving
) -> None:
    stop = "/home/sage/notebooks/my stop.txt"
    text = moving.settings.replace(moving.args, f"{args} --stop_file '{stop}'")
    text = text.replace(
        f"STOP_FILE_CONT={SOLVER.parent}/{JOBSET}_stop.txt", f"STOP_FILE_CONT={stop}"
    )
    moving.env_file.write_text(text.replace(str(SOLVER), "/home/sage/notebooks/deep/mine.sage"))
    record = migrate.record(migrate.load(moving.env_file))
    known = f"    total_cases: {total}\n" if total else ""
    assert record == (
        f'  {JOBSET}:\n    script: "deep/mine.sage"\n    needs_sage: true\n{known}'
        f'    stride: {STRIDE}\n    state_file: "{name}_stride{{stride}}_off{{offset}}.txt"\n'
        f'    args: "{args} --stop_file {{stop_file}}"\n'
    )


def test_in_the_clone_that_replaced_theirs_the_queue_is_where_it_is_looked_for(
    moving: Moving,
) -> None:
    (moving.rig.root / "site.yml").touch()
    settings = migrate.load(moving.env_file)
    assert migrate.next_command(settings).endswith(f"site.yml -e jobset={JOBSET}")


def test_the_queue_is_worked_to_its_end_each_partition_from_its_state_file_on(
    moving: Moving,
) -> None:
    rig = moving.rig
    said = moving.command("migrate").stdout
    # What the play renders: how it runs here, and how many cases there are.
    (moving.configs / f"{JOBSET}.env").write_text(rig.env_file.read_text())
    (redo,) = (line for line in said.splitlines() if line.startswith("  for k in 9;"))
    assert moving.typed(redo).returncode == 0
    rig.worker(1)
    rig.worker(2)
    solved = (0, 1, 3, 4, 5, 6, 7, 9)
    rig.until_state(DONE, *solved)
    rig.until_state(FAILED, 2, 8)
    starts = {event.offset: event.value for event in rig.events("start")}
    assert starts == {0: -10, 1: 11, 3: 23, 4: 14, 5: 5, 7: 17, 9: 19}
    assert len(rig.events("start")) == len(starts)
    assert all(rig.config.complete(offset) for offset in solved)
    assert rig.job(7)["ATTEMPTS"] == "2"
    assert "ATTEMPTS" not in rig.job(3)
    assert rig.job(8)["ATTEMPTS"] == "3"
    assert rig.spool.owners() == []
    rig.check()
