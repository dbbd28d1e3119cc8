"""Values as text for people: numbers short, names harmless."""

import math
from typing import Any

from lightsweep.core.gaps import COLUMNS, signed
from lightsweep.core.text import printable

_FRACTIONS = ("acc", "gap", "loss", "f1", "auc", "balanced_acc", "objective")
_COUNTS = ("params", "params_keras")


def plain(value: Any) -> str:
    """One line that no terminal takes for a command: whatever does not print is written as an escape."""
    return printable(" ".join(str(value).split()))


def cell(column: str, value: Any, spread: Any = None) -> str:
    """A value of a column, with its standard deviation where there is one."""
    if value is None:
        return ""
    if not is_number(value):
        return plain(str(value).lower() if isinstance(value, bool) else value)
    shown = _number(column, value)
    varies = is_number(spread) and not (spread == 0 and column in _COUNTS)
    return f"{shown} ± {_number(column, spread)}" if varies else shown


def is_number(value: Any) -> bool:
    """Whether it is one that can be reckoned with: finite, and no whole number beyond a float's."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def is_metric(column: str) -> bool:
    """``val/acc`` and its like; keys of a config have no slash."""
    return "/" in column


def _number(column: str, value: float) -> str:
    if column in COLUMNS:
        return signed(column, value)
    if is_metric(column) or column in _FRACTIONS:
        return f"{value:z.4f}"
    if column == "seconds":
        return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    if column in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value != int(value) or abs(value) >= 1e15 else str(int(value))
