"""Tables for the page: each cell with its text and the value that it is sorted by."""

from collections.abc import Sequence
from typing import Any

from lightsweep.reporting import names
from lightsweep.reporting.folding import shown
from lightsweep.reporting.runs import Run
from lightsweep.reporting.table import Table
from lightsweep.reporting.text import is_metric, is_number, plain

_STATUSES = ("completed", "unfinished", "pruned", "interrupted", "diverged", "failed")


def leaderboard(table: Table, runs: Sequence[Run]) -> dict[str, Any]:
    """Caption, columns and rows. Columns with test scores have no button: nobody should choose by them."""
    labels, ranks = names.short(table.columns), table.ranks
    first = [name for name in ("run", "status", table.monitor) if name in table.columns]  # all may have failed
    wanted = [*first, *(name for name in table.columns if name not in (*first, "kind"))]
    wanted += ["kind"] if "kind" in table.columns else []
    better = "higher" if table.maximises else "lower"
    columns = [column("rank")] + [
        column(labels[name], numeric=_is_numeric(runs, name), sortable=not name.startswith("test/")) for name in wanted
    ]
    rows = [[number_cell(ranks.get(run.name)), *(cell_of(run, name) for name in wanted)] for run in runs]
    data = plain(table.data or "unknown data")
    return {"caption": f"{data}, ranked by {table.monitor} ({better} is better)", "columns": columns, "rows": rows}


def column(label: str, *, numeric: bool = True, sortable: bool = True) -> dict[str, Any]:
    return {"label": plain(label), "numeric": numeric, "sortable": sortable}


def cell_of(run: Run, name: str) -> dict[str, Any]:
    value = run.at(name)
    text = shown(run, name)
    if name == "status":
        return {"text": text, "value": text, "kind": f"status {text}" if text in _STATUSES else "status"}
    numeric = is_number(value)
    return {"text": text, "value": value if numeric else text, "kind": "number" if numeric or is_metric(name) else ""}


def text_cell(text: str) -> dict[str, Any]:
    return {"text": plain(text), "value": plain(text), "kind": ""}


def number_cell(value: int | None) -> dict[str, Any]:
    return {"text": "" if value is None else str(value), "value": "" if value is None else value, "kind": "number"}


def _is_numeric(runs: Sequence[Run], name: str) -> bool:
    values = [value for run in runs if (value := run.at(name)) is not None]
    return is_metric(name) or (bool(values) and all(is_number(value) for value in values))
