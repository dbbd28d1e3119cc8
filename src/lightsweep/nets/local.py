"""Initial weights of an MLP that connect what lies near each other on the image.

Each hidden unit gets a place on the image, drawn uniformly. Its weights are multiplied by a Gaussian of the distance to
the pixels, or to the places of the units of the layer before. Nothing else is different: all weights are trained, none
is shared or kept at 0. A network that starts as a convolutional one learns better than one that starts anywhere
(d'Ascoli et al. 2019, "Finding the Needle in the Haystack with Convolutions"); here its filters are random, and each
unit has its own.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lightsweep.core import checks

Grid = tuple[int, int]  # rows and columns
_SPREAD = 0.5  # a unit of the first layer has a radius of its own, the layer's one more or less by at most this share


def check_radii(radii: list[float] | None, layers: int) -> list[float]:
    """Raises: ConfigError: `radii` is no list of at most as many positive numbers as there are hidden layers."""
    if radii is None:
        return []
    fits = isinstance(radii, list) and 1 <= len(radii) <= layers
    checks.require(fits, "model.local", f"be null or a list of at most {layers} numbers, one a hidden layer", radii)
    for radius in radii:
        checks.number("model.local", radius, "(0, 100]")
    return radii


@torch.no_grad()
def localize(
    linears: Sequence[nn.Linear],
    radii: Sequence[float],
    grids: Sequence[Grid],
    to_features: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Change the initial weights of the first layers, in place. A unit's weights keep their norm.

    Args:
        linears: the hidden layers, with their initial weights.
        radii: standard deviations of the Gaussians, one a layer, as a share of the image's sides.
        grids: of the channels of the image; all their pixels together are the inputs of the first layer.
        to_features: from weights of such pixels ``float [units, pixels]`` to those of the first layer's inputs, an
            orthonormal map; None: its inputs are the pixels.
    """
    before = torch.cat([_centres(grid) for grid in grids])
    for number, (linear, radius) in enumerate(zip(linears, radii, strict=False)):
        units = linear.out_features
        places = torch.rand(units, 2)
        own = radius * (1 + _SPREAD * (2 * torch.rand(units, 1) - 1)) if number == 0 else radius
        squared = torch.cdist(places, before).square()
        squared -= squared.amin(dim=1, keepdim=True)  # else all weights of a unit could become 0
        weight = linear.weight * torch.exp(-squared / (2 * own**2))
        weight *= linear.weight.norm(dim=1, keepdim=True) / weight.norm(dim=1, keepdim=True)
        linear.weight.copy_(to_features(weight) if number == 0 and to_features else weight)
        before = places


def _centres(grid: Grid) -> Tensor:
    """``float [rows * columns, 2]``: where the middles of pixels are, from 0 to 1, row by row."""
    rows, columns = ((torch.arange(length) + 0.5) / length for length in grid)
    return torch.cartesian_prod(rows, columns)
