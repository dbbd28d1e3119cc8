"""A run that has been trained and scored, as callbacks see it that want to show how it went."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback
from rich.console import Console

from lightsweep.data.module import ImageDataModule
from lightsweep.reports import classification_report
from lightsweep.reports.classification_report import Report, measure
from lightsweep.runs.metrics import Row
from lightsweep.training.scoring import Score
from lightsweep.training.tracking import Trackers


@dataclass(frozen=True)
class ScoredRun:
    """What there is when the record is written.

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
        """The part that tells most: test, or val where test was not scored."""
        return "test" if "test" in self.scores else "val"

    def report(self) -> Report:
        """The classification report on that part."""
        labels, probabilities = self.data.labels(self.part), self.scores[self.part].probabilities
        return measure(self.part, labels, probabilities, self.data.class_names)


class AfterScoring:
    """For a Lightning callback: train.py calls it once more when a run has been scored and its record written."""

    def on_scored(self, run: ScoredRun) -> None:
        raise NotImplementedError


def show(run: ScoredRun, callbacks: Iterable[Callback], *, report: bool) -> None:
    """Hand the run to the callbacks that wait for it, and print its classification report where that is wanted."""
    if report:
        classification_report.show(run.report(), Console())
    for callback in callbacks:
        if isinstance(callback, AfterScoring):
            callback.on_scored(run)
