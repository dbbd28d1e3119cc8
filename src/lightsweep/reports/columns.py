"""Values as text for people: numbers short, names harmless."""

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import METRICS
from lightsweep.core.text import DIFFERENCE_COLUMNS, format_difference_cell, printable_line
from lightsweep.reports.runs import Run, is_metric

_FRACTIONS = ("gap", "auc", *(metric.name for metric in METRICS))
_COUNTS = ("params", "params_keras")


def format_value(column: str, value: Any, spread: Any = None) -> str:
    """A value of a column, with its standard deviation where there is one."""
    if value is None:
        return ""
    if not is_number(value):
        return printable_line(str(value).lower() if isinstance(value, bool) else value)
    shown = _number(column, value)
    varies = is_number(spread) and not (spread == 0 and column in _COUNTS)
    return f"{shown} ± {_number(column, spread)}" if varies else shown


def _number(column: str, value: float) -> str:
    if column in DIFFERENCE_COLUMNS:
        return format_difference_cell(column, value)
    if is_metric(column) or column in _FRACTIONS:
        return f"{value:z.4f}"
    if column == "seconds":
        return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    if column in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value != int(value) or abs(value) >= 1e15 else str(int(value))


SD = " sd"  # row["val/acc sd"] is the standard deviation of row["val/acc"]


def format_cell(run: Run, column: str) -> str:
    """A run's cell as text."""
    if column == "status":
        return printable_line(run.ending)
    text = format_value(column, run.at(column), run.row.get(column + SD))
    return f"{text} (baseline)" if column == "run" and run.row.get("baseline") is True else text


def known_columns(runs: Iterable[Run]) -> list[str]:
    """Every column that some run has."""
    keys: dict[str, None] = {}
    for run in runs:
        if not run.row.keys() <= keys.keys():
            keys |= dict.fromkeys(run.row)
    return list(keys)


def resolve_column(name: str, columns: Collection[str], *, option: str) -> str:
    """The column that a name means: in full, or by its last parts.

    Raises:
        ConfigError: none, or several do. Lists what there is.
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
    near = difflib.get_close_matches(lowered, [*columns, *(_last(column) for column in columns)], n=1)
    guess = f"; did you mean {printable_line(near[0])}?" if near else "."
    raise ConfigError(
        f"{option}: there is no column {printable_line(name)}{guess} Known are {_listed(sorted(columns))}"
    )


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


def _last(column: str) -> str:
    return column.rpartition(".")[2]


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(printable_line(column) for column in columns)


def escape_tags(value: Any) -> str:
    """A text that plotly, which knows some tags, shows as it is."""
    return printable_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
