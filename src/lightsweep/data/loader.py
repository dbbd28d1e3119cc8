"""Which images are for training and validation, and batches of them, made on the device without workers or PIL.

The images lie in memory or in a memory map. A batch is taken with `index_select`: on the CPU it is five times as fast
as an index in brackets. Images that do not fit on the device stay where they are, and each batch is copied to it.

Random numbers depend on (seed, epoch, ...) only, so that a resumed run draws what an uninterrupted one does.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightsweep.core import checks
from lightsweep.data.normalization import Normalization
from lightsweep.data.stacking import stacked_batches
from lightsweep.data.transforms import Augment, Draws

SPLITS = ("first", "random", "stratified")
LARGEST_SEED = 2**32 - 1  # NumPy's
SAMPLERS = ("shuffle", "balanced")

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
        sampling: a name from `SAMPLERS`.
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


def build_sampler(name: str, labels: Tensor) -> Callable[..., Tensor]:
    """Draws, with a generator, an epoch's images in order: ``int64 [N]``, indices into `labels` ``int64 [N]``.

    Args:
        name: shuffle (each image once) or balanced (N images, of each class the same number: images of a small class
            repeat, and some of a large one are left out; none repeats before the rest of its class came as often).
    """
    if name == "shuffle":
        return partial(torch.randperm, len(labels))
    members = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]
    return partial(_balanced_order, members, len(labels))


def _balanced_order(members: Sequence[Tensor], count: int, generator: torch.Generator) -> Tensor:
    shares = torch.full((len(members),), count // len(members))
    shares[torch.randperm(len(members), generator=generator)[: count % len(members)]] += 1
    drawn = []
    for each, share in zip(members, shares.tolist(), strict=True):
        rounds = range(-(-share // len(each)))
        drawn.append(torch.cat([each[torch.randperm(len(each), generator=generator)] for _ in rounds])[:share])
    return torch.cat(drawn)[torch.randperm(count, generator=generator)]


def check_class_weights(weights: str | list[float] | None) -> None:
    """Raises: ConfigError: the weights fit no number of classes."""
    rule = "be null, balanced, or a list with a number > 0 for each class"
    checks.require(isinstance(weights, list) or weights in (None, "balanced"), "data.class_weights", rule, weights)
    for weight in weights if isinstance(weights, list) else ():
        checks.number("data.class_weights", weight, "(0, 1e6]")


def class_weights(weights: str | list[float] | None, labels: np.ndarray, classes: int) -> Tensor:
    """Loss weights ``float [K]``: ones, those given, or, balanced, N / (K * images of the class) as in scikit-learn."""
    if weights is None:
        return torch.ones(classes)
    if isinstance(weights, list):
        checks.require(len(weights) == classes, "data.class_weights", f"have {classes} numbers, one a class", weights)
        return torch.tensor(weights, dtype=torch.float32)
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def first_of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
    """Indices, ascending, of the first `most` images of each class; `labels` ``int64 [N]``."""
    found = [np.flatnonzero(labels == label)[:most] for label in np.unique(labels)]
    return np.sort(np.concatenate(found))


def split(method: str, labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training part and of the validation part, both ``int64`` and ascending.

    Args:
        method: first (the first images are for validation), random, or stratified (the same share of each class).
        labels: ``int64 [N]``.
        fraction: of the N images that are for validation, rounded.
        seed: of random and stratified.

    Raises:
        ValueError: a class has too few images to be in both parts (stratified only).
    """
    from sklearn.model_selection import train_test_split  # takes a second

    indices = np.arange(len(labels))
    held_out = round(len(labels) * fraction)
    if method == "first":
        return indices[held_out:], indices[:held_out]
    left, classes = len(labels) - held_out, len(np.unique(labels))
    if method == "stratified" and min(held_out, left) < classes:
        raise ValueError(f"{held_out} and {left} images cannot both have one of each of {classes} classes")
    by = labels if method == "stratified" else None
    train, val = train_test_split(indices, test_size=held_out, random_state=seed, stratify=by)
    return np.sort(train), np.sort(val)


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
