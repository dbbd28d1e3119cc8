"""Random changes of a batch of images ``uint8 [B, C, H, W]``, each image drawn by itself, on the images' device."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror left-right, each with probability one half."""
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def crop(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Shift by up to `most` whole pixels along both axes, black outside."""
    count, _, height, width = images.shape
    offsets = torch.randint(2 * most + 1, (2, count), generator=generator, device=images.device)
    windows = F.pad(images, (most, most, most, most)).unfold(2, height, 1).unfold(3, width, 1)  # [B, C, dy, dx, H, W]
    return windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]


def move(images: Tensor, shift: float, scale: float, rotate: float, generator: torch.Generator) -> Tensor:
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
    # From a place in the new image to the place in the old one it comes from.
    rows = [cos, -sin * (height / width), across, sin * (width / height), cos, down]
    grid = F.affine_grid(torch.stack(rows, 1).reshape(count, 2, 3), list(images.shape), align_corners=False)
    return _pixels(F.grid_sample(images.float(), grid, padding_mode="zeros", align_corners=False))


def shade(images: Tensor, brightness: float, contrast: float, generator: torch.Generator) -> Tensor:
    """Stretch about each image's mean by a factor in [1 - contrast, 1 + contrast], then make it brighter or darker by
    up to `brightness` of the full range."""
    draws = 2 * torch.rand(2, len(images), 1, 1, 1, generator=generator, device=images.device) - 1
    values = images.float()
    mean = values.mean((1, 2, 3), keepdim=True)
    return _pixels(mean + (values - mean) * (1 + draws[0] * contrast) + 255 * brightness * draws[1])


def cut_out(images: Tensor, side: int, mean: Tensor, generator: torch.Generator) -> Tensor:
    """Wipe out a square of this side with the mean; part of it may lie outside."""
    count, _, height, width = images.shape
    rows = _within(height, side, count, generator)[:, :, None]
    columns = _within(width, side, count, generator)[:, None, :]
    return torch.where((rows & columns)[:, None], mean.round().to(torch.uint8), images)


def mix(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018): each image and its target with those of another one of the batch.

    Args:
        images: ``float [B, C, H, W]``.
        targets: probabilities ``float [B, K]``.
        alpha: shares are drawn from Beta(alpha, alpha).
    """
    count = len(images)
    parameters = torch.full((count, 2), alpha, device=images.device)
    share = torch._sample_dirichlet(parameters, generator)[:, :1]  # as torch.distributions, which take no generator
    other = torch.randperm(count, generator=generator, device=images.device)
    mixed = torch.lerp(images[other], images, share[:, :, None, None])
    return mixed, torch.lerp(targets[other], targets, share)


def _pixels(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255).to(torch.uint8)


def _within(length: int, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Bool ``[count, length]``: which places lie inside a stretch of `side` around a centre drawn for each image."""
    first = torch.randint(length, (count, 1), generator=generator, device=generator.device) - side // 2
    places = torch.arange(length, device=generator.device)
    return (places >= first) & (places < first + side)
