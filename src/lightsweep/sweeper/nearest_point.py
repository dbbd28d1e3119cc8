"""The value of a dimension that is nearest to a given one."""

import re
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lightsweep.core import overrides


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """The value inside a dimension, as a study keeps it, that is nearest to a config's."""
    if isinstance(distribution, CategoricalDistribution):
        return _nearest_choice(distribution.choices, value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return distribution.low  # type: ignore[attr-defined]
    if isinstance(distribution, IntDistribution):
        clipped = min(max(round(value), distribution.low), distribution.high)
        steps = round((clipped - distribution.low) / distribution.step)
        return min(distribution.low + steps * distribution.step, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    clipped_float = min(max(float(value), distribution.low), distribution.high)
    if distribution.step is None:
        return clipped_float
    return distribution.low + round((clipped_float - distribution.low) / distribution.step) * distribution.step


def _nearest_choice(choices: Sequence[Any], value: Any) -> Any:
    exact = (choice for choice in choices if _is(overrides.meant_by(choice), value))
    for choice in (*exact, *(choice for choice in choices if same(choice, value))):
        return choice
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    if numbers and isinstance(value, int | float):
        return min(numbers, key=lambda choice: abs(choice - value))
    return choices[0]


def same(choice: Any, value: Any) -> bool:
    """Is a value the one that a choice means, or written so? ``[512,256]``, a choice, is ``[512, 256]``, a config's."""
    one, other = ("null" if each is None else each for each in (choice, value))
    if one == other or _is(overrides.meant_by(choice), value) or _plain(one) == _plain(other):
        return True
    try:
        return float(one) == float(other)  # 1e-4 and 0.0001
    except (TypeError, ValueError):
        return False


def _is(one: Any, other: Any) -> bool:
    """Equal, and of one kind: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _plain(value: Any) -> str:
    return re.sub(r"[\s'\"]", "", str(value)).lower()
