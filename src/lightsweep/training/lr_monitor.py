"""Lightning's learning-rate monitor with one tag: all groups of parameters have the same rate here."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks

from lightsweep.core import checks

TAG = "train/lr"


class LearningRateMonitor(callbacks.LearningRateMonitor):
    """Logs ``train/lr`` at the start of an epoch, by epochs, or of a step, by steps.

    Lightning's names a tag after the optimizer and each of its groups, so runs with different optimizers, or with and
    without weight decay, would share no curve.

    Args:
        logging_interval: step or epoch.
    """

    def __init__(self, *, logging_interval: str) -> None:
        checks.choice("callbacks.lr_monitor.logging_interval", logging_interval, ("step", "epoch"))
        super().__init__(logging_interval)  # type: ignore[arg-type]

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if self.logging_interval == "epoch":
            _log(trainer, trainer.current_epoch + 1)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if self.logging_interval == "step":
            _log(trainer, trainer.global_step)


def _log(trainer: pl.Trainer, step: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({TAG: float(trainer.optimizers[0].param_groups[0]["lr"])}, step=step)
