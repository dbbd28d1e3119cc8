"""The leaderboard of the page: its rows, and what a row shows when it is opened."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightsweep.core.metrics import DIFFERENCE_COLUMNS
from lightsweep.core.text import printable_line
from lightsweep.reports import page
from lightsweep.reports.columns import format_value, is_numeric, short_labels
from lightsweep.reports.figures import key_of_run
from lightsweep.reports.finding import BASELINE
from lightsweep.reports.page.drawing import cell_of, describe_column
from lightsweep.reports.runs import Run
from lightsweep.reports.table import Selection, Table, find_differences
from lightsweep.reports.trials import PARAMS

_MAX_COMMANDS = 500  # rows with the command that trains them again: some of the run's files are read for it
_MAX_CHANGES = 30  # keys of the config that an opened row shows
_LETTERS = 300  # of a value that it shows


def build_leaderboard(table: Table, runs: Sequence[Run]) -> dict[str, Any]:
    """Caption, columns and rows. Columns of test scores cannot be sorted by: nobody should choose by them."""
    labels, ranks = short_labels(table.columns), table.ranks
    first = [name for name in (table.monitor, "run", *DIFFERENCE_COLUMNS, "status") if name in table.columns]
    last = [name for name in table.columns if name == "kind"]
    names = [*first, *(name for name in table.columns if name not in (*first, *last)), *last]
    columns = [
        describe_column(labels[name], numeric=is_numeric(name, runs), sortable=not name.startswith("test/"))
        for name in names
    ]
    rows = []
    for run in runs:
        rank = ranks.get(run.name, "")
        cells = {name: cell_of(run, name) for name in names}
        cells["run"]["opens"] = True
        rows.append([{"text": str(rank), "value": rank, "kind": "number", "run": key_of_run(run)}, *cells.values()])
    caption = f"{printable_line(table.data or 'unknown data')}, ranked by {table.ranking}"
    return {"caption": caption, "columns": [describe_column(table.rank_name), *columns], "rows": rows}


def open_rows(selection: Selection, written: Path) -> dict[str, dict[str, Any]]:
    """What each row shows when it is opened, by the key of its run.

    Args:
        written: the file of the page, which the links to folders start from.
    """
    opened: dict[str, dict[str, Any]] = {}
    for table, runs in selection:
        baseline = next((run for run in table.runs if run.row.get(BASELINE) is True), None)
        for index, run in enumerate(runs):
            command, note = page.find_training_command(run) if index < _MAX_COMMANDS else (None, "")
            opened.setdefault(key_of_run(run), _describe_changes(run, baseline, table)).update(
                command=command, note=note, **_find_folder(run, written)
            )
    return opened


def _describe_changes(run: Run, baseline: Run | None, table: Table) -> dict[str, Any]:
    """In what its config differs from the baseline's; without one, its values of the keys in which runs differ."""
    against = "Its settings" if baseline is None else f"Changed from the baseline, {printable_line(baseline.name)}"
    keys = table.differing if baseline is None else find_differences((baseline, run))
    labels = short_labels(keys)
    before = () if baseline is None else (baseline,)
    changes = [
        [labels[key], *(format_value(key, each.row.get(key))[:_LETTERS] for each in (*before, run))]
        for key in keys[:_MAX_CHANGES]
        if baseline is not None or run.row.get(key) is not None
    ]
    same = "This is the baseline." if run is baseline else "Its config does not differ from the baseline's."
    return {"against": against, "changes": changes, "same": same if baseline is not None else ""}


def _find_folder(run: Run, written: Path) -> dict[str, str]:
    """Its path, and a link where the page can have one: relative, as page and runs may move together."""
    if run.sweep is not None and not run.folder.is_absolute():
        return {"folder": "", "link": ""}
    folder = run.folder.resolve()
    try:
        link = Path(os.path.relpath(folder, written.resolve().parent)).as_posix()
    except ValueError:  # on another drive
        link = ""
    if printable_line(folder) != str(folder) or not folder.is_dir():
        link = ""
    return {"folder": printable_line(folder), "link": f"./{quote(link)}/" if link else ""}


def name_axes(axes: Sequence[dict[str, Any]], keys: Mapping[str, str], table: Table) -> None:
    """Add to each axis of the parallel coordinates the column of the leaderboard that has its values, if there is one.

    Args:
        keys: the config's keys of parameters, by the name of their axis.
    """
    labels = short_labels(table.columns)
    for axis in axes:
        key = keys.get(axis["name"], table.monitor)
        column = next((name for name in (key, f"{PARAMS}{key}") if name in table.columns), None)
        if column is None or re.search(r"[\s<>=|]", labels[column]):
            continue
        choices = {choice.casefold() for choice in axis["choices"]}
        if choices and any(format_value(column, run.at(column)).casefold() not in choices for run in table.runs):
            continue  # a group's choice, adamw, where the column has its class
        axis["column"] = printable_line(labels[column])


def filter_example(table: Table) -> str:
    """A term that the filter of the page takes, of a column that it has."""
    runs, labels = table.runs, short_labels(table.columns)
    for name in table.differing:
        value = next((run.at(name) for run in runs if run.at(name) is not None), None)
        if name in table.columns and value is not None and not re.search(r"\s", format_value(name, value)):
            return printable_line(f"{labels[name]}{'<=' if is_numeric(name, runs) else '='}{format_value(name, value)}")
    return "completed"
