"""The metrics of a run, declared once, and how their differences are given.

Files, monitors, tables, loggers and the sweep read this list. A further metric is a further `Metric`
here, and its value in `lightsweep.training.classifier.Sums.means`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PARETO = "pareto"  # the column of the rank among several objectives
PARTS = ("train", "val", "test")
_POINTS, _PLAIN = DIFFERENCE_COLUMNS = ("points_to_baseline", "to_baseline")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of a part of the data; in files and monitors its name is ``val/NAME``.

    Args:
        title: its name in tables.
        mode: max or min, the better value.
        is_share: it is a share of the images, and a difference is given in percentage points.
        is_main: it is always shown; others only where they are monitored.
        by_epoch: the parts on which every epoch measures it.
        at_end: it is measured on every part when training has ended.
        compared: the parts whose final values are columns of the loggers' table of runs and of the leaderboard.
    """

    name: str
    title: str
    mode: str
    is_share: bool = False
    is_main: bool = False
    by_epoch: Sequence[str] = ("train", "val")
    at_end: bool = True
    compared: Sequence[str] = ()


METRICS = (
    Metric(name="loss", title="loss", mode="min", is_main=True, compared=("val",)),
    Metric(name="acc", title="accuracy", mode="max", is_share=True, is_main=True, compared=PARTS),
    # what training minimises, with smoothing, class weights and L2; the loss is cross-entropy alone
    Metric(name="objective", title="objective", mode="min", is_main=True, by_epoch=("val",), at_end=False),
    Metric(name="f1", title="macro F1", mode="max", compared=("val", "test")),
    Metric(name="balanced_acc", title="balanced acc.", mode="max", is_share=True),
)

FINAL = tuple(metric for metric in METRICS if metric.at_end)
FINAL_NAMES = tuple(f"{part}/{metric.name}" for part in PARTS for metric in FINAL)
BY_EPOCH_NAMES = tuple(
    f"{part}/{metric.name}"
    for is_main in (True, False)
    for part in ("train", "val")
    for metric in METRICS
    if metric.is_main == is_main and part in metric.by_epoch
)


def compared_names(part: str) -> list[str]:
    """The metrics of a part by which runs are compared, ``val/acc`` and so on, by name."""
    return [f"{part}/{name}" for name in sorted(metric.name for metric in METRICS if part in metric.compared)]


def find_metric(name: str) -> Metric | None:
    """The metric that ``val/acc`` or ``acc`` names; None where it is none of these."""
    return next((metric for metric in METRICS if metric.name == name.rpartition("/")[2]), None)


def mode_of(name: str) -> str:
    """max or min: which value of ``val/acc`` or its like is the better one, the larger or the smaller."""
    metric = find_metric(name)
    return metric.mode if metric else "max"


def in_points(metric: str) -> bool:
    """Whether differences of this metric are given in percentage points."""
    found = find_metric(metric)
    return found is not None and found.is_share


def format_difference(metric: str, value: float) -> str:
    """A signed difference, of an accuracy in percentage points."""
    return f"{100 * value:+z.2f} points" if in_points(metric) else f"{value:+z.4f}"


def difference_column(metric: str) -> str:
    """The name of the column with differences to the baseline."""
    return _POINTS if in_points(metric) else _PLAIN


def difference_to_baseline(metric: str, value: float, baseline: float) -> float:
    """The value in that column."""
    return round((value - baseline) * (100 if in_points(metric) else 1), 8)


def format_difference_cell(name: str, value: float) -> str:
    """The text of a cell of that column."""
    return f"{value:+z.2f}" if name == _POINTS else f"{value:+z.4f}"
