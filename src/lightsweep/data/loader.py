"""Batches of images, made on the device without workers or PIL.

The images lie in memory or in a memory map. A batch is taken with `index_select`: on the CPU it is five times as fast
as an index in brackets. Images that do not fit on the device stay where they are, and each batch is copied to it.

Random numbers depend on (seed, epoch, ...) only, so that a resumed run draws what an uninterrupted one does.
"""

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightsweep.data.balance import build_sampler
from lightsweep.data.normalization import Normalization
from lightsweep.data.stacking import stacked_batches
from lightsweep.data.transforms import Augment, Draws

_MEMORY_SHARE = 0.5  # of the device's free memory for images; the network needs the rest


class ImageStore(NamedTuple):
    """Where batches are taken from: images ``uint8 [N, C, H, W]`` and, on the device of the batches, targets
    ``int64 [N]``."""

    images: Tensor
    targets: Tensor

    @property
    def device(self) -> torch.device:
        return self.targets.device

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The images and targets at `chosen` (``int64 [B]``, on the device of the images), both on the device."""
        images = self.images.index_select(0, chosen).to(self.device)
        return images, self.targets.index_select(0, chosen.to(self.device))


def build_store(images: np.ndarray, labels: np.ndarray, device: torch.device, free: float) -> ImageStore:
    """The images on the device if its free bytes leave room for the network; else, and always on the CPU, as they are,
    without a copy. A set larger than memory is then read through its memory map, batch by batch."""
    tensor = torch.from_numpy(images)
    fits = images.nbytes <= _MEMORY_SHARE * free
    return ImageStore(tensor.to(device) if fits else tensor, torch.from_numpy(labels).to(device))


def free_memory(device: torch.device) -> float:
    """Free bytes of a CUDA device; infinite for others."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


class EvalLoader:
    """Every image once, in order, normalised.

    Under several processes each takes each `world_size`-th image. All have the same number of batches, so that they
    can wait for each other; a process's last batch may be empty.

    Args:
        store: the images and their targets.
        indices: ``int64``, which of the N this loader yields.
    """

    def __init__(
        self,
        store: ImageStore,
        indices: Tensor,
        *,
        normalization: Normalization,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.store = store
        self.normalization = normalization.to(store.device)
        self.batch_size = batch_size
        self.indices = indices.to(store.images.device)[rank::world_size]
        largest_share = -(-len(indices) // world_size)
        self.batches = -(-largest_share // batch_size)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in range(self.batches):
            images, targets = self.store.take(self.indices[batch * self.batch_size : (batch + 1) * self.batch_size])
            yield self.normalization(images), targets


class TrainLoader:
    """As many images an epoch as there are, in an order and with changes that follow from (seed, epoch).

    Call `set_epoch` before each epoch. Under several processes each takes its own share, cut to the same length.

    Args: as of `EvalLoader`, and
        sampling: a name from `balance.SAMPLERS`.
        classes: K, for targets ``float [B, K]`` under mixup.
        drop_last: leave out the last batch if it is smaller than the others.
        seed: an integer >= 0.
    """

    def __init__(
        self,
        store: ImageStore,
        indices: Tensor,
        *,
        normalization: Normalization,
        augment: Augment,
        sampling: str,
        classes: int,
        batch_size: int,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.store = store
        self.indices = indices.to(store.images.device)
        self.normalization = normalization.to(store.device)
        self.augment, self.classes = augment, classes
        self.draw_order = build_sampler(sampling, store.targets[indices.to(store.device)].cpu())
        self.batch_size, self.seed = batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.share = len(indices) // world_size
        self.batches = self.share // batch_size if drop_last else -(-self.share // batch_size)
        self.generator = torch.Generator(store.device)
        self.noise = augment.fixed_noise(store.images.shape, self.generator.manual_seed(derive(seed)))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, targets in stacked_batches([self], [self.epoch]):
            yield images[0], targets[0]

    def begin(self, epoch: int) -> Tensor:
        """Seed the changes of an epoch. Returns its images in order: ``int64 [N]``, positions in the store."""
        # The order is drawn on the CPU, so that it is the same on every device and in every process.
        shuffler = torch.Generator().manual_seed(derive(self.seed, epoch))
        order = self.draw_order(generator=shuffler)[self.rank :: self.world_size][: self.share]
        self.generator.manual_seed(derive(self.seed, epoch, self.rank + 1))
        return self.indices[order.to(self.indices.device)]

    def draw(self, count: int) -> Draws:
        """Draw the changes of the next `count` images."""
        _, _, height, width = self.store.images.shape
        return self.augment.draw(count, (height, width), self.generator)

    def add_noise(self, inputs: Tensor, chosen: Tensor) -> None:
        """Add noise, in place, to the inputs ``float [B, C, H, W]`` of the images at `chosen` (``int64 [B]``)."""
        self.augment.add_noise(inputs, self.generator)
        if self.noise is not None:
            inputs.add_(self.noise[chosen.to(self.noise.device)])


def derive(*parts: int) -> int:
    """One well-mixed 63-bit seed from several small numbers."""
    state = np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def seed_everything(*parts: int) -> None:
    """Seed torch on every device (dropout, initial weights), NumPy and Python."""
    seed = derive(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
