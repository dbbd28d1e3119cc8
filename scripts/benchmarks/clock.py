"""Time as a stopwatch on the device shows it."""

import time

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


def now(device: str) -> float:
    """Seconds, after everything that the device was asked to do is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class EpochClock(Callback):
    """`seconds` from the start of the first epoch of a fit to the fit's end, without validation.

    Must come first among the callbacks, so that the others' work is inside.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.started: float | None = None
        self.validation = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.started is None:
            self.started = now(self.device)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validation_started = now(self.device)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validation += now(self.device) - self.validation_started

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self.started is not None
        self.seconds = now(self.device) - self.started - self.validation
