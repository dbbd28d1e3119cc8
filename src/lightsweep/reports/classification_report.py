"""Precision, recall, F1, support and ROC AUC of each class on a part of the data: as text, JSON and a table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightsweep.core.text import printable_line

_FIELDS = ("precision", "recall", "f1", "roc_auc")
_WIDTH = 100  # columns of the text file
_NAMED = 5  # classes in a note


@dataclass(frozen=True)
class Line:
    """Scores in [0, 1] of a class, or an average over classes; NaN where one is not defined.

    `roc_auc` is the class against all others.
    """

    name: str
    precision: float
    recall: float
    f1: float
    roc_auc: float
    support: int


@dataclass(frozen=True)
class Report:
    """A part's scores. `notes` say what could not be measured, and why."""

    part: str
    accuracy: float
    classes: tuple[Line, ...]
    averages: tuple[Line, ...]
    notes: tuple[str, ...]


def measure_report(part: str, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> Report:
    """Measure with scikit-learn. A class without images has no scores, and the averages leave it out.

    Args:
        part: train, val or test.
        labels: true classes ``int64 [N]``.
        probabilities: ``float [N, K]``.
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted = probabilities.argmax(1)
    every = np.arange(len(class_names))
    *columns, support = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    for scores in columns:
        scores[support == 0] = math.nan
    columns.append(np.array([_roc_auc(labels == column, probabilities[:, column]) for column in every]))
    classes = tuple(
        _line(name, scores, images) for name, *scores, images in zip(class_names, *columns, support, strict=True)
    )
    averages = (
        _average("macro average", columns, support, np.ones(len(support))),
        _average("weighted average", columns, support, support),
    )
    return Report(part, float((predicted == labels).mean()), classes, averages, _notes(classes, probabilities))


def _line(name: str, scores: Iterable[float], support: int) -> Line:
    return Line(name=name, support=int(support), **dict(zip(_FIELDS, map(float, scores), strict=True)))


def _roc_auc(positive: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under a class's curve against all others; NaN where there are only its images or none of it.

    Args:
        positive: ``bool [N]``.
        probabilities: of the class, ``float [N]``.
    """
    from scipy.stats import rankdata

    ours = int(positive.sum())
    pairs = ours * (len(positive) - ours)
    if not pairs or not np.isfinite(probabilities).all():
        return math.nan
    # Mann and Whitney's U takes a sixth of the time of scikit-learn's curve: a set may have 1000 classes.
    return float((rankdata(probabilities)[positive].sum() - ours * (ours + 1) / 2) / pairs)


def _average(name: str, columns: Sequence[np.ndarray], support: np.ndarray, weights: np.ndarray) -> Line:
    def mean(scores: np.ndarray) -> float:
        known = np.isfinite(scores)
        return float(np.average(scores[known], weights=weights[known])) if known.any() else math.nan

    return _line(name, map(mean, columns), support.sum())


def _notes(classes: Sequence[Line], probabilities: np.ndarray) -> tuple[str, ...]:
    if not np.isfinite(probabilities).all():
        return ("the network's outputs are not finite numbers: ROC AUC is left out",)
    named = {
        "without images, left out of the averages": [line.name for line in classes if line.support == 0],
        "no ROC AUC, as there are no images of other classes": [
            line.name for line in classes if line.support and math.isnan(line.roc_auc)
        ],
    }
    return tuple(f"{reason}: {_list_names(names)}" for reason, names in named.items() if names)


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable_line, names[:_NAMED])) + more


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values; what is not defined is None."""
    return {
        "part": report.part,
        "images": sum(line.support for line in report.classes),
        "accuracy": report.accuracy,
        "classes": [_line_as_json(line) for line in report.classes],
        **{line.name.replace(" ", "_"): _line_as_json(line) for line in report.averages},
        "notes": list(report.notes),
    }


def _line_as_json(line: Line) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in asdict(line).items()}  # NaN is not itself


def report_as_text(report: Report) -> str:
    """The report as a table of plain text."""
    text = StringIO()
    print_report(report, Console(file=text, width=_WIDTH, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def print_report(report: Report, console: Console) -> None:
    """Print the report."""
    table = Table(box=None, header_style="bold", title_justify="left", pad_edge=False)
    table.add_column("class", overflow="ellipsis", max_width=40)
    for name in ("precision", "recall", "F1", "ROC AUC", "support"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in report.classes:
        table.add_row(*_cells(line))
    table.add_row()
    for line in report.averages:
        table.add_row(*_cells(line))
    console.print(Text(f"{report.part}: accuracy {report.accuracy:.4f}"))
    console.print(table)
    for note in report.notes:
        console.print(Text(note))


def _cells(line: Line) -> tuple[Text, ...]:
    scores = (getattr(line, field) for field in _FIELDS)
    texts = ("" if math.isnan(score) else f"{score:.4f}" for score in scores)
    return (Text(printable_line(line.name)), *map(Text, texts), Text(f"{line.support:,}"))
