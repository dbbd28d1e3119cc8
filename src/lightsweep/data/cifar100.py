"""CIFAR-100; see `cifar`."""

from typing import Any

from lightsweep.data.cifar import CIFARDataModule


class CIFAR100DataModule(CIFARDataModule):
    """CIFAR-100 (Krizhevsky 2009) with its fine labels: 100 classes, one training batch."""

    name = "CIFAR-100"
    folder_name = "cifar-100-python"
    classes = 100
    label_key, names_key = "fine_labels", "fine_label_names"
    training, test, meta = ("train",), "test", "meta"

    def official(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100
