"""What a run leaves beside its result.json: its epochs and its confusion counts."""

import csv
import math
from io import StringIO
from pathlib import Path

import numpy as np

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import read_regular
from lightsweep.core.text import plain_text
from lightsweep.reports.runs import Run
from lightsweep.runs import metrics

_MOST_CLASSES = 1000


def epochs(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv; none where it is missing or damaged."""
    try:
        rows = metrics.read(folder / "metrics.csv")
    except (ConfigError, OSError, ValueError, KeyError, OverflowError, csv.Error):
        return []
    return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]


def curve(folder: Path, metric: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one metric."""
    points = [(row["epoch"], row[metric]) for row in epochs(folder) if metric in row and "epoch" in row]
    return [epoch for epoch, _ in points], [value for _, value in points]


def best_epoch(run: Run) -> float | None:
    """The first epoch with the best value of what was monitored. (That of a `result.json` is the epoch that was scored,
    which may be the last.)"""
    epochs, values = curve(run.folder, run.monitor)
    return epochs[values.index((max if run.maximises else min)(values))] if values else None


def confusion(run: Run, part: str = "val") -> tuple[list[str], np.ndarray] | None:
    """Class names and counts ``[K, K]``, true class by row; summed over the run's seeds. None where there is none."""
    found = [counts for member in (run.seeds or (run,)) if (counts := _confusion(member.folder, part))]
    if not found or any(names != found[0][0] for names, _ in found):
        return None
    return found[0][0], np.sum([counts for _, counts in found], axis=0)


def _confusion(folder: Path, part: str) -> tuple[list[str], np.ndarray] | None:
    try:
        text = read_regular(folder / f"confusion_{part}.csv")
        head, *rows = csv.reader(StringIO(text, newline=""))
        counts = np.array([[int(cell) for cell in row[1:]] for row in rows], dtype=float)
    except (OSError, ValueError, OverflowError, csv.Error):
        return None
    names = [plain_text(name) for name in head[1:]]
    if not 0 < len(names) <= _MOST_CLASSES or counts.shape != (len(names), len(names)):
        return None
    return names, counts
