"""The usual template: torchvision's data set with PIL images, ToTensor, Normalize, a DataLoader, a LightningModule with
torchmetrics that logs each step, TensorBoard and a checkpoint.

`benchmark.py train` measures an epoch of it. `benchmark.py sweep` runs this file as a training script for the official
Optuna sweeper: its config has four keys of ours, with the same values; torch uses its default number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
import torchmetrics
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import CIFAR10

_TO_TENSOR = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


class UncheckedCIFAR10(CIFAR10):
    """torchvision's, for files with other checksums."""

    train_list = [[name, None] for name, _ in CIFAR10.train_list]  # noqa: RUF012
    test_list = [[name, None] for name, _ in CIFAR10.test_list]  # noqa: RUF012
    meta = CIFAR10.meta | {"md5": None}


def build_net(widths: Sequence[int], dropout: float, kind: type[nn.Dropout] = nn.Dropout) -> nn.Module:
    """The MLP, written by hand.

    Args:
        kind: of the dropout layers.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = 3 * 32 * 32
    for units in widths:
        layers += [nn.Linear(inputs, units), nn.BatchNorm1d(units), nn.ReLU(), kind(dropout)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


class TrainedModule(pl.LightningModule):
    """Trains; the optimizer is AdamW with the arguments in `optimizer`."""

    def __init__(self, net: nn.Module, optimizer: dict[str, Any]) -> None:
        super().__init__()
        self.net = net
        self.optimizer_arguments = optimizer
        self.train_acc = torchmetrics.Accuracy(task="multiclass", num_classes=10)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self.train_acc(logits, labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        self.log("train/acc", self.train_acc, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), **self.optimizer_arguments)


class ScheduledModule(TrainedModule):
    """Validates too, and has a cosine schedule."""

    def __init__(self, net: nn.Module, optimizer: dict[str, Any], epochs: int) -> None:
        super().__init__(net, optimizer)
        self.epochs = epochs
        self.val_acc = torchmetrics.Accuracy(task="multiclass", num_classes=10)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self.net(images)
        self.val_acc(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels))
        self.log("val/acc", self.val_acc)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def make_loader(data_dir: str, images: range, batch_size: int, workers: int, *, training: bool) -> DataLoader:
    chosen: Subset = Subset(UncheckedCIFAR10(data_dir, transform=_TO_TENSOR), images)
    return DataLoader(
        chosen,
        batch_size,
        shuffle=training,
        drop_last=training,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),  # as one does it for a GPU
    )


def make_trainer(folder: str, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=folder,
        logger=TensorBoardLogger(folder),
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@dataclass
class Config:
    data_dir: str = "data"
    images: int = 10_000
    max_epochs: int = 8
    workers: int = 0
    model: dict = field(default_factory=lambda: {"width": 256, "dropout": 0.0})
    optimizer: dict = field(default_factory=lambda: {"lr": 1e-3, "weight_decay": 1e-2})


ConfigStore.instance().store("config", Config)


@hydra.main(config_name="config")
def main(cfg: DictConfig) -> float:
    """Train; returns the best validation accuracy."""
    pl.seed_everything(42, verbose=False)
    folder = HydraConfig.get().runtime.output_dir
    held_out = cfg.images // 10
    train = make_loader(cfg.data_dir, range(held_out, cfg.images), 128, cfg.workers, training=True)
    val = make_loader(cfg.data_dir, range(held_out), 128, cfg.workers, training=False)
    best = ModelCheckpoint(folder, monitor="val/acc", mode="max")
    callbacks = [best, EarlyStopping("val/acc", mode="max", patience=10), LearningRateMonitor()]
    net = build_net([cfg.model.width] * 2, cfg.model.dropout)
    trainer = make_trainer(folder, callbacks, accelerator="cpu", max_epochs=cfg.max_epochs)
    trainer.fit(ScheduledModule(net, dict(cfg.optimizer), cfg.max_epochs), train, val)
    assert best.best_model_score is not None
    value = float(best.best_model_score)
    Path(folder, "value").write_text(str(value))  # by its time the benchmark sees when it was reached
    return value


if __name__ == "__main__":
    main()
