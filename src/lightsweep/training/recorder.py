"""The callback that is always there: repeatable epochs, a row of metrics an epoch, an end to what diverges."""

import math
import time
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lightsweep.core import signals
from lightsweep.core.errors import Diverged
from lightsweep.core.seeds import seed_everything
from lightsweep.data.loader import TrainLoader
from lightsweep.runs.metrics import MetricsFile, Row
from lightsweep.training import endings
from lightsweep.training.classifier import Classifier


class Recorder(Callback):
    """Must come first among the callbacks, so that those behind it see the epoch's metrics.

    Args:
        metrics: takes a row an epoch.
        seed: of the run.
    """

    def __init__(self, metrics: MetricsFile, *, seed: int) -> None:
        self.metrics = metrics
        self.seed = seed
        self.epochs_before: int | None = None  # trained before this process; known once a checkpoint is restored

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.images = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs_before = trainer.current_epoch
        if trainer.is_global_zero:
            self.metrics.reopen(trainer.current_epoch)
        if any(endings.has_run_out(stopper, self.metrics) for stopper in trainer.early_stopping_callbacks):
            trainer.should_stop = True  # it had stopped early, and only its scores were missing

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Checkpoints hold no random states: whatever an epoch draws follows from (seed, epoch) instead.
        seed_everything(self.seed, trainer.current_epoch, trainer.global_rank)
        cast(TrainLoader, trainer.train_dataloader).set_epoch(trainer.current_epoch)
        self.images = 0
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs, batch, index) -> None:
        self.images += len(batch[1])
        signals.raise_lost()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_training_clock(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        classifier = cast(Classifier, pl_module)
        if not classifier.validated:
            self._stop_training_clock(pl_module)
        measured = {f"train/{name}": value for name, value in classifier.train_means().items()}
        pl_module.log_dict(measured)
        if classifier.validated:
            measured |= {f"val/{name}": value for name, value in classifier.val_means.items()}
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            **measured,
            "lr": float(self.lr),
            "seconds": time.perf_counter() - self.started,
            "images_per_second": self.images * trainer.world_size / self.training_seconds,
        }
        pl_module.log_dict({f"train/{name}": row[name] for name in ("seconds", "images_per_second")})
        pl_module.log("step", float(row["epoch"]))  # the loggers' x axis: the epoch
        if trainer.is_global_zero:
            self.metrics.append(row)
        _stop_if_diverged(row)

    def _stop_training_clock(self, pl_module: pl.LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.training_seconds = time.perf_counter() - self.started


def _stop_if_diverged(row: Row) -> None:
    for name in ("train/loss", "val/loss"):
        if not math.isfinite(row.get(name, 0.0)):
            raise Diverged(f"{name} became {row[name]} in epoch {row['epoch']} at a learning rate of {row['lr']:g}")
