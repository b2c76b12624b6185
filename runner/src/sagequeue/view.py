"""A survey and its findings as people look at them, drawn by rich."""

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sagequeue.commands import typed
from sagequeue.config import Config
from sagequeue.jobs import printable
from sagequeue.progress import Partition, Survey

# More rows than a screen has: then only what runs or failed is shown.
_ROWS = 40
# Lines of doubt that are shown.
_DOUBTS = 12
_NOTES = 5


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (unit, size), (small, part) in itertools.pairwise(units):
        if seconds >= size:
            rest = int(seconds % size // part)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {small}" if rest else "")
    if seconds >= 1:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{1000 * seconds:.0f} ms"


def draw(settings: Config, facts: Survey) -> RenderableType:
    """A jobset's survey for people: what it came to, the bar, then the partitions."""
    counts = "  ".join(f"{state} {number}" for state, number in facts.counts.items())
    lines: list[RenderableType] = [Text.assemble((facts.jobset, "bold"), f"   jobs: {counts}")]
    if facts.cases_total is not None:
        total, done = facts.cases_total, facts.cases_done
        share = 100 * done / total if total else 100.0
        text = f"{done}/{total} cases ({share:.1f} %), {total - done} left"
        if done < total and facts.eta_seconds is not None:
            low, high = (duration(seconds) for seconds in facts.eta_seconds)
            text += f", {low} to {high} to go" if low != high else f", {low} to go"
        bar = Table.grid()  # for the line end that a bar alone does not have
        bar.add_row(ProgressBar(total=max(1, total), completed=done, width=60))
        lines += [bar, Text(text)]
    lines += [Text(text, style="yellow") for text in _standstill(settings, facts)]
    lines += [_table(facts), *_notes(facts), *_failures(settings, facts)]
    lines += [finding_text(finding) for finding in facts.findings]
    if facts.tally_cases:
        lines.append(_tally_table(facts))
    elif not facts.findings:
        lines.append(Text(nothing(facts)))
    lines += [Text(text, style="yellow") for text in doubts(settings, facts)]
    return Group(*lines)


def nothing(facts: Survey) -> str:
    """That nothing was found, and in which cases: those whose output was read."""
    known = facts.cases_total is not None
    if printed := sum(p.solutions for p in facts.partitions):
        return f"found: {printed} solutions were printed, and their records were removed"
    if all(p.covered for p in facts.partitions):
        return f"found: nothing in all {'cases' if known else f'{len(facts.partitions)} jobs'}"
    if known:
        return f"found: nothing so far ({_read(facts)} of {facts.cases_total} cases)"
    jobs = sum(p.covered for p in facts.partitions)
    return f"found: nothing so far ({jobs} of {len(facts.partitions)} jobs)"


def _read(facts: Survey) -> int:
    return sum(p.cases_read for p in facts.partitions)


def doubts(settings: Config, facts: Survey) -> Iterator[str]:
    """What may have been printed and is not known here: one line for each kind and partition."""
    lines = []
    for p in facts.partitions:
        if p.unconfirmed:
            cases = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in p.unconfirmed[:8])
            more = " and more" if len(p.unconfirmed) > 8 else ""
            what = f"gidx {cases}{more}" if settings.state_file_host else "its last execution"
            lines.append(f"unconfirmed: offset {p.offset}, {what}")
        if p.cases_unread:
            lines.append(
                f"not read: offset {p.offset}, {p.cases_unread} cases that its state file counts "
                "and no log here tells of"
            )
        if p.log_behind:
            command = typed(settings, "recover")
            lines.append(f"not read: the end of {p.log}; {command} reads it")
    yield from map(printable, lines[:_DOUBTS])
    if len(lines) > _DOUBTS:
        yield f"... and {len(lines) - _DOUBTS} more lines like these (--json has them all)"
    if any(p.unconfirmed for p in facts.partitions):
        yield (
            "unconfirmed cases were counted by an execution that was ended, or that lost its log: "
            "what they printed last may be lost"
        )


def _standstill(settings: Config, facts: Survey) -> Iterator[str]:
    """Why nothing gets on, and what to do; nothing when it does or all is done."""
    if facts.gate is not None:
        yield f"stop gate: {facts.gate or '(empty)'}"
        yield f"nothing is claimed until {typed(settings, 'clear-stop')}"
    unfinished = facts.counts["pending"] + facts.counts["running"]
    if unfinished and not facts.workers_alive:
        yield f"no workers run: {typed(settings, 'start')} starts them"
    elif unfinished:
        yield f"{facts.workers_alive} of {facts.workers} workers run"


def _notes(facts: Survey) -> Iterator[Text]:
    """What keeps single jobs from going on, a line each, of the first few."""
    noted = [p for p in facts.partitions if p.note]
    for p in noted[:_NOTES]:
        yield Text(printable(f"offset {p.offset}: {p.note}"), style="yellow")
    if len(noted) > _NOTES:
        yield Text(f"... and {len(noted) - _NOTES} more offsets like these", style="yellow")


def _failures(settings: Config, facts: Survey) -> Iterator[Text]:
    """One line for each failed job: why, what comes next, where to read more."""
    for p in (p for p in facts.partitions if p.state == "failed"):
        then = f"recovery will retry it ({typed(settings, f'explain {p.offset}')} says when)"
        if p.held:
            then = f"held until {typed(settings, 'retry-failed')}"
        why = p.reason or "no reason known"
        told = f"offset {p.offset}: {why}, retried {p.attempts} times; {then}; {p.log}"
        yield Text(printable(told), style="red")


def finding_text(finding: dict[str, Any]) -> Text:
    """One finding: where, and the lines that the workload printed."""
    head = f"found: offset {finding.get('offset')}, gidx {finding.get('gidx')}"
    lines = finding.get("lines")
    printed = [str(line) for line in lines] if isinstance(lines, list) else []
    said = [printable(text) for text in (f"{head}, {finding.get('found_at')}", *printed)]
    return Text("\n  ".join(said), style="green")


def _table(facts: Survey) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for heading in ("offset", "cases", "%", "last gidx", "median", "last"):
        table.add_column(heading, justify="right")
    for heading in ("state", "worker", "active", "reason"):
        table.add_column(heading, no_wrap=True)
    shown = facts.partitions
    if len(shown) > _ROWS:
        shown = [p for p in shown if p.state in ("running", "failed")][:_ROWS]
    for p in shown:
        table.add_row(*(Text(cell) for cell in _cells(p)))
    if len(shown) == len(facts.partitions):
        return table
    hidden = len(facts.partitions) - len(shown)
    return Group(table, Text(f"... and {hidden} more partitions (--json has them all)"))


def _tally_table(facts: Survey) -> RenderableType:
    """How often each value was counted, a column for each name."""
    names = sorted(facts.tally)
    table = Table(box=None, pad_edge=False)
    table.add_column("counted", justify="right")
    for name in names:
        table.add_column(name, justify="right")
        table.add_column("%", justify="right")
    totals = {name: sum(facts.tally[name].values()) for name in names}
    for value in sorted({value for counts in facts.tally.values() for value in counts}):
        cells = [str(value)]
        for name in names:
            count = facts.tally[name].get(value, 0)
            cells += [f"{count:,}", f"{100 * count / totals[name]:.5g}"] if count else ["-", ""]
        table.add_row(*cells)
    table.add_row("all", *(cell for name in names for cell in (f"{totals[name]:,}", "")))
    text = f"tally of {facts.tally_cases} cases:"
    if facts.tally_cases < facts.cases_done:
        text = (
            f"tally of {facts.tally_cases} of {facts.cases_done} cases, for the logs have no more:"
        )
    return Group(Text(text), table)


def _ago(moment: str | None) -> str:
    if moment is None:
        return "-"
    seconds = (datetime.now().astimezone() - datetime.fromisoformat(moment)).total_seconds()
    number, unit = duration(max(1.0, seconds)).split()[:2]  # clocks are set back at times
    return f"{number} {unit} ago"


def _cells(p: Partition) -> list[str]:
    def known(value: object, form: str = "") -> str:
        return "-" if value is None else format(value, form)

    def seconds(value: float | None) -> str:
        return "-" if value is None else duration(value)

    total = known(p.cases_total)
    cells = [str(p.offset), f"{p.cases_done}/{total}", known(p.percent, ".0f"), known(p.last_gidx)]
    cells += [seconds(p.case_seconds_median), seconds(p.case_seconds_last)]
    reason = "" if p.state == "failed" else p.reason  # told below the table
    state = f"{p.state}, held" if p.held else p.state
    cells += [state, known(p.worker), _ago(p.last_activity), reason]
    return [printable(cell) for cell in cells]
