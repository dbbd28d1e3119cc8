"""Classes of unequal size: how much each counts in the loss, and how often its images come."""

import numpy as np
import torch
from torch import Tensor

from lightsweep.core import checks

SAMPLERS = ("shuffle", "balanced")

_RULE = "be null, balanced, or a list with a number > 0 for each class"


def check_class_weights(weights: str | list[float] | None) -> None:
    """Refuse what `class_weights` could not use, whatever the number of classes."""
    if isinstance(weights, list):
        for weight in weights:
            checks.number("data.class_weights", weight, "(0, 1e6]")
        return
    checks.require(weights in (None, "balanced"), "data.class_weights", _RULE, weights)


def class_weights(weights: str | list[float] | None, labels: np.ndarray, classes: int) -> Tensor:
    """Loss weights ``float [K]``: ones, those given, or, balanced, N / (K * images of the class) as in scikit-learn."""
    if weights is None:
        return torch.ones(classes)
    if isinstance(weights, list):
        checks.require(len(weights) == classes, "data.class_weights", f"have {classes} numbers, one a class", weights)
        return torch.tensor(weights, dtype=torch.float32)
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


class Shuffle:
    """Each of `count` images once an epoch."""

    def __init__(self, count: int) -> None:
        self.count = count

    def order(self, generator: torch.Generator) -> Tensor:
        """Which images an epoch consists of, in turn: places ``int64 [count]``."""
        return torch.randperm(self.count, generator=generator)


class Balanced:
    """As many images an epoch, of each class the same number: of a small class some come again and again, of a large
    one some not at all. None comes another time before the rest of its class came as often.

    Args:
        labels: ``int64 [N]``.
    """

    def __init__(self, labels: Tensor) -> None:
        self.count = len(labels)
        self.members = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]

    def order(self, generator: torch.Generator) -> Tensor:
        """As of `Shuffle`."""
        classes = len(self.members)
        shares = torch.full((classes,), self.count // classes)
        shares[torch.randperm(classes, generator=generator)[: self.count % classes]] += 1
        drawn = [_drawn(each, int(share), generator) for each, share in zip(self.members, shares, strict=True)]
        return torch.cat(drawn)[torch.randperm(self.count, generator=generator)]


def sampler(name: str, labels: Tensor) -> Shuffle | Balanced:
    """The one of `SAMPLERS` for images with these labels."""
    return Balanced(labels) if name == "balanced" else Shuffle(len(labels))


def _drawn(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    rounds = -(-count // len(members))
    return torch.cat([members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)])[:count]
