"""The lowest frequencies of an image in place of its pixels."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightsweep.core import checks

# Grey and two differences of colour, as rows: orthonormal, close to the principal components of photographs' colours.
_OPPONENT = (
    (1 / math.sqrt(3),) * 3,
    (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
    (1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)),
)


class Spectrum(nn.Module):
    """Images -> their two-dimensional discrete cosine transform (DCT-II, orthonormal), lowest frequencies only.

    Three channels become grey and two differences of colour, of which fewer frequencies are worth keeping; of other
    images each channel is treated as grey. The transform is fixed and linear, a change of axes and a choice among them.

    Args:
        input_shape: C, H, W.
        grey, colour: frequencies kept along each side.
    """

    rows: Tensor
    columns: Tensor
    mixing: Tensor

    def __init__(self, input_shape: tuple[int, int, int], grey: int, colour: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.kept = [grey, colour, colour] if channels == 3 else [grey] * channels
        self.features = sum(side * side for side in self.kept)
        self.register_buffer("rows", _cosines(max(self.kept), height), persistent=False)
        self.register_buffer("columns", _cosines(max(self.kept), width), persistent=False)
        mixing = torch.tensor(_OPPONENT) if channels == 3 else torch.eye(channels)
        self.register_buffer("mixing", mixing, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``float [B, C, H, W]`` -> ``float32 [B, features]``."""
        device = "cpu" if images.is_meta else images.device.type
        with torch.autocast(device, enabled=False):  # frequencies differ by more than bfloat16 resolves
            # One large product along each axis; batched small ones take five times as long.
            waves = F.linear(F.linear(images.float(), self.columns).transpose(2, 3), self.rows)  # [B, C, side, side]
            waves = (self.mixing @ waves.flatten(2)).view(waves.shape)
            parts = [waves[:, channel, :side, :side].flatten(1) for channel, side in enumerate(self.kept)]
            return torch.cat(parts, dim=1)

    def extra_repr(self) -> str:
        return f"kept={self.kept}"


def flat(input_shape: tuple[int, int, int], dct: int | list[int] | None, dct_eps: float) -> tuple[nn.Module, int]:
    """The layer that makes a row of features of an image, and how many they are: the pixels, or with `dct` so many
    frequencies a side, each brought to mean 0 and to variance v / (v + dct_eps).

    Raises:
        ConfigError: `dct` is not what the images have.
    """
    checks.number("model.dct_eps", dct_eps, "(0, inf)")
    if dct is None:
        return nn.Flatten(), math.prod(input_shape)
    sides = dct if isinstance(dct, list) else [dct, dct]
    most = min(input_shape[1:])
    fits = len(sides) == 2 and all(type(side) is int and 1 <= side <= most for side in sides) and sides[1] <= sides[0]
    rule = f"be a whole number in [1, {most}], or [grey, colour] with no more of colour than of grey"
    checks.require(fits, "model.dct", rule, dct)
    spectrum = Spectrum(input_shape, *sides)
    # Photographs have a thousandth of the variance in high frequencies: as they come, a network hardly sees them.
    whiten = nn.BatchNorm1d(spectrum.features, eps=dct_eps, momentum=0.01, affine=False)
    return nn.Sequential(OrderedDict(spectrum=spectrum, whiten=whiten)), spectrum.features


def _cosines(kept: int, size: int) -> Tensor:
    """The `kept` lowest rows of the DCT-II matrix, ``float32 [kept, size]``."""
    frequency = torch.arange(kept, dtype=torch.float64)[:, None]
    place = torch.arange(size, dtype=torch.float64)[None] + 0.5
    rows = torch.cos(math.pi / size * frequency * place) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()
