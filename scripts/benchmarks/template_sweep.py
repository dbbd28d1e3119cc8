"""A usual template's train script for the official Optuna sweeper: run by `benchmark.py sweep` in a process of its own.

PIL images through a DataLoader, torchmetrics, logging each step, a TensorBoard logger and a checkpoint; torch's default
threads. Its configuration has the same four keys, with the same values, as our side of the benchmark.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

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

from benchmarks.template import UncheckedCIFAR10


@dataclass
class Config:
    data_dir: str = "data"
    images: int = 10_000
    max_epochs: int = 8
    workers: int = 0
    model: dict = field(default_factory=lambda: {"width": 256, "dropout": 0.0})
    optimizer: dict = field(default_factory=lambda: {"lr": 1e-3, "weight_decay": 1e-2})


ConfigStore.instance().store("config", Config)


class Module(pl.LightningModule):
    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.cfg = cfg
        layers: list[nn.Module] = [nn.Flatten()]
        inputs = 3072
        for _ in range(2):
            width = cfg.model.width
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(cfg.model.dropout)]
            inputs = width
        self.net = nn.Sequential(*layers, nn.Linear(inputs, 10))
        self.train_acc = torchmetrics.Accuracy(task="multiclass", num_classes=10)
        self.val_acc = torchmetrics.Accuracy(task="multiclass", num_classes=10)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self.train_acc(logits, labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        self.log("train/acc", self.train_acc, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self.net(images)
        self.val_acc(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels))
        self.log("val/acc", self.val_acc)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), **self.cfg.optimizer)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.cfg.max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


@hydra.main(config_name="config")
def main(cfg: DictConfig) -> float:
    """Train; the best validation accuracy."""
    pl.seed_everything(42, verbose=False)
    folder = HydraConfig.get().runtime.output_dir
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])
    images = UncheckedCIFAR10(cfg.data_dir, transform=change)
    held_out = cfg.images // 10
    train: DataLoader = DataLoader(
        Subset(images, range(held_out, cfg.images)), 128, shuffle=True, drop_last=True, num_workers=cfg.workers
    )
    val: DataLoader = DataLoader(Subset(images, range(held_out)), 128, num_workers=cfg.workers)
    best = ModelCheckpoint(folder, monitor="val/acc", mode="max")
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=cfg.max_epochs,
        logger=TensorBoardLogger(folder),
        callbacks=[best, EarlyStopping("val/acc", mode="max", patience=10), LearningRateMonitor()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(cfg), train, val)
    assert best.best_model_score is not None
    return float(best.best_model_score)


if __name__ == "__main__":
    main()
