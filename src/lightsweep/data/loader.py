"""Batches of a set of images that lies whole in memory or in a memory map, cut on the device. No workers, no PIL.

A batch is taken with `index_select`: on the CPU it is five times as fast as an index in brackets. Images that do not
fit on the device stay where they are, and each batch moves over.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightsweep.core.seeds import derive
from lightsweep.data.augment import Augment
from lightsweep.data.balance import sampler
from lightsweep.data.normalize import Normalization


class Shelf(NamedTuple):
    """Where batches are taken from: images ``uint8 [N, C, H, W]``, wherever they lie, and, on the device on which the
    batches are wanted, targets ``int64 [N]``."""

    images: Tensor
    targets: Tensor

    @property
    def device(self) -> torch.device:
        return self.targets.device

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The images and targets at `chosen` (``int64 [B]``, where the images lie), both on the device."""
        images = self.images.index_select(0, chosen).to(self.device)
        return images, self.targets.index_select(0, chosen.to(self.device))


class EvalLoader:
    """Every image once, in order, normalised.

    Under several processes each takes each `world_size`-th image. All have the same number of batches, so that they
    can wait for each other; a process's last batch may be empty.

    Args:
        shelf: the images and their targets.
        indices: ``int64``, which of the N this loader yields.
    """

    def __init__(
        self,
        shelf: Shelf,
        indices: Tensor,
        *,
        normalization: Normalization,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.shelf = shelf
        self.normalization = normalization.to(shelf.device)
        self.batch_size = batch_size
        self.indices = indices.to(shelf.images.device)[rank::world_size]
        largest_share = -(-len(indices) // world_size)
        self.batches = -(-largest_share // batch_size)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in range(self.batches):
            chosen = self.indices[batch * self.batch_size : (batch + 1) * self.batch_size]
            images, targets = self.shelf.take(chosen)
            yield self.normalization(images), targets


class TrainLoader:
    """As many images an epoch as there are, in an order and with changes that follow from (seed, epoch).

    Call `set_epoch` before each epoch. Under several processes each takes its own share, cut to the same length.

    Args: as of `EvalLoader`, and
        sampling: a name from `balance.SAMPLERS`.
        classes: K, for targets ``float [B, K]`` under mixup.
        drop_last: leave out the last batch where it is smaller than the others.
        seed: any whole number >= 0.
    """

    def __init__(
        self,
        shelf: Shelf,
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
        self.shelf = shelf
        self.indices = indices.to(shelf.images.device)
        self.normalization = normalization.to(shelf.device)
        self.augment, self.classes = augment, classes
        self.sampler = sampler(sampling, shelf.targets[indices.to(shelf.device)].cpu())
        self.batch_size, self.seed = batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.share = len(indices) // world_size
        self.batches = self.share // batch_size if drop_last else -(-self.share // batch_size)
        self.generator = torch.Generator(shelf.device)
        self.noise = augment.fixed_noise(shelf.images.shape, self.generator.manual_seed(derive(seed)))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # The order is drawn on the CPU, so that it is the same on every device and in every process.
        shuffler = torch.Generator().manual_seed(derive(self.seed, self.epoch))
        order = self.sampler.order(shuffler)[self.rank :: self.world_size][: self.share]
        order = self.indices[order.to(self.indices.device)]
        self.generator.manual_seed(derive(self.seed, self.epoch, self.rank + 1))
        for batch in range(self.batches):
            yield self._changed(order[batch * self.batch_size : (batch + 1) * self.batch_size])

    def _changed(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        pixels, targets = self.shelf.take(chosen)
        pixels = self.augment.move(pixels, self.normalization.mean, self.generator)
        inputs, targets = self.augment.mix(self.normalization(pixels), targets, self.classes, self.generator)
        inputs = self.augment.add_noise(inputs, self.generator)
        return inputs if self.noise is None else inputs.add_(self.noise[chosen.to(self.noise.device)]), targets
