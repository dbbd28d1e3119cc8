"""Image files -> probabilities, on a device and in a precision that give what training gave.

Files are decoded by threads, a batch ahead of the network.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor

from lightsweep.core.errors import ConfigError
from lightsweep.core.memory import available_cores
from lightsweep.data.decode import FORMATS, BadImage
from lightsweep.data.folders import class_name, walk
from lightsweep.training.checkpoints import Trained

_MOST_THREADS = 8


@dataclass(frozen=True)
class Hardware:
    """A device, and how a forward pass runs there."""

    device: torch.device
    plugin: Precision

    def precision(self) -> AbstractContextManager:
        """Around a forward pass."""
        return self.plugin.forward_context()


def choose_hardware(device: str, precision: str) -> Hardware:
    """What Lightning's Trainer would choose.

    Args:
        device: auto, cpu, gpu, cuda, mps and so on; with a number, cuda:1, that one of several.
        precision: as the Trainer names it.

    Raises:
        ConfigError: there is no such device here, or it does not have the precision.
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
        return Hardware(trainer.strategy.root_device, trainer.precision_plugin)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"--device {device}: {' '.join(str(error).split())}") from error


class Predictor:
    """Images ``uint8 [B, C, H, W]`` -> probabilities ``float64 [B, K]`` on the CPU, as in training.

    Args:
        flip: average with the probabilities of the mirrored images.
    """

    def __init__(self, trained: Trained, hardware: Hardware, *, flip: bool) -> None:
        self.hardware, self.flip = hardware, flip
        self.net = trained.net.to(hardware.device)
        self.normalization = trained.description.normalization.to(hardware.device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.hardware.device)
        probabilities = self._probabilities(images)
        if self.flip:
            probabilities = (probabilities + self._probabilities(images.flip(3))) / 2
        return probabilities

    def _probabilities(self, images: Tensor) -> Tensor:
        with self.hardware.precision():
            logits = self.net(self.normalization(images))
        # In double precision, which not every device has, no two logits that differ become equal.
        return torch.softmax(logits.cpu().double(), 1)


def rank_classes(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities ``[B, K]`` from the largest on, and their classes; of equals the first class, as `argmax`."""
    values, classes = torch.sort(probabilities, descending=True, stable=True)
    return values, classes


@dataclass(frozen=True)
class ImageFile:
    """A file to classify. `named` says that the user named it, not a folder; `label` is the class that the first
    folder below that one would be, "" where there is none."""

    path: Path
    named: bool
    label: str = ""

    @property
    def is_called_image(self) -> bool:
        """Does its name end as that of an image? Others are tried, as in training, and skipped if they are none."""
        return self.named or self.path.suffix.lower() in _suffixes()


@dataclass(frozen=True)
class DecodedFile:
    """Pixels ``uint8 [C, H, W]``, or why there are none."""

    file: ImageFile
    pixels: np.ndarray | None
    problem: str = ""


def list_files(paths: Iterable[Path]) -> Iterator[ImageFile]:
    """Each file that is named, and below each folder the files that training would take, in the order of names."""
    for path in paths:
        if not path.is_dir():
            yield ImageFile(path, named=True)
            continue
        for name, _, _ in walk(path):
            inside = Path(name).relative_to(path).parts[:-1]
            yield ImageFile(Path(name), named=False, label=class_name(Path(inside[0])) if inside else "")


def decode_files(
    files: Iterable[ImageFile], decode: Callable[[Path], np.ndarray], *, batch_size: int
) -> Iterator[list[DecodedFile]]:
    """Batches in the order of the files, of which no more than two are in memory."""

    def attempt(file: ImageFile) -> DecodedFile:
        try:
            return DecodedFile(file, decode(file.path))
        except BadImage as error:
            return DecodedFile(file, None, str(error))
        except MemoryError:
            return DecodedFile(file, None, "it is too large for the memory")

    files = iter(files)
    pending: deque[Iterator[DecodedFile]] = deque()
    pool = ThreadPoolExecutor(min(_MOST_THREADS, available_cores()))
    try:
        while batch := list(islice(files, batch_size)):
            pending.append(pool.map(attempt, batch))
            if len(pending) == 2:
                yield list(pending.popleft())
        for rest in pending:
            yield list(rest)
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def _suffixes() -> frozenset[str]:
    """How names of images that can be decoded end, in small letters."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)
