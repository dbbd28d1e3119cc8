"""Data sets that need no files: scikit-learn's digits, and generated images for benchmarks and tests."""

import math

import numpy as np
from sklearn.datasets import load_digits

from lightsweep.core import checks, memory
from lightsweep.data.module import ImageArrays, ImageDataModule
from lightsweep.data.split import split

_TEST_FRACTION, _TEST_SEED = 0.2, 0  # of digits
_PART, _PART_BYTES = 4096, 2**28  # images, and bytes, generated at a time


class DigitsDataModule(ImageDataModule):
    """1,797 images ``uint8 [1, 8, 8]`` of the UCI set (Alpaydin & Kaynak 1998), a fifth of each class for test."""

    def read(self) -> ImageArrays:
        digits = load_digits()
        images = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]  # [N, 1, 8, 8], from 0..16
        labels = digits.target.astype(np.int64)
        train, test = split("stratified", labels, _TEST_FRACTION, _TEST_SEED)
        return ImageArrays(images[train], labels[train], images[test], labels[test], tuple("0123456789"))


class FakeDataModule(ImageDataModule):
    """Noise over a faint pattern for each class: a network can learn it, and an untrained one cannot know it.

    Args:
        shape: (C, H, W) of an image.
        classes, train_images, test_images: how many.
        data_seed: draws patterns and noise. Further arguments: see `ImageDataModule`.
    """

    def __init__(
        self, *, shape: list[int], classes: int, train_images: int, test_images: int, data_seed: int, **shared
    ) -> None:
        super().__init__(**shared)
        sizes = isinstance(shape, list) and len(shape) == 3 and all(type(size) is int and size >= 1 for size in shape)
        checks.require(sizes, "data.shape", "be three integers >= 1: channels, height, width", shape)
        checks.integer("data.classes", classes, "[2, inf)")
        checks.integer("data.train_images", train_images, f"[{2 * classes}, inf)")
        checks.integer("data.test_images", test_images, "[0, inf)")
        checks.integer("data.data_seed", data_seed, "[0, inf)")
        self.shape, self.classes, self.data_seed = tuple(shape), classes, data_seed
        self.counts = train_images, test_images
        count = sum(self.counts)
        need = (count + classes) * math.prod(shape) + 8 * count  # the patterns, the images, and 64-bit labels
        rule = f"{count:,} images {shape} in {classes:,} classes need"
        memory.require("data.shape, data.train_images, data.test_images and data.classes", need, rule)

    def read(self) -> ImageArrays:
        draw = np.random.default_rng(self.data_seed)
        patterns = draw.integers(0, 256, (self.classes, *self.shape), dtype=np.uint8)
        train, test = (self._generate(count, patterns, draw) for count in self.counts)
        return ImageArrays(*train, *test, tuple(f"class {number}" for number in range(self.classes)))

    def _generate(self, count: int, patterns: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Images ``uint8 [N, C, H, W]``, seven eighths noise, and labels ``int64 [N]`` in turn."""
        labels = np.arange(count) % self.classes
        images = np.empty((count, *self.shape), dtype=np.uint8)
        # A multiple of four: the generator makes four pixels from each of its numbers.
        part = max(4, min(_PART, _PART_BYTES // math.prod(self.shape)) // 4 * 4)
        for first in range(0, count, part):
            chosen = slice(first, first + part)
            noise = draw.integers(0, 256, images[chosen].shape, dtype=np.uint8)
            images[chosen] = noise - (noise >> 3) + (patterns[labels[chosen]] >> 3)
        return images, labels
