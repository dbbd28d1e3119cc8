"""metrics.csv, a row an epoch; and which metrics can be monitored."""

import csv
import os
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import write_atomic
from lightsweep.core.metrics import BY_EPOCH_NAMES, mode_of

COLUMNS = ("epoch", *BY_EPOCH_NAMES, "lr", "seconds", "images_per_second")

Row = dict[str, float]


class Monitor(NamedTuple):
    """The metric by which an epoch, and a run, is the best; max or min."""

    metric: str
    mode: str


def check_monitor(key: str, metric: str, mode: str) -> None:
    """Refuse a metric that is never measured, and a mode that would keep the worst.

    Args:
        key: the config's node that holds metric and mode, as ``monitor`` or ``callbacks.early_stopping``.
    """
    checks.choice(f"{key}.metric" if key == "monitor" else f"{key}.monitor", metric, BY_EPOCH_NAMES)
    checks.choice(f"{key}.mode", mode, ("min", "max"))
    right = mode_of(metric)
    checks.require(mode == right, f"{key}.mode", f"be {right} for {metric}", mode)


class MetricsFile:
    """metrics.csv of a run: one row an epoch, written as the epoch ends; an epoch's number counts from 1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = _read(path) if path.exists() else []

    def reopen(self, epochs: int) -> None:
        """Keep the rows of the first `epochs` epochs, and drop what a stopped run wrote after its last checkpoint."""
        self.rows = [row for row in self.rows if row["epoch"] <= epochs]
        write_atomic(self.path, _text([COLUMNS, *map(_cells, self.rows)]))

    def append(self, row: Row) -> None:
        self.rows.append(row)
        with self.path.open("r+", encoding="utf-8") as file:  # not "a": a file that is gone would begin without a head
            file.seek(0, os.SEEK_END)
            file.write(_text([_cells(row)]))

    def best(self, metric: str, mode: str) -> Row | None:
        """The first row with the best value; None before the first value."""
        measured = [row for row in self.rows if metric in row]
        if not measured:
            return None
        return (max if mode == "max" else min)(measured, key=lambda row: row[metric])


def read(path: Path) -> list[Row]:
    """The rows of a metrics.csv, without cells that are empty.

    Raises:
        ConfigError: the file is missing, or no text.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing: no epoch was finished, or it is no run's folder")
    return _read(path)


def _read(path: Path) -> list[Row]:
    rows = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for cells in csv.DictReader(file):
                row = {name: float(cell) for name, cell in cells.items() if cell != ""}
                rows.append({**row, "epoch": int(row["epoch"])})
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no table of metrics ({error.reason})") from error
    except (TypeError, ValueError, KeyError, OverflowError, csv.Error):
        pass  # a line cut off by a kill, or none of ours: what follows is dropped
    return rows


def _cells(row: Row) -> list[object]:
    return [row.get(column, "") for column in COLUMNS]


def _text(lines: Iterable[Iterable[object]]) -> str:
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
