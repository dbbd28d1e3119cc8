"""Checks of values that a user typed. Each names the key as it was typed, the rule, and what came."""

import math
from collections.abc import Collection
from numbers import Real
from typing import Any, TypeGuard

from lightsweep.core.errors import ConfigError


def require(condition: bool, key: str, rule: str, value: Any) -> None:
    """Raise ``ConfigError("<key> must <rule>, got <value>")`` unless the condition holds."""
    if not condition:
        raise ConfigError(f"{key} must {rule}, got {value!r}")


def number(key: str, value: Any, interval: str) -> None:
    """A finite number inside an interval written as in mathematics: ``[0, 1)``, ``(0, inf)``."""
    inside = is_number(value) and _contains(interval, value)
    require(inside, key, f"be {_words(interval)}", value)


def integer(key: str, value: Any, interval: str) -> None:
    """An integer (not a boolean) inside an interval written as in mathematics: ``[1, inf)``."""
    inside = isinstance(value, int) and not isinstance(value, bool) and _contains(interval, value)
    require(inside, key, f"be an integer {_words(interval)}", value)


def choice(key: str, value: Any, options: Collection[str]) -> None:
    """One of the named options."""
    require(isinstance(value, str) and value in options, key, f"be one of {', '.join(options)}", value)


def flag(key: str, value: Any) -> None:
    """True or false."""
    require(isinstance(value, bool), key, "be true or false", value)


def is_number(value: Any) -> TypeGuard[float]:
    """A finite number that a float can hold; no boolean."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _contains(interval: str, value: float) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


def _words(interval: str) -> str:
    low, high = (end.strip() for end in interval[1:-1].split(","))
    if high != "inf":
        return f"in {interval}"
    return f"{'>=' if interval[0] == '[' else '>'} {low}"
