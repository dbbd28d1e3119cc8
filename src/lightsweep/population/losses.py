"""Losses and metrics of many networks. A is the members, B the batch, K the classes."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightsweep.training.classifier import Loss, Objective, by_epoch, means_of_sums


class StackedObjective:
    """What `Objective` is for each of A networks, with a smoothing and a penalty for each.

    Args:
        objectives: the members', each with the network that it penalises.
    """

    def __init__(self, objectives: Sequence[Objective], nets: Iterable[nn.Module], device: torch.device) -> None:
        first = objectives[0]
        self.class_weights = first.class_weights.to(device) if first.has_class_weights else None
        smoothing = [each.label_smoothing for each in objectives]
        self.smoothing = torch.tensor(smoothing, device=device)[:, None] if any(smoothing) else None  # [A, 1]
        strengths = [_strengths(objective, net) for objective, net in zip(objectives, nets, strict=True)]
        names = dict.fromkeys(name for each in strengths for name in each)
        self.penalties = {name: torch.tensor([each.get(name, 0.0) for each in strengths]).to(device) for name in names}

    def __call__(self, logits: Tensor, targets: Tensor, weights: Mapping[str, Tensor]) -> Loss:
        """Logits ``[A, B, K]`` and targets, classes ``int64 [A, B]`` or probabilities ``float [A, B, K]`` -> means over
        B, both ``[A]``."""
        logs = F.log_softmax(logits.float(), dim=-1)
        cross_entropy = _cross_entropy(logs, targets, None).mean(1)
        objective = cross_entropy
        if self.class_weights is not None or self.smoothing is not None:
            objective = self._weighted(logs, targets).mean(1)
        for name, strength in self.penalties.items():
            penalty = strength * weights[name].square().sum((1, 2))
            objective = objective + torch.where(strength > 0, penalty, 0.0)
        return Loss(objective, cross_entropy.detach())

    def _weighted(self, logs: Tensor, targets: Tensor) -> Tensor:
        plain = _cross_entropy(logs, targets, self.class_weights)
        if self.smoothing is None:
            return plain
        uniform = -(logs if self.class_weights is None else logs * self.class_weights).mean(-1)  # [A, B]
        smoothed = (1 - self.smoothing) * plain + self.smoothing * uniform
        return torch.where(self.smoothing > 0, smoothed, plain)


def _cross_entropy(logs: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """Of each image, ``[A, B]``."""
    if targets.is_floating_point():
        return -(logs * (targets if class_weights is None else targets * class_weights)).sum(-1)
    losses = F.nll_loss(logs.flatten(0, 1), targets.flatten(), weight=class_weights, reduction="none")
    return losses.view(targets.shape)


def _strengths(objective: Objective, net: nn.Module) -> dict[str, float]:
    """By the name of a weight, lambda."""
    penalised = {id(weight) for weight in objective.penalised}
    return {name: objective.l2 for name, weight in net.named_parameters() if id(weight) in penalised}


class StackedSums:
    """What `Sums` is for each of A networks."""

    def __init__(self, members: int, classes: int, device: torch.device) -> None:
        self.losses = torch.zeros(2, members, device=device)
        self.confusion = torch.zeros(members, classes, classes, dtype=torch.int64, device=device)
        self.firsts = classes * classes * torch.arange(members, device=device)[:, None]  # cells of earlier members

    def add(self, loss: Loss, logits: Tensor, targets: Tensor) -> None:
        """Add a batch with its mean losses ``[A]``: logits ``[A, B, K]``, targets as the objective takes them."""
        labels = targets.argmax(-1) if targets.is_floating_point() else targets
        self.losses.add_(torch.stack([loss.objective.detach(), loss.cross_entropy]), alpha=labels.shape[1])
        cells = self.firsts + labels * logits.shape[-1] + logits.detach().argmax(-1)
        self.confusion.view(-1).scatter_add_(0, cells.flatten(), torch.ones_like(cells).flatten())

    def measured(self, part: str) -> list[dict[str, float]]:
        """Each member's metrics of this part, by name: ``val/acc``."""
        losses, confusion = self.losses.T.tolist(), np.asarray(self.confusion.cpu())
        return [by_epoch(part, means_of_sums(*of_one)) for of_one in zip(losses, confusion, strict=True)]
