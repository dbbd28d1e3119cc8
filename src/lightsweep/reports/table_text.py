"""Tables as text: on the terminal, with as many columns as fit, and as CSV, Markdown and JSON."""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lightsweep.core.text import printable, printable_line, spreadsheet_cell
from lightsweep.reports.columns import format_cell, is_numeric, short_labels
from lightsweep.reports.finding import Found
from lightsweep.reports.runs import Row, Run
from lightsweep.reports.table import Selection, Table, list_rows

_STYLES = {
    "completed": "green",
    "infeasible": "yellow",
    "pruned": "yellow",
    "interrupted": "magenta",
    "diverged": "red",
    "failed": "red",
}
_LEAST_NEEDED = ("kind", "best_epoch", "hidden", "params", "seconds", "train/acc", "gap", "test/acc", "n")
_LEFT_ALIGNED = ("run", "kind", "status", "hidden")
_MAX_LENGTH = 40  # characters of a value before it is folded
_MAX_ROWS = 500  # rows without --top; ten thousand take longer to lay out than to read
_MARKUP = re.compile(r"([\\`*\[\]<>|#~&]|(?<!\w)_|_(?!\w))")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # `command.launch` ends as other programs do


def open_console() -> Console:
    """Standard output: without a terminal there are no colours, and lines as long as they need to be."""
    console = _Console(highlight=False)
    return console if console.is_terminal else _Console(highlight=False, width=10_000)


def print_line(console: Console, line: str, style: str = "") -> None:
    console.print(Text(printable(line), style=style), soft_wrap=True)


def print_grid(console: Console, columns: Iterable[tuple[str, bool]], rows: Iterable[Iterable[str | Text]]) -> None:
    """Print a table without borders.

    Args:
        columns: the label of each, and whether its cells are aligned left.
    """
    grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for label, is_left in columns:
        grid.add_column(Text(printable(label)), justify="left" if is_left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    console.print(grid)


def print_report(found: Found, selection: Selection, *, most: int | None) -> None:
    """Print the tables, each with the rows to show, and remarks on them.

    Args:
        most: rows of a table; None: 500.
    """
    console = open_console()
    selection = [(table, runs[: most or _MAX_ROWS]) for table, runs in selection]
    if sum(not table.is_confirmation for table, _ in selection) > 1:
        print_line(console, "scores of different data sets or metrics cannot be compared: a table for each")
    for table, runs in selection:
        if len(selection) > 1:
            rows = f"{len(table.runs)} row{'s' * (len(table.runs) != 1)}"
            kind = "confirmation with fresh seeds, " * table.is_confirmation
            console.print()
            print_line(console, f"{kind}{table.data or 'unknown data'}, {table.monitor}: {rows}", "bold")
        _print_table(console, table, runs)
        for run in runs:
            if run.row.get("error") and run.status in ("failed", "diverged"):
                print_line(console, f"{run.status} {printable_line(run.name)}: {printable_line(run.row['error'])}")
    if selection:
        rankings = sorted({table.ranking for table, _ in selection})
        rule = "" if any(table.is_study for table, _ in selection) else ", never by test scores"
        print_line(console, f"ranked by {' or '.join(rankings)}{rule}")
    else:
        print_line(console, "no run fits" if found.runs else "no run has a result yet")
    hidden = Counter(run.status for table, _ in selection for run in table.runs)
    hidden -= Counter(run.status for _, runs in selection for run in runs)
    if hidden:
        counts = ", ".join(f"{count:,} {printable_line(status)}" for status, count in hidden.most_common())
        print_line(console, f"{sum(hidden.values()):,} more rows are not shown (--top shows more): {counts}")
    for line in describe_problems(found):
        print_line(console, line)


def describe_problems(found: Found) -> list[str]:
    """Folders that are no row, and why."""
    lines = [f"skipped {printable_line(path)}: {reason}" for path, reason in found.broken.items()]
    if found.unfinished:
        named = ", ".join(map(printable_line, found.unfinished[:5]))
        more = f" and {len(found.unfinished) - 5} more" if len(found.unfinished) > 5 else ""
        lines.append(f"without a result.json, so still running or killed: {named}{more}")
    return lines


def _print_table(console: Console, table: Table, runs: Sequence[Run]) -> None:
    ranks, labels = table.ranks, short_labels(table.columns)
    cells = {column: [format_cell(run, column) for run in runs] for column in table.columns}
    fitting, left_out = _choose_fitting(table, cells, labels, console.width)
    columns = [(printable_line(labels[name]), name in _LEFT_ALIGNED or not is_numeric(name, runs)) for name in fitting]
    rows = []
    for index, run in enumerate(runs):
        styles = {"status": _STYLES.get(run.status, "")}
        texts = [Text(cells[column][index], style=styles.get(column, "")) for column in fitting]
        rows.append([Text(str(ranks.get(run.name, ""))), *texts])
    print_grid(console, [(table.rank_name, False), *columns], rows)
    if left_out:
        listed = ", ".join(labels[column] for column in left_out)
        print_line(console, f"columns that do not fit: {listed} (--csv has all columns)")


def _choose_fitting(
    table: Table, cells: Mapping[str, list[str]], labels: Mapping[str, str], width: int
) -> tuple[list[str], list[str]]:
    """The columns that fit into `width` characters, and those left out: the least needed go first."""
    needed = {
        column: min(_MAX_LENGTH, max([len(labels[column]), *map(len, cells[column])])) + 2 for column in table.columns
    }
    fitting, left_out = list(table.columns), []
    recorded = {column for run in table.runs for column in run.recorded}  # by a study's trials; their parameters stay
    least = dict.fromkeys((*_LEAST_NEEDED, *(column for column in reversed(table.columns) if column in recorded)))
    expendable = [column for column in least if column in fitting and column != table.monitor]
    expendable += [column for column in reversed(table.differing) if column in fitting and column not in expendable]
    while expendable and sum(needed[column] for column in fitting) + 6 > width:
        left_out.append(expendable.pop(0))
        fitting.remove(left_out[-1])
    return fitting, left_out


def format_csv(selection: Selection) -> str:
    """The rows to show, with every column."""
    return csv_text([row for table, runs in selection for row in list_rows(table, runs)])


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    columns = dict.fromkeys(column for row in rows for column in row)
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_csv_cell, columns))
    writer.writerows([_csv_cell(row.get(column)) for column in columns] for row in rows)
    return buffer.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return spreadsheet_cell(printable_line(value))
    return "" if value is None else value


def format_json(selection: Selection, problems: Mapping[str, str]) -> str:
    """The tables with the rows to show, and the files that could not be read."""
    tables = [
        {
            "data": table.data,
            "monitor": table.monitor,
            "mode": "max" if table.maximises else "min",
            "differing": table.differing,
            "rows": list_rows(table, runs),
        }
        for table, runs in selection
    ]
    return json.dumps(make_finite({"tables": tables, "skipped": problems}), indent=1, allow_nan=False) + "\n"


def make_finite(value: Any, *, digits: int = 17) -> Any:
    """A value for JSON: None in place of infinite numbers and NaN, and so many digits of the others."""
    if isinstance(value, dict):
        return {str(key): make_finite(item, digits=digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [make_finite(item, digits=digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def format_markdown(selection: Selection) -> str:
    """The tables as they are shown."""
    return "\n".join(_markdown(table, runs) for table, runs in selection)


def _markdown(table: Table, runs: Sequence[Run]) -> str:
    labels, ranks = short_labels(table.columns), table.ranks
    rows = [[str(ranks.get(run.name, "")), *(format_cell(run, column) for column in table.columns)] for run in runs]
    title = f"{table.data or 'unknown data'}, ranked by {table.ranking}"
    return markdown_table(title, [table.rank_name, *(labels[column] for column in table.columns)], rows)


def markdown_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table under its title; all texts are escaped."""
    head, *lines = [f"| {' | '.join(map(_escape_markup, row))} |" for row in (columns, *rows)]
    line = f"| {' | '.join(['---'] * len(columns))} |"
    return "\n".join([_escape_markup(title), "", head, line, *lines]) + "\n"


def _escape_markup(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable_line(text))
