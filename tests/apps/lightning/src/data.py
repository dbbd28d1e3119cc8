import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class RingsDataModule(LightningDataModule):
    """Points in the plane, of two classes: inside a ring or outside of it."""

    def __init__(self, batch_size: int, count: int) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str | None = None) -> None:
        points = torch.randn(self.hparams.count, 2, generator=torch.Generator().manual_seed(0))
        data = TensorDataset(points, (points.norm(dim=1) > 1.2).long())
        held_out = self.hparams.count // 4
        self.train_set = torch.utils.data.Subset(data, range(held_out, len(data)))
        self.val_set = torch.utils.data.Subset(data, range(held_out))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_set, batch_size=self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val_set, batch_size=256)
