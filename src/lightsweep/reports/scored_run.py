"""What a run shows when it has been scored: its classification report, and the callback that keeps figures/*.png."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightsweep.core import checks
from lightsweep.core.files import replace_atomically, write_atomic
from lightsweep.core.text import printable_line
from lightsweep.data.module import ImageDataModule
from lightsweep.runs.results import Row
from lightsweep.training.classifier import Score
from lightsweep.training.loggers import Trackers

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


log = logging.getLogger(__name__)

FOLDER = "figures"
_MIXED = 0.05  # share from which a class of a mixed image is named


@dataclass(frozen=True)
class ScoredRun:
    """A run that has been trained and scored, and whose result has been written.

    Args:
        folder: the run's.
        rows: of its metrics.csv.
        best_epoch: by the monitored metric, from 1; 0 where it was never measured.
        scores: by part.
        data: set up.
        train_loader: the `TrainLoader` that it was trained with.
        trackers: of the run's loggers.
    """

    folder: Path
    rows: Sequence[Row]
    best_epoch: float
    scores: Mapping[str, Score]
    data: ImageDataModule
    train_loader: Any
    trackers: Trackers

    @property
    def part(self) -> str:
        """The part that is shown: test, or val where test was not scored."""
        return "test" if "test" in self.scores else "val"

    def report(self) -> Report:
        """The classification report on that part."""
        labels, probabilities = self.data.labels(self.part), self.scores[self.part].probabilities
        return measure_report(self.part, labels, probabilities, self.data.class_names)


class AfterScoring:
    """For a Lightning callback: train.py calls `on_scored` when a run has been scored and its result written."""

    def on_scored(self, run: ScoredRun) -> None:
        raise NotImplementedError


def show_scored_run(run: ScoredRun, callbacks: Iterable[Callback], *, report: bool) -> None:
    """Print the classification report, where that is wanted, and call `on_scored` of the callbacks that have it."""
    if report:
        print_report(run.report(), Console())
    for callback in callbacks:
        if isinstance(callback, AfterScoring):
            callback.on_scored(run)


class RunFigures(Callback, AfterScoring):
    """Writes pictures and the classification report, and hands them to the loggers.

    A file that cannot be made is named in a warning; the run's result is not affected.

    Args:
        samples: images in a grid of them.
        mistakes: images in the grid of the most confidently wrong ones.
        in_trials: show the trials of a sweep too.
    """

    def __init__(self, *, samples: int, mistakes: int, in_trials: bool) -> None:
        checks.integer("callbacks.figures.samples", samples, "[1, 200]")
        checks.integer("callbacks.figures.mistakes", mistakes, "[1, 200]")
        checks.flag("callbacks.figures.in_trials", in_trials)
        self.samples, self.mistakes, self.in_trials = samples, mistakes, in_trials

    def on_scored(self, run: ScoredRun) -> None:
        _attempt(f"report_{run.part}.txt", partial(_keep_report, run))
        for name, draw in list_pictures(run, samples=self.samples, mistakes=self.mistakes).items():
            _attempt(f"{FOLDER}/{name}.png", partial(_keep_picture, run, name, draw))


def _attempt(name: str, keep: Callable[[], None]) -> None:
    try:
        keep()
    except Exception as error:  # whatever it is: the scores matter more
        log.warning("%s is missing (%s)", name, " ".join(f"{type(error).__name__}: {error}".split()))


def _keep_picture(run: ScoredRun, name: str, draw: Callable[[], bytes]) -> None:
    path = run.folder / FOLDER / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    png = draw()
    with replace_atomically(path) as temporary:
        temporary.write_bytes(png)
    run.trackers.figure(f"{FOLDER}/{name}", path, len(run.rows))


def _keep_report(run: ScoredRun) -> None:
    report = run.report()
    path = run.folder / f"report_{run.part}.txt"
    write_atomic(path, report_as_text(report))
    write_atomic(path.with_suffix(".json"), json.dumps(report_as_json(report), indent=1) + "\n")
    run.trackers.text(f"report/{run.part}", path, len(run.rows))


def list_pictures(run: ScoredRun, *, samples: int, mistakes: int) -> dict[str, Callable[[], bytes]]:
    """By name, what draws a PNG file."""
    from lightsweep.reports import pictures  # matplotlib takes half a second to import

    data, part, score = run.data, run.part, run.scores[run.part]
    names, labels = data.class_names, data.labels(part)
    heading = f"{part}: {int(score.confusion.sum()):,} images, accuracy {score.metrics['acc']:.4f}"

    def draw_class_counts():
        counts = {part: np.bincount(data.labels(part), minlength=len(names)) for part in ("train", "val", "test")}
        return pictures.draw_class_counts(counts, names)

    def draw_train_images():
        return pictures.draw_grid(*_train_images(run, samples), "train: images as the network sees them")

    def draw_val_images():
        chosen = pictures.choose_across_classes(data.labels("val"), samples)
        captions = [names[label] for label in data.labels("val")[chosen]]
        return pictures.draw_grid(data.images("val", chosen), captions, "val: images of each class")

    images = partial(data.images, part)
    drawn: dict[str, Callable[[], Any]] = {
        "curves": partial(pictures.draw_curves, run.rows, run.best_epoch),
        f"confusion_{part}": partial(pictures.draw_confusion_counts, score.confusion, names, heading),
        f"confusion_{part}_normalised": partial(pictures.draw_confusion_shares, score.confusion, names, heading),
        f"most_wrong_{part}": partial(
            pictures.draw_mistakes, part, labels, score.probabilities, names, images, mistakes
        ),
        "class_counts": draw_class_counts,
        "images_train": draw_train_images,
        "images_val": draw_val_images,
    }
    return {name: lambda draw=draw: pictures.render_png(draw()) for name, draw in drawn.items()}  # type: ignore[misc]


def _train_images(run: ScoredRun, count: int) -> tuple[np.ndarray, list[str]]:
    """The first images of the first batch ``[count, C, H, W]``, and their captions."""
    loader = run.train_loader
    loader.set_epoch(0)
    inputs, targets = next(iter(loader))
    images = loader.normalization.undo(inputs[:count]).cpu().numpy()
    return images, [_caption(target, run.data.class_names) for target in targets[:count].cpu()]


def _caption(target: torch.Tensor, names: tuple[str, ...]) -> str:
    """The class of a target, a number or shares ``float [K]`` that a mixed image has of the classes."""
    if target.ndim == 0:
        return names[int(target)]
    shares, classes = target.sort(descending=True)
    mixed = [(share, names[k]) for share, k in zip(shares.tolist(), classes.tolist(), strict=True) if share >= _MIXED]
    return "\n".join(f"{100 * share:.0f}% {name}" for share, name in mixed[:2])
