"""A user data module as a person would write it, of images that tell their class."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    """Images whose class is their brightest third; ``float`` or ``uint8 [1, 6, 6]``."""

    classes = ("low", "middle", "high")

    def __init__(self, count: int, *, pixels: bool) -> None:
        draw = torch.Generator().manual_seed(count)
        self.labels = torch.arange(count) % 3
        self.images = torch.randint(0, 100, (count, 1, 6, 6), generator=draw, dtype=torch.uint8)
        for number, label in enumerate(self.labels.tolist()):
            self.images[number, :, 2 * label : 2 * label + 2] += 150
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        image = self.images[index]
        return image if self.pixels else image / 127.5 - 1, int(self.labels[index])


class Own(pl.LightningDataModule):
    """What a person would write."""

    def __init__(self, batch_size: int = 12, pixels: bool = False) -> None:
        super().__init__()
        self.batch_size, self.pixels = batch_size, pixels

    def setup(self, stage: str) -> None:
        self.sets = [Pairs(count, pixels=self.pixels) for count in (60, 31, 30)]

    def train_dataloader(self):
        return DataLoader(self.sets[0], self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.sets[1], 7)

    def test_dataloader(self):
        return DataLoader(self.sets[2], 7)


class WithMeanAndStd(Own):
    mean, std = 0.5, 0.5  # as x / 127.5 - 1
