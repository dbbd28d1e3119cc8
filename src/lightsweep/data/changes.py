"""The random changes of images, each in two steps: draw numbers for the images of a batch, then change all images.

What is drawn holds the strengths, so that batches of different strengths can be joined and changed together. Its first
dimension is the image's, M. Images are ``[M, C, H, W]`` in pixel units, 0 to 255: ``uint8`` where they come from the
store, and ``float32`` from the first change on that computes new values.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

# What lies outside an image that was moved, and torch's name for it.
FILLS = {"black": "zeros", "edge": "border", "mirror": "reflection"}


def draw_flips(count: int, generator: torch.Generator) -> Tensor:
    """``float [M]``: an image is mirrored where this is below one half."""
    return torch.rand(count, generator=generator, device=generator.device)


def flip(images: Tensor, flips: Tensor) -> Tensor:
    """Mirror some images left-right."""
    both = torch.cat([images, images.flip(-1)])
    positions = torch.arange(len(images), device=images.device)
    return both.index_select(0, positions + len(images) * (flips < 0.5))


def draw_crops(count: int, most: int, generator: torch.Generator) -> Tensor:
    """``int64 [M, 2]``: pixels down and across, from -most to most."""
    return torch.randint(-most, most + 1, (2, count), generator=generator, device=generator.device).T


def crop(images: Tensor, crops: Tensor, most: int) -> Tensor:
    """Shift by at most `most` pixels along both axes, black outside.

    The images lie one after the other in memory. Each is copied from a place a few bytes before or after its own; the
    bytes of its neighbours in the copy are then set to 0. That is several times as fast as an index into padded images.
    """
    _, channels, height, width = images.shape
    size, margin = channels * height * width, most * (width + 1)
    row = F.pad(images.flatten(), (margin, margin))
    starts = (
        torch.arange(margin, margin + images.numel(), size, device=images.device) + crops[:, 0] * width + crops[:, 1]
    )
    shifted = row.unfold(0, size, 1).index_select(0, starts).reshape(images.shape)
    return shifted.mul_(_inside(height, width, crops, most))


def _inside(height: int, width: int, crops: Tensor, most: int) -> Tensor:
    """``uint8 [M, 1, H, W]``: 1 where the source of a pixel lies in the image, 0 outside."""
    tables = _inside_tables(height, width, most, crops.device)
    down, across = (table.index_select(0, offset) for table, offset in zip(tables, (crops + most).T, strict=True))
    return down.mul_(across)[:, None]


@lru_cache(maxsize=16)
def _inside_tables(height: int, width: int, most: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """As `_inside`, ``[2 * most + 1, H, W]`` each: for every offset down, and for every offset across."""
    offsets = torch.arange(-most, most + 1, device=device)[:, None]
    rows, columns = (torch.arange(length, device=device) + offsets for length in (height, width))
    down = ((rows >= 0) & (rows < height)).to(torch.uint8)[:, :, None]
    across = ((columns >= 0) & (columns < width)).to(torch.uint8)[:, None, :]
    return down.expand(-1, -1, width).contiguous(), across.expand(-1, height, -1).contiguous()


def draw_affine(count: int, shift: float, scale: float, rotate: float, generator: torch.Generator) -> Tensor:
    """``float [M, 4]``: an angle in radians, a factor of the size, and shifts across and down in half sides.

    Args:
        shift: at most, of the height and of the width.
        scale: the factor lies in [1 - scale, 1 + scale].
        rotate: at most, in degrees, either way.
    """
    units = 2 * torch.rand(4, count, generator=generator, device=generator.device) - 1
    angle, factor = units[0] * math.radians(rotate), 1 + units[1] * scale
    return torch.stack([angle, factor, 2 * shift * units[2], 2 * shift * units[3]], 1)


def move(images: Tensor, affine: Tensor | None, flips: Tensor | None, crops: Tensor | None, fill: str) -> Tensor:
    """Shift, scale and turn about the middle; before that mirror and shift by whole pixels; each where given.
    All in one interpolation: ``uint8 [M, C, H, W]`` -> ``float32``.

    Args:
        fill: what lies outside, a name from `FILLS`.
    """
    height, width = images.shape[2:]
    if affine is None:
        affine = torch.tensor([0.0, 1.0, 0.0, 0.0], device=images.device).expand(len(images), 4)
    angle, factor, across, down = affine.T.contiguous()
    if crops is not None:
        across, down = across + crops[:, 1] * (2 / width), down + crops[:, 0] * (2 / height)
    cos, sin = angle.cos() / factor, angle.sin() / factor
    # From a position in the new image to its source in the old one; half a side is 1.
    rows = torch.stack([cos, -sin * (height / width), across, sin * (width / height), cos, down])
    if flips is not None:
        rows[:3] *= torch.where(flips < 0.5, -1.0, 1.0)
    grid = _sources(rows, height, width)
    return F.grid_sample(images.float(), grid, padding_mode=FILLS[fill], align_corners=False)


def _sources(rows: Tensor, height: int, width: int) -> Tensor:
    """``float [M, H, W, 2]``, across and down, from ``float [6, M]``: sums of a column's part and a row's part, which
    take a tenth of the time of `F.affine_grid`."""
    across, down = (_centres(length, rows.device) for length in (width, height))
    by_column, by_row, shift = rows.view(2, 3, -1, 1).unbind(1)  # [2, M, 1] each
    columns, lines = by_column * across, torch.addcmul(shift, by_row, down)  # [2, M, W], [2, M, H]
    return (columns[:, :, None] + lines[..., None]).permute(1, 2, 3, 0)


def _centres(length: int, device: torch.device) -> Tensor:
    """``float [length]``: where the middles of the pixels of a side are, from -1 to 1."""
    return (2 * torch.arange(length, device=device) + 1) / length - 1


def draw_jitter(count: int, brightness: float, contrast: float, generator: torch.Generator) -> Tensor:
    """``float [M, 2]``: factors in [1 - contrast, 1 + contrast], and pixel values to add, at most `brightness` of the
    full range either way."""
    units = 2 * torch.rand(2, count, generator=generator, device=generator.device) - 1
    return torch.stack([1 + units[0] * contrast, 255 * brightness * units[1]], 1)


def color(images: Tensor, jitter: Tensor) -> Tensor:
    """Stretch about each image's mean, then make it brighter or darker, within 0 to 255: -> ``float32``."""
    factor, bright = jitter.T[..., None, None, None]
    values = images.float()
    mean = values.mean((1, 2, 3), keepdim=True)
    return (values * factor).add_(mean * (1 - factor) + bright).clamp_(0, 255)


def draw_cutout(count: int, side: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """``int64 [M, 4]``: the first row of a square around a point in an image of this size, the one after its last row,
    and two columns likewise. Part of the square may lie outside."""
    points = [torch.randint(length, (count,), generator=generator, device=generator.device) for length in size]
    return torch.stack([edge for point in points for edge in (point - side // 2, point - side // 2 + side)], 1)


def cut(images: Tensor, cutout: Tensor, mean: Tensor) -> Tensor:
    """Fill a square with the mean, in pixel units, which broadcasts to one image."""
    top, bottom, left, right = cutout.T[..., None]
    rows, columns = (torch.arange(length, device=images.device) for length in images.shape[2:])
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
    return torch.where(inside[:, None], mean.round().to(images.dtype), images)


def draw_mixup(count: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shares ``float [M, 1]`` from Beta(alpha, alpha), and the other image of each ``int64 [M]``."""
    parameters = torch.full((count, 2), float(alpha), device=generator.device)
    share = torch._sample_dirichlet(parameters, generator)[:, :1]  # as torch.distributions, which take no generator
    return share, torch.randperm(count, generator=generator, device=generator.device)


def mix(values: Tensor, share: Tensor, other: Tensor) -> Tensor:
    """Mixup (Zhang et al. 2018) of images or targets ``float [M, ...]``: each with another one."""
    return values.index_select(0, other).lerp_(values, share.reshape(-1, *[1] * (values.dim() - 1)))
