"""What was searched of each parameter, as the axis of a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from lightsweep.reports.columns import escape_tags

_MARGIN = 0.04  # of an axis, beyond what was searched
_EDGE = 0.03  # of a range: a value this near to an end is at the edge
_MAX_TICKS = 6  # of a logarithmic axis


@dataclass(frozen=True)
class ParameterRange:
    """What was searched of a parameter: from `low` to `high`, or choices. Axes span all of it.

    Args:
        choices: as text, empty for a range.
    """

    low: float
    high: float
    is_log: bool
    choices: tuple[str, ...] = ()

    def axis(self) -> dict[str, Any]:
        """For plotly's layout."""
        if self.choices:
            ends = [-0.5, len(self.choices) - 0.5]
            return {"type": "category", "categoryorder": "array", "categoryarray": [*self.choices], "range": ends}
        low, high = self._scale(self.low), self._scale(self.high)
        margin = _MARGIN * (high - low) or 0.5
        axis: dict[str, Any] = {"type": "linear", "range": [low - margin, high + margin], "zeroline": False}
        if self.is_log:
            ticks = self.ticks()
            axis |= {"type": "log", "tickvals": ticks, "ticktext": [format_number(tick) for tick in ticks]}
        return axis

    def ticks(self) -> list[float]:
        """The powers of ten of a logarithmic range, the ends of a short one, five numbers of another."""
        if not self.is_log:
            return [self.low + (self.high - self.low) * part / 4 for part in range(5)]
        powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
        if len(powers) < 2:
            return [self.low, self.high]
        return [10.0**power for power in powers[:: 1 + (len(powers) - 1) // _MAX_TICKS]]

    def at(self, value: Any) -> Any:
        """A value on the axis, where choices are text: plotly takes true for 1."""
        return _format_choice(value) if self.choices else value

    def share(self, value: Any) -> float:
        """How far along the axis a value is, from 0 at the low end to 1 at the high one."""
        if self.choices:
            return self.choices.index(_format_choice(value)) / max(1, len(self.choices) - 1)
        low, high = self._scale(self.low), self._scale(self.high)
        return (self._scale(value) - low) / (high - low) if high > low else 0.5

    def edge(self, value: Any) -> str | None:
        """The end of a range that a value is at; None inside, and of choices, which have no order."""
        if self.choices or not self.low < self.high:
            return None
        share = self.share(value)
        return "lower" if share <= _EDGE else "upper" if share >= 1 - _EDGE else None

    def _scale(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def find_ranges(trials: Sequence[FrozenTrial]) -> dict[str, ParameterRange]:
    """Each parameter's range in all trials together: a resumed study may search wider ones."""
    names = dict.fromkeys(name for trial in trials for name in trial.distributions)
    every = [trial.distributions for trial in trials]
    return {name: _join_distributions([each[name] for each in every if name in each]) for name in names}


def _join_distributions(distributions: Sequence[Any]) -> ParameterRange:
    last = distributions[-1]
    is_choice = isinstance(last, CategoricalDistribution)
    same = [each for each in distributions if isinstance(each, CategoricalDistribution) == is_choice]
    if is_choice:
        choices = dict.fromkeys(_format_choice(choice) for each in same for choice in each.choices)
        return ParameterRange(0.0, 0.0, is_log=False, choices=tuple(choices))
    low, high = min(each.low for each in same), max(each.high for each in same)
    return ParameterRange(low, high, is_log=bool(last.log) and low > 0)


def _format_choice(choice: Any) -> str:
    """A choice as it is typed; texts were escaped when the study was read."""
    if choice is None or isinstance(choice, bool):
        return "null" if choice is None else str(choice).lower()
    return choice if isinstance(choice, str) else escape_tags(choice)


def format_number(value: float) -> str:
    """``1e-4``, ``0.01``, ``1000``: as people type it."""
    text = f"{value:.4g}" if 0.01 <= abs(value) < 10_000 or value == 0 else f"{value:.2e}"
    if "e" not in text:
        return text
    digits, _, power = text.partition("e")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}e{int(power)}"
