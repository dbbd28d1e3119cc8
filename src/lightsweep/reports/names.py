"""Columns by the names that people type, and back: ``lr`` is ``optimizer.lr`` as long as nothing else ends so."""

import difflib
from collections.abc import Collection, Iterable, Sequence

from lightsweep.core.errors import ConfigError
from lightsweep.reports.runs import Run
from lightsweep.reports.text import is_metric, plain


def known(runs: Iterable[Run]) -> list[str]:
    """Every column that some run has."""
    keys: dict[str, None] = {}
    for run in runs:
        if not run.row.keys() <= keys.keys():
            keys |= dict.fromkeys(run.row)
    return list(keys)


def resolve(name: str, columns: Collection[str], *, option: str) -> str:
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
        raise ConfigError(f"{option}: {plain(name)} may be {_listed(matches)}; write more of it")
    near = difflib.get_close_matches(lowered, [*columns, *(_last(column) for column in columns)], n=1)
    guess = f"; did you mean {plain(near[0])}?" if near else "."
    raise ConfigError(f"{option}: there is no column {plain(name)}{guess} Known are {_listed(sorted(columns))}")


def short(columns: Sequence[str]) -> dict[str, str]:
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
    return ", ".join(plain(column) for column in columns)
