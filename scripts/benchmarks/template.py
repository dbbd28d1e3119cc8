"""The usual template: torchvision's data set with PIL images, ToTensor, Normalize, a DataLoader, a LightningModule with
torchmetrics that logs each step, TensorBoard and a checkpoint."""

import tempfile

import pytorch_lightning as pl
import torch
import torchmetrics
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import CIFAR10

from benchmarks import plain
from benchmarks.clock import EpochClock
from benchmarks.setting import BATCH_SIZE, LEARNING_RATE, Setting


class UncheckedCIFAR10(CIFAR10):
    """torchvision's, for files with checksums of their own."""

    train_list = [[name, None] for name, _ in CIFAR10.train_list]  # noqa: RUF012
    test_list = [[name, None] for name, _ in CIFAR10.test_list]  # noqa: RUF012
    meta = CIFAR10.meta | {"md5": None}


class TemplateModule(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = plain.net()
        self.train_acc = torchmetrics.Accuracy(task="multiclass", num_classes=10)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self.train_acc(logits, labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        self.log("train/acc", self.train_acc, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE)


def an_epoch(setting: Setting, workers: int) -> float:
    """Seconds of an epoch, the mean over a fresh network's."""
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])
    whole = UncheckedCIFAR10(setting.data_dir, transform=to_tensor)
    training: Subset = Subset(whole, range(setting.limit - setting.images, setting.limit))
    pinned = setting.device == "cuda"  # as one does it for a GPU
    loader = DataLoader(training, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers, pin_memory=pinned)
    clock = EpochClock(setting.device)
    folder = tempfile.mkdtemp(dir=setting.scratch)
    trainer = pl.Trainer(
        accelerator="gpu" if setting.device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if setting.precision == "bf16-mixed" else "32-true",
        max_epochs=setting.epochs,
        logger=TensorBoardLogger(folder),
        default_root_dir=folder,
        callbacks=[clock],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(TemplateModule(), loader)
    return clock.seconds / setting.epochs
