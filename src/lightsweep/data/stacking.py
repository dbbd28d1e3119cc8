"""Batches of several loaders at once, for networks that are trained as one computation.

Letters: K loaders, B images a batch of each, C channels, H x W pixels.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightsweep.data.transforms import join_draws

if TYPE_CHECKING:
    from lightsweep.data.loader import TrainLoader

_VALUES = 2**19  # B * C * H * W, of all loaders whose batches are made together; measured on CIFAR-10 and the digits


def stacked_batches(loaders: "Sequence[TrainLoader]", epochs: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of each loader, the k-th one's number ``epochs[k]``. Each loader draws with its own generators what it
    draws alone, so that its batches do not depend on the others.

    Args:
        loaders: may differ in seed and in the strengths of their changes. They share the store, indices, sampling,
            batch size and kinds of changes.

    Yields:
        Images ``float [K, B, C, H, W]``, and targets ``int64 [K, B]`` or, under mixup, ``float [K, B, classes]``.
        The next batch may overwrite the images.
    """
    first = loaders[0]
    orders = torch.stack([loader.begin(epoch) for loader, epoch in zip(loaders, epochs, strict=True)])  # [K, N]
    together = _members_together(first)
    images = torch.empty(0)
    for chosen in orders.split(first.batch_size, 1)[: first.batches]:
        if together >= len(loaders):
            yield _batch(loaders, chosen)
            continue
        shape = (*chosen.shape, *first.store.images.shape[1:])
        images = images if images.shape == shape else torch.empty(shape)
        targets = []
        for part in range(0, len(loaders), together):
            members = slice(part, part + together)
            images[members], own_targets = _batch(loaders[members], chosen[members])
            targets.append(own_targets)
        yield images, torch.cat(targets)


def _members_together(loader: "TrainLoader") -> int:
    """For how many loaders a batch is made at once. On the CPU what is done to an image must stay in a core's cache."""
    if loader.store.device.type != "cpu":
        return sys.maxsize
    return max(1, _VALUES // (loader.batch_size * loader.store.images[0].numel()))


def _batch(loaders: "Sequence[TrainLoader]", chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The images and targets of a step, as `stacked_batches`; `chosen` has their positions ``int64 [K, B]``."""
    first = loaders[0]
    pixels, targets = first.store.take(chosen.flatten())  # [K * B, C, H, W], [K * B]
    draws = join_draws([loader.draw(chosen.shape[1]) for loader in loaders])
    pixels = draws.change(pixels, first.normalization.mean)
    inputs, targets = draws.mix(first.normalization(pixels), targets, first.classes)
    inputs, targets = inputs.unflatten(0, chosen.shape), targets.unflatten(0, chosen.shape)
    if any(loader.augment.noise for loader in loaders):
        for loader, own, places in zip(loaders, inputs, chosen, strict=True):
            loader.add_noise(own, places)
    return inputs, targets
