"""Normalisation of images, measured on the training part."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NORMALIZATIONS = ("symmetric", "channel", "feature")


class Normalization(NamedTuple):
    """Subtract `mean`, divide by `std`; both in pixel units, ``float [C or 1, H or 1, W or 1]``."""

    mean: Tensor
    std: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Images in pixel units ``[B, C, H, W]`` -> ``float32 [B, C, H, W]``."""
        return images.to(torch.float32, copy=True).sub_(self.mean).mul_(1 / self.std)

    def undo(self, images: Tensor) -> Tensor:
        """Normalised images -> ``uint8``, clipped to what a pixel can hold."""
        return (images * self.std + self.mean).round().clamp(0, 255).to(torch.uint8)

    def to(self, device: torch.device) -> "Normalization":
        return Normalization(self.mean.to(device), self.std.to(device))


def symmetric_normalization() -> Normalization:
    """From 0..255 to [-1, 1]."""
    half = torch.full((1, 1, 1), 127.5)
    return Normalization(half, half)


def fit_normalization(method: str, images: np.ndarray, indices: np.ndarray) -> Normalization:
    """Measure a normalisation on some of the images ``uint8 [N, C, H, W]``.

    Args:
        method: symmetric (to [-1, 1], whatever the images), channel, or feature (each pixel of each channel; one that
            never changes is only centred).
    """
    if method == "symmetric":
        return symmetric_normalization()
    mean, variance = _moments(images, indices)  # [C, H, W]
    if method == "channel":
        overall = mean.mean((1, 2), keepdims=True)
        variance = (variance + (mean - overall) ** 2).mean((1, 2), keepdims=True)
        mean = overall
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    return Normalization(torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32))


def _moments(images: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each pixel over the images, from exact integer sums, a part of the images at a time."""
    total = np.zeros(images.shape[1:], dtype=np.int64)
    squares = np.zeros(images.shape[1:], dtype=np.int64)
    for part in np.array_split(indices, max(1, len(indices) // 2048)):
        pixels = images[part].astype(np.int32)
        total += pixels.sum(0, dtype=np.int64)
        squares += np.einsum("n...,n...->...", pixels, pixels)  # at most 2048 * 255**2, inside int32
    mean = total / len(indices)
    return mean, np.maximum(squares / len(indices) - mean**2, 0.0)
