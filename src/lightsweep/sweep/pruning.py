"""A trial's epochs reported to its study as they end, and its end where the pruner gives it up."""

from typing import cast

import optuna
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightsweep.classifier import Classifier
from lightsweep.errors import Pruned
from lightsweep.sweep.assignment import Assignment
from lightsweep.sweep.storage import follow


class PruningCallback(Callback):
    """Reports the monitored metric after each epoch, epochs counted from 1, and asks the pruner.

    Args:
        assignment: says which trial, where, and which pruner.
        monitor: the metric.
    """

    def __init__(self, assignment: Assignment, *, monitor: str) -> None:
        study = follow(assignment.address)
        self.trial = optuna.trial.Trial(study, assignment.trial_id)
        self.pruner = assignment.pruner
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not cast(Classifier, pl_module).has_measured(self.monitor):
            return
        epoch = trainer.current_epoch + 1
        give_up = False
        if trainer.is_global_zero:
            self.trial.report(trainer.callback_metrics[self.monitor].item(), epoch)
            # The pruner's judgement, without `should_prune`, which would take the study's pruner for it.
            frozen = self.trial.study._storage.get_trial(self.trial._trial_id)
            give_up = self.pruner.prune(self.trial.study, frozen)
        if trainer.strategy.broadcast(give_up):
            raise Pruned(f"given up in epoch {epoch}")
