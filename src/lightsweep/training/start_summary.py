"""What a run is about to do, in two lines, and a warning where its data are too few to tell much."""

import logging

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightsweep.core.text import shorten
from lightsweep.data.module import ImageDataModule
from lightsweep.runs import environment

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
            environment.device_name(pl_module.device),
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
        few = [f"{_short(class_names[place])} ({counts[place]})" for place in np.flatnonzero(counts < 2)]
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
