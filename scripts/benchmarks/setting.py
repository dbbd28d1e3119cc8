"""What all contenders have in common."""

from dataclasses import dataclass
from pathlib import Path

BATCH_SIZE = 128
HIDDEN = (512, 256)
DROPOUT = 0.3
LEARNING_RATE = 1e-3
VAL_FRACTION = 0.1  # CIFAR-10's first tenth, as in our default


@dataclass(frozen=True)
class Setting:
    """Where the batch files lie, how many of their images make an epoch, how many epochs a fresh network is trained in
    a round, in which arithmetic and on which device.

    `scratch` is a folder for what a contender writes.
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
