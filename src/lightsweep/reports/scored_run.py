"""What a run shows when it has been scored: its classification report, and the callback that writes figures/*.png."""

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
from lightsweep.core.metrics import PARTS
from lightsweep.core.text import printable_line
from lightsweep.data.module import ImageDataModule
from lightsweep.runs.results import Row
from lightsweep.training.classifier import Score
from lightsweep.training.loggers import Trackers

log = logging.getLogger(__name__)

FOLDER = "figures"
_MIXED = 0.05  # share from which a class of a mixed image is named
_NAMED = 5  # classes in a note


@dataclass(frozen=True)
class Line:
    """Scores in [0, 1] of a class (ROC AUC against all others), or an average over classes; NaN where not defined."""

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
    """Measure what scikit-learn's report has, and ROC AUC. A class without images has no scores, and the averages leave
    it out; one that is never predicted has precision 0.

    Args:
        part: train, val or test.
        labels: true classes ``int64 [N]``.
        probabilities: ``float [N, K]``.
    """
    predicted = probabilities.argmax(1)
    images = (labels, predicted, labels[predicted == labels])
    support, found, right = (np.bincount(each, minlength=len(class_names)) for each in images)  # [K] each
    columns = [right / np.maximum(count, 0.5) for count in (found, support, (found + support) / 2)]
    for scores in columns:
        scores[support == 0] = math.nan
    every = range(len(class_names))
    columns.append(np.array([_roc_auc(labels == column, probabilities[:, column]) for column in every]))
    rows = zip(class_names, *columns, support, strict=True)
    classes = tuple(_line(name, scores, images) for name, *scores, images in rows)
    known = np.ma.masked_invalid(columns)  # [4, K]
    averages = tuple(
        _line(name, np.ma.filled(np.ma.average(known, axis=1, weights=weights), math.nan), support.sum())
        for name, weights in (("macro average", np.ones(len(support))), ("weighted average", support))
    )
    return Report(part, float((predicted == labels).mean()), classes, averages, _notes(classes, probabilities))


def _line(name: str, scores: Iterable[float], support: int) -> Line:
    precision, recall, f1, roc_auc = map(float, scores)
    return Line(name, precision, recall, f1, roc_auc, int(support))


def _roc_auc(positive: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the curve of a class against all others; NaN where there are only its images or none of it.

    Args:
        positive: whether an image is of the class, ``bool [N]``.
        probabilities: of the class, ``float [N]``.
    """
    from scipy.stats import rankdata

    ours = int(positive.sum())
    pairs = ours * (len(positive) - ours)
    if not pairs or not np.isfinite(probabilities).all():
        return math.nan
    # Mann and Whitney's U takes a sixth of the time of scikit-learn's curve: a set may have 1000 classes.
    return float((rankdata(probabilities)[positive].sum() - ours * (ours + 1) / 2) / pairs)


def _notes(classes: Sequence[Line], probabilities: np.ndarray) -> tuple[str, ...]:
    if not np.isfinite(probabilities).all():
        return ("the network's outputs are not finite numbers: ROC AUC is left out",)
    reasons = {
        "without images, left out of the averages": lambda line: not line.support,
        "no ROC AUC, as there are no images of other classes": lambda line: line.support and math.isnan(line.roc_auc),
    }
    notes = []
    for reason, applies in reasons.items():
        names = [printable_line(line.name) for line in classes if applies(line)]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            notes.append(f"{reason}: {', '.join(names[:_NAMED])}{more}")
    return tuple(notes)


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values; what is not defined is None."""

    def as_json(line: Line) -> dict[str, Any]:
        return {key: None if value != value else value for key, value in asdict(line).items()}  # NaN is not itself

    return {
        "part": report.part,
        "images": sum(line.support for line in report.classes),
        "accuracy": report.accuracy,
        "classes": [as_json(line) for line in report.classes],
        **{line.name.replace(" ", "_"): as_json(line) for line in report.averages},
        "notes": list(report.notes),
    }


def report_as_text(report: Report) -> str:
    """The report as a table of plain text."""
    text = StringIO()
    print_report(report, Console(file=text, width=100, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def print_report(report: Report, console: Console) -> None:
    """Print the report."""
    table = Table(box=None, header_style="bold", title_justify="left", pad_edge=False)
    table.add_column("class", overflow="ellipsis", max_width=40)
    for name in ("precision", "recall", "F1", "ROC AUC", "support"):
        table.add_column(name, justify="right", no_wrap=True)
    for cells in (*map(_cells, report.classes), (), *map(_cells, report.averages)):
        table.add_row(*cells)
    console.print(Text(f"{report.part}: accuracy {report.accuracy:.4f}"))
    console.print(table)
    for note in report.notes:
        console.print(Text(note))


def _cells(line: Line) -> tuple[Text, ...]:
    scores = (line.precision, line.recall, line.f1, line.roc_auc)
    texts = ("" if math.isnan(score) else f"{score:.4f}" for score in scores)
    return (Text(printable_line(line.name)), *map(Text, texts), Text(f"{line.support:,}"))


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
    """Print the classification report, if asked for, and call `on_scored` of the callbacks that have it."""
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
        files = {f"report_{run.part}.txt": partial(_write_report, run)}
        for name, draw in list_pictures(run, samples=self.samples, mistakes=self.mistakes).items():
            files[f"{FOLDER}/{name}.png"] = partial(_write_picture, run, name, draw)
        for name, write in files.items():
            try:
                write()
            except Exception as error:  # whatever it is: the scores matter more
                log.warning("%s is missing (%s)", name, " ".join(f"{type(error).__name__}: {error}".split()))


def _write_picture(run: ScoredRun, name: str, draw: Callable[[], bytes]) -> None:
    path = run.folder / FOLDER / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(draw())
    run.trackers.figure(f"{FOLDER}/{name}", path, len(run.rows))


def _write_report(run: ScoredRun) -> None:
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
    chosen = pictures.choose_across_classes(data.labels("val"), samples)
    captions = [names[label] for label in data.labels("val")[chosen]]
    drawn: dict[str, Callable[[], Any]] = {
        "curves": partial(pictures.draw_curves, run.rows, run.best_epoch),
        f"confusion_{part}": partial(pictures.draw_confusion_counts, score.confusion, names, heading),
        f"confusion_{part}_normalised": partial(pictures.draw_confusion_shares, score.confusion, names, heading),
        f"most_wrong_{part}": partial(
            pictures.draw_mistakes, part, labels, score.probabilities, names, partial(data.images, part), mistakes
        ),
        "class_counts": lambda: pictures.draw_class_counts(
            {part: np.bincount(data.labels(part), minlength=len(names)) for part in PARTS}, names
        ),
        "images_train": lambda: pictures.draw_grid(
            *_train_images(run, samples), "train: images as the network sees them"
        ),
        "images_val": lambda: pictures.draw_grid(data.images("val", chosen), captions, "val: images of each class"),
    }
    return {name: lambda draw=draw: pictures.render_png(draw()) for name, draw in drawn.items()}  # type: ignore[misc]


def _train_images(run: ScoredRun, count: int) -> tuple[np.ndarray, list[str]]:
    """The first images of the first batch ``[count, C, H, W]``, and their captions."""
    run.train_loader.set_epoch(0)
    inputs, targets = next(iter(run.train_loader))
    images = run.train_loader.normalization.undo(inputs[:count]).cpu().numpy()
    return images, [_caption(target, run.data.class_names) for target in targets[:count].cpu()]


def _caption(target: torch.Tensor, names: tuple[str, ...]) -> str:
    """The class of a target, a number or shares ``float [K]`` that a mixed image has of the classes."""
    if target.ndim == 0:
        return names[int(target)]
    shares, classes = target.sort(descending=True)
    mixed = [(share, names[k]) for share, k in zip(shares.tolist(), classes.tolist(), strict=True) if share >= _MIXED]
    return "\n".join(f"{100 * share:.0f}% {name}" for share, name in mixed[:2])
