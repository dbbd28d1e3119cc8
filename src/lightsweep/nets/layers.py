"""What the networks are built from: activations, initial weights, dropout, an input layer, and checks of sizes."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightsweep.core import checks

# Larger networks are mistakes: they would take hours or all memory before anything reported it.
MAX_DEPTH = 1000
MAX_WIDTH = 1_000_000

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}

_TRUNCATED_STD = 0.87962566103423978  # of a standard normal that is cut at two standard deviations
LEVELS = 1 << 16  # of dropout's probability: 16 random bits decide on a unit
# Grey and two differences of colour, as rows: orthonormal, close to the principal components of photographs' colours.
_OPPONENT = (
    (1 / math.sqrt(3),) * 3,
    (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
    (1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)),
)


def check_width_depth(*, width: int, depth: int) -> None:
    """Raises: ConfigError: width or depth is no integer in its range."""
    checks.integer("model.width", width, "[1, inf)")
    checks.integer("model.depth", depth, "[1, inf)")
    checks.require(width <= MAX_WIDTH, "model.width", f"be at most {MAX_WIDTH}", width)
    checks.require(depth <= MAX_DEPTH, "model.depth", f"be at most {MAX_DEPTH}", depth)


def check_names(*, activation: str, init: str, head_init: str) -> None:
    """Raises: ConfigError: there is no such activation or initializer."""
    checks.choice("model.activation", activation, ACTIVATIONS)
    checks.choice("model.init", init, INITIALIZER_NAMES)
    checks.choice("model.head_init", head_init, INITIALIZER_NAMES)


def _truncated_normal(weight: Tensor, variance: float) -> None:
    std = math.sqrt(variance) / _TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def _he_normal(weight: Tensor) -> None:
    _truncated_normal(weight, 2 / weight[0].numel())  # of a weight [out, in, ...]


def _glorot_normal(weight: Tensor) -> None:
    _truncated_normal(weight, 2 / (weight[0].numel() + weight[:, 0].numel()))


# As Keras draws them: the normal ones from a truncated normal.
INITIALIZERS: dict[str, Callable[[Tensor], object]] = {
    "he_normal": _he_normal,  # He et al. 2015
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "glorot_normal": _glorot_normal,  # Glorot & Bengio 2010
    "glorot_uniform": nn.init.xavier_uniform_,
    "uniform": nn.init.uniform_,  # [0, 1)
}
INITIALIZER_NAMES = ("torch", *INITIALIZERS)


def initialize(layer: nn.Linear | nn.Conv2d, name: str) -> None:
    """Draw a layer's weights by name, biases 0; ``torch`` leaves both as torch drew them."""
    if name == "torch":
        return
    INITIALIZERS[name](layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Dropout(nn.Dropout):
    """`nn.Dropout`, faster on a CPU: a 64-bit random number decides on four units, where torch draws one for each.

    The probability is rounded to a multiple of 2**-16, and kept units are scaled accordingly. On other devices, and in
    a compiled or traced network, it is torch's own.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features ``[...]`` -> the same shape."""
        plain = features.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing()
        if plain or not self.training:
            return super().forward(features)
        dropped = dropped_levels(self.p)
        words = torch.empty(words_for(features.numel()), dtype=torch.int64).random_(-(1 << 63), None)
        draws = words.view(torch.int16)[: features.numel()].view(features.shape)  # uniform over all of int16
        kept = draws.ge_(dropped - LEVELS // 2)  # in place: to compare into bool takes ten times as long
        return features * kept.to(features.dtype).mul_(LEVELS / (LEVELS - dropped))


def dropped_levels(probability: float) -> int:
    """How many of the `LEVELS` values that 16 random bits have mean that a unit is dropped."""
    return min(round(probability * LEVELS), LEVELS - 1)


def words_for(units: int) -> int:
    """How many 64-bit random numbers decide on so many units."""
    return -(-units // 4)


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

    def of_pixels(self, weights: Tensor) -> Tensor:
        """Weights of the pixels of images that have only the kept frequencies -> weights of the frequencies:
        ``float [..., features]`` both, channel by channel, row by row. An orthonormal map."""
        parts = weights.split([side * side for side in self.kept], dim=-1)
        tables = {side: _cosines(side, side) for side in self.kept}
        sides = zip(parts, self.kept, strict=True)
        waves = [tables[side] @ part.unflatten(-1, (side, side)) @ tables[side].T for part, side in sides]
        return torch.cat([wave.flatten(-2) for wave in waves], dim=-1)

    def extra_repr(self) -> str:
        return f"kept={self.kept}"


def input_layer(
    input_shape: tuple[int, int, int], dct: int | list[int] | None, dct_eps: float
) -> tuple[nn.Module, int]:
    """The layer that turns an image into a row of features, and their number: the pixels, or with `dct` that many
    frequencies along each side, brought to mean 0 and to variance v / (v + dct_eps)."""
    checks.number("model.dct_eps", dct_eps, "(0, inf)")
    if dct is None:
        return nn.Flatten(), math.prod(input_shape)
    sides = dct if isinstance(dct, list) else [dct, dct]
    most = min(input_shape[1:])
    fits = len(sides) == 2 and all(type(side) is int and 1 <= side <= most for side in sides) and sides[1] <= sides[0]
    rule = f"be an integer in [1, {most}], or [grey, colour] with no more of colour than of grey"
    checks.require(fits, "model.dct", rule, dct)
    spectrum = Spectrum(input_shape, *sides)
    # In photographs, high frequencies have a thousandth of the variance: without this a network hardly uses them.
    whiten = nn.BatchNorm1d(spectrum.features, eps=dct_eps, momentum=0.01, affine=False)
    return nn.Sequential(OrderedDict(spectrum=spectrum, whiten=whiten)), spectrum.features


def input_grids(
    layer: nn.Module, input_shape: tuple[int, int, int]
) -> tuple[list[tuple[int, int]], Callable[[Tensor], Tensor] | None]:
    """For `local.localize`: the rows and columns of each channel that `input_layer`'s features stand for, and the map
    from weights of those pixels to weights of the features; None where the features are the pixels."""
    spectrum = getattr(layer, "spectrum", None)
    if spectrum is None:
        channels, height, width = input_shape
        return [(height, width)] * channels, None
    return [(side, side) for side in spectrum.kept], spectrum.of_pixels


def _cosines(kept: int, size: int) -> Tensor:
    """The `kept` lowest rows of the DCT-II matrix, ``float32 [kept, size]``."""
    frequency = torch.arange(kept, dtype=torch.float64)[:, None]
    position = torch.arange(size, dtype=torch.float64)[None] + 0.5
    rows = torch.cos(math.pi / size * frequency * position) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()
