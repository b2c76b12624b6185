"""The reader of the solvers' journal, on lines as killed processes leave them."""

from pathlib import Path

from kit.journal import Journal, Line

START = Line("start", 0, 7, 1, 5, 0, 0, -1)
CASE = Line("case", 0, 7, 1, 6, 0, 0, 12)


def test_a_line_that_a_killed_process_left_unfinished_did_not_happen(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with open(journal.path, "w") as file:
        for kept in range(len(f"{CASE}")):
            file.write(f"\n{START}\n\n{CASE}"[: len(f"\n{START}\n\n") + kept])
        file.write(f"\n{CASE}\n")
    assert {line for line in journal.read() if line.event == "start"} == {START}
    assert [line for line in journal.lines if line.event != "start"] == [CASE]


def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.added() == []
    with open(journal.path, "w", buffering=1) as file:
        file.write(f"\n{START}\n\n{CASE}"[:-1])
        file.flush()
        assert journal.added() == [START]
        file.write(f"{CASE}\n"[-2:])
        file.flush()
        assert journal.added() == [CASE]
