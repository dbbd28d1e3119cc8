"""The callbacks: those of every run, which record epochs and prune, and those that a config names."""

import math
import time
from collections.abc import Callable
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks
from pytorch_lightning.callbacks import Callback, EarlyStopping, WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lightsweep.core import checks, signals
from lightsweep.core.errors import Diverged, Pruned
from lightsweep.data.loader import TrainLoader, seed_everything
from lightsweep.runs.results import MetricsFile, Row
from lightsweep.training.classifier import Classifier
from lightsweep.training.loggers import Trackers


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
        if any(has_run_out(stopper, self.metrics) for stopper in trainer.early_stopping_callbacks):
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


class WeightAverage(WeightAveraging):
    """An exponential moving average, which is the weights themselves until it begins. (Lightning's would be the
    initial weights for so long, and they would be validated.)

    Its n-th update has the decay (1 + n) / (10 + n) while that is less than `decay`: the first weights, far from where
    training leads, are soon forgotten, in short runs too (as `num_updates` of TensorFlow's ExponentialMovingAverage).

    Args:
        decay: of the average at an update, at most.
        every: optimizer steps an update.
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
        self.updates = 0  # before the one that is due
        super().__init__(use_buffers=use_buffers, multi_avg_fn=self._average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # The network is still on the CPU here. An average left there would copy all weights off the GPU each step.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:  # torch reads its count twice an update: the CPU would wait for a GPU
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None or step_idx < self.start:
            return False
        self.updates, steps_over = divmod(step_idx - self.start, self.every)  # also right in a run that was resumed
        return steps_over == 0

    def _average(self, averages: list[Tensor], weights: list[Tensor], _updates: Tensor | int) -> None:
        """Move averages towards weights. (torch's own count lies on the device, and would have to be waited for.)"""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        like = [weight.to(average.dtype) for average, weight in zip(averages, weights, strict=True)]  # bf16-true's
        get_ema_multi_avg_fn(decay)(averages, like, self.updates)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(pl_module)  # before the checkpoints are written

    def _follow(self, pl_module: pl.LightningModule) -> None:
        average = self._average_model
        if average is not None and average.n_averaged == 0:
            average.module.load_state_dict(pl_module.state_dict())


class Histograms(Callback):
    """Each parameter's values, and its last gradient (after clipping), in the loggers that show histograms.

    Args:
        every: epochs from one to the next; the first epoch has one.
        in_trials: in the trials of a sweep too.
    """

    def __init__(self, *, every: int, in_trials: bool) -> None:
        checks.integer("callbacks.histograms.every", every, "[1, inf)")
        checks.flag("callbacks.histograms.in_trials", in_trials)
        self.every, self.in_trials = every, in_trials

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs, batch, index) -> None:
        # The epoch's last step: when the epoch ends, Lightning has cleared the gradients for the validation.
        if (
            index + 1 != trainer.num_training_batches
            or trainer.current_epoch % self.every
            or not trainer.is_global_zero
        ):
            return
        trackers = Trackers(trainer.loggers)
        epoch = trainer.current_epoch + 1
        for name, parameter in cast(Classifier, pl_module).net.named_parameters():
            trackers.histogram(f"weights/{name}", parameter, epoch)
            if parameter.grad is not None:
                trackers.histogram(f"gradients/{name}", parameter.grad, epoch)


class Graph(Callback):
    """The network's graph, in the loggers that show one.

    Args:
        in_trials: in the trials of a sweep too.
    """

    def __init__(self, *, in_trials: bool) -> None:
        checks.flag("callbacks.graph.in_trials", in_trials)
        self.in_trials = in_trials

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        classifier = cast(Classifier, pl_module)
        images = torch.zeros((1, *classifier.description.input_shape), device=classifier.device)
        Trackers(trainer.loggers).graph(classifier.net, images)


LR_TAG = "train/lr"


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
            _log_rate(trainer, trainer.current_epoch + 1)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if self.logging_interval == "step":
            _log_rate(trainer, trainer.global_step)


def _log_rate(trainer: pl.Trainer, step: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({LR_TAG: float(trainer.optimizers[0].param_groups[0]["lr"])}, step=step)


def has_run_out(stopper: EarlyStopping, metrics: MetricsFile) -> bool:
    """Has the metric not improved for as long as the callback waits, or reached a bound that the callback has?"""
    return stopper.wait_count >= stopper.patience or passed_bound(stopper, metrics) is not None


def passed_bound(stopper: EarlyStopping, metrics: MetricsFile) -> str | None:
    """The name of the bound that the metric's last value has passed."""
    last = next((row[stopper.monitor] for row in reversed(metrics.rows) if stopper.monitor in row), None)
    if last is None:
        return None
    sign = 1 if stopper.mode == "max" else -1
    if stopper.stopping_threshold is not None and sign * last > sign * stopper.stopping_threshold:
        return "stopping_threshold"
    if stopper.divergence_threshold is not None and sign * last < sign * stopper.divergence_threshold:
        return "divergence_threshold"
    return None
