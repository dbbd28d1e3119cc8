"""CIFAR-10; see `cifar`."""

from typing import Any

from lightsweep.data.cifar import CIFARDataModule


class CIFAR10DataModule(CIFARDataModule):
    """CIFAR-10 (Krizhevsky 2009): 10 classes, five training batches."""

    name = "CIFAR-10"
    folder_name = "cifar-10-batches-py"
    classes = 10
    label_key, names_key = "labels", "label_names"
    training = tuple(f"data_batch_{number}" for number in range(1, 6))
    test, meta = "test_batch", "batches.meta"

    def official(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10
