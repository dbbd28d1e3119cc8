"""Many MLPs of one shape as one network. A is the members, B the batch, C, H, W an image's channels, height, width."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightsweep.nets.layers import Spectrum
from lightsweep.population.dropout import StackedDropout, dropout_slots

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Pass:
    """What the layers of one forward pass use: tensors ``[A, *shape]`` by the name that they have in an MLP.

    `dropout` is that of a training step, in which BatchNorm uses and updates the batch's statistics; None: evaluation.
    """

    weights: Tensors
    statistics: Tensors
    dropout: StackedDropout | None


Layer = Callable[[Tensor, Pass], Tensor]


class StackedMLP:
    """Computes what each of A networks computes, from its own images and its own weights.

    Args:
        net: an `MLP` of their shape.
    """

    def __init__(self, net: nn.Module) -> None:
        leaves = [(name, module) for name, module in net.named_modules() if not list(module.children())]
        slots = dropout_slots(net)
        self.layers = [_stack(name, module, slots) for name, module in leaves]

    def __call__(self, images: Tensor, using: Pass) -> Tensor:
        """Images ``float [A, B, C, H, W]``, or ``[1, B, C, H, W]`` for all -> logits ``[A, B, K]``."""
        features = images
        for layer in self.layers:
            features = layer(features, using)
        return features


def _stack(name: str, module: nn.Module, slots: Mapping[str, nn.Module]) -> Layer:
    if name in slots:
        return partial(_drop, slot=list(slots).index(name))
    if isinstance(module, nn.Flatten):
        return lambda images, _: images.flatten(2)
    if isinstance(module, Spectrum):
        return lambda images, _: module(images.flatten(0, 1)).unflatten(0, images.shape[:2])
    if isinstance(module, nn.Linear):
        return partial(_linear, weight=f"{name}.weight", bias=f"{name}.bias")
    if isinstance(module, nn.BatchNorm1d):
        return partial(_normalize, name=name, norm=module)
    return lambda features, _: module(features)  # an activation, or nothing


def _linear(features: Tensor, using: Pass, *, weight: str, bias: str) -> Tensor:
    members, kind = len(using.weights[weight]), features.device.type
    parts: list[Tensor] = [features.expand(members, -1, -1), using.weights[weight], using.weights[bias]]
    if torch.is_autocast_enabled(kind):
        parts = [part.to(torch.get_autocast_dtype(kind)) for part in parts]
    return _Linear.apply(*parts)


class _Linear(torch.autograd.Function):
    """Features ``[A, B, in]``, weights ``[A, out, in]``, biases ``[A, out]`` -> ``[A, B, out]``.

    torch's own backward gives the gradient of the weights transposed: to copy that took a third of a large network's
    step on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(features, weight)
        return torch.baddbmm(bias[:, None], features, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        features, weight = ctx.saved_tensors
        of_features = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return of_features, torch.bmm(gradient.mT, features), gradient.sum(1)


def _drop(features: Tensor, using: Pass, *, slot: int) -> Tensor:
    return features if using.dropout is None else using.dropout(features, slot)


def _normalize(features: Tensor, using: Pass, *, name: str, norm: nn.BatchNorm1d) -> Tensor:
    """BatchNorm of each member: features ``[A or 1, B, n]`` -> ``[A, B, n]``."""
    running = using.statistics[f"{name}.running_mean"], using.statistics[f"{name}.running_var"]
    if using.dropout is None:
        mean, variance = (each[:, None] for each in running)
    else:
        variance, mean = torch.var_mean(features.float(), dim=1, correction=0, keepdim=True)
        _update_running(running, mean, variance, norm.momentum or 0.0, features.shape[1])
    normalized = (features - mean) * torch.rsqrt(variance + norm.eps)
    if norm.affine:
        gain, bias = using.weights[f"{name}.weight"], using.weights[f"{name}.bias"]
        normalized = torch.addcmul(bias[:, None], normalized, gain[:, None])
    return normalized.to(features.dtype)


@torch.no_grad()
def _update_running(
    running: tuple[Tensor, Tensor], mean: Tensor, variance: Tensor, momentum: float, batch: int
) -> None:
    """As torch: the running variance is that of a sample, with batch - 1 in the denominator."""
    running[0].lerp_(mean[:, 0], momentum)
    running[1].lerp_(variance[:, 0] * (batch / (batch - 1)), momentum)
