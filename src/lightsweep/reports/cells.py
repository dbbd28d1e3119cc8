"""Tables for the page: each cell with its text and the value that it is sorted by."""

from collections.abc import Sequence
from typing import Any

from lightsweep.core import gaps
from lightsweep.reports import names, repeating
from lightsweep.reports.folding import shown
from lightsweep.reports.runs import Run
from lightsweep.reports.table import Table
from lightsweep.reports.text import is_metric, is_number, plain

_STATUSES = ("completed", "unfinished", "pruned", "interrupted", "diverged", "failed")
_MOST_OPENED = 500  # rows that say how to train them again: for that some of their files are read


def leaderboard(table: Table, runs: Sequence[Run]) -> dict[str, Any]:
    """Caption, columns and rows. Columns with test scores have no button: nobody should choose by them."""
    labels, ranks = names.short(table.columns), table.ranks
    leading = (table.monitor, "run", *gaps.COLUMNS, "status")
    first = [name for name in leading if name in table.columns]  # all may have failed
    wanted = [*first, *(name for name in table.columns if name not in (*first, "kind"))]
    wanted += ["kind"] if "kind" in table.columns else []
    better = "higher" if table.maximises else "lower"
    columns = [column("rank")] + [
        column(labels[name], numeric=_is_numeric(runs, name), sortable=not name.startswith("test/")) for name in wanted
    ]
    rows = [[number_cell(ranks.get(run.name)), *(cell_of(run, name) for name in wanted)] for run in runs]
    _open_up([row[1 + wanted.index("run")] for row in rows], runs)
    data = plain(table.data or "unknown data")
    return {"caption": f"{data}, ranked by {table.monitor} ({better} is better)", "columns": columns, "rows": rows}


def _open_up(named: Sequence[dict[str, Any]], runs: Sequence[Run]) -> None:
    """Hand each run's cell what it shows when it is opened: the folder, and the command that trains it again."""
    for cell, run in list(zip(named, runs, strict=True))[:_MOST_OPENED]:
        command, note = repeating.command(run)
        cell |= {"folder": plain(run.folder.resolve()), "command": command, "note": note}


def column(label: str, *, numeric: bool = True, sortable: bool = True) -> dict[str, Any]:
    return {"label": plain(label), "numeric": numeric, "sortable": sortable}


def cell_of(run: Run, name: str) -> dict[str, Any]:
    value = run.at(name)
    text = shown(run, name)
    if name == "status":
        known = f" {run.status}" * (run.status in _STATUSES)
        return {"text": text, "value": plain(run.status), "kind": f"status{known}"}
    numeric = is_number(value)
    return {"text": text, "value": value if numeric else text, "kind": "number" if numeric or is_metric(name) else ""}


def text_cell(text: str) -> dict[str, Any]:
    return {"text": plain(text), "value": plain(text), "kind": ""}


def number_cell(value: int | None) -> dict[str, Any]:
    return {"text": "" if value is None else str(value), "value": "" if value is None else value, "kind": "number"}


def _is_numeric(runs: Sequence[Run], name: str) -> bool:
    values = [value for run in runs if (value := run.at(name)) is not None]
    return is_metric(name) or (bool(values) and all(is_number(value) for value in values))
