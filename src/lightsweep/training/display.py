"""What a run prints: a summary at its start, its progress, and a table of scores at its end."""

import logging
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lightsweep.core.metrics import FINAL, PARTS
from lightsweep.core.text import shorten
from lightsweep.data.module import ImageDataModule
from lightsweep.runs.results import RunResult
from lightsweep.training import footprint
from lightsweep.training.classifier import Classifier

log = logging.getLogger(__name__)

_NAMED = 5  # classes, in a line
_NAME = 20  # letters of a class's name
_COARSE = 0.5  # points of accuracy that one validation image may be worth
_FEW_STEPS = 5  # of the optimizer, an epoch
_PARTS = {"train": "training", "val": "validation", "test": "test"}


class StartSummary(Callback):
    """Logs the summary when training starts: then the Trainer knows its batches and its device.

    Args:
        data: set up.
        network: the name of its class.
        parameters: how many are trained.
    """

    def __init__(self, data: ImageDataModule, *, network: str, parameters: int) -> None:
        self.data, self.network, self.parameters = data, network, parameters

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        labels = {part: self.data.labels(part) for part in _PARTS}
        batches, steps = int(trainer.num_training_batches), _steps(trainer)
        log.info("data: %s, %s", self.data.title, _data(labels, self.data.class_names))
        log.info(
            "an epoch: %s; network: %s, %s parameters; device: %s",
            _epoch(batches, self.data.batch_size, len(labels["train"]) // trainer.world_size),
            self.network,
            f"{self.parameters:,}",
            footprint.device_name(pl_module.device),
        )
        for line in (*few_images(labels, self.data.class_names), *few_steps(steps, self.data.batch_size)):
            log.warning("%s", line)


def few_images(labels: dict[str, np.ndarray], class_names: tuple[str, ...]) -> list[str]:
    """Where one image more or less moves a score a lot. `labels` are ``int64 [N]`` of each part."""
    lines = []
    validating = len(labels["val"])
    if 0 < validating < 100 / _COARSE:
        lines.append(f"{_count(validating, 'validation image')}: one is {100 / validating:.1f} points of accuracy")
    for part, numbers in labels.items():
        counts = np.bincount(numbers, minlength=len(class_names))
        few = [f"{_short(class_names[label])} ({counts[label]})" for label in np.flatnonzero(counts < 2)]
        if len(numbers) and few:
            lines.append(f"fewer than two {_PARTS[part]} images: {_some(few)}")
    return lines


def few_steps(steps: int, batch_size: int) -> list[str]:
    """Where an epoch has too few steps of the optimizer to learn from."""
    if steps >= _FEW_STEPS:
        return []
    return [f"an epoch has {_count(steps, 'step')}: a smaller data.batch_size (now {batch_size}) makes more"]


def _data(labels: dict[str, np.ndarray], class_names: tuple[str, ...]) -> str:
    sizes = ", ".join(f"{len(numbers):,} {_PARTS[part]}" for part, numbers in labels.items())
    return f"images: {sizes}; {_count(len(class_names), 'class', 'es')}: {_some([*map(_short, class_names)])}"


def _epoch(batches: int, batch_size: int, images: int) -> str:
    """`images` is what a process has of the training part."""
    dropped = images - min(images, batches * batch_size)
    unused = f", {_count(dropped, 'image')} dropped" if dropped else ""
    return f"{_count(batches, 'batch', 'es')} of {min(batch_size, images):,}{unused}"


def _steps(trainer: pl.Trainer) -> int:
    return -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)


def _short(name: str) -> str:
    return shorten(name, _NAME)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_NAMED])} and {more} more"


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun if number == 1 else noun + plural}"


_REFRESH = 0.2  # seconds
_SHOWN = [metric.name for metric in FINAL if metric.is_main]


class ProgressLine(Callback):
    """One line with epoch, scores and time left on a terminal; elsewhere a line of text each epoch.

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
        has_measured = cast(Classifier, pl_module).has_measured  # Lightning keeps what an earlier validation measured
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        names = dict.fromkeys([f"{part}/{name}" for part in ("train", "val") for name in _SHOWN] + [self.monitor])
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


def print_scores(result: RunResult, folder: Path, *, of_best: bool) -> None:
    """Print scores, size, time and the folder of a run.

    Args:
        of_best: were the weights scored that were kept as the best ones?
    """
    monitored = result.monitor.partition("/")[2]
    shown = [metric for metric in FINAL if metric.is_main or metric.name == monitored]
    table = Table(box=None, header_style="bold")
    for column in ("", *(metric.title for metric in shown)):
        table.add_column(column, justify="left" if not column else "right")
    for part in PARTS:
        if f"{part}/{shown[0].name}" in result.scores:
            table.add_row(part, *(f"{result.scores[f'{part}/{metric.name}']:.4f}" for metric in shown))
    console = Console()
    console.print(table)
    which = "best" if of_best else "scored"
    console.print(
        f"{which} epoch {result.best_epoch} of {result.epochs}, {result.facts['params']:,} parameters,"
        f" {result.seconds:.0f} s of training",
        highlight=False,
    )
    if result.best_value is None:
        console.print(f"{result.monitor} was never measured, so no epoch is the best one", highlight=False)
    console.print(Text(f"run folder: {folder}"), soft_wrap=True)  # Text: a path is no markup
