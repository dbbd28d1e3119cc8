"""What training minimises: cross-entropy, smoothed and weighed by class, and L2 on hidden weights."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightsweep.core import checks


class Loss(NamedTuple):
    """Of one batch, both scalars: what is minimised, and the cross-entropy alone, comparable between settings."""

    objective: Tensor
    cross_entropy: Tensor


class Objective:
    """Cross-entropy (smoothed, weighed) plus l2 * sum(w^2) over the weights of hidden linear and convolutional layers.

    Args:
        net: whose weights are meant. Its head is its attribute `head`, else its last linear layer.
        label_smoothing: Szegedy et al. 2016, in [0, 1).
        l2: as Keras's ``l2(lambda)``: no half, no biases, no norm layers.
        l2_head: the head's weights too.
        class_weights: ``float [K]``, by which an image's loss is multiplied. The mean is over images, not over
            weights, so that it does not depend on how a set is cut into batches.
    """

    def __init__(
        self, net: nn.Module, *, label_smoothing: float, l2: float, l2_head: bool, class_weights: Tensor
    ) -> None:
        checks.number("loss.label_smoothing", label_smoothing, "[0, 1)")
        checks.number("loss.l2", l2, "[0, inf)")
        checks.flag("loss.l2_head", l2_head)
        self.label_smoothing, self.l2 = label_smoothing, l2
        self.class_weights = class_weights
        self.weighed = bool((class_weights != 1).any())
        self.penalised = _weights(net, with_head=l2_head) if l2 else []

    def __call__(self, logits: Tensor, targets: Tensor) -> Loss:
        """Logits ``[B, K]`` and targets, classes ``int64 [B]`` or probabilities ``float [B, K]`` -> means over B."""
        cross_entropy = F.cross_entropy(logits, targets)
        objective = cross_entropy
        if self.weighed:
            objective = self._weighed(logits.float(), targets)
        elif self.label_smoothing:
            objective = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if self.penalised:
            objective = objective + self.penalty()
        return Loss(objective, cross_entropy.detach())

    def _weighed(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.class_weights = self.class_weights.to(logits.device)
        how = {"weight": self.class_weights, "label_smoothing": self.label_smoothing}
        return F.cross_entropy(logits, targets, **how, reduction="sum") / len(targets)  # type: ignore[arg-type]

    def penalty(self) -> Tensor:
        """The L2 term, a scalar."""
        return self.l2 * torch.stack([weight.square().sum() for weight in self.penalised]).sum()


def _weights(net: nn.Module, *, with_head: bool) -> list[Tensor]:
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    head = getattr(net, "head", linear[-1] if linear else None)
    heads = set(head.modules()) if isinstance(head, nn.Module) else set()
    return [layer.weight for layer in layers if with_head or layer not in heads]
