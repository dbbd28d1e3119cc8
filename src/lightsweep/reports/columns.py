"""Columns of a table: the names that people type for them, and their values as text."""

import difflib
import html
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import DIFFERENCE_COLUMNS, format_difference_cell, printable_line
from lightsweep.reports.runs import Run, is_metric

SD = " sd"  # row["val/acc sd"] is the standard deviation of row["val/acc"]
_COUNTS = ("params", "params_keras")


def list_columns(runs: Iterable[Run]) -> list[str]:
    """Every column that some run has."""
    keys = {"run": None}
    for run in runs:
        if not run.row.keys() <= keys.keys():
            keys |= dict.fromkeys(run.row)
    return list(keys)


def resolve_column(name: str, columns: Collection[str], *, option: str) -> str:
    """The column that a name means, in full or by its last parts: ``lr`` is ``optimizer.lr``.

    Raises:
        ConfigError: no column or several have this name. Lists what there is.
    """
    if name in columns:
        return name
    lowered = name.lower()
    matches = [column for column in columns if column.lower() == lowered]
    matches = matches or [column for column in columns if column.lower().endswith(f".{lowered}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"{option}: {printable_line(name)} may be {_listed(matches)}; write more of it")
    ends = [column.rpartition(".")[2] for column in columns]
    near = difflib.get_close_matches(lowered, [*columns, *ends], n=1)
    guess = f"; did you mean {printable_line(near[0])}?" if near else "."
    raise ConfigError(
        f"{option}: there is no column {printable_line(name)}{guess} Known are {_listed(sorted(columns))}"
    )


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(printable_line, columns))


def short_labels(columns: Sequence[str]) -> dict[str, str]:
    """The shortest labels that keep these columns apart."""
    return {column: _shortest(column, columns) for column in columns}


def _shortest(column: str, columns: Sequence[str]) -> str:
    parts = column.split(".")
    if is_metric(column):
        return column
    for count in range(1, len(parts)):
        label = ".".join(parts[-count:])
        if sum(other == label or other.endswith(f".{label}") for other in columns) == 1:
            return label
    return column


def is_numeric(column: str, runs: Iterable[Run]) -> bool:
    """Whether a column holds numbers only."""
    values = [value for run in runs if (value := run.at(column)) is not None]
    return is_metric(column) or (bool(values) and all(map(is_number, values)))


def format_cell(run: Run, column: str) -> str:
    """A run's cell as text."""
    if column == "status":
        return printable_line(run.status_text)
    text = format_value(column, run.at(column), run.row.get(column + SD))
    return f"{text} (baseline)" if column == "run" and run.row.get("baseline") is True else text


def format_value(column: str, value: Any, spread: Any = None) -> str:
    """A value of a column, with its standard deviation where there is one."""
    if value is None:
        return ""
    if not is_number(value):
        return printable_line(str(value).lower() if isinstance(value, bool) else value)
    shown = _format_number(column, value)
    varies = is_number(spread) and not (spread == 0 and column in _COUNTS)
    return f"{shown} ± {_format_number(column, spread)}" if varies else shown


def _format_number(column: str, value: float) -> str:
    if column in DIFFERENCE_COLUMNS:
        return format_difference_cell(column, value)
    if is_metric(column) or column == "gap":
        return f"{value:z.4f}"
    if column == "seconds":
        return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    if column in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value != int(value) or abs(value) >= 1e15 else str(int(value))


def escape_tags(value: Any) -> str:
    """A text that plotly, which interprets some tags, shows as it is."""
    return html.escape(printable_line(value), quote=False)
