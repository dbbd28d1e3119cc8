"""The optimizers' steps of many networks: one call of each member's own optimizer, or a stacked update of all rows.

An optimizer that treats each number by itself does not see whether parameters lie in one row or in many tensors.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightsweep.population.member import Member
from lightsweep.population.rules import RULES, Columns, RowsToUpdate

# Which switches of an optimizer a stacked update has; with another one on, each member's own optimizer is called.
_SWITCHES = ("amsgrad", "centered", "maximize", "differentiable", "dampening")


class Update(Protocol):
    """Steps the members, which have the first rows."""

    def begin_epoch(self, members: Sequence[Member], rates: Sequence[Sequence[float]]) -> None:
        """Take the members, and for each of them the learning rates of the epoch's steps."""

    def select(self, index: int) -> None:
        """Take the settings of the epoch's step of this number, from 0."""

    def apply(self) -> None:
        """Take that step, from the gradients as they are."""

    def clear(self, row: int) -> None:
        """A new member has this row."""

    def move(self, row: int, source: int) -> None:
        """The member of row `source` has `row` now."""


class EachUpdate:
    """One call of each member's own optimizer, which has its moments."""

    def begin_epoch(self, members: Sequence[Member], rates: Sequence[Sequence[float]]) -> None:
        self.members, self.rates = members, rates

    def select(self, index: int) -> None:
        for member, rates in zip(self.members, self.rates, strict=True):
            member.set_rate(rates[index])

    def apply(self) -> None:
        for member in self.members:
            member.optimizer.step()

    def clear(self, row: int) -> None:
        """Nothing is kept here."""

    def move(self, row: int, source: int) -> None:
        """Nothing is kept here."""


class StackedUpdate:
    """One update of all rows, with each member's settings as columns ``[A, 1]``.

    Args:
        optimizer: one of the members'; `can_stack` must be true of it.
        weights, gradients: ``[K, width]``.
        decayed: how many elements of a row, its first ones, have weight decay.
    """

    def __init__(self, optimizer: Optimizer, weights: Tensor, gradients: Tensor, *, decayed: int) -> None:
        self.rule = RULES[type(optimizer)](optimizer.defaults)
        self.rows = RowsToUpdate(weights, gradients, torch.empty_like(weights), decayed)
        self.states = [torch.zeros_like(weights) for _ in range(self.rule.states)]

    def begin_epoch(self, members: Sequence[Member], rates: Sequence[Sequence[float]]) -> None:
        groups = [member.optimizer.param_groups[0] for member in members]
        done = [member.steps for member in members]
        device = self.rows.weights.device
        settings = self.rule.settings(Columns(groups, rates, done))
        decays = any(group["weight_decay"] for group in groups)
        steps, count = len(rates[0]), len(members)
        # [steps, A, 1] each
        self.settings = [each.T.expand(steps, count)[..., None].float().to(device) for each in settings]
        self.current = [each[0].clone() for each in self.settings]
        self.active = self.rows.first(count, decays=decays), [state[:count] for state in self.states]

    def select(self, index: int) -> None:
        for current, each in zip(self.current, self.settings, strict=True):
            current.copy_(each[index])

    @torch.no_grad()
    def apply(self) -> None:
        self.rule.update(*self.active, *self.current)

    def clear(self, row: int) -> None:
        for state in self.states:
            state[row].zero_()

    def move(self, row: int, source: int) -> None:
        for state in self.states:
            state[row].copy_(state[source])


def can_stack(optimizer: Optimizer) -> bool:
    """Whether there is a stacked update that does the same."""
    return type(optimizer) in RULES and not any(optimizer.defaults.get(name) for name in _SWITCHES)
