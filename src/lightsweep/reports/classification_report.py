"""Precision, recall, F1, support and ROC AUC of each class on a part of the data: as text, JSON and a table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightsweep.core.text import one_line

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
    """Measure with scikit-learn. A class without images has no scores, and no part in the averages.

    Args:
        part: train, val or test.
        labels: true classes ``int64 [N]``.
        probabilities: ``float [N, K]``.
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted = probabilities.argmax(1)
    every = np.arange(len(class_names))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    roc_auc = _roc_auc(labels, probabilities)
    absent = support == 0
    for scores in (precision, recall, f1):
        scores[absent] = math.nan
    columns = (precision, recall, f1, roc_auc)
    rows = zip(class_names, *columns, support, strict=True)
    classes = tuple(
        Line(name, float(p), float(r), float(f), float(auc), int(images)) for name, p, r, f, auc, images in rows
    )
    averages = (
        _average("macro average", columns, support, np.ones(len(support))),
        _average("weighted average", columns, support, support),
    )
    return Report(part, float((predicted == labels).mean()), classes, averages, _notes(classes, probabilities))


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values; what is not defined is None."""
    images = sum(line.support for line in report.classes)
    return {
        "part": report.part,
        "images": images,
        "accuracy": report.accuracy,
        "classes": [_plain(line) for line in report.classes],
        **{line.name.replace(" ", "_"): _plain(line) for line in report.averages},
        "notes": list(report.notes),
    }


def report_as_text(report: Report) -> str:
    """The report as a table of plain text."""
    console = Console(file=StringIO(), width=_WIDTH, color_system=None, force_terminal=False)
    print_report(report, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def print_report(report: Report, console: Console) -> None:
    """Print the report."""
    table = Table(box=None, header_style="bold", title_justify="left", pad_edge=False)
    table.add_column("class", overflow="ellipsis", max_width=40)
    for name in ("precision", "recall", "F1", "ROC AUC", "support"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in report.classes:
        table.add_row(*_cells(line))
    table.add_section()
    table.add_row()
    for line in report.averages:
        table.add_row(*_cells(line))
    console.print(Text(f"{report.part}: accuracy {report.accuracy:.4f}"))
    console.print(table)
    for note in report.notes:
        console.print(Text(note))


def _roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Area under each class's curve against all others ``[K]``; NaN where there are only its images or none of it."""
    from scipy.stats import rankdata

    def against_others(column: int) -> float:
        positive = labels == column
        ours = int(positive.sum())
        pairs = ours * (len(labels) - ours)
        if not pairs or not np.isfinite(probabilities[:, column]).all():
            return math.nan
        # Mann and Whitney's U, a sixth of the time of scikit-learn's curve: a set may have 1000 classes.
        ranks = rankdata(probabilities[:, column])
        return float((ranks[positive].sum() - ours * (ours + 1) / 2) / pairs)

    return np.array([against_others(column) for column in range(probabilities.shape[1])])


def _average(name: str, columns: Sequence[np.ndarray], support: np.ndarray, weights: np.ndarray) -> Line:
    def mean(scores: np.ndarray) -> float:
        known = np.isfinite(scores)
        return float(np.average(scores[known], weights=weights[known])) if known.any() else math.nan

    scores = dict(zip(_FIELDS, map(mean, columns), strict=True))
    return Line(name, support=int(support.sum()), **scores)


def _notes(classes: Sequence[Line], probabilities: np.ndarray) -> tuple[str, ...]:
    if not np.isfinite(probabilities).all():
        return ("the network's outputs are not finite numbers: ROC AUC is left out",)
    absent = [line.name for line in classes if line.support == 0]
    unmeasured = [line.name for line in classes if line.support and math.isnan(line.roc_auc)]
    return (
        *_note(absent, lambda names: f"without images, left out of the averages: {names}"),
        *_note(unmeasured, lambda names: f"no ROC AUC, for there are no images of other classes: {names}"),
    )


def _note(names: Sequence[str], say: Callable[[str], str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [say(", ".join(map(one_line, names[:_NAMED])) + more)]


def _cells(line: Line) -> tuple[Text, ...]:
    scores = (getattr(line, field) for field in _FIELDS)
    return (
        Text(one_line(line.name)),
        *(Text("" if math.isnan(score) else f"{score:.4f}") for score in scores),
        Text(f"{line.support:,}"),
    )


def _plain(line: Line) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(line).items()
    }
