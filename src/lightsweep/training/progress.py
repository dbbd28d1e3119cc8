"""What a person sees while a run trains."""

import logging
import time
from typing import cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lightsweep.training.classifier import Classifier

log = logging.getLogger(__name__)

_REFRESH = 0.2  # seconds


class ProgressLine(Callback):
    """One line with epoch, scores and time left on a terminal; elsewhere a line of text each epoch.

    Args:
        monitor: a metric that is shown beside losses and accuracies.
    """

    def __init__(self, *, monitor: str) -> None:
        self.monitor = monitor
        self.bar: Progress | None = None
        self.next_refresh = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        console = Console(stderr=True)
        if not (trainer.is_global_zero and console.is_terminal):
            return
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[scores]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            auto_refresh=False,
        )
        self.bar.start()
        self.task = self.bar.add_task("epoch 1", total=None, scores="")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs, batch, index) -> None:
        now = time.monotonic()
        if self.bar is None or now < self.next_refresh:
            return
        self.next_refresh = now + _REFRESH
        steps = int(trainer.num_training_batches)
        epochs = trainer.max_epochs or -1
        self.bar.update(
            self.task,
            description=f"epoch {trainer.current_epoch + 1}/{epochs if epochs > 0 else '?'}",
            completed=trainer.current_epoch * steps + index + 1,
            total=epochs * steps if epochs > 0 else None,
            refresh=True,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        has_measured = cast(Classifier, pl_module).has_measured  # Lightning keeps what an earlier validation measured
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        names = dict.fromkeys(("train/loss", "train/acc", "val/loss", "val/acc", self.monitor))
        shown = [f"{name} {metrics[name]:.4f}" for name in names if name in metrics and has_measured(name)]
        line = "  ".join(shown)
        if self.bar is not None:
            self.bar.update(self.task, scores=line, refresh=True)
        elif trainer.is_global_zero:
            log.info("epoch %3d  %s  %.1f s", trainer.current_epoch + 1, line, metrics["train/seconds"])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
