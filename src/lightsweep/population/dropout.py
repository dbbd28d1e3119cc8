"""Dropout of many networks, each with its own probabilities and, on the CPU, its own random numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightsweep.nets import MLP
from lightsweep.nets.layers import LEVELS, dropped_levels, words_for

_PER_LAYER = 4  # modules of a hidden layer: linear, norm and activation in either order, dropout


def dropout_slots(net: nn.Module) -> dict[str, nn.Module]:
    """By name, the modules of the hidden layers that drop units, or do not where the probability is 0."""
    assert isinstance(net, MLP), "what kinds.why_alone is None for"
    return {f"body.{index}": each for index, each in enumerate(net.body) if index and index % _PER_LAYER == 0}


def probabilities(net: nn.Module) -> list[float]:
    """Of each hidden layer's dropout."""
    return [getattr(module, "p", 0.0) for module in dropout_slots(net).values()]


class StackedDropout:
    """Drops units as `nets.layers.Dropout` does in each network by itself.

    On the CPU a member's generator gives the words that torch's global one gives in a run of its own. Elsewhere torch's
    generator of the device serves all.

    Args:
        probabilities: for each member those of its hidden layers, each in [0, 1).
        seeds: of the members' generators.
    """

    def __init__(self, probabilities: Sequence[Sequence[float]], seeds: Sequence[int], device: torch.device) -> None:
        levels = torch.tensor([[dropped_levels(each) for each in layers] for layers in probabilities])  # [A, layers]
        by_layer = zip(*probabilities, strict=True)
        self.active = [[member for member, each in enumerate(layer) if each] for layer in by_layer]
        self.thresholds = (levels - LEVELS // 2).to(torch.int16).T[..., None, None].to(device)  # [layers, A, 1, 1]
        self.scales = (LEVELS / (LEVELS - levels)).float().T[..., None, None].to(device)
        on_cpu = device.type == "cpu"
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds] if on_cpu else []

    def __call__(self, features: Tensor, layer: int) -> Tensor:
        """Features ``[A, B, n]`` after the hidden layer of this number, from 0 -> the same shape."""
        if not self.active[layer]:
            return features
        kept = self._draw(features, layer).ge_(self.thresholds[layer])
        # In the features' type, as a run of its own has it.
        return features * (kept.to(features.dtype) * self.scales[layer].to(features.dtype))

    def _draw(self, features: Tensor, layer: int) -> Tensor:
        """Uniform over int16, ``[A, B, n]``; a member without dropout in this layer draws and drops nothing."""
        units = features[0].numel()
        shape = len(features), words_for(units)
        if self.generators:
            words = torch.zeros(shape, dtype=torch.int64)
            for index in self.active[layer]:
                words[index].random_(-(1 << 63), None, generator=self.generators[index])
        else:
            words = torch.empty(shape, dtype=torch.int64, device=features.device).random_(-(1 << 63), None)
        return words.view(torch.int16)[:, :units].view(features.shape)
