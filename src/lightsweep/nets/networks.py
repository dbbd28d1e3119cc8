"""The networks: MLPs, a plain one and one of residual inverted bottlenecks, and a small convolutional network."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import gcd, log

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.nets.layers import (
    ACTIVATIONS,
    MAX_DEPTH,
    MAX_WIDTH,
    Dropout,
    check_names,
    check_width_depth,
    initialize,
    input_grids,
    input_layer,
)
from lightsweep.nets.local import check_radii, localize

_INSTEAD_OF_HIDDEN = ("model.width", "model.depth", "model.taper")


class MLP(nn.Module):
    """A multilayer perceptron: hidden layers of Linear, BatchNorm, activation, dropout, and a linear head.

    Args:
        width, depth, taper: hidden layers are width, width * taper, width * taper**2, ...
        hidden: a list of widths instead of the three.
        activation: a name from `layers.ACTIVATIONS`.
        bn: BatchNorm1d in each hidden layer, before or after the activation (`bn_position`).
        dropout: one number, or one a hidden layer.
        init, head_init: names from `layers.INITIALIZER_NAMES`.
        local: radii of `local.localize`, for the first hidden layers.
        dct, dct_eps: see `layers.input_layer`.
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
        local: list[float] | None,
        dct: int | list[int] | None,
        dct_eps: float,
    ) -> None:
        super().__init__()
        check_names(activation=activation, init=init, head_init=head_init)
        checks.flag("model.bn", bn)
        checks.choice("model.bn_position", bn_position, ("before", "after"))
        checks.number("model.bn_momentum", bn_momentum, "(0, 1]")
        checks.number("model.bn_eps", bn_eps, "(0, inf)")
        widths = hidden_widths(width, depth, taper) if hidden is None else _checked(hidden)
        drops = _per_layer(dropout, len(widths))
        radii = check_radii(local, len(widths))

        first, inputs = input_layer(input_shape, dct, dct_eps)  # [B, C, H, W] -> [B, inputs]
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
        localize([layer for layer in layers if isinstance(layer, nn.Linear)], radii, *input_grids(first, input_shape))

    def forward(self, images: Tensor) -> Tensor:
        """Images ``float [B, C, H, W]`` -> logits ``float [B, K]``."""
        return self.head(self.body(images))


class ResMLP(nn.Module):
    """Flattened images -> Linear -> residual blocks -> LayerNorm -> linear head, after "Scaling MLPs: A Tale of
    Inductive Bias" (Bachmann et al. 2023).

    Args:
        width: units between the blocks.
        depth: blocks.
        expansion: units inside a block are this times the width.
        activation: a name from `layers.ACTIVATIONS`.
        dropout: after each block's second layer.
        drop_path: how often the last block is skipped, drawn for each image; less often for the blocks before it, in
            equal steps from 0 (stochastic depth, Huang et al. 2016).
        init, head_init: names from `layers.INITIALIZER_NAMES`.
        dct, dct_eps: see `layers.input_layer`.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        num_classes: int,
        width: int,
        depth: int,
        expansion: int,
        activation: str,
        dropout: float,
        drop_path: float,
        init: str,
        head_init: str,
        dct: int | list[int] | None,
        dct_eps: float,
    ) -> None:
        super().__init__()
        check_width_depth(width=width, depth=depth)
        checks.integer("model.expansion", expansion, "[1, 1000]")
        check_names(activation=activation, init=init, head_init=head_init)
        checks.number("model.dropout", dropout, "[0, 1)")
        checks.number("model.drop_path", drop_path, "[0, 1)")

        first, inputs = input_layer(input_shape, dct, dct_eps)
        self.stem = nn.Sequential(first, nn.Linear(inputs, width))  # [B, C, H, W] -> [B, inputs] -> [B, width]
        skips = [drop_path * block / max(1, depth - 1) for block in range(depth)]
        self.blocks = nn.Sequential(
            *(_Block(width, expansion * width, ACTIVATIONS[activation](), dropout, skip) for skip in skips)
        )
        for layer in [*self.stem.modules(), *self.blocks.modules()]:
            if isinstance(layer, nn.Linear):
                initialize(layer, init)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        initialize(self.head, head_init)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``float [B, C, H, W]`` -> logits ``float [B, K]``."""
        return self.head(self.norm(self.blocks(self.stem(images))))


class _Block(nn.Module):
    """``[B, thin]`` -> ``[B, thin]``, through a layer of `wide` units, added to the input."""

    def __init__(self, thin: int, wide: int, activation: nn.Module, dropout: float, skip: float) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            OrderedDict(
                norm=nn.LayerNorm(thin),
                widen=nn.Linear(thin, wide),
                activation=activation,
                narrow=nn.Linear(wide, thin),
                dropout=Dropout(dropout) if dropout else nn.Identity(),
                skip=StochasticDepth(skip, "row") if skip else nn.Identity(),
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.residual(features)


def hidden_widths(width: int, depth: int, taper: float) -> list[int]:
    """`depth` widths, each the one before times `taper`, rounded, at least 1."""
    check_width_depth(width=width, depth=depth)
    checks.number("model.taper", taper, "(0, 4]")
    narrow = log(width) + (depth - 1) * log(taper) <= log(MAX_WIDTH)  # the power itself could overflow
    checks.require(narrow, "model.taper", f"keep each layer below {MAX_WIDTH} units", taper)
    return [max(1, round(width * taper**layer)) for layer in range(depth)]


def check_hidden(overrides: Sequence[str]) -> None:
    """Refuse what `hidden` replaces, of an MLP that has it: to set that too would have no effect, silently. The MLP
    itself cannot tell a set value from a default.

    Args:
        overrides: all that were set for the MLP's config.

    Raises:
        ConfigError: one sets `width`, `depth` or `taper`.
    """
    for line in overrides:
        key = line.partition("=")[0].lstrip("+~")
        value = OverridesParser.create().parse_override(line).value() if key == "model" and "{" in line else None
        for name in [f"model.{each}" for each in value] if isinstance(value, dict) else [key]:
            if name in _INSTEAD_OF_HIDDEN:
                raise ConfigError(
                    f"{name} must not be set together with model.hidden, which replaces it"
                    f" (model.hidden=null makes room for it, '~{name}' takes it out of a search space), got {line}"
                )


def _checked(hidden: list[int]) -> list[int]:
    integers = isinstance(hidden, list) and all(type(units) is int and units >= 1 for units in hidden)
    checks.require(integers and len(hidden) > 0, "model.hidden", "be a list of integers >= 1, at least one", hidden)
    checks.require(max(hidden) <= MAX_WIDTH, "model.hidden", f"hold widths up to {MAX_WIDTH}", hidden)
    return hidden


def _per_layer(dropout: float | list[float], layers: int) -> list[float]:
    drops = dropout if isinstance(dropout, list) else [dropout] * layers
    checks.require(len(drops) == layers, "model.dropout", f"be one number or {layers}, one a hidden layer", dropout)
    for drop in drops:
        checks.number("model.dropout", drop, "[0, 1)")
    return drops


_GROUPS = 8
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(gcd(_GROUPS, channels), channels),  # Wu & He 2018
    "none": lambda channels: nn.Identity(),
}


class CNN(nn.Module):
    """Stages of 3x3 convolutions, each stage with twice the channels and half the size of the one before, then the
    average over the image and a linear head.

    A convolution is followed by its norm and the activation. Max-pooling halves the image after each stage but the
    last, and dropout leaves out complete channels at the end of a stage (Tompson et al. 2015).

    Args:
        width: channels of the first stage.
        depth: stages.
        convs: convolutions a stage.
        norm: a name from `NORMS`.
        activation: a name from `layers.ACTIVATIONS`.
        dropout: the share of channels that is left out.
        init, head_init: names from `layers.INITIALIZER_NAMES`.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        num_classes: int,
        width: int,
        depth: int,
        convs: int,
        norm: str,
        activation: str,
        dropout: float,
        init: str,
        head_init: str,
    ) -> None:
        super().__init__()
        check_width_depth(width=width, depth=depth)
        _, height, length = input_shape
        most = min(height, length).bit_length()  # the last stage has at least one pixel left
        rule = f"be at most {most} for images of {height}x{length}, which all stages but the last halve"
        checks.require(depth <= most, "model.depth", rule, depth)
        checks.integer("model.convs", convs, f"[1, {MAX_DEPTH}]")
        checks.choice("model.norm", norm, NORMS)
        check_names(activation=activation, init=init, head_init=head_init)
        checks.number("model.dropout", dropout, "[0, 1)")

        layers: list[nn.Module] = []
        channels = input_shape[0]
        for stage in range(depth):
            if stage > 0:
                layers.append(nn.MaxPool2d(2))  # [B, channels, H, W] -> [B, channels, H // 2, W // 2]
            wider = width * 2**stage
            for _ in range(convs):  # [B, channels, H, W] -> [B, wider, H, W]
                conv = nn.Conv2d(channels, wider, 3, padding=1, bias=norm == "none")  # a norm has its own bias
                initialize(conv, init)
                layers += [conv, NORMS[norm](wider), ACTIVATIONS[activation]()]
                channels = wider
            layers.append(nn.Dropout2d(dropout) if dropout else nn.Identity())
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]  # [B, channels, H, W] -> [B, channels]
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.head = nn.Linear(channels, num_classes)
        initialize(self.head, head_init)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``float [B, C, H, W]`` -> logits ``float [B, K]``."""
        return self.head(self.body(images.contiguous(memory_format=torch.channels_last)))
