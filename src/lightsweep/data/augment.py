"""Random changes of training images: drawn per image, made on the device, a whole batch at a time."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightsweep.core import checks
from lightsweep.data import changes


class Augment:
    """Flip, shift, turn, shade and cut out before normalising; mix and add noise after it.

    Args:
        flip: mirror each image left-right with probability one half.
        crop: shift each image by up to this many pixels along both axes; what comes in is black.
        shift, scale, rotate: at most, as a share of the sides, a share of the size, and degrees; one interpolation does
            the three, and what comes in is black.
        brightness, contrast: at most, as a share of the full range, and of the distance to the image's mean.
        cutout: side in pixels of the square that is wiped out (DeVries & Taylor 2017). Its centre lies anywhere in the
            image, so part of it may lie outside. It is filled with the mean, which normalising makes 0.
        mixup: alpha of Zhang et al. 2018; targets become probabilities.
        noise: sigma of Gaussian noise in normalised units.
        noise_redraw: draw the noise anew each time, or once per image and for all.
    """

    def __init__(
        self,
        *,
        flip: bool,
        crop: int,
        shift: float,
        scale: float,
        rotate: float,
        brightness: float,
        contrast: float,
        cutout: int,
        mixup: float,
        noise: float,
        noise_redraw: bool,
    ) -> None:
        checks.flag("data.augment.flip", flip)
        checks.whole("data.augment.crop", crop, "[0, inf)")
        checks.number("data.augment.shift", shift, "[0, 1)")
        checks.number("data.augment.scale", scale, "[0, 1)")
        checks.number("data.augment.rotate", rotate, "[0, 180]")
        checks.number("data.augment.brightness", brightness, "[0, 1]")
        checks.number("data.augment.contrast", contrast, "[0, 1]")
        checks.whole("data.augment.cutout", cutout, "[0, inf)")
        checks.number("data.augment.mixup", mixup, "[0, 1000]")
        checks.number("data.augment.noise", noise, "[0, 100]")
        checks.flag("data.augment.noise_redraw", noise_redraw)
        self.flip, self.crop, self.cutout = flip, crop, cutout
        self.shift, self.scale, self.rotate = shift, scale, rotate
        self.brightness, self.contrast, self.mixup = brightness, contrast, mixup
        self.noise, self.noise_redraw = noise, noise_redraw

    def check_size(self, height: int, width: int) -> None:
        """See that the images are large enough for what was asked.

        Raises:
            ConfigError: they are not.
        """
        side = min(height, width)
        checks.require(self.crop < side, "data.augment.crop", f"be smaller than the image's side, {side}", self.crop)
        checks.require(self.cutout <= side, "data.augment.cutout", f"be at most the image's side, {side}", self.cutout)

    def move(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        """Images ``uint8 [B, C, H, W]`` -> the same shape; `mean` (pixel units) broadcasts to one image."""
        if self.flip:
            images = changes.flip(images, generator)
        if self.crop:
            images = changes.crop(images, self.crop, generator)
        if self.shift or self.scale or self.rotate:
            images = changes.move(images, self.shift, self.scale, self.rotate, generator)
        if self.brightness or self.contrast:
            images = changes.shade(images, self.brightness, self.contrast, generator)
        if self.cutout:
            images = changes.cut_out(images, self.cutout, mean, generator)
        return images

    def mix(self, images: Tensor, targets: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised images ``float [B, C, H, W]`` and ``int64 [B]`` -> the same, or with mixup ``float [B, K]``."""
        if not self.mixup:
            return images, targets
        return changes.mix(images, F.one_hot(targets, classes).to(images.dtype), self.mixup, generator)

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
