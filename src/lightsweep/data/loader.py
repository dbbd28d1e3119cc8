"""Batches of a set of images that lies whole in memory or in a memory map, cut on the device. No workers, no PIL.

A batch is taken with `index_select`: on the CPU it is five times as fast as an index in brackets. Images that do not
fit on the device stay where they are, and each batch moves over.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightsweep.core import checks
from lightsweep.core.seeds import derive
from lightsweep.data.transforms import Augment, Normalization


class ImageStore(NamedTuple):
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
        shelf: ImageStore,
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
        seed: any integer >= 0.
    """

    def __init__(
        self,
        shelf: ImageStore,
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
        self.sampler = build_sampler(sampling, shelf.targets[indices.to(shelf.device)].cpu())
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


_SHARE = 0.5  # of the device's free memory; the rest is the network's


def place_images(images: np.ndarray, device: torch.device) -> Tensor:
    """The images as a tensor: on the device where they fit beside the network, else, and on the CPU always, as they
    are, without a copy. A set larger than memory is then read through its memory map, batch by batch."""
    tensor = torch.from_numpy(images)
    return tensor.to(device) if images.nbytes <= _SHARE * free_memory(device) else tensor


def free_memory(device: torch.device) -> float:
    """Bytes that are free on an accelerator; no end of them where nobody can say."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


SAMPLERS = ("shuffle", "balanced")

_RULE = "be null, balanced, or a list with a number > 0 for each class"


def check_class_weights(weights: str | list[float] | None) -> None:
    """Refuse what `class_weights` could not use, whatever the number of classes."""
    if isinstance(weights, list):
        for weight in weights:
            checks.number("data.class_weights", weight, "(0, 1e6]")
        return
    checks.require(weights in (None, "balanced"), "data.class_weights", _RULE, weights)


def class_weights(weights: str | list[float] | None, labels: np.ndarray, classes: int) -> Tensor:
    """Loss weights ``float [K]``: ones, those given, or, balanced, N / (K * images of the class) as in scikit-learn."""
    if weights is None:
        return torch.ones(classes)
    if isinstance(weights, list):
        checks.require(len(weights) == classes, "data.class_weights", f"have {classes} numbers, one a class", weights)
        return torch.tensor(weights, dtype=torch.float32)
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


class Shuffle:
    """Each of `count` images once an epoch."""

    def __init__(self, count: int) -> None:
        self.count = count

    def order(self, generator: torch.Generator) -> Tensor:
        """Which images an epoch consists of, in turn: places ``int64 [count]``."""
        return torch.randperm(self.count, generator=generator)


class Balanced:
    """As many images an epoch, of each class the same number: of a small class some come again and again, of a large
    one some not at all. None comes another time before the rest of its class came as often.

    Args:
        labels: ``int64 [N]``.
    """

    def __init__(self, labels: Tensor) -> None:
        self.count = len(labels)
        self.members = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]

    def order(self, generator: torch.Generator) -> Tensor:
        """As of `Shuffle`."""
        classes = len(self.members)
        shares = torch.full((classes,), self.count // classes)
        shares[torch.randperm(classes, generator=generator)[: self.count % classes]] += 1
        drawn = [_drawn(each, int(share), generator) for each, share in zip(self.members, shares, strict=True)]
        return torch.cat(drawn)[torch.randperm(self.count, generator=generator)]


def build_sampler(name: str, labels: Tensor) -> Shuffle | Balanced:
    """The one of `SAMPLERS` for images with these labels."""
    return Balanced(labels) if name == "balanced" else Shuffle(len(labels))


def _drawn(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    rounds = -(-count // len(members))
    return torch.cat([members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)])[:count]
