"""Initial weights by name. He and Glorot as Keras draws them: the normal ones from a truncated normal."""

from collections.abc import Callable
from math import sqrt

from torch import Tensor, nn

# A standard normal cut at two standard deviations has this one left.
_TRUNCATED_STD = 0.87962566103423978


def _truncated_normal(weight: Tensor, variance: float) -> None:
    std = sqrt(variance) / _TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def _he_normal(weight: Tensor) -> None:
    _truncated_normal(weight, 2 / _fans(weight)[0])


def _glorot_normal(weight: Tensor) -> None:
    _truncated_normal(weight, 2 / sum(_fans(weight)))


def _fans(weight: Tensor) -> tuple[int, int]:
    """Inputs and outputs of each unit of a weight ``[out, in, ...]``."""
    receptive_field = weight[0, 0].numel()
    return weight.shape[1] * receptive_field, weight.shape[0] * receptive_field


def _he_uniform(weight: Tensor) -> None:
    nn.init.kaiming_uniform_(weight, nonlinearity="relu")


def _uniform(weight: Tensor) -> None:
    nn.init.uniform_(weight, 0.0, 1.0)


INITIALIZERS: dict[str, Callable[[Tensor], object]] = {
    "he_normal": _he_normal,  # He et al. 2015
    "he_uniform": _he_uniform,
    "glorot_normal": _glorot_normal,  # Glorot & Bengio 2010
    "glorot_uniform": nn.init.xavier_uniform_,
    "uniform": _uniform,  # [0, 1)
}
NAMES = ("torch", *INITIALIZERS)


def initialize(layer: nn.Linear | nn.Conv2d, name: str) -> None:
    """Draw a layer's weights by name, biases 0; ``torch`` leaves both as torch drew them."""
    if name == "torch":
        return
    INITIALIZERS[name](layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
