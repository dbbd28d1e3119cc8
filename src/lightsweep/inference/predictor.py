"""Using a trained network: on which device, and in which precision, so that it gives what it gave in training."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor

from lightsweep.core.errors import ConfigError
from lightsweep.training.checkpoints import Trained


@dataclass(frozen=True)
class Place:
    """A device, and how a forward pass runs there."""

    device: torch.device
    plugin: Precision

    def precision(self) -> AbstractContextManager:
        """Around a forward pass."""
        return self.plugin.forward_context()


def place(device: str, precision: str) -> Place:
    """The place that Lightning's Trainer would choose.

    Args:
        device: auto, cpu, gpu, cuda, mps and so on; with a number, cuda:1, that one of several.
        precision: as the Trainer names it.

    Raises:
        ConfigError: there is no such device here, or it cannot do that.
    """
    accelerator, _, number = device.partition(":")
    try:
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=[int(number)] if number else 1,
            precision=precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        return Place(trainer.strategy.root_device, trainer.precision_plugin)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"--device {device}: {' '.join(str(error).split())}") from error


class Predictor:
    """Images ``uint8 [B, C, H, W]`` -> probabilities ``float64 [B, K]`` on the CPU, as in training.

    Args:
        flip: average with the probabilities of the mirrored images.
    """

    def __init__(self, trained: Trained, place: Place, *, flip: bool) -> None:
        self.place, self.flip = place, flip
        self.net = trained.net.to(place.device)
        self.normalization = trained.description.normalization.to(place.device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.place.device)
        probabilities = self._probabilities(images)
        if self.flip:
            probabilities = (probabilities + self._probabilities(images.flip(3))) / 2
        return probabilities

    def _probabilities(self, images: Tensor) -> Tensor:
        with self.place.precision():
            logits = self.net(self.normalization(images))
        # In double precision, which not every device has, no two logits that differ become equal.
        return torch.softmax(logits.cpu().double(), 1)


def ranked(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities ``[B, K]`` from the largest on, and their classes; of equals the first class, as `argmax`."""
    values, classes = torch.sort(probabilities, descending=True, stable=True)
    return values, classes
