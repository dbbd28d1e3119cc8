"""Batches of several loaders at once, for networks that are trained as one computation.

Letters: K loaders, B images a batch of each, C channels, H x W pixels.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightsweep.data.transforms import join_draws

if TYPE_CHECKING:
    from lightsweep.data.loader import EvalLoader, TrainLoader


def stacked_batches(loaders: "Sequence[TrainLoader]", epochs: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of each loader, the k-th one's number ``epochs[k]``. Each loader draws with its own generators what it
    draws alone, so that its batches do not depend on the others.

    Args:
        loaders: may differ in seed and in the strengths of their changes. They share the store, indices, sampling,
            batch size and kinds of changes.

    Yields:
        Images ``float [K, B, C, H, W]``, and targets ``int64 [K, B]`` or, under mixup, ``float [K, B, classes]``.
    """
    first = loaders[0]
    orders = torch.stack([loader.begin(epoch) for loader, epoch in zip(loaders, epochs, strict=True)])  # [K, N]
    for chosen in orders.split(first.batch_size, 1)[: first.batches]:
        pixels, targets = first.store.take(chosen.flatten())  # [K * B, C, H, W], [K * B]
        draws = join_draws([loader.draw(chosen.shape[1]) for loader in loaders])
        pixels = draws.change(pixels, first.normalization.mean)
        inputs, targets = draws.mix(first.normalization(pixels), targets, first.classes)
        inputs, targets = inputs.unflatten(0, chosen.shape), targets.unflatten(0, chosen.shape)
        for loader, own, places in zip(loaders, inputs, chosen, strict=True):
            loader.add_noise(own, places)
        yield inputs, targets


def shared_batches(loader: "EvalLoader", members: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The loader's batches for each of K networks: ``float [K, B, C, H, W]`` and ``int64 [K, B]``, without copies."""
    for images, targets in loader:
        yield images.expand(members, *images.shape), targets.expand(members, *targets.shape)
