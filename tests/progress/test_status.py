"""How a step is shown: never wider than the terminal, and in one line without one."""

from pathlib import Path

import pytest
from rich.cells import cell_len
from sagequeue_progress import status
from sagequeue_progress.output import Output


@pytest.fixture
def step(tmp_path: Path) -> status.Step:
    output = Output(tmp_path / "log")
    (tmp_path / "log").write_text("STEP 3/9: RUN 北京 " + "a long line " * 20 + "\n")
    output.read()
    return status.Step(7, "role : build | Build the image, which takes minutes", 100.0, output)


@pytest.mark.parametrize(("columns", "rows"), [(200, 50), (80, 24), (40, 24), (20, 24), (80, 3)])
def test_it_fits(step: status.Step, columns: int, rows: int) -> None:
    lines = status.drawn(step, 165.0, 0.0, columns, rows, colour=False)
    assert len(lines) == min(3, rows - 1)
    assert all(0 < cell_len(line) < columns for line in lines)


def test_it_says_the_number_the_name_the_times_how_far_and_the_last_line(
    step: status.Step,
) -> None:
    lines = status.drawn(step, 165.0, 0.0, 80, 24, colour=False)
    assert lines[0].startswith("step 7  role : build | Build the image")
    assert lines[0].endswith(" 1:05 of 2:45")
    assert lines[1].startswith("━━━━")
    assert lines[1].endswith(" 3/9")
    assert lines[2].startswith("STEP 3/9: RUN 北京 a long line")


def test_a_window_without_room_is_left_alone(step: status.Step) -> None:
    assert status.drawn(step, 165.0, 0.0, 10, 24, colour=False) == []
    assert status.drawn(step, 165.0, 0.0, 80, 1, colour=False) == []


def test_colours_only_where_they_are_wanted(step: status.Step) -> None:
    assert "\x1b[36m" in "".join(status.drawn(step, 165.0, 0.0, 80, 24, colour=True))
    assert "\x1b[36m" not in "".join(status.drawn(step, 165.0, 0.0, 80, 24, colour=False))


def test_one_line_for_a_log(step: status.Step) -> None:
    assert status.line(step, 165.0).startswith(
        "role : build | Build the image, which takes minutes: running for 1:05, 3 of 9: STEP 3/9: "
    )


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.9, "0:59"), (3599, "59:59"), (3723, "1:02:03")]
)
def test_the_clock(seconds: float, shown: str) -> None:
    assert status.clock(seconds) == shown
