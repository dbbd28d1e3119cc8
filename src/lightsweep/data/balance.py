"""Classes of unequal size: how often their images come, and how much they weigh in the loss."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lightsweep.core import checks

SAMPLERS = ("shuffle", "balanced")


def build_sampler(name: str, labels: Tensor) -> Callable[..., Tensor]:
    """Draws, with a generator, an epoch's images in order: ``int64 [N]``, indices into `labels` ``int64 [N]``.

    Args:
        name: shuffle (each image once) or balanced (N images, of each class the same number: images of a small class
            repeat, and some of a large one are left out; none repeats before the rest of its class came as often).
    """
    if name == "shuffle":
        return partial(torch.randperm, len(labels))
    members = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]
    return partial(_balanced_order, members, len(labels))


def _balanced_order(members: Sequence[Tensor], count: int, generator: torch.Generator) -> Tensor:
    shares = torch.full((len(members),), count // len(members))
    shares[torch.randperm(len(members), generator=generator)[: count % len(members)]] += 1
    drawn = []
    for each, share in zip(members, shares.tolist(), strict=True):
        rounds = range(-(-share // len(each)))
        drawn.append(torch.cat([each[torch.randperm(len(each), generator=generator)] for _ in rounds])[:share])
    return torch.cat(drawn)[torch.randperm(count, generator=generator)]


def check_class_weights(weights: str | list[float] | None) -> None:
    """Raises: ConfigError: the weights fit no number of classes."""
    rule = "be null, balanced, or a list with a number > 0 for each class"
    checks.require(isinstance(weights, list) or weights in (None, "balanced"), "data.class_weights", rule, weights)
    for weight in weights if isinstance(weights, list) else ():
        checks.number("data.class_weights", weight, "(0, 1e6]")


def class_weights(weights: str | list[float] | None, labels: np.ndarray, classes: int) -> Tensor:
    """Loss weights ``float [K]``: ones, those given, or, balanced, N / (K * images of the class) as in scikit-learn."""
    if weights is None:
        return torch.ones(classes)
    if isinstance(weights, list):
        checks.require(len(weights) == classes, "data.class_weights", f"have {classes} numbers, one a class", weights)
        return torch.tensor(weights, dtype=torch.float32)
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)
