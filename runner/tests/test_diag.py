"""The snapshot: everything in it, in bounds, and no secret, whatever is out of order."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import sagequeue
from kinds import Put
from sagequeue import cli, diag
from sagequeue.config import Config
from sagequeue.jobs import JobState
from sagequeue.owner import write_owner
from sagequeue.spool import Spool

PENDING, RUNNING, DONE, FAILED = JobState
TOKEN = "0123456789abcdef5ecre7"
Snapshot = Callable[[], str]


@pytest.fixture(autouse=True)
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor has been, and found nothing; a visit takes its time."""
    monkeypatch.setattr(diag, "_doctor", lambda _: ["all is OK"])


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The units that there are, one to begin with."""
    there = [
        SimpleNamespace(
            name="demo-1", state="active", enabled=True, pid=7, current=False, wanted=True
        )
    ]
    service = SimpleNamespace(units=lambda: there)
    services = SimpleNamespace(for_config=lambda _: service)
    monkeypatch.setattr(sagequeue, "services", services, raising=False)
    return there


@pytest.fixture
def snapshot(config: Config, spool: Spool, units: object) -> Snapshot:
    def snapshot() -> str:
        return "\n".join(diag.snapshot(config, 20))

    return snapshot


def section(text: str, title: str) -> str:
    return text.partition(f"\n== {title}\n")[2].partition("\n\n")[0]


def test_all_that_is_asked_for_is_in_it(
    snapshot: Snapshot, config: Config, spool: Spool, put: Put
) -> None:
    put(DONE, 0)
    write_owner(spool.owner_file(put(RUNNING, 1)), 5)
    put(FAILED, 2, LAST_OUTCOME="failed", LAST_REASON="rc_1", ATTEMPTS=2)
    put(FAILED, 3, b"\xff")
    config.log_file(2).write_text("first\nlast words\n")
    config.stop_file_host.write_text("a look\n")
    text = snapshot()
    assert text.startswith("sagequeue diag of demo at 20")
    assert f"sagequeue {sagequeue.__version__}, Python 3." in section(text, "versions")
    assert "STRIDE=4" in section(text, "configuration")
    jobs = section(text, "jobs")
    assert "stop gate: a look" in jobs
    assert "findings: 0" in jobs
    assert "failed: 2" in jobs
    assert "demo_off1: ENQUEUED_AT=2024-01-01T00:00:00+00:00 lock=free owner=alive" in jobs
    assert "LAST_OUTCOME=failed LAST_REASON=rc_1 ATTEMPTS=2" in jobs
    assert "demo_off3: malformed or gone: it is not KEY=value text" in jobs
    assert "demo-1: active, enabled, pid 7, OLDER SETTINGS" in section(text, "units")
    assert "processes of this machine" in section(text, "container")
    assert section(text, "solvers") == "none"
    assert section(text, "doctor") == "all is OK"
    assert "[off 2] last words" in section(text, "logs")
    assert text.endswith("demo: this was all; tokens and environments are left out")


@pytest.mark.parametrize("breakage", ["services", "queue", "conf"])
def test_what_cannot_be_looked_at_says_so_and_the_rest_stays(
    snapshot: Snapshot, config: Config, breakage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if breakage == "services":
        monkeypatch.setattr(sagequeue, "services", SimpleNamespace())
        title = "units"
    elif breakage == "queue":
        config.failed_dir.rmdir()
        title = "jobs"
    else:
        title = "recovery"
    text = snapshot()
    assert "this could not be looked at: " in section(text, title)
    assert "STRIDE=4" in section(text, "configuration")
    assert text.endswith("are left out")


def test_recoverys_last_lines_are_those_of_the_process_managers_log(
    snapshot: Snapshot, config: Config
) -> None:
    log = config.state_dir / "recover.log"
    log.write_text("[recover] ts=1 action=summary\n")
    (config.env_file.parent / "supervisord.conf").write_text(
        f"; by hand\n[program:recover]\nstdout_logfile={log}\ncommand=sleep %(x)s\n"
    )
    assert section(snapshot(), "recovery") == "[recover] ts=1 action=summary"


def test_the_token_is_nowhere_in_it(
    snapshot: Snapshot, config: Config, put: Put, units: list[SimpleNamespace]
) -> None:
    (config.env_file.parent / "jupyter_token").write_text(f"{TOKEN}\n")
    put(FAILED, 0, LAST_OUTCOME="failed", LAST_REASON=TOKEN)
    config.log_file(0).write_text(f"http://127.0.0.1/lab?token={TOKEN}\n{TOKEN}\nTOKEN: old1\n")
    config.stop_file_host.write_text("x" * 385 + TOKEN)
    units[0].name = TOKEN
    text = snapshot()
    assert TOKEN[:9] not in text
    assert text.count("(left out)") >= 5
    assert "old1" not in text


def test_no_environment_is_in_it(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMETHING_PRIVATE", "xyzzy")
    assert "xyzzy" not in snapshot()


def test_it_has_bounds_whatever_there_is(snapshot: Snapshot, config: Config, put: Put) -> None:
    for offset in range(4):
        put(FAILED, offset, LAST_OUTCOME="failed", LAST_REASON="x" * 5000)
        config.log_file(offset).write_text("y" * 5000 + "\n" + "line\n" * 5000)
    for offset in range(1000):
        put(DONE, offset, OFFSET=offset)
    text = snapshot()
    assert max(map(len, text.splitlines())) < 500
    assert len(text.splitlines()) < 400
    assert "  ... and 988 more" in section(text, "jobs")


def test_a_terminal_has_nothing_to_obey(snapshot: Snapshot, config: Config, put: Put) -> None:
    put(FAILED, 0, 'OFFSET=0\nLAST_REASON="\u009b31m"\n')
    config.log_file(0).write_bytes(b"\x1b[2J\x9b\n")
    assert not {c for c in snapshot() if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f"}


def test_the_verb_prints_it(
    config: Config, units: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["diag", "-n", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sagequeue diag of demo")
    assert lines[-1].startswith("demo: ")
