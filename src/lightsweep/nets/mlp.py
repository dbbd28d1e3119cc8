"""The multilayer perceptron."""

from math import log

from torch import Tensor, nn

from lightsweep.core import checks
from lightsweep.nets import limits
from lightsweep.nets.activations import ACTIVATIONS
from lightsweep.nets.dropout import Dropout
from lightsweep.nets.initializers import NAMES as INITIALIZER_NAMES
from lightsweep.nets.initializers import initialize
from lightsweep.nets.spectrum import flat


class MLP(nn.Module):
    """A multilayer perceptron: hidden layers of Linear, BatchNorm, activation, dropout, and a linear head.

    Args:
        width, depth, taper: hidden layers are width, width * taper, width * taper**2, ...
        hidden: a list of widths instead of the three.
        activation: a name from `ACTIVATIONS`.
        bn: BatchNorm1d in each hidden layer, before or after the activation (`bn_position`).
        dropout: one number, or one a hidden layer.
        init, head_init: names from `initializers.NAMES`.
        dct, dct_eps: see `spectrum.flat`.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        num_classes: int,
        width: int,
        depth: int,
        taper: float,
        hidden: list[int] | None,
        activation: str,
        bn: bool,
        bn_position: str,
        bn_momentum: float,
        bn_eps: float,
        dropout: float | list[float],
        init: str,
        head_init: str,
        dct: int | list[int] | None,
        dct_eps: float,
    ) -> None:
        super().__init__()
        checks.choice("model.activation", activation, ACTIVATIONS)
        checks.flag("model.bn", bn)
        checks.choice("model.bn_position", bn_position, ("before", "after"))
        checks.number("model.bn_momentum", bn_momentum, "(0, 1]")
        checks.number("model.bn_eps", bn_eps, "(0, inf)")
        checks.choice("model.init", init, INITIALIZER_NAMES)
        checks.choice("model.head_init", head_init, INITIALIZER_NAMES)
        widths = hidden_widths(width, depth, taper) if hidden is None else _checked(hidden)
        drops = _per_layer(dropout, len(widths))

        first, inputs = flat(input_shape, dct, dct_eps)  # [B, C, H, W] -> [B, inputs]
        layers = [first]
        for units, drop in zip(widths, drops, strict=True):
            linear = nn.Linear(inputs, units)
            initialize(linear, init)
            act = ACTIVATIONS[activation]()
            norm = nn.BatchNorm1d(units, eps=bn_eps, momentum=bn_momentum) if bn else nn.Identity()
            middle = [norm, act] if bn_position == "before" else [act, norm]
            layers += [linear, *middle, Dropout(drop) if drop else nn.Identity()]  # [B, inputs] -> [B, units]
            inputs = units
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, num_classes)
        initialize(self.head, head_init)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``float [B, C, H, W]`` -> logits ``float [B, K]``."""
        return self.head(self.body(images))


def hidden_widths(width: int, depth: int, taper: float) -> list[int]:
    """`depth` widths, each the one before times `taper`, rounded, at least 1."""
    limits.check(width=width, depth=depth)
    checks.number("model.taper", taper, "(0, 4]")
    narrow = log(width) + (depth - 1) * log(taper) <= log(limits.WIDEST)  # the power itself could overflow
    checks.require(narrow, "model.taper", f"keep each layer below {limits.WIDEST} units", taper)
    return [max(1, round(width * taper**layer)) for layer in range(depth)]


def _checked(hidden: list[int]) -> list[int]:
    whole = isinstance(hidden, list) and all(type(units) is int and units >= 1 for units in hidden)
    checks.require(whole and len(hidden) > 0, "model.hidden", "be a list of whole numbers >= 1, at least one", hidden)
    for units in hidden:
        checks.require(units <= limits.WIDEST, "model.hidden", f"hold widths up to {limits.WIDEST}", hidden)
    return hidden


def _per_layer(dropout: float | list[float], layers: int) -> list[float]:
    drops = dropout if isinstance(dropout, list) else [dropout] * layers
    checks.require(len(drops) == layers, "model.dropout", f"be one number or {layers}, one a hidden layer", dropout)
    for drop in drops:
        checks.number("model.dropout", drop, "[0, 1)")
    return drops
