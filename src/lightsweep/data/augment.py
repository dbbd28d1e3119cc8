"""Random changes of training images: drawn per image, made on the device, a whole batch at a time."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightsweep import checks


class Augment:
    """Flip, shift and cut out before normalising; add noise after it.

    Args:
        flip: mirror each image left-right with probability one half.
        crop: shift each image by up to this many pixels along both axes; what comes in is black.
        cutout: side in pixels of the square that is wiped out (DeVries & Taylor 2017). Its centre lies anywhere in the
            image, so part of it may lie outside. It is filled with the mean, which normalising makes 0.
        noise: sigma of Gaussian noise in normalised units.
        noise_redraw: draw the noise anew each time, or once per image and for all.
    """

    def __init__(self, *, flip: bool, crop: int, cutout: int, noise: float, noise_redraw: bool) -> None:
        checks.flag("data.augment.flip", flip)
        checks.whole("data.augment.crop", crop, "[0, inf)")
        checks.whole("data.augment.cutout", cutout, "[0, inf)")
        checks.number("data.augment.noise", noise, "[0, inf)")
        checks.flag("data.augment.noise_redraw", noise_redraw)
        self.flip, self.crop, self.cutout = flip, crop, cutout
        self.noise, self.noise_redraw = noise, noise_redraw

    def move(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        """Images ``uint8 [B, C, H, W]`` -> the same shape; `mean` (pixel units) broadcasts to one image."""
        if self.flip:
            images = _flip(images, generator)
        if self.crop:
            images = _shift(images, self.crop, generator)
        if self.cutout:
            images = _cut_out(images, self.cutout, mean, generator)
        return images

    def add_noise(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Normalised images ``float [B, C, H, W]`` -> the same shape, with fresh noise."""
        if not (self.noise and self.noise_redraw):
            return images
        return images.add_(torch.randn(images.shape, generator=generator, device=images.device), alpha=self.noise)

    def fixed_noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor | None:
        """Noise ``float16 [N, C, H, W]`` for every image of a set, or None where noise is off or drawn each time."""
        if not self.noise or self.noise_redraw:
            return None
        noise = torch.empty(shape, dtype=torch.float16, device=generator.device)
        for rows in noise.split(4096):  # float32 only for a part at a time
            rows.copy_(torch.randn(rows.shape, generator=generator, device=generator.device) * self.noise)
        return noise


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def _shift(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    offsets = torch.randint(2 * most + 1, (2, count), generator=generator, device=images.device)
    windows = F.pad(images, (most, most, most, most)).unfold(2, height, 1).unfold(3, width, 1)  # [B, C, dy, dx, H, W]
    return windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]


def _cut_out(images: Tensor, side: int, mean: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    rows = _within(height, side, count, generator)[:, :, None]
    columns = _within(width, side, count, generator)[:, None, :]
    return torch.where((rows & columns)[:, None], mean.round().to(torch.uint8), images)


def _within(length: int, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Bool ``[count, length]``: which places lie inside a stretch of `side` around a centre drawn for each image."""
    first = torch.randint(length, (count, 1), generator=generator, device=generator.device) - side // 2
    places = torch.arange(length, device=generator.device)
    return (places >= first) & (places < first + side)
