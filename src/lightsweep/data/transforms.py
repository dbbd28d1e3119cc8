"""Augmentation and normalisation of batches on their device."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightsweep.core import checks

NORMALIZATIONS = ("symmetric", "channel", "feature")

_INTERVALS = {
    "shift": "[0, 1)",
    "scale": "[0, 1)",
    "rotate": "[0, 180]",
    "brightness": "[0, 1]",
    "contrast": "[0, 1]",
    "mixup": "[0, 1000]",
    "noise": "[0, 100]",
}


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images, drawn for each image: before normalising flip, crop, affine, jitter and
    cutout; after it mixup and noise.

    Args:
        flip: mirror each image left-right with probability one half.
        crop: shift each image by up to this many pixels along both axes, black outside.
        shift, scale, rotate: at most, as a share of the sides, a share of the size, and degrees; one interpolation
            for all three, black outside.
        brightness, contrast: at most, as a share of the full range, and of the distance to the image's mean.
        cutout: side in pixels of a square that is filled with the mean, which normalising makes 0 (DeVries & Taylor
            2017). Its centre lies anywhere in the image, so part of it may lie outside.
        mixup: alpha of Zhang et al. 2018; targets become probabilities.
        noise: sigma of Gaussian noise in normalised units.
        noise_redraw: draw new noise for each batch, or once for each image.
    """

    flip: bool
    crop: int
    shift: float
    scale: float
    rotate: float
    brightness: float
    contrast: float
    cutout: int
    mixup: float
    noise: float
    noise_redraw: bool

    def __post_init__(self) -> None:
        for name in ("flip", "noise_redraw"):
            checks.flag(f"data.augment.{name}", getattr(self, name))
        for name in ("crop", "cutout"):
            checks.integer(f"data.augment.{name}", getattr(self, name), "[0, inf)")
        for name, interval in _INTERVALS.items():
            checks.number(f"data.augment.{name}", getattr(self, name), interval)

    def check_size(self, height: int, width: int) -> None:
        """Raises: ConfigError: the images are too small for `crop` or `cutout`."""
        side = min(height, width)
        checks.require(self.crop < side, "data.augment.crop", f"be smaller than the image's side, {side}", self.crop)
        checks.require(self.cutout <= side, "data.augment.cutout", f"be at most the image's side, {side}", self.cutout)

    def change(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        """Images ``uint8 [B, C, H, W]`` -> the same shape; `mean` (pixel units) broadcasts to one image."""
        if self.flip:
            images = random_flip(images, generator)
        if self.crop:
            images = random_crop(images, self.crop, generator)
        if self.shift or self.scale or self.rotate:
            images = random_affine(images, self.shift, self.scale, self.rotate, generator)
        if self.brightness or self.contrast:
            images = color_jitter(images, self.brightness, self.contrast, generator)
        if self.cutout:
            images = random_cutout(images, self.cutout, mean, generator)
        return images

    def mix(self, images: Tensor, targets: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised images ``float [B, C, H, W]`` and ``int64 [B]`` -> the same, or with mixup ``float [B, K]``."""
        if not self.mixup:
            return images, targets
        return mixup_batch(images, F.one_hot(targets, classes).to(images.dtype), self.mixup, generator)

    def add_noise(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Normalised images ``float [B, C, H, W]`` -> the same shape, with fresh noise."""
        if not (self.noise and self.noise_redraw):
            return images
        return images.add_(torch.randn(images.shape, generator=generator, device=images.device), alpha=self.noise)

    def fixed_noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor | None:
        """Noise ``float16 [N, C, H, W]`` for every image of a set; None where noise is off or drawn each time."""
        if not self.noise or self.noise_redraw:
            return None
        noise = torch.empty(shape, dtype=torch.float16, device=generator.device)
        for rows in noise.split(4096):  # float32 only for a part at a time
            rows.copy_(torch.randn(rows.shape, generator=generator, device=generator.device) * self.noise)
        return noise


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left-right with probability one half."""
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def random_crop(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Shift by up to `most` pixels along both axes, black outside."""
    count, _, height, width = images.shape
    offsets = torch.randint(2 * most + 1, (2, count), generator=generator, device=images.device)
    windows = F.pad(images, (most, most, most, most)).unfold(2, height, 1).unfold(3, width, 1)  # [B, C, dy, dx, H, W]
    return windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]


def random_affine(images: Tensor, shift: float, scale: float, rotate: float, generator: torch.Generator) -> Tensor:
    """Shift by a share of the sides, scale and turn about the middle, in one interpolation; black outside.

    Args:
        shift: at most, of the height and of the width.
        scale: the factor lies in [1 - scale, 1 + scale].
        rotate: at most, in degrees, either way.
    """
    count, _, height, width = images.shape
    draws = 2 * torch.rand(4, count, generator=generator, device=images.device) - 1
    angle, factor = draws[0] * math.radians(rotate), 1 + draws[1] * scale
    cos, sin = angle.cos() / factor, angle.sin() / factor
    across, down = 2 * shift * draws[2], 2 * shift * draws[3]  # half a side is 1 in the grid's units
    # From a position in the new image to its source in the old one.
    rows = [cos, -sin * (height / width), across, sin * (width / height), cos, down]
    grid = F.affine_grid(torch.stack(rows, 1).reshape(count, 2, 3), list(images.shape), align_corners=False)
    return _pixels(F.grid_sample(images.float(), grid, padding_mode="zeros", align_corners=False))


def color_jitter(images: Tensor, brightness: float, contrast: float, generator: torch.Generator) -> Tensor:
    """Stretch about each image's mean by a factor in [1 - contrast, 1 + contrast], then make it brighter or darker by
    up to `brightness` of the full range."""
    draws = 2 * torch.rand(2, len(images), 1, 1, 1, generator=generator, device=images.device) - 1
    values = images.float()
    mean = values.mean((1, 2, 3), keepdim=True)
    return _pixels(mean + (values - mean) * (1 + draws[0] * contrast) + 255 * brightness * draws[1])


def random_cutout(images: Tensor, side: int, mean: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a square of this side with the mean; part of it may lie outside."""
    count, _, height, width = images.shape
    rows = _within(height, side, count, generator)[:, :, None]
    columns = _within(width, side, count, generator)[:, None, :]
    return torch.where((rows & columns)[:, None], mean.round().to(torch.uint8), images)


def mixup_batch(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018): each image and its target with those of another one of the batch.

    Args:
        images: ``float [B, C, H, W]``.
        targets: probabilities ``float [B, K]``.
        alpha: shares are drawn from Beta(alpha, alpha).
    """
    count = len(images)
    parameters = torch.full((count, 2), float(alpha), device=images.device)
    share = torch._sample_dirichlet(parameters, generator)[:, :1]  # as torch.distributions, which take no generator
    other = torch.randperm(count, generator=generator, device=images.device)
    mixed = torch.lerp(images[other], images, share[:, :, None, None])
    return mixed, torch.lerp(targets[other], targets, share)


def _pixels(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255).to(torch.uint8)


def _within(length: int, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Bool ``[count, length]``: which positions lie inside a range of `side` around a centre drawn for each image."""
    first = torch.randint(length, (count, 1), generator=generator, device=generator.device) - side // 2
    positions = torch.arange(length, device=generator.device)
    return (positions >= first) & (positions < first + side)


class Normalization(NamedTuple):
    """Subtract `mean`, divide by `std`; both in pixel units, ``float [C or 1, H or 1, W or 1]``."""

    mean: Tensor
    std: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``uint8 [B, C, H, W]`` -> ``float32 [B, C, H, W]``."""
        return images.to(torch.float32).sub_(self.mean).mul_(1 / self.std)

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
