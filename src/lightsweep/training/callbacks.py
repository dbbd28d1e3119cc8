"""Callbacks: those of every run, which record epochs, and those that a config names."""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks
from pytorch_lightning.callbacks import Callback, EarlyStopping, WeightAveraging
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lightsweep.core import checks, signals
from lightsweep.core.errors import Diverged
from lightsweep.core.metrics import FINAL
from lightsweep.data.loader import TrainLoader, seed_everything
from lightsweep.runs.results import MetricsFile, Row
from lightsweep.training.classifier import Classifier

log = logging.getLogger(__name__)

_REFRESH = 0.2  # seconds
_SHOWN = [metric.name for metric in FINAL if metric.is_main]


class Recorder(Callback):
    """Writes an epoch's row of metrics.csv. The first of the callbacks, so that the others see the epoch's metrics.

    Args:
        metrics: gets a row an epoch.
        seed: of the run.
    """

    def __init__(self, metrics: MetricsFile, *, seed: int) -> None:
        self.metrics, self.seed = metrics, seed
        self.epochs_before: int | None = None  # trained before this process; known when a checkpoint was restored

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs_before = trainer.current_epoch
        if trainer.is_global_zero:
            self.metrics.reopen(trainer.current_epoch)
        if any(has_run_out(stopper, self.metrics) for stopper in trainer.early_stopping_callbacks):
            trainer.should_stop = True  # it had stopped early, and only its scores are missing

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Checkpoints hold no random states: the random numbers of an epoch follow from (seed, epoch) instead.
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
        if not classifier.measured:  # no validation
            self._stop_training_clock(pl_module)
        means = classifier.means_of("train", classifier.train_sums)
        pl_module.log_dict(means)
        classifier.measured |= means
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            **classifier.measured,
            "lr": float(self.lr),
            "seconds": time.perf_counter() - self.started,
            "images_per_second": self.images * trainer.world_size / self.training_seconds,
        }
        pl_module.log_dict({f"train/{name}": row[name] for name in ("seconds", "images_per_second")})
        pl_module.log("step", float(row["epoch"]))  # the loggers' x axis: the epoch
        if trainer.is_global_zero:
            self.metrics.append(row)
        check_finite(row)

    def _stop_training_clock(self, pl_module: pl.LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.training_seconds = time.perf_counter() - self.started


def check_finite(row: Row) -> None:
    """Raises: Diverged: a loss of the epoch is NaN or infinite."""
    for name in ("train/loss", "val/loss"):
        if not math.isfinite(row.get(name, 0.0)):
            raise Diverged(f"{name} became {row[name]} in epoch {row['epoch']} at a learning rate of {row['lr']:g}")


class ProgressLine(Callback):
    """One line with epoch, scores and time left on a terminal; elsewhere a line of text an epoch.

    Args:
        monitor: a metric that is shown with losses and accuracies.
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
        measured = cast(Classifier, pl_module).measured
        if self.bar is not None:
            self.bar.update(self.task, scores=self._scores(measured), refresh=True)
        elif trainer.is_global_zero:
            self.log_epoch(trainer.current_epoch + 1, measured, float(trainer.callback_metrics["train/seconds"]))

    def log_epoch(self, epoch: int, measured: Mapping[str, float], seconds: float) -> None:
        """The line of text of an epoch, which counts from 1."""
        log.info("epoch %3d  %s  %.1f s", epoch, self._scores(measured), seconds)

    def _scores(self, measured: Mapping[str, float]) -> str:
        names = dict.fromkeys([f"{part}/{name}" for part in ("train", "val") for name in _SHOWN] + [self.monitor])
        return "  ".join(f"{name} {measured[name]:.4f}" for name in names if name in measured)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class WeightAverage(WeightAveraging):
    """An exponential moving average of the weights, equal to them before its first update. (Lightning's would be the
    initial weights until then, and these would be validated.)

    Its n-th update has the decay (1 + n) / (10 + n) while that is less than `decay`: the first weights, far from the
    trained ones, soon lose their influence, in short runs too (as with `num_updates` of TensorFlow's
    ExponentialMovingAverage).

    Args:
        decay: of the average at an update, at most.
        every: optimizer steps from one update to the next.
        start: optimizer steps before the first.
        use_buffers: average BatchNorm's statistics too.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(self, *, decay: float, every: int, start: int, use_buffers: bool) -> None:
        checks.number("callbacks.ema.decay", decay, "[0, 1)")
        checks.integer("callbacks.ema.every", every, "[1, inf)")
        checks.integer("callbacks.ema.start", start, "[0, inf)")
        checks.flag("callbacks.ema.use_buffers", use_buffers)
        self.decay, self.every, self.start = decay, every, start
        self.updates = 0  # before the current one
        self.use_buffers = use_buffers
        super().__init__(use_buffers=use_buffers, multi_avg_fn=self._average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # The network is on the CPU here. An average on the CPU would copy all weights off the GPU at each update.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:  # torch reads this count twice an update: the CPU would wait for the GPU
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None or step_idx < self.start:
            return False
        self.updates, remainder = divmod(step_idx - self.start, self.every)  # also right in a resumed run
        return remainder == 0

    def update(self, averages: list[Tensor], weights: list[Tensor]) -> None:
        """Move averages, tensors of one type, towards the weights, once `should_update` has been true."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        converted = [weight.to(average.dtype) for average, weight in zip(averages, weights, strict=True)]  # bf16-true's
        get_ema_multi_avg_fn(decay)(averages, converted, self.updates)

    def _average(self, averages: list[Tensor], weights: list[Tensor], _updates: Tensor | int) -> None:
        self.update(averages, weights)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._copy_until_first_update(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._copy_until_first_update(pl_module)  # before the checkpoints are written

    def _copy_until_first_update(self, pl_module: pl.LightningModule) -> None:
        average = self._average_model
        if average is not None and average.n_averaged == 0:
            average.module.load_state_dict(pl_module.state_dict())


class LearningRateMonitor(callbacks.LearningRateMonitor):
    """Logs ``train/lr`` at the start of each epoch or step. Lightning's names it after the optimizer and each group:
    runs with different optimizers, or with and without weight decay, would share no curve.

    Args:
        logging_interval: step or epoch.
    """

    def __init__(self, *, logging_interval: str) -> None:
        checks.choice("callbacks.lr_monitor.logging_interval", logging_interval, ("step", "epoch"))
        super().__init__(logging_interval)  # type: ignore[arg-type]

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if self.logging_interval == "epoch":
            self._log_rate(trainer, trainer.current_epoch + 1)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if self.logging_interval == "step":
            self._log_rate(trainer, trainer.global_step)

    def _log_rate(self, trainer: pl.Trainer, step: int) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({"train/lr": float(trainer.optimizers[0].param_groups[0]["lr"])}, step=step)


def has_run_out(stopper: EarlyStopping, metrics: MetricsFile) -> bool:
    """Whether the callback's patience is over, or the metric has passed one of its bounds."""
    return stopper.wait_count >= stopper.patience or passed_bound(stopper, metrics) is not None


def passed_bound(stopper: EarlyStopping, metrics: MetricsFile) -> str | None:
    """The name of the callback's bound that the metric's last value has passed."""
    last = next((row[stopper.monitor] for row in reversed(metrics.rows) if stopper.monitor in row), math.nan)
    is_above = {"stopping_threshold": stopper.mode == "max", "divergence_threshold": stopper.mode == "min"}
    for name, above in is_above.items():
        bound = getattr(stopper, name)
        if bound is not None and (last > bound if above else last < bound):
            return name
    return None
