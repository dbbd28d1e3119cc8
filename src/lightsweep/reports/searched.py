"""What was searched, as axes: they show the whole range of a parameter, whatever was tried of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from lightsweep.reports.study import escaped

_MARGIN = 0.04  # of an axis, beyond what was searched
_EDGE = 0.03  # of the range: a value as near to an end of it lies at the edge
_MOST_TICKS = 6  # of a logarithmic axis


@dataclass(frozen=True)
class Dimension:
    """A parameter's range: from `low` to `high`, or choices.

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
            places = [-0.5, len(self.choices) - 0.5]
            return {"type": "category", "categoryorder": "array", "categoryarray": [*self.choices], "range": places}
        low, high = self._scaled(self.low), self._scaled(self.high)
        margin = _MARGIN * (high - low) or 0.5
        axis: dict[str, Any] = {"type": "linear", "range": [low - margin, high + margin], "zeroline": False}
        if self.is_log:
            ticks = self.ticks()
            axis |= {"type": "log", "tickvals": ticks, "ticktext": [short(tick) for tick in ticks]}
        return axis

    def ticks(self) -> list[float]:
        """The powers of ten of a logarithmic range, the ends of a short one, five numbers of another."""
        if not self.is_log:
            return [self.low + (self.high - self.low) * part / 4 for part in range(5)]
        powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
        if len(powers) < 2:
            return [self.low, self.high]
        return [10.0**power for power in powers[:: 1 + (len(powers) - 1) // _MOST_TICKS]]

    def at(self, value: Any) -> Any:
        """A value as it stands on the axis: choices are text there, as plotly takes true for 1."""
        return text(value) if self.choices else value

    def place(self, value: Any) -> float:
        """Where a value lies, from 0 at the low end to 1 at the high one."""
        if self.choices:
            return self.choices.index(text(value)) / max(1, len(self.choices) - 1)
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low) if high > low else 0.5

    def edge(self, value: Any) -> str | None:
        """Which end of a range a value lies at; None inside, and of choices, which have no order."""
        if self.choices or not self.low < self.high:
            return None
        place = self.place(value)
        return "lower" if place <= _EDGE else "upper" if place >= 1 - _EDGE else None

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def dimensions(trials: Sequence[FrozenTrial]) -> dict[str, Dimension]:
    """Each parameter's range in all trials together: a study that goes on may have been given wider ones."""
    every: dict[str, list[BaseDistribution]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            every.setdefault(name, []).append(distribution)
    return {name: _joined(distributions) for name, distributions in every.items()}


def at_edges(params: dict[str, Any], ranges: dict[str, Dimension]) -> list[str]:
    """A sentence for each value that lies at an end of its range."""
    said = []
    for name, value in params.items():
        found = ranges[name]
        if (end := found.edge(value)) is not None:
            said.append(
                f"{name} {short(value)} is at the {end} end of what was searched,"
                f" {short(found.low)} to {short(found.high)}."
            )
    return said


def text(choice: Any) -> str:
    """A choice on an axis, as it is typed; texts were escaped when the study was read."""
    if choice is None:
        return "null"
    return choice if isinstance(choice, str) else escaped(str(choice).lower() if isinstance(choice, bool) else choice)


def short(value: float) -> str:
    """``1e-4``, ``0.01``, ``1000``: as people type it."""
    shown = f"{value:.4g}" if 0.01 <= abs(value) < 10_000 or value == 0 else f"{value:.2e}"
    if "e" not in shown:
        return shown
    digits, _, power = shown.partition("e")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}e{int(power)}"


def _joined(distributions: Sequence[BaseDistribution]) -> Dimension:
    last = distributions[-1]
    same = [each for each in distributions if isinstance(each, CategoricalDistribution) == _has_choices(last)]
    if isinstance(last, CategoricalDistribution):
        choices = dict.fromkeys(text(choice) for each in same for choice in each.choices)  # type: ignore[attr-defined]
        return Dimension(0.0, 0.0, is_log=False, choices=tuple(choices))
    low = min(each.low for each in same)  # type: ignore[attr-defined]
    high = max(each.high for each in same)  # type: ignore[attr-defined]
    return Dimension(low, high, is_log=bool(last.log) and low > 0)  # type: ignore[attr-defined]


def _has_choices(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, CategoricalDistribution)
