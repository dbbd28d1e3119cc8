"""Batches of a set of images that lies whole in memory or in a memory map, cut on the device. No workers, no PIL.

A batch is taken with `index_select`: on the CPU it is five times as fast as an index in brackets.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from lightsweep.data.augment import Augment
from lightsweep.data.normalize import Normalization
from lightsweep.seeds import derive


class EvalLoader:
    """Every image once, in order, normalised.

    Under several processes each takes each `world_size`-th image. All have the same number of batches, so that they
    can wait for each other; a process's last batch may be empty.

    Args:
        images: ``uint8 [N, C, H, W]`` on the device.
        targets: ``int64 [N]`` on the device.
        indices: ``int64``, which of the N this loader yields.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        indices: Tensor,
        *,
        normalization: Normalization,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.targets = images, targets
        self.normalization = normalization.to(images.device)
        self.batch_size = batch_size
        self.indices = indices.to(images.device)[rank::world_size]
        largest_share = -(-len(indices) // world_size)
        self.batches = -(-largest_share // batch_size)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in range(self.batches):
            chosen = self.indices[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield self.normalization(self.images.index_select(0, chosen)), self.targets.index_select(0, chosen)


class TrainLoader:
    """Every image once an epoch, in an order and with changes that follow from (seed, epoch).

    Call `set_epoch` before each epoch. Under several processes each takes its own share, cut to the same length.

    Args: as of `EvalLoader`, and
        drop_last: leave out the last batch where it is smaller than the others.
        seed: any whole number >= 0.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        indices: Tensor,
        *,
        normalization: Normalization,
        augment: Augment,
        batch_size: int,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.targets = images, targets
        self.indices = indices.to(images.device)
        self.normalization = normalization.to(images.device)
        self.augment = augment
        self.batch_size, self.seed = batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.share = len(indices) // world_size
        self.batches = self.share // batch_size if drop_last else -(-self.share // batch_size)
        self.generator = torch.Generator(images.device)
        self.noise = augment.fixed_noise(images.shape, self.generator.manual_seed(derive(seed)))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # The order is drawn on the CPU, so that it is the same on every device and in every process.
        shuffler = torch.Generator().manual_seed(derive(self.seed, self.epoch))
        order = torch.randperm(len(self.indices), generator=shuffler)[self.rank :: self.world_size][: self.share]
        order = self.indices[order.to(self.indices.device)]
        self.generator.manual_seed(derive(self.seed, self.epoch, self.rank + 1))
        for batch in range(self.batches):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield self._inputs(chosen), self.targets.index_select(0, chosen)

    def _inputs(self, chosen: Tensor) -> Tensor:
        images = self.augment.move(self.images.index_select(0, chosen), self.normalization.mean, self.generator)
        inputs = self.augment.add_noise(self.normalization(images), self.generator)
        return inputs if self.noise is None else inputs.add_(self.noise[chosen])
