"""An MLP of residual inverted bottlenecks."""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from lightsweep.core import checks
from lightsweep.nets import limits
from lightsweep.nets.activations import ACTIVATIONS
from lightsweep.nets.dropout import Dropout
from lightsweep.nets.initializers import NAMES as INITIALIZER_NAMES
from lightsweep.nets.initializers import initialize
from lightsweep.nets.spectrum import flat


class ResMLP(nn.Module):
    """Flattened images -> Linear -> residual blocks -> LayerNorm -> linear head, after "Scaling MLPs: A Tale of
    Inductive Bias" (Bachmann et al. 2023).

    Args:
        width: units between the blocks.
        depth: blocks.
        expansion: units inside a block are this times the width.
        activation: a name from `ACTIVATIONS`.
        dropout: after each block's second layer.
        drop_path: how often the last block is passed over, for each image by itself; for the blocks before it less,
            in equal steps from 0 (stochastic depth, Huang et al. 2016).
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
        limits.check(width=width, depth=depth)
        checks.whole("model.expansion", expansion, "[1, 1000]")
        checks.choice("model.activation", activation, ACTIVATIONS)
        checks.number("model.dropout", dropout, "[0, 1)")
        checks.number("model.drop_path", drop_path, "[0, 1)")
        checks.choice("model.init", init, INITIALIZER_NAMES)
        checks.choice("model.head_init", head_init, INITIALIZER_NAMES)

        first, inputs = flat(input_shape, dct, dct_eps)
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
    """``[B, thin]`` -> ``[B, thin]``, through a layer of `wide` units, added to what came in."""

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
