"""Each check both ways; a remedy that can be typed here is typed, and mends."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from kinds import Put
from rig import Rig, rig
from sagequeue import cli, keyvalue
from sagequeue.config import Config
from sagequeue.doctor import EXIT, Check, examine, machine, queue, resources, solving, worst
from sagequeue.doctor.finding import Finding, Level, fail, ok, warn
from sagequeue.doctor.patient import Patient
from sagequeue.jobs import JobState
from sagequeue.spool import Spool

UID = os.getuid()
Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Makes files of a machine: names, with __ for /, and what they hold; returns its root."""

    def make(**files: str) -> Path:
        root = tmp_path / "machine"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("UID", str(UID))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return make


@pytest.fixture
def systemd(config: Config, tree: Tree) -> Patient:
    """A jobset in the container, on a machine with systemd."""
    return Patient(
        replace(config, runtime="podman", service_manager="systemd"),
        root=tree(run__systemd__system__x=""),
    )


def look(check: Check, patient: Patient) -> list[Finding]:
    return [finding for _, finding in examine(patient, [check])]


def only(check: Check, patient: Patient) -> Finding:
    (finding,) = look(check, patient)
    return finding


def mend(finding: Finding) -> None:
    """Type the remedy."""
    command = finding.remedy.replace("./bootstrap sagequeue", f"{sys.executable} -m sagequeue")
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)


def mended(check: Check, patient: Patient) -> None:
    """The check finds one thing, whose remedy mends it."""
    mend(only(check, patient))
    assert {finding.level for finding in look(check, patient)} == {Level.OK}


# The examination


def test_what_a_check_finds_comes_in_order_with_its_name(config: Config) -> None:
    def first(_: Patient) -> Iterator[Finding]:
        yield ok("1")
        yield warn("2", "mend it")

    def second(_: Patient) -> Iterator[Finding]:
        yield fail("3", "mend it")

    found = examine(Patient(config), [first, second])
    assert [(check, f.level, f.cause) for check, f in found] == [
        ("first", "OK", "1"),
        ("first", "WARN", "2"),
        ("second", "FAIL", "3"),
    ]
    assert worst(found) is Level.FAIL
    assert worst(found[:2]) is Level.WARN
    assert worst(found[:1]) is worst([]) is Level.OK


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(config: Config) -> None:
    def breaks(_: Patient) -> Iterator[Finding]:
        yield ok("so far")
        raise FileNotFoundError(2, "No such file or directory", "some-tool")

    def goes_on(_: Patient) -> Iterator[Finding]:
        yield ok("well")

    broken, rest = examine(Patient(config), [breaks, goes_on])[1:]
    assert broken[1].level is Level.WARN
    assert "some-tool" in broken[1].cause
    assert rest == ("goes_on", ok("well"))


def test_a_check_that_hangs_is_a_finding_and_the_others_go_on(config: Config) -> None:
    never = threading.Event()

    def hangs(_: Patient) -> Iterator[Finding]:
        never.wait()
        yield ok("late")

    def goes_on(_: Patient) -> Iterator[Finding]:
        yield ok("well")

    (_, hung), rest = examine(Patient(config), [hangs, goes_on], limit=0.01)
    never.set()
    assert hung.level is Level.WARN
    assert "within" in hung.cause
    assert rest == ("goes_on", ok("well"))


def test_the_exit_statuses_tell_levels_apart() -> None:
    assert EXIT[Level.OK] == 0
    assert len(set(EXIT.values())) == len(Level)


# The command


def test_before_anything_is_configured_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["doctor"]) in EXIT.values()
    said = capsys.readouterr().out
    assert "no jobset is configured yet" in said
    assert "$ ./bootstrap ansible-playbook site.yml -e jobset=petersen_r3\n" in said
    assert "this machine: " in said.splitlines()[-1]


def test_json_has_the_same_findings_for_programs(
    spool: Spool, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    for offset in range(4):
        put(JobState.PENDING, offset)
    spool.config.stop_file_host.write_text("SAT gidx=1\n")
    status = cli.main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert EXIT[told["level"]] == status
    assert (told["jobset"], told["directory"]) == ("demo", str(spool.config.project_root))
    assert {
        "check": "gate",
        "level": "WARN",
        "cause": "4 jobs wait for the stop gate, which says: SAT gidx=1",
        "remedy": "./bootstrap sagequeue clear-stop",
    } in told["findings"]


def test_settings_that_cannot_be_read_are_a_finding(
    env_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file.write_text("STRIDE='4'\n")
    assert cli.main(["doctor"]) == EXIT[Level.FAIL]
    said = capsys.readouterr().out
    assert f"{env_file}: line 1" in said
    assert "$ ./bootstrap ansible-playbook ops.yml -t env -e jobset=demo\n" in said


def test_an_unknown_jobset_is_refused(env_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--jobset", "nothing"]) == 78
    assert "Configured: demo" in capsys.readouterr().err


# The machine


def test_pid_1(config: Config, systemd: Patient, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    assert only(machine.systemd, systemd).level is Level.OK
    assert only(machine.systemd, replace(systemd, root=bare)).level is Level.FAIL
    assert look(machine.systemd, Patient(config, root=bare)) == []
    assert "sagequeue_mode=embedded" in only(machine.systemd, Patient(None, root=bare)).remedy


def test_a_shell_without_a_login_session(systemd: Patient) -> None:
    assert only(machine.session, systemd).level is Level.OK
    without = only(machine.session, replace(systemd, session=False))
    assert (without.level, without.remedy.split("=")[0]) == (Level.WARN, "export XDG_RUNTIME_DIR")


def test_linger(systemd: Patient, tree: Tree) -> None:
    away = only(machine.linger, systemd)
    assert (away.level, away.remedy) == (
        Level.FAIL,
        f"sudo loginctl enable-linger {systemd.user}",
    )
    tree(**{f"var__lib__systemd__linger__{systemd.user}": ""})
    assert only(machine.linger, systemd).level is Level.OK


@pytest.mark.parametrize(
    ("uids", "gids", "remedy"),
    [
        ("{user}:100000:65536", "{user}:100000:65536", ""),
        ("{uid}:100000:65536", "{user}:7:1\n{user}:100000:65536", ""),
        ("", "{user}:100000:65536", "--add-subuids 100000-165535"),
        ("{user}:100000:65535", "{user}:100000:65536", "--add-subuids 165535-231070"),
        ("other:100000:65536", "", "--add-subuids 165536-231071 --add-subgids 100000-165535"),
    ],
)
def test_subordinate_ids(systemd: Patient, tree: Tree, uids: str, gids: str, remedy: str) -> None:
    words = {"user": systemd.user, "uid": UID}
    tree(etc__subuid=uids.format(**words), etc__subgid=gids.format(**words))
    found = only(machine.subordinate_ids, systemd)
    assert found.level is (Level.FAIL if remedy else Level.OK)
    assert found.remedy == (f"sudo usermod {remedy} {systemd.user}" if remedy else "")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """PATH has these programs and no others; a name, and what it prints."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))

    def make(**texts: str) -> None:
        for name, text in texts.items():
            path = directory / name
            path.write_text(f"#!/bin/sh\necho '{text}'\n")
            path.chmod(0o755)

    return make


def test_uidmap(systemd: Patient, programs: Callable[..., None], tmp_path: Path) -> None:
    assert {f.remedy for f in look(machine.uidmap, systemd)} == {"sudo apt-get install uidmap"}
    programs(newuidmap="", newgidmap="")
    assert [f.level for f in look(machine.uidmap, systemd)] == [Level.FAIL, Level.FAIL]
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / "bin" / name).chmod(0o4755)
    assert [f.level for f in look(machine.uidmap, systemd)] == [Level.OK, Level.OK]


@pytest.mark.parametrize(
    ("version", "network", "levels"),
    [
        ("podman version 4.2.1", "slirp4netns", (Level.FAIL, Level.OK)),
        ("podman version 4.3.1", "slirp4netns", (Level.OK, Level.OK)),
        ("podman version 4.10.0", "pasta", (Level.OK, Level.FAIL)),
        ("podman version 5.4.2", "pasta", (Level.OK, Level.OK)),
        ("podman version 6.0.0", "slirp4netns", (Level.OK, Level.FAIL)),
    ],
)
def test_podman_and_its_network(
    systemd: Patient,
    programs: Callable[..., None],
    version: str,
    network: str,
    levels: tuple[Level, Level],
) -> None:
    assert only(machine.podman, systemd).cause == "podman is not installed"
    assert look(machine.network, systemd) == []
    programs(**{"podman": version, network: ""})
    checks = (machine.podman, machine.network)
    assert tuple(only(check, systemd).level for check in checks) == levels


def test_storage(systemd: Patient, programs: Callable[..., None]) -> None:
    programs(podman="5.4 overlay")
    assert only(machine.storage, systemd).level is Level.OK
    programs(podman="vfs")
    assert look(machine.storage, systemd)[0].level is Level.WARN


def test_delegation(systemd: Patient, tree: Tree) -> None:
    assert "version 1" in only(machine.delegation, systemd).cause
    whole = systemd.path("sys/fs/cgroup/cgroup.controllers")
    whole.parent.mkdir(parents=True)
    mine = systemd.path(
        f"sys/fs/cgroup/user.slice/user-{UID}.slice/user@{UID}.service/cgroup.controllers"
    )
    mine.parent.mkdir(parents=True)
    levels = []
    for there, handed_down in (("cpu memory pids", "memory pids"), ("memory pids", "pids")):
        whole.write_text(there)
        mine.write_text(handed_down)
        levels.append([finding.level for finding in look(machine.delegation, systemd)])
    assert levels == [[Level.OK, Level.OK], [Level.WARN, Level.OK]]
    whole.write_text("pids")
    (memory, _) = look(machine.delegation, systemd)
    assert ("kernel's command line" in memory.cause, memory.remedy) == (True, "")


def test_the_kernels_command_line_is_changed_where_it_is_kept(systemd: Patient, tree: Tree) -> None:
    root = tree(etc__default__grub='GRUB_CMDLINE_LINUX="quiet"\n')
    found = only(machine.delegation, systemd)
    edit, update = found.remedy.removeprefix("sudo ").split(" && ")
    subprocess.run(["sh", "-c", edit.replace("/etc", f"{root}/etc")], check=True)
    text = (root / "etc/default/grub").read_text()
    assert text == 'GRUB_CMDLINE_LINUX="systemd.unified_cgroup_hierarchy=1 quiet"\n'
    assert update == "sudo update-grub"
    tree(proc__sys__kernel__osrelease="6.6-microsoft-standard-WSL2")
    on_wsl = only(machine.delegation, systemd)
    assert ("kernelCommandLine" in on_wsl.cause, on_wsl.remedy) == (True, "")


@pytest.mark.parametrize(
    ("text", "level"),
    [("[general]\r\ninstanceIdleTimeout = -1\r\n", Level.OK), ("[general]\n", Level.WARN)],
)
def test_windows_leaves_wsl_running(systemd: Patient, tree: Tree, text: str, level: Level) -> None:
    assert look(resources.wsl_keep_alive, systemd) == []
    tree(proc__sys__kernel__osrelease="6.6.87.2-microsoft-standard-WSL2\n")
    (path := systemd.path("mnt/c/Users/ann/.wslconfig")).parent.mkdir(parents=True)
    path.write_text(text)
    assert only(resources.wsl_keep_alive, systemd).level is level


def test_checks_of_the_container_are_left_out_where_there_is_none(spool: Spool) -> None:
    names = {check for check, _ in examine(Patient(spool.config))}
    assert not names & {"podman", "linger", "image", "sharing", "jupyter", "clock"}
    assert {"disk", "filesystem", "env_file", "solvers"} <= names


# Disks, processors, memory, clock


def test_disk_space_by_what_is_left(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    status = list(os.statvfs(config.project_root))
    size, free, total, left = 1, 4, 5, 7

    def found(bytes_free: int, files: int, of: int = 10**6) -> Level:
        status[size], status[free], status[total], status[left] = 1, bytes_free, of, files
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(status))
        return only(resources.disk, Patient(config)).level

    assert found(10**10, 10**6) is Level.OK
    assert found(10**10, 0, of=0) is Level.OK
    assert found(5 * 10**8, 10**6) is found(10**10, 5000) is Level.WARN
    assert found(10**7, 10**6) is found(10**10, 500) is Level.FAIL


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("ext4", Level.OK),
        ("btrfs", Level.OK),
        ("tmpfs", Level.WARN),
        ("9p", Level.FAIL),
        ("nfs4", Level.FAIL),
        ("cifs", Level.FAIL),
        ("fuse.sshfs", Level.FAIL),
    ],
)
def test_a_filesystem_of_another_machine(
    config: Config, tree: Tree, kind: str, level: Level
) -> None:
    line = "22 1 8:1 / {} rw shared:1 - {} /dev/x rw\n".format
    where = os.path.realpath(config.project_root)
    text = line("/", "ext4") + line(where, "xfs") + line(where, kind) + line(where + "s", "9p")
    root = tree(proc__self__mountinfo=text)
    in_queue, in_notebooks = look(resources.filesystem, Patient(config, root=root))
    assert in_queue.level is level
    assert kind in in_queue.cause
    assert in_notebooks.level is Level.OK


def test_threads_of_all_workers_against_cores(config: Config) -> None:
    cores = len(os.sched_getaffinity(0))
    assert only(resources.cores, Patient(replace(config, workers=cores))).level is Level.OK
    many = only(resources.cores, Patient(replace(config, workers=cores + 1)))
    assert many.level is Level.WARN
    assert "set workers of demo" in many.cause


def test_memory_of_all_workers(config: Config) -> None:
    fit = psutil.virtual_memory().total // (2**29)
    assert only(resources.memory, Patient(replace(config, workers=1))).level is Level.OK
    many = only(resources.memory, Patient(replace(config, workers=fit + 1)))
    assert (many.level, f"to {fit}," in many.cause) == (Level.WARN, True)


def test_memory_of_the_container_is_what_its_unit_allows(
    config: Config, programs: Callable[..., None]
) -> None:
    contained = Patient(replace(config, runtime="podman", workers=2))
    programs(systemctl=str(2**30))
    assert only(resources.memory, contained).cause.endswith("of 1.0 GiB")
    programs(systemctl="infinity")
    total = psutil.virtual_memory().total
    assert f"of {total / 2**30:.1f} GiB" in only(resources.memory, contained).cause


@pytest.mark.parametrize(("drift", "level"), [(0, Level.OK), (-60, Level.WARN), (60, Level.WARN)])
def test_the_clock_of_wsl(systemd: Patient, tree: Tree, drift: int, level: Level) -> None:
    tree(proc__sys__kernel__osrelease="6.6-microsoft-standard-WSL2")
    assert look(resources.clock, systemd) == []
    tree(sys__class__rtc__rtc0__since_epoch=f"{int(time.time()) - drift}\n")
    assert only(resources.clock, systemd).level is level


# Settings and the queue


def test_settings_are_well(config: Config) -> None:
    assert only(queue.env_file, Patient(config)).level is Level.OK


def test_another_jobsets_settings_count_too(config: Config) -> None:
    (config.env_file.parent / "other.env").write_text("JOBSET\n")
    found = only(queue.env_file, Patient(config))
    assert found.level is Level.FAIL
    assert found.remedy == "./bootstrap ansible-playbook ops.yml -t env -e jobset=other"


@pytest.mark.parametrize(("target", "level"), [(None, Level.WARN), ("gone.env", Level.FAIL)])
def test_the_active_link(config: Config, target: str | None, level: Level) -> None:
    link = config.env_file.parent / "sagequeue.env"
    link.unlink()
    if target:
        link.symlink_to(target)
    found = only(queue.env_file, Patient(config))
    assert (found.level, found.remedy.split("=")[-1]) == (level, "demo")


def test_the_queues_directories(spool: Spool) -> None:
    patient = Patient(spool.config)
    assert only(queue.directories, patient).level is Level.OK
    spool.config.done_dir.rmdir()
    found = only(queue.directories, patient)
    assert (found.level, str(spool.config.done_dir) in found.cause) == (Level.FAIL, True)
    assert found.remedy == "./bootstrap ansible-playbook ops.yml -t setup -e jobset=demo"
    for path in (spool.config.results_dir, spool.config.ledger_dir):
        path.rmdir()
        path.write_text("")
        found = only(queue.directories, patient)
        assert found.level is Level.FAIL
        assert found.cause == f"a file is in the place of the directory {path}"
        assert found.remedy == f"mv {path} {path}.away"
        path.unlink()
        path.mkdir()
    assert look(queue.gate, patient) == []


def test_the_workload(config: Config) -> None:
    assert only(queue.workload, Patient(config)).level is Level.OK
    Path(config.script).unlink()
    assert only(queue.workload, Patient(config)).level is Level.FAIL


def test_a_stop_gate_counts_only_while_jobs_wait(spool: Spool, put: Put) -> None:
    patient = Patient(spool.config)
    spool.config.stop_file_host.write_text("requested\n")
    assert only(queue.gate, patient).level is Level.OK
    put(JobState.PENDING, 1)
    assert only(queue.gate, patient).level is Level.WARN
    mended(queue.gate, patient)


def test_a_remedy_names_the_jobset_unless_it_is_active(spool: Spool, put: Put) -> None:
    put(JobState.PENDING, 1)
    spool.config.stop_file_host.write_text("requested\n")
    (spool.config.env_file.parent / "sagequeue.env").unlink()
    assert only(queue.gate, Patient(spool.config)).remedy.endswith("clear-stop --jobset demo")
    mended(queue.gate, Patient(spool.config))


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.DONE])
def test_an_owner_who_is_gone(spool: Spool, put: Put, state: JobState) -> None:
    patient = Patient(spool.config)
    assert only(queue.owners, patient).level is Level.OK
    name = put(state, 2)
    gone = {"OWNER_PID": str(2**22 - 1), "OWNER_WORKER_ID": "1"}
    spool.owner_file(name).write_text(keyvalue.render(gone))
    assert "owner_pid_dead" in only(queue.owners, patient).cause
    mended(queue.owners, patient)


def test_a_job_whose_lock_is_held_is_somebodys(spool: Spool, put: Put) -> None:
    name = put(JobState.RUNNING, 2)
    with spool.lock(name) or pytest.fail("the lock is not free"):
        assert only(queue.owners, Patient(spool.config)).level is Level.OK
    assert only(queue.owners, Patient(spool.config)).level is Level.WARN


@pytest.mark.parametrize("held", [True, False])
def test_a_job_in_two_directories(spool: Spool, put: Put, held: bool) -> None:
    patient = Patient(spool.config)
    for offset in range(4):
        put(JobState.PENDING, offset)
    assert only(queue.duplicates, patient).level is Level.OK
    name = put(JobState.RUNNING, 1)
    lock = spool.lock(name) if held else None
    assert only(queue.duplicates, patient).level is Level.FAIL
    mended(queue.duplicates, patient)
    assert spool.locate(name) == [JobState.RUNNING if held else JobState.PENDING]
    if lock:
        lock.close()


def test_a_job_that_is_nowhere(spool: Spool, put: Put) -> None:
    patient = Patient(spool.config)
    assert only(queue.duplicates, patient).level is Level.OK
    put(JobState.DONE, 1)
    assert only(queue.duplicates, patient).level is Level.WARN
    mended(queue.duplicates, patient)


@pytest.mark.parametrize("state", list(JobState))
def test_a_malformed_job(spool: Spool, put: Put, state: JobState) -> None:
    patient = Patient(spool.config)
    name = put(state, 3, "OFFSET=three\n")
    found = only(queue.files, patient)
    assert found.level is Level.WARN
    assert f"sagequeue explain {name}" in found.cause
    mended(queue.files, patient)
    assert spool.locate(name) == [JobState.PENDING]


def test_a_malformed_job_of_no_offset_is_only_removed(spool: Spool, put: Put) -> None:
    put(JobState.FAILED, 99, "")
    found = only(queue.files, Patient(spool.config))
    assert "enqueue" not in found.remedy
    mended(queue.files, Patient(spool.config))


def test_a_held_job_waits_for_you(spool: Spool, put: Put) -> None:
    patient = Patient(spool.config)
    put(JobState.FAILED, 0, LAST_OUTCOME="failed", LAST_REASON="rc_1")
    assert only(queue.files, patient).level is Level.OK
    put(JobState.FAILED, 1, LAST_OUTCOME="failed", LAST_REASON="rc_1", ATTEMPTS=3)
    assert "demo_off1" in only(queue.files, patient).cause
    mended(queue.files, patient)


# Solvers


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig") as made:
        made.run("enqueue")
        yield made


def by_hand(demo: Rig, offset: int, **more: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, str(demo.settings["SCRIPT"]), *demo.config.sage_base_args]
    partition = ["--stride", "4", "--offset", str(offset)]
    return subprocess.Popen([*argv, *partition], env={**os.environ, **more})


def test_every_solver_is_of_a_job(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    demo.worker(1)
    demo.until_event("waiting", 0)
    assert only(solving.solvers, Patient(demo.config)).level is Level.OK
    demo.go(0)


def test_a_solver_that_was_started_by_hand(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    with by_hand(demo, 0) as process:
        demo.until_event("waiting", 0)
        found = only(solving.solvers, Patient(demo.config))
        assert (found.level, found.remedy) == (Level.FAIL, f"kill {process.pid}")
        mend(found)
        process.wait()
    assert only(solving.solvers, Patient(demo.config)).level is Level.OK


def test_a_solver_of_ours_without_its_lock(demo: Rig) -> None:
    demo.orders(0, wait_at=0)
    mark = str(demo.spool.lock_file("demo_off0"))
    with by_hand(demo, 0, SAGEQUEUE_JOB=mark) as process:
        demo.until_event("waiting", 0)
        found = only(solving.solvers, Patient(demo.config))
        assert "holds no lock" in found.cause
        assert found.remedy == f"kill {process.pid}"
        mend(found)
        process.wait()


def test_of_two_solvers_for_an_offset_the_one_by_hand_is_to_be_ended(tmp_path: Path) -> None:
    made = Rig(tmp_path / "rig")  # its own check would complain, and rightly
    try:
        made.run("enqueue")
        made.orders(0, wait_at=0)
        made.worker(1)
        made.until_event("waiting", 0)
        ours = made.events("start", 0)[0].pid
        with by_hand(made, 0) as process:
            made.until_event("waiting", 0, count=2)
            found = only(solving.solvers, Patient(made.config))
            assert found.level is Level.FAIL
            assert str(ours) in found.cause
            assert found.remedy == f"kill {process.pid}"
            mend(found)
            process.wait()
        assert only(solving.solvers, Patient(made.config)).level is Level.OK
    finally:
        made.stop()
