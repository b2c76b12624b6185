"""Every edge: what it does to files and to their content, and all that it refuses."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kinds import Put
from sagequeue import durable
from sagequeue.config import Config
from sagequeue.exceptions import IllegalEdge, MalformedJob, SagequeueError
from sagequeue.jobs import Job, JobState, Outcome
from sagequeue.owner import Lock, try_lock
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
NOWHERE = None
ENQUEUED = "2024-01-01T00:00:00+00:00"


class Crash(BaseException):
    """The machine is gone: nothing after this line happens."""


@dataclass(frozen=True)
class Edge:
    """An edge, where it starts and ends, how it is taken."""

    name: str
    start: JobState | None
    end: JobState | None
    take: Callable[[Spool, Lock, Job], object]
    rewrites: bool = True

    def __str__(self) -> str:
        return self.name


EDGES = [
    Edge("A_enqueue", NOWHERE, PENDING, lambda s, lock, job: s.enqueue(lock, job), False),
    Edge("B_claim", PENDING, RUNNING, lambda s, lock, job: s.claim(lock), False),
    Edge("C_release", RUNNING, PENDING, lambda s, lock, job: s.release(lock), False),
    Edge("D_finish", RUNNING, DONE, lambda s, lock, job: s.finish(lock, job, Outcome.DONE)),
    Edge("E_fail", RUNNING, FAILED, lambda s, lock, job: s.fail(lock, job, Outcome.FAILED, "rc_1")),
    Edge("F_pause", RUNNING, PENDING, lambda s, lock, job: s.pause(lock, job, Outcome.PAUSED)),
    Edge("G_interrupt", RUNNING, PENDING, lambda s, lock, job: s.interrupt(lock, job)),
    Edge("H_hold", RUNNING, FAILED, lambda s, lock, job: s.hold(lock, job)),
    Edge("I_reject_pending", PENDING, FAILED, lambda s, lock, job: s.reject(lock, PENDING), False),
    Edge("I_reject_running", RUNNING, FAILED, lambda s, lock, job: s.reject(lock, RUNNING), False),
    Edge("J_retry", FAILED, PENDING, lambda s, lock, job: s.retry(lock, job)),
    Edge(
        "K_retry_by_hand", FAILED, PENDING,
        lambda s, lock, job: s.retry_by_hand(lock, job, reset=False),
    ),
    Edge(
        "K_retry_by_hand_reset", FAILED, PENDING,
        lambda s, lock, job: s.retry_by_hand(lock, job, reset=True),
    ),
    Edge("L_redo_done", DONE, PENDING, lambda s, lock, job: s.redo(lock, DONE, job)),
    Edge("L_redo_failed", FAILED, PENDING, lambda s, lock, job: s.redo(lock, FAILED, job)),
    Edge("M_purge_pending", PENDING, NOWHERE, lambda s, lock, job: s.discard(lock, PENDING), False),
    Edge("M_purge_running", RUNNING, NOWHERE, lambda s, lock, job: s.discard(lock, RUNNING), False),
    Edge("M_purge_done", DONE, NOWHERE, lambda s, lock, job: s.discard(lock, DONE), False),
    Edge("M_purge_failed", FAILED, NOWHERE, lambda s, lock, job: s.discard(lock, FAILED), False),
]  # fmt: skip
MOVES = [edge for edge in EDGES if edge.start and edge.end]
REWRITES = [edge for edge in EDGES if edge.rewrites]
edges = pytest.mark.parametrize("edge", EDGES, ids=str)


def snapshot(spool: Spool) -> dict[str, bytes]:
    """Every file of the queue and of run/, but for the locks, with its content."""
    found = {}
    for directory in (*spool.dirs.values(), spool.config.run_dir):
        for path in directory.iterdir():
            if path.suffix != ".lock":
                found[f"{directory.name}/{path.name}"] = path.read_bytes()
    return found


def jobs_in(spool: Spool) -> dict[str, list[str]]:
    return {str(state): sorted(spool.names(state)) for state in JobState if spool.names(state)}


def lock(spool: Spool, name: str = "demo_off0") -> Lock:
    got = spool.lock(name)
    assert got is not None, f"{name} is locked"
    return got


def begin(spool: Spool, put: Put, edge: Edge, **more: object) -> Job:
    """A job where the edge starts, with what lies beside a running one."""
    if edge.start is NOWHERE:
        job = Job("demo", 0, {"ENQUEUED_AT": ENQUEUED})
        spool.stage([job])
        return job
    name = put(edge.start, 0, **{"COLOUR": "blue", **more})
    if edge.start is RUNNING:
        spool.owner_file(name).write_text("OWNER_PID=1\n")
        spool.result_file(name).write_text("LOG_START=0\nRC=0\n")
    return spool.read(edge.start, name)


# What each edge does


@edges
def test_an_edge_leaves_the_job_where_it_ends_and_nowhere_else(
    edge: Edge, spool: Spool, put: Put
) -> None:
    job = begin(spool, put, edge)
    with lock(spool) as held:
        edge.take(spool, held, job)
    assert spool.locate("demo_off0") == ([edge.end] if edge.end else [])
    assert jobs_in(spool) == ({str(edge.end): ["demo_off0"]} if edge.end else {})


@edges
def test_an_edge_leaves_no_temporary_owner_or_result_file(
    edge: Edge, spool: Spool, put: Put
) -> None:
    job = begin(spool, put, edge)
    with lock(spool) as held:
        edge.take(spool, held, job)
    assert list(snapshot(spool)) == ([f"{edge.end}/demo_off0.env"] if edge.end else [])


@pytest.mark.parametrize("edge", MOVES, ids=str)
def test_an_edge_keeps_the_offset_and_the_keys_it_does_not_know(
    edge: Edge, spool: Spool, put: Put
) -> None:
    assert edge.end is not None
    job = begin(spool, put, edge)
    with lock(spool) as held:
        edge.take(spool, held, job)
    after = spool.read(edge.end, "demo_off0")
    assert after.offset == 0
    assert "ENQUEUED_AT" in after.extra
    assert after.extra["COLOUR"] == "blue"


@edges
def test_an_edge_leaves_the_lock_file_and_the_lock_to_its_holder(
    edge: Edge, spool: Spool, put: Put
) -> None:
    job = begin(spool, put, edge)
    with lock(spool) as held:
        edge.take(spool, held, job)
        assert spool.lock("demo_off0") is None
    assert spool.lock_file("demo_off0").exists()
    lock(spool).close()


@edges
def test_an_edge_touches_no_other_job(edge: Edge, spool: Spool, put: Put) -> None:
    for offset, state in enumerate((RUNNING, DONE, FAILED), start=1):
        put(state, offset)
        spool.owner_file(f"demo_off{offset}").write_text("OWNER_PID=1\n")
        spool.result_file(f"demo_off{offset}").write_text("LOG_START=0\n")
    before = snapshot(spool)
    job = begin(spool, put, edge)
    with lock(spool) as held:
        edge.take(spool, held, job)
    assert {key: text for key, text in snapshot(spool).items() if "_off0." not in key} == before


BEFORE = {
    "ATTEMPTS": "2",
    "INTERRUPTS": "3",
    "LAST_RETRY_TS": "then",
    "LAST_OUTCOME": "failed",
    "LAST_REASON": "rc_9",
    "FINISHED_AT": "then",
}


@pytest.mark.parametrize(
    ("edge", "changes"),
    [
        ("B_claim", {}),
        ("C_release", {}),
        ("D_finish", {"LAST_OUTCOME": "done", "LAST_REASON": None, "FINISHED_AT": "now"}),
        ("E_fail", {"LAST_OUTCOME": "failed", "LAST_REASON": "rc_1"}),
        ("F_pause", {"LAST_OUTCOME": "paused", "LAST_REASON": "stop_gate", "INTERRUPTS": None}),
        ("G_interrupt", {}),
        ("H_hold", {}),
        ("I_reject_pending", {}),
        ("I_reject_running", {}),
        ("J_retry", {"ATTEMPTS": "3", "LAST_RETRY_TS": "now", "LAST_OUTCOME": "retry"}),
        (
            "K_retry_by_hand",
            {"LAST_RETRY_TS": "now", "LAST_OUTCOME": "retry", "INTERRUPTS": None},
        ),
        (
            "K_retry_by_hand_reset",
            {"LAST_RETRY_TS": "now", "LAST_OUTCOME": "retry", "INTERRUPTS": None, "ATTEMPTS": None},
        ),
        ("L_redo_done", dict.fromkeys(BEFORE)),
        ("L_redo_failed", dict.fromkeys(BEFORE)),
    ],
)
def test_an_edge_changes_these_keys_and_no_others(
    edge: str, changes: dict[str, str | None], spool: Spool, put: Put
) -> None:
    taken = next(e for e in EDGES if e.name == edge)
    assert taken.end is not None
    job = begin(spool, put, taken, **BEFORE)
    with lock(spool) as held:
        taken.take(spool, held, job)
    after = dict(spool.read(taken.end, "demo_off0").extra)
    stamp = after.pop("ENQUEUED_AT")
    assert (stamp != ENQUEUED) == edge.startswith("L_")
    for key in ("LAST_RETRY_TS", "FINISHED_AT"):
        if changes.get(key) == "now":
            assert after[key].startswith("20")
            after[key] = "now"
    wanted = {"COLOUR": "blue", **BEFORE, **changes}
    assert after == {key: value for key, value in wanted.items() if value is not None}


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.FOUND])
def test_finish_says_whether_something_was_found(outcome: Outcome, spool: Spool, put: Put) -> None:
    put(RUNNING)
    with lock(spool) as held:
        spool.finish(held, spool.read(RUNNING, "demo_off0"), outcome)
    assert spool.read(DONE, "demo_off0").last_outcome == outcome


def test_of_a_job_that_was_copied_into_two_states_each_copy_is_discarded_by_its_state(
    spool: Spool, put: Put
) -> None:
    for state in (DONE, FAILED):
        put(state)
    with lock(spool) as held:
        spool.discard(held, DONE)
        assert spool.locate("demo_off0") == [FAILED]
        spool.discard(held, FAILED)
    assert spool.locate("demo_off0") == []


def test_reject_moves_a_malformed_file_byte_for_byte(spool: Spool, put: Put) -> None:
    content = b"\x00\xff not a job \r\n" * 100
    for offset, state in enumerate((PENDING, RUNNING)):
        name = put(state, offset, content)
        with lock(spool, name) as held:
            spool.reject(held, state)
        assert spool.file(FAILED, name).read_bytes() == content


@pytest.mark.parametrize("state", [DONE, FAILED])
def test_what_is_done_or_failed_is_not_rejected(state: JobState, spool: Spool, put: Put) -> None:
    put(state)
    with lock(spool) as held, pytest.raises(IllegalEdge, match=f"not rejected from {state}"):
        spool.reject(held, state)
    assert spool.locate("demo_off0") == [state]


@pytest.mark.parametrize("state", [PENDING, RUNNING])
def test_what_is_pending_or_running_is_not_redone(state: JobState, spool: Spool, put: Put) -> None:
    put(state)
    job = spool.read(state, "demo_off0")
    with lock(spool) as held, pytest.raises(IllegalEdge, match=f"demo_off0 is {state}"):
        spool.redo(held, state, job)
    assert spool.locate("demo_off0") == [state]


def test_a_job_taken_round_the_diagram_counts_each_retry_once(spool: Spool, put: Put) -> None:
    put(PENDING)
    for attempts in range(1, 4):
        with lock(spool) as held:
            spool.claim(held)
            job = spool.read(RUNNING, "demo_off0")
            spool.fail(held, job, Outcome.FAILED, "rc_1")
            after = spool.retry(held, spool.read(FAILED, "demo_off0"))
        assert after.count("ATTEMPTS") == attempts
        assert spool.read(PENDING, "demo_off0") == after


# What each edge refuses


@pytest.mark.parametrize(
    ("edge", "state"),
    [(edge, state) for edge in EDGES for state in (NOWHERE, *JobState) if state != edge.start],
    ids=lambda value: str(value or "nowhere"),
)
def test_an_edge_is_refused_wherever_else_the_job_lies(
    edge: Edge, state: JobState | None, spool: Spool, put: Put
) -> None:
    job = Job("demo", 0, {"ENQUEUED_AT": ENQUEUED})
    if edge.start is NOWHERE:
        spool.stage([job])
    if state is not NOWHERE:
        put(state)
    before = snapshot(spool)
    with lock(spool) as held, pytest.raises(IllegalEdge):
        edge.take(spool, held, job)
    assert snapshot(spool) == before


@pytest.mark.parametrize(
    ("edge", "other"),
    [(edge, other) for edge in MOVES for other in JobState if other != edge.start],
    ids=str,
)
def test_an_edge_is_refused_for_a_job_that_was_copied_into_two_states(
    edge: Edge, other: JobState, spool: Spool, put: Put
) -> None:
    job = begin(spool, put, edge)
    put(other, 0, COPY="yes")
    before = snapshot(spool)
    with lock(spool) as held, pytest.raises(IllegalEdge, match=rf"demo_off0 is .*\b{other}\b"):
        edge.take(spool, held, job)
    assert snapshot(spool) == before


@edges
def test_an_edge_is_refused_with_a_lock_that_was_closed(edge: Edge, spool: Spool, put: Put) -> None:
    job = begin(spool, put, edge)
    before = snapshot(spool)
    closed = lock(spool)
    closed.close()
    with pytest.raises(IllegalEdge, match="not a held lock"):
        edge.take(spool, closed, job)
    assert snapshot(spool) == before


# The other edges take the lock alone: it is what names their job.
@pytest.mark.parametrize("edge", [EDGES[0], *REWRITES], ids=str)
def test_an_edge_is_refused_with_another_jobs_lock(edge: Edge, spool: Spool, put: Put) -> None:
    job = begin(spool, put, edge)
    if edge.start is not NOWHERE:
        put(edge.start, 1)
    before = snapshot(spool)
    with lock(spool, "demo_off1") as held, pytest.raises(IllegalEdge):
        edge.take(spool, held, job)
    assert snapshot(spool) == before


@edges
def test_an_edge_is_refused_with_a_lock_of_another_queue(
    edge: Edge, spool: Spool, put: Put, tmp_path: Path
) -> None:
    job = begin(spool, put, edge)
    before = snapshot(spool)
    foreign = try_lock(tmp_path / "demo_off0.lock")
    assert foreign is not None
    with foreign, pytest.raises(IllegalEdge, match="not a held lock of this queue"):
        edge.take(spool, foreign, job)
    assert snapshot(spool) == before


# Crashes


@pytest.mark.parametrize("edge", REWRITES, ids=str)
@pytest.mark.parametrize("at", [1, 2], ids=["before_the_rewrite", "between_rewrite_and_rename"])
def test_an_edge_that_was_cut_off_leaves_a_whole_job_and_can_be_taken_again(
    edge: Edge, at: int, spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edge.start is not None
    assert edge.end is not None
    job = begin(spool, put, edge, ATTEMPTS=1)
    calls = []
    rename = os.rename

    def crash(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == at:
            raise Crash
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", crash)
        with lock(spool) as held, pytest.raises(Crash):
            edge.take(spool, held, job)
    assert len(calls) == at
    assert jobs_in(spool) == {str(edge.start): ["demo_off0"]}

    after = Spool(spool.config)
    left = after.read(edge.start, "demo_off0")
    assert left.extra["COLOUR"] == "blue"
    if edge.start is RUNNING:
        assert after.result_file("demo_off0").exists(), "or it could not be settled again"
    with lock(after) as held:
        edge.take(after, held, left)
    assert jobs_in(after) == {str(edge.end): ["demo_off0"]}
    assert list(snapshot(after)) == [f"{edge.end}/demo_off0.env"]
    attempts = {"J": 2, "L": 0}.get(edge.name[0], 0 if edge.name.endswith("_reset") else 1)
    assert after.read(edge.end, "demo_off0").count("ATTEMPTS") == attempts


def test_a_retry_that_is_cut_off_again_and_again_is_counted_once(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(FAILED, 0, LAST_OUTCOME="failed")
    rename = os.rename

    def crash(source: Path, target: Path) -> None:
        if Path(target).parent == spool.dirs[PENDING]:
            raise Crash
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", crash)
        for _ in range(3):
            with lock(spool) as held, pytest.raises(Crash):
                spool.retry(held, spool.read(FAILED, "demo_off0"))
    with lock(spool) as held:
        spool.retry(held, spool.read(FAILED, "demo_off0"))
    assert spool.read(PENDING, "demo_off0").count("ATTEMPTS") == 1


def test_a_full_disk_leaves_the_job_as_it_was(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(FAILED, 0, LAST_OUTCOME="failed")
    before = spool.file(FAILED, "demo_off0").read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with lock(spool) as held, pytest.raises(OSError, match="No space left"):
            spool.retry(held, spool.read(FAILED, "demo_off0"))
    assert jobs_in(spool) == {"failed": ["demo_off0"]}
    assert spool.file(FAILED, "demo_off0").read_bytes() == before


def test_a_file_that_disappears_before_its_edge_is_nowhere(spool: Spool, put: Put) -> None:
    name = put(PENDING)
    assert spool.names(PENDING) == [name]
    spool.file(PENDING, name).unlink()
    with pytest.raises(FileNotFoundError):
        spool.read(PENDING, name)
    with lock(spool) as held, pytest.raises(IllegalEdge, match="demo_off0 is nowhere, not pending"):
        spool.claim(held)
    assert jobs_in(spool) == {}


def test_a_file_that_disappears_during_its_edge_is_not_made_up_again(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put(PENDING)
    rename = os.rename

    def gone(source: Path, target: Path) -> None:
        os.unlink(source)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", gone)
        with lock(spool) as held, pytest.raises(FileNotFoundError):
            spool.claim(held)
    assert spool.locate(name) == []


# Looking


def test_temporary_owner_and_foreign_files_are_no_jobs(spool: Spool, put: Put) -> None:
    put(RUNNING)
    for name in (
        ".demo_off1.env.tmp",
        ".demo_off2.env",
        "demo_off3.env.owner",
        "notes.txt",
        ".env",
    ):
        (spool.dirs[RUNNING] / name).write_text("OFFSET=1\n")
    (spool.dirs[RUNNING] / ".demo_off4.env.owner").write_text("")
    assert spool.names(RUNNING) == ["demo_off0"]
    assert spool.owners() == ["demo_off3"]


def test_staged_jobs_are_complete_and_out_of_sight_until_they_are_enqueued(spool: Spool) -> None:
    staged = [Job("demo", k, {"ENQUEUED_AT": ENQUEUED}) for k in range(4)]
    spool.stage(staged)
    assert jobs_in(spool) == {}
    assert [spool.locate(job.name) for job in staged] == [[]] * 4
    for job in staged[:3]:
        with lock(spool, job.name) as held:
            spool.enqueue(held, job)
        assert spool.read(PENDING, job.name) == job
    spool.unstage(staged[3].name)
    spool.unstage(staged[3].name)
    assert sorted(os.listdir(spool.dirs[PENDING])) == [f"demo_off{k}.env" for k in range(3)]


def test_staging_writes_over_what_a_crash_left(spool: Spool) -> None:
    job = Job("demo", 0, {"ENQUEUED_AT": ENQUEUED})
    (spool.dirs[PENDING] / ".demo_off0.env.tmp").write_text("OFFSET=0\nENQUEUED_AT=cut o" * 50)
    spool.stage([job])
    with lock(spool) as held:
        spool.enqueue(held, job)
    assert spool.read(PENDING, "demo_off0") == job


def test_many_jobs_are_staged_as_few_are(spool: Spool) -> None:
    many = [Job("demo", k, {"ENQUEUED_AT": ENQUEUED}) for k in range(150)]
    spool.stage(many)
    for job in many:
        assert (spool.dirs[PENDING] / f".{job.name}.env.tmp").read_text() == job.render()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "no_regular_file"),
        (lambda path: os.mkfifo(path), "no_regular_file"),
        (lambda path: path.symlink_to("/nowhere/at/all"), "no_regular_file"),
        (lambda path: path.symlink_to("/etc/passwd"), "no_regular_file"),
        (lambda path: path.symlink_to("/dev/zero"), "no_regular_file"),
        (lambda path: path.write_bytes(b""), "no_offset"),
        (lambda path: path.write_bytes(b"OFFSET=0\n" + b"#" * 70_000), "too_large"),
    ],
    ids=["directory", "fifo", "dangling_link", "link", "device", "empty", "large"],
)
def test_what_cannot_be_read_as_a_job_is_malformed_and_can_be_rejected(
    make: Callable[[Path], object], reason: str, spool: Spool
) -> None:
    make(spool.file(PENDING, "demo_off0"))
    with pytest.raises(MalformedJob) as caught:
        spool.read(PENDING, "demo_off0")
    assert caught.value.reason == reason
    with lock(spool) as held:
        spool.reject(held, PENDING)
    assert spool.locate("demo_off0") == [FAILED]


def test_a_lock_is_one_holders_and_free_again_when_closed(spool: Spool) -> None:
    with lock(spool):
        assert spool.lock("demo_off0") is None
        lock(spool, "demo_off1").close()
    lock(spool).close()


def test_a_lock_file_that_is_a_link_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    spool.lock_file("demo_off0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Too many levels"):
        spool.lock("demo_off0")
    assert not (tmp_path / "elsewhere").exists()


def test_a_queue_is_made_once_and_making_it_again_changes_nothing(
    config: Config, spool: Spool, put: Put
) -> None:
    put(PENDING)
    spool.create()
    assert jobs_in(spool) == {"pending": ["demo_off0"]}
    for path in (config.run_dir, config.log_dir, config.results_dir):
        assert path.is_dir()


@pytest.mark.skipif(
    not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev,
    reason="needs a second filesystem",
)
def test_a_queue_over_two_filesystems_is_refused(
    config: Config, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    elsewhere = Path(f"/dev/shm/sagequeue-test-{os.getpid()}")
    request.addfinalizer(lambda: shutil.rmtree(elsewhere, ignore_errors=True))
    with pytest.raises(SagequeueError, match="must lie in one filesystem"):
        Spool(replace(config, done_dir=elsewhere / "done")).create()


# Batches


def directories_synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts, and still does, the syncs of directories."""
    synced: list[str] = []
    fsync = os.fsync

    def noting(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if os.path.isdir(path):
            synced.append(os.path.basename(path))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    return synced


def test_an_edge_alone_syncs_both_of_its_directories(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(PENDING)
    synced = directories_synced(monkeypatch)
    with lock(spool) as held:
        spool.claim(held)
    assert sorted(synced) == ["pending", "running"]


def test_a_batch_takes_its_edges_at_once_and_syncs_each_directory_once_at_its_end(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [put(PENDING, k) for k in range(4)]
    synced = directories_synced(monkeypatch)
    with spool.batch():
        for name in names:
            with lock(spool, name) as held:
                spool.claim(held)
        assert jobs_in(spool) == {"running": names}
        assert synced == []
    assert sorted(synced) == ["pending", "running"]


def test_a_batch_that_ends_in_an_error_is_synced_all_the_same(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(PENDING, 0)
    put(PENDING, 1)
    synced = directories_synced(monkeypatch)

    def claim_twice() -> None:
        with lock(spool) as held, spool.batch():
            spool.claim(held)
            spool.claim(held)

    with pytest.raises(IllegalEdge):
        claim_twice()
    assert sorted(synced) == ["pending", "running"]
    with lock(spool, "demo_off1") as held:
        spool.claim(held)
    assert sorted(synced) == ["pending", "pending", "running", "running"]


def end(spool: Spool, put: Put) -> None:
    """Have a job that a solver worked on be done."""
    with lock(spool) as held:
        spool.finish(held, spool.read(RUNNING, put(RUNNING)), Outcome.DONE)


def test_the_record_of_an_execution_is_there_until_the_move_is_synced(
    spool: Spool, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = spool.result_file("demo_off0")
    record.write_text("RC=0\n")
    there: list[bool] = []
    monkeypatch.setattr(durable, "sync_directory", lambda _: there.append(record.exists()))
    end(spool, put)
    assert there == [True, True]
    assert not record.exists()


def test_a_batch_removes_records_when_it_has_synced(spool: Spool, put: Put) -> None:
    record = spool.result_file("demo_off0")
    record.write_text("RC=0\n")
    with spool.batch():
        end(spool, put)
        assert record.exists()
    assert not record.exists()


def test_a_batch_leaves_the_record_of_an_execution_that_has_begun_meanwhile(
    spool: Spool, put: Put
) -> None:
    record = spool.result_file("demo_off0")
    with spool.batch():
        end(spool, put)
        put(RUNNING)
        record.write_text("RC=1\n")
    assert record.exists()


def test_directories_that_are_new_have_their_names_synced(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(spool.config.state_dir)
    synced = directories_synced(monkeypatch)
    spool.create()
    assert {spool.config.state_dir.parent.name, "demo", "queue"} <= set(synced)
