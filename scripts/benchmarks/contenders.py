"""What `benchmark.py train` compares: lightsweep, a bare PyTorch loop, and the usual template."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.nn import functional as F

from benchmarks import template
from benchmarks.common import compose
from lightsweep.app import steps
from lightsweep.app.validation import plain_config
from lightsweep.config.build import build
from lightsweep.data.loader import seed_everything
from lightsweep.data.module import ImageDataModule
from lightsweep.nets.layers import Dropout
from lightsweep.runs.results import MetricsFile
from lightsweep.training import loggers, tracking, trainer

BATCH_SIZE = 128
HIDDEN = (512, 256)
DROPOUT = 0.3
LEARNING_RATE = 1e-3
VAL_FRACTION = 0.1  # CIFAR-10's first tenth, as in our default


@dataclass(frozen=True)
class Setting:
    """What all contenders have in common.

    Args:
        data_dir: where the batch files are.
        images: how many of their images make an epoch.
        epochs: how long a fresh network is trained in a round.
        precision: as in `trainer.precision`.
        device: cpu or cuda.
        scratch: a folder for what a contender writes.
    """

    data_dir: Path
    images: int
    epochs: int
    precision: str
    device: str
    scratch: Path

    @property
    def limit(self) -> int:
        """How many training images to use, so that `images` of them are left when a tenth has gone to validation."""
        return round(self.images / (1 - VAL_FRACTION))

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.scratch))


def now(device: str) -> float:
    """Seconds, after everything that the device was asked to do is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class EpochClock(Callback):
    """`seconds` from the start of the first epoch of a fit to the fit's end, without validation.

    Must come first among the callbacks, so that the work of the others is included.
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


def read_data(setting: Setting) -> ImageDataModule:
    """The data set, read and split."""
    data = build(_config(setting, setting.scratch).data, "data")
    data.setup()
    return data


def count_images(data: ImageDataModule) -> int:
    """Images of an epoch, which has full batches only."""
    return len(data.indices["train"]) // BATCH_SIZE * BATCH_SIZE


def time_lightsweep(setting: Setting, data: ImageDataModule) -> float:
    """Seconds an epoch with the configs' callbacks, loggers, checkpoints and fused AdamW."""
    folder = setting.new_folder()
    config = plain_config(_config(setting, folder))
    seed_everything(config.seed)
    fitting = trainer.build_trainer(
        config.trainer,
        folder=folder,
        metrics=MetricsFile(folder / "metrics.csv"),
        seed=config.seed,
        loggers=config.logger,
        callbacks=config.callbacks,
    )
    clock = EpochClock(setting.device)
    fitting.callbacks.insert(0, clock)  # type: ignore[attr-defined]  # Lightning sets it without declaring it
    loggers.Trackers(fitting.loggers).start(tracking.flat_settings(vars(config), []), {})
    fitting.fit(steps.build_classifier(config, data), datamodule=data)
    return clock.seconds / setting.epochs


def time_plain(setting: Setting, data: ImageDataModule, *, fast: bool = False) -> float:
    """Seconds an epoch of the bare loop: images in one tensor on the device; nothing measures or logs.

    Args:
        fast: with what lightsweep's steps compute: the fused AdamW, and its dropout; else torch's plain ones.
    """
    device = torch.device(setting.device)
    loader = data.train_loader(device)  # for its tensors only
    images, targets = loader.store  # uint8 [N, 3, 32, 32], int64 [N]
    model = template.build_net(HIDDEN, DROPOUT, Dropout if fast else nn.Dropout).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=fast or None)  # None: torch chooses
    mixed = torch.autocast(setting.device, torch.bfloat16, enabled=setting.precision == "bf16-mixed")
    started = now(setting.device)
    for _ in range(setting.epochs):
        order = loader.indices[torch.randperm(len(loader.indices)).to(device)]
        for chosen in order.split(BATCH_SIZE)[: len(order) // BATCH_SIZE]:
            inputs = (images[chosen].float() - 127.5) / 127.5
            with mixed:
                loss = F.cross_entropy(model(inputs), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (now(setting.device) - started) / setting.epochs


def time_template(setting: Setting, workers: int) -> float:
    """Seconds an epoch of the usual template."""
    chosen = range(setting.limit - setting.images, setting.limit)
    loader = template.make_loader(str(setting.data_dir), chosen, BATCH_SIZE, workers, training=True)
    clock = EpochClock(setting.device)
    fitting = template.make_trainer(
        str(setting.new_folder()),
        [clock],
        accelerator="gpu" if setting.device == "cuda" else "cpu",
        devices=1,
        precision=setting.precision,
        max_epochs=setting.epochs,
    )
    fitting.fit(template.TrainedModule(template.build_net(HIDDEN, DROPOUT), {"lr": LEARNING_RATE}), loader)
    return clock.seconds / setting.epochs


def _config(setting: Setting, folder: Path) -> DictConfig:
    overrides = {
        "run_dir": folder,
        "data_dir": setting.data_dir,
        "data.limit": setting.limit,
        "data.val_fraction": VAL_FRACTION,
        "data.batch_size": BATCH_SIZE,
        "model.hidden": list(HIDDEN),
        "model.bn": True,
        "model.dropout": DROPOUT,
        "optimizer": "adamw",
        "optimizer.lr": LEARNING_RATE,
        "trainer": "gpu" if setting.device == "cuda" else "cpu",
        "trainer.precision": setting.precision,
        "trainer.max_epochs": setting.epochs,
    }
    return compose(f"{key}={value}" for key, value in overrides.items())
