"""Optimizers' formulas over rows ``[A, width]``, with a member's settings in a column ``[A, 1]``."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lightsweep.training.optimization import KerasRMSprop


class RowsToUpdate(NamedTuple):
    """Weights and gradients ``[A, width]``, of which the first `decayed` columns have weight decay, and a buffer."""

    weights: Tensor
    gradients: Tensor
    buffer: Tensor
    decayed: int

    def first(self, count: int, *, decays: bool) -> "RowsToUpdate":
        """The first rows, with weight decay or without."""
        parts = (self.weights[:count], self.gradients[:count], self.buffer[:count])
        return RowsToUpdate(*parts, self.decayed if decays else 0)

    def shrink(self, factor: Tensor) -> None:
        """Decoupled weight decay: multiply the weights that have it."""
        self.weights[:, : self.decayed].mul_(factor)

    def add_decay(self, strength: Tensor) -> None:
        """Weight decay as a term of the gradient."""
        self.gradients[:, : self.decayed].addcmul_(self.weights[:, : self.decayed], strength)


class Columns(NamedTuple):
    """What the settings follow from: the members' parameter groups, rates ``[A][steps]``, and steps taken before."""

    groups: Sequence[dict[str, Any]]
    rates: Sequence[Sequence[float]]
    done: Sequence[int]

    def of(self, name: str, index: int | None = None) -> Tensor:
        """A setting of the groups, or a part of it, ``float64 [A, 1]``."""
        values = [group[name] if index is None else group[name][index] for group in self.groups]
        return torch.tensor(values, dtype=torch.float64)[:, None]

    @property
    def lr(self) -> Tensor:
        """``float64 [A, steps]``."""
        return torch.tensor(self.rates, dtype=torch.float64)

    @property
    def number(self) -> Tensor:
        """The number of each step since the member began, from 1, ``float64 [A, steps]``."""
        steps = torch.arange(1, len(self.rates[0]) + 1, dtype=torch.float64)
        return torch.tensor(self.done, dtype=torch.float64)[:, None] + steps


class Rule(Protocol):
    """An optimizer's formula. `states` is how many tensors like the weights it keeps."""

    states: int

    def settings(self, columns: Columns) -> list[Tensor]:
        """What `update` takes, each ``float64 [A, steps]`` or ``[A, 1]``."""

    def update(self, rows: RowsToUpdate, states: list[Tensor], *settings: Tensor) -> None:
        """A step, with the settings ``[A, 1]``."""


class StackedSGD:
    """torch's SGD, with momentum."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self.states, self.nesterov = 1, defaults["nesterov"]

    def settings(self, columns: Columns) -> list[Tensor]:
        return [-columns.lr, columns.of("momentum"), columns.of("weight_decay")]

    def update(self, rows: RowsToUpdate, states: list[Tensor], *settings: Tensor) -> None:
        step, momentum, decay = settings
        (velocity,) = states
        rows.add_decay(decay)
        velocity.mul_(momentum).add_(rows.gradients)
        if self.nesterov:
            rows.weights.addcmul_(rows.gradients.addcmul_(velocity, momentum), step)
        else:
            rows.weights.addcmul_(velocity, step)


class StackedAdam:
    """torch's Adam and AdamW."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self.states, self.decoupled = 2, defaults["decoupled_weight_decay"]

    def settings(self, columns: Columns) -> list[Tensor]:
        beta1, beta2 = columns.of("betas", 0), columns.of("betas", 1)
        eps, decay = columns.of("eps"), columns.of("weight_decay")
        step = -columns.lr / (1 - beta1**columns.number)
        root = (1 - beta2**columns.number).sqrt()
        return [step, root, 1 - beta1, 1 - beta2, eps, 1 - columns.lr * decay if self.decoupled else decay]

    def update(self, rows: RowsToUpdate, states: list[Tensor], *settings: Tensor) -> None:
        step, root, rest1, rest2, eps, decay = settings
        first, second = states
        if self.decoupled:
            rows.shrink(decay)
        else:
            rows.add_decay(decay)
        first.lerp_(rows.gradients, rest1)
        second.lerp_(torch.mul(rows.gradients, rows.gradients, out=rows.buffer), rest2)
        denominator = torch.sqrt(second, out=rows.buffer).div_(root).add_(eps)
        rows.weights.addcmul_(torch.div(first, denominator, out=rows.buffer), step)


class StackedRMSprop:
    """torch's RMSprop, with momentum."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self.states = 2

    def settings(self, columns: Columns) -> list[Tensor]:
        names = ("eps", "momentum", "weight_decay")
        return [-columns.lr, 1 - columns.of("alpha"), *(columns.of(name) for name in names)]

    def update(self, rows: RowsToUpdate, states: list[Tensor], *settings: Tensor) -> None:
        step, rest, eps, momentum, decay = settings
        average, velocity = states
        rows.add_decay(decay)
        average.lerp_(torch.mul(rows.gradients, rows.gradients, out=rows.buffer), rest)
        denominator = torch.sqrt(average, out=rows.buffer).add_(eps)
        velocity.mul_(momentum).add_(torch.div(rows.gradients, denominator, out=rows.buffer))
        rows.weights.addcmul_(velocity, step)


class StackedKerasRMSprop:
    """`KerasRMSprop`."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self.states = 1

    def settings(self, columns: Columns) -> list[Tensor]:
        return [-columns.lr, 1 - columns.of("rho"), columns.of("eps"), 1 - columns.lr * columns.of("weight_decay")]

    def update(self, rows: RowsToUpdate, states: list[Tensor], *settings: Tensor) -> None:
        step, rest, eps, shrinking = settings
        (average,) = states
        average.lerp_(torch.mul(rows.gradients, rows.gradients, out=rows.buffer), rest)
        rows.shrink(shrinking)
        denominator = torch.add(average, eps, out=rows.buffer).sqrt_()
        rows.weights.addcmul_(torch.div(rows.gradients, denominator, out=rows.buffer), step)


RULES: dict[type[Optimizer], type[Any]] = {
    SGD: StackedSGD,
    Adam: StackedAdam,
    AdamW: StackedAdam,
    RMSprop: StackedRMSprop,
    KerasRMSprop: StackedKerasRMSprop,
}
