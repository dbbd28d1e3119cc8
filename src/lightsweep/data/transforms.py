"""Augmentation of batches on their device: `Augment` draws what happens to each image, `Draws` does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightsweep.core import checks
from lightsweep.data import changes

_INTERVALS = {
    "shift": "[0, 1)",
    "scale": "[0, 1)",
    "rotate": "[0, 180]",
    "brightness": "[0, 1]",
    "contrast": "[0, 1]",
    "mixup": "[0, 1000]",
    "noise": "[0, 100]",
}


class Draws(NamedTuple):
    """What was drawn for each of M images, as in `changes`; None: no such change.

    Args:
        most: at least as large as each number in `crops`.
        fill: a name from `changes.FILLS`.
    """

    flips: Tensor | None = None
    crops: Tensor | None = None
    most: int = 0
    affine: Tensor | None = None
    fill: str = "black"
    jitter: Tensor | None = None
    cutout: Tensor | None = None
    mixup: tuple[Tensor, Tensor] | None = None

    def change(self, images: Tensor, mean: Tensor) -> Tensor:
        """Images ``uint8 [M, C, H, W]`` -> the same shape, ``uint8`` or ``float32``; `mean` broadcasts to one image.
        All are in pixel units."""
        if self.affine is not None or (self.crops is not None and self.fill != "black"):
            images = changes.move(images, self.affine, self.flips, self.crops, self.fill)
        else:
            images = images if self.flips is None else changes.flip(images, self.flips)
            images = images if self.crops is None else changes.crop(images, self.crops, self.most)
        if self.jitter is not None:
            images = changes.color(images, self.jitter)
        if self.cutout is not None:
            images = changes.cut(images, self.cutout, mean)
        return images

    def mix(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Normalised images ``float [M, C, H, W]`` and targets ``int64 [M]`` -> the same, or with mixup targets
        ``float [M, classes]``."""
        if self.mixup is None:
            return images, targets
        probabilities = F.one_hot(targets, classes).to(images.dtype)
        return changes.mix(images, *self.mixup), changes.mix(probabilities, *self.mixup)


def join_draws(draws: Sequence[Draws]) -> Draws:
    """The draws of equally large batches, with the same kinds of changes, for their images one after the other."""
    first, *others = draws
    if not others:
        return first
    names = [name for name in ("flips", "crops", "affine", "jitter", "cutout") if getattr(first, name) is not None]
    joined = {name: torch.cat([getattr(each, name) for each in draws]) for name in names}
    most, mixup = max(each.most for each in draws), _join_mixup([each.mixup for each in draws])
    return Draws(**joined, most=most, fill=first.fill, mixup=mixup)


def _join_mixup(mixups: Sequence[tuple[Tensor, Tensor] | None]) -> tuple[Tensor, Tensor] | None:
    pairs = [pair for pair in mixups if pair is not None]
    if not pairs:
        return None
    others = torch.stack([other for _, other in pairs])  # [K, B], positions in the image's own batch
    first = torch.arange(len(others), device=others.device) * others.shape[1]
    return torch.cat([share for share, _ in pairs]), (others + first[:, None]).flatten()


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images, drawn for each image: before normalising flip, crop, affine (with which flip
    and crop become one interpolation), jitter and cutout; after it mixup and noise.

    Args:
        flip: mirror each image left-right with probability one half.
        crop: shift each image by up to this many pixels along both axes.
        shift, scale, rotate: at most, as a share of the sides, a share of the size, and degrees; one interpolation
            for all three.
        fill: what lies outside an image that was moved, a name from `changes.FILLS`: black, its edge repeated, or its
            mirror image.
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
    fill: str
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
        checks.choice("data.augment.fill", self.fill, changes.FILLS)
        for name, interval in _INTERVALS.items():
            checks.number(f"data.augment.{name}", getattr(self, name), interval)

    def check_size(self, height: int, width: int) -> None:
        """Raises: ConfigError: the images are too small for `crop` or `cutout`."""
        side = min(height, width)
        checks.require(self.crop < side, "data.augment.crop", f"be smaller than the image's side, {side}", self.crop)
        checks.require(self.cutout <= side, "data.augment.cutout", f"be at most the image's side, {side}", self.cutout)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Draws:
        """Draw for the next `count` images of this height and width, always in the same order."""
        moves = (self.shift, self.scale, self.rotate)
        colors = (self.brightness, self.contrast)
        return Draws(  # Python evaluates the arguments in this order
            flips=changes.draw_flips(count, generator) if self.flip else None,
            crops=changes.draw_crops(count, self.crop, generator) if self.crop else None,
            most=self.crop,
            affine=changes.draw_affine(count, *moves, generator) if any(moves) else None,
            fill=self.fill,
            jitter=changes.draw_jitter(count, *colors, generator) if any(colors) else None,
            cutout=changes.draw_cutout(count, self.cutout, size, generator) if self.cutout else None,
            mixup=changes.draw_mixup(count, self.mixup, generator) if self.mixup else None,
        )

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
