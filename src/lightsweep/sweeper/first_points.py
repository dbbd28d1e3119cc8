"""The points that a search begins with: spread over the space."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lightsweep.sweeper.ordered_choices import order_of
from lightsweep.sweeper.space import Params


def distance(one: Params, other: Params, space: Mapping[str, BaseDistribution]) -> float:
    """The sum of squares of the differences of two points, each from 0 to 1 of its range."""
    return sum(_difference(distribution, one[name], other[name]) ** 2 for name, distribution in space.items())


def farthest(candidates: Sequence[Params], known: Sequence[Params], space: Mapping[str, BaseDistribution]) -> Params:
    """The candidate whose nearest known point is the farthest away; the first one where none is known."""
    return max(candidates, key=lambda each: min((distance(each, one, space) for one in known), default=0.0))


def _difference(distribution: BaseDistribution, one: Any, other: Any) -> float:
    if isinstance(distribution, CategoricalDistribution):
        if (order := order_of(distribution)) is None:
            return float(one != other)
        return (order.index(one) - order.index(other)) / (len(order) - 1)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    ends = (distribution.low, distribution.high, one, other)
    low, high, first, second = map(math.log, ends) if distribution.log else ends
    return (first - second) / (high - low) if high > low else 0.0
