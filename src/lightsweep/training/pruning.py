"""A trial's epochs reported to its study as they end, and its end where the pruner gives it up."""

from collections.abc import Callable
from typing import cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightsweep.core.errors import Pruned
from lightsweep.training.classifier import Classifier


class PruningCallback(Callback):
    """Reports the monitored metric after each epoch, epochs counted from 1, and ends where the pruner says so.

    Args:
        report: takes an epoch and its value; returns whether the trial is to end.
        monitor: the metric.
    """

    def __init__(self, report: Callable[[int, float], bool], *, monitor: str) -> None:
        self.report, self.monitor = report, monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        classifier = cast(Classifier, pl_module)
        if not classifier.has_measured(self.monitor):
            return
        epoch = trainer.current_epoch + 1
        give_up = False
        if trainer.is_global_zero:
            give_up = self.report(epoch, classifier.mean_of(self.monitor))
        if trainer.strategy.broadcast(give_up):
            raise Pruned(f"given up in epoch {epoch}")
