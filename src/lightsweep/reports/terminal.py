"""Tables on a terminal: as many columns as fit, and a word on those that do not."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lightsweep.core.checks import is_number
from lightsweep.core.text import printable, printable_line
from lightsweep.reports import columns
from lightsweep.reports.columns import format_cell
from lightsweep.reports.finding import Found
from lightsweep.reports.runs import Run, is_metric
from lightsweep.reports.table import Table

_STYLES = {"completed": "green", "pruned": "yellow", "interrupted": "magenta", "diverged": "red", "failed": "red"}
_FIRST_TO_GO = ("kind", "best_epoch", "hidden", "params", "seconds", "train/acc", "gap", "test/acc", "n")
_LEFT = ("run", "kind", "status", "hidden")
_LONGEST = 40  # characters of a value before it is folded
_MOST = 500  # rows where --top does not say; ten thousand take longer to lay out than to read


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # `launch_command` ends as other programs do


def open_console() -> Console:
    """Standard output: without a terminal there are no colours, and lines as long as they need to be."""
    found = _Console(highlight=False)
    return found if found.is_terminal else _Console(highlight=False, width=10_000)


def print_table(screen: Console, table: Table, runs: Sequence[Run]) -> None:
    """Print one table; `runs` are those of its rows that are wanted, in order."""
    ranks = table.ranks
    labels = columns.short_labels(table.columns)
    cells = {column: [_cell(run, column) for run in runs] for column in table.columns}
    fitting, left_out = _fitting(table, cells, labels, screen.width)
    grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("rank", *fitting):
        left = column in _LEFT or (column != "rank" and not _is_numeric(runs, column))
        grid.add_column(
            Text(printable_line(labels.get(column, column))), justify="left" if left else "right", overflow="fold"
        )
    for index, run in enumerate(runs):
        texts = [Text(cells[column][index], style=_style(column, run)) for column in fitting]
        grid.add_row(Text(str(ranks.get(run.name, ""))), *texts)
    screen.print(grid)
    if left_out:
        listed = ", ".join(labels[column] for column in left_out)
        _say(screen, f"left out for want of room: {listed} (--csv has all columns)")


def print_report(found: Found, parts: Sequence[tuple[Table, Sequence[Run]]], *, most: int | None) -> None:
    """Print the tables, each with the rows that are wanted, and what is to be known of them.

    Args:
        most: rows of a table; None: 500.
    """
    screen = open_console()
    parts = [(table, runs[: most or _MOST]) for table, runs in parts]
    if sum(not table.is_confirmation for table, _ in parts) > 1:
        _say(screen, "scores of different data sets or metrics cannot be compared: a table for each")
    for table, runs in parts:
        if len(parts) > 1:
            _title(screen, table)
        print_table(screen, table, runs)
        _errors(screen, runs)
    if not parts:
        _say(screen, "no run fits" if found.runs else "no run has a result yet")
    else:
        _say(screen, f"ranked by {_ranking([table for table, _ in parts])}, never by test scores")
    if hidden := _hidden(parts):
        _say(screen, f"{sum(hidden.values()):,} more rows are not shown (--top shows more): {_counts(hidden)}")
    for line in describe_problems(found):
        _say(screen, line)


def _hidden(parts: Sequence[tuple[Table, Sequence[Run]]]) -> Counter[str]:
    """How many rows of each status the tables have beyond those that are shown."""
    every = Counter(run.status for table, _ in parts for run in table.runs)
    return every - Counter(run.status for _, runs in parts for run in runs)


def _counts(statuses: Counter[str]) -> str:
    return ", ".join(f"{count:,} {printable_line(status)}" for status, count in statuses.most_common())


def _ranking(tables: Sequence[Table]) -> str:
    monitors = {(table.monitor, table.maximises) for table in tables}
    return " or ".join(f"{monitor} ({'higher' if up else 'lower'} is better)" for monitor, up in sorted(monitors))


def describe_problems(found: Found) -> list[str]:
    """Folders that are no row, and why."""
    lines = [f"skipped {printable_line(path)}: {reason}" for path, reason in found.broken.items()]
    count = len(found.unfinished)
    if count:
        named = ", ".join(printable_line(name) for name in found.unfinished[:5])
        more = f" and {count - 5} more" if count > 5 else ""
        lines.append(f"without a result.json, so still running or killed: {named}{more}")
    return lines


def _title(screen: Console, table: Table) -> None:
    """The heading of one of several tables."""
    count = len(table.runs)
    screen.print()
    what = "confirmation with fresh seeds, " * table.is_confirmation
    _say(screen, f"{what}{table.data or 'unknown data'}, {table.monitor}: {count} row{'s' * (count != 1)}", "bold")


def _errors(screen: Console, runs: Sequence[Run]) -> None:
    """Why runs failed, a line each."""
    for run in runs:
        if run.row.get("error") and run.status in ("failed", "diverged"):
            _say(screen, f"{run.status} {printable_line(run.name)}: {printable_line(run.row['error'])}")


def _say(screen: Console, line: str, style: str = "") -> None:
    screen.print(Text(printable(line), style=style), soft_wrap=True)


def _cell(run: Run, column: str) -> str:
    return format_cell(run, column)


def _style(column: str, run: Run) -> str:
    return _STYLES.get(run.status, "") if column == "status" else ""


def _is_numeric(runs: Sequence[Run], column: str) -> bool:
    values = [value for run in runs if (value := run.row.get(column)) is not None]
    return is_metric(column) or (bool(values) and all(is_number(value) for value in values))


def _fitting(
    table: Table, cells: dict[str, list[str]], labels: dict[str, str], width: int
) -> tuple[list[str], list[str]]:
    """The columns that fit into `width` characters, and those left out: the least needed go first."""
    needed = {
        column: min(_LONGEST, max([len(labels[column]), *map(len, cells[column])])) + 2 for column in table.columns
    }
    shown = list(table.columns)
    expendable = [column for column in _FIRST_TO_GO if column in shown and column != table.monitor]
    expendable += [column for column in reversed(table.differing) if column in shown and column not in expendable]
    left_out = []
    while expendable and sum(needed[column] for column in shown) + 6 > width:
        left_out.append(expendable.pop(0))
        shown.remove(left_out[-1])
    return shown, left_out
