"""A small convolutional network."""

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn

from lightsweep.core import checks
from lightsweep.nets.layers import ACTIVATIONS, MAX_DEPTH, check_names, check_width_depth, initialize

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

    Raises:
        ConfigError: a value is out of its range, or the images are too small for so many stages.
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
        _check_size(input_shape, depth)
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


def _check_size(input_shape: tuple[int, int, int], depth: int) -> None:
    _, height, width = input_shape
    most = min(height, width).bit_length()  # the last stage has at least one pixel left
    rule = f"be at most {most} for images of {height}x{width}, which all stages but the last halve"
    checks.require(depth <= most, "model.depth", rule, depth)
