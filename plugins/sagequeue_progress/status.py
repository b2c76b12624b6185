"""A running step in words: as lines for a terminal, and as one line for a log."""

from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from .output import Output, printable

if TYPE_CHECKING:
    from rich.console import RenderableType


NARROWEST = 16


@dataclass(frozen=True)
class Step:
    """A step that runs: its number, its name, when it began (monotonic, s), what it prints."""

    number: int
    name: str
    began: float
    output: Output


def clock(seconds: float) -> str:
    """Return a duration in seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line(step: Step, now: float) -> str:
    """Return the step's name, elapsed time, and how far it is by its own words, in one line."""
    output = step.output
    share = f", {output.done} of {output.total}" if output.total else ""
    said = f": {output.last}" if output.last else ""
    return f"{printable(step.name)}: running for {clock(now - step.began)}{share}{said}"


def drawn(step: Step, now: float, began: float, columns: int, rows: int, colour: bool) -> list[str]:
    """Return the lines that show the step on a terminal, drawn by rich.

    `began` is when all began. Each line is shorter than `columns`; there are at most three, and
    fewer than `rows`; none in a window that has no room. Raises: ImportError if there is no rich.
    """
    if columns < NARROWEST:
        return []
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def row(left: "RenderableType", right: Text) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_row(left, right)
        return grid

    output = step.output
    times = clock(now - step.began)
    name = printable(step.name)
    if columns > 60:
        name = f"step {step.number}  {name}"
        times += f" of {clock(now - began)}"
    shown: list[RenderableType] = [row(Text(name, style="bold"), Text(times, style="cyan"))]
    if output.total:
        bar = ProgressBar(total=output.total, completed=output.done)
        shown.append(row(bar, Text(f"{output.done}/{output.total}", style="cyan")))
    if output.last:
        shown.append(Text(output.last, style="dim"))

    console = Console(
        file=StringIO(), width=columns - 1, force_terminal=True, legacy_windows=False,
        color_system="standard" if colour else None, no_color=not colour, highlight=False,
    )  # fmt: skip
    with console.capture() as captured:
        for one in shown[: rows - 1]:
            console.print(one, no_wrap=True, overflow="ellipsis")
    return captured.get().splitlines()
