"""What to do after a sweep: sentences from rules, each with what to type. docs/sweep_page.md lists the rules."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lightsweep.core.checks import is_number
from lightsweep.core.metrics import format_difference
from lightsweep.core.overrides import format_override, format_value
from lightsweep.reports.runs import Row
from lightsweep.reports.trials import ParameterRange, format_number
from lightsweep.sweeper.space import key_of

FEWEST_LAST = 10  # trials that brought nothing, or a third of all
LARGE_GAP = 0.1  # between the score on train and on val
_LOW = 0.5  # of a range: a regulariser below that is low
_REGULARISERS = (
    *("dropout", "weight_decay", "l2", "label_smoothing"),
    *("mixup", "cutout", "crop", "flip", "shift", "rotate"),
)
_MOST_NAMED = 4  # regularisers that are off


@dataclass(frozen=True)
class Advice:
    """A sentence, and the override that does what it says; empty where there is none to type.

    Args:
        is_of_space: whether the override changes what is searched, so that it needs a study of its own.
    """

    text: str
    override: str = ""
    is_of_space: bool = False

    @property
    def typed(self) -> str:
        """The override, quoted for a shell."""
        return shlex.quote(self.override) if self.override else ""


@dataclass(frozen=True)
class Found:
    """What the rules look at.

    Args:
        best: the best trial's parameters, by the name in the study.
        space: what was searched last of each parameter.
        ranges: what was searched of each in all trials.
        mattering: whether each parameter matters, or does not; without those of which neither is known.
        row: the best run's.
        values: of the trials that ended with one, in order, the larger the better.
        noise: by how much two runs of one configuration differ at most; None where it is not known.
        metric: the name of the values.
        confirm_with: how many seeds would tell the best from the baseline, where a confirmation has not.
    """

    best: Mapping[str, Any]
    space: Mapping[str, BaseDistribution]
    ranges: Mapping[str, ParameterRange]
    mattering: Mapping[str, bool]
    row: Row
    values: Sequence[float]
    noise: float | None
    metric: str
    confirm_with: int | None


def advise(found: Found) -> list[Advice]:
    """What to do next, what changes the space first; nothing where no rule applies."""
    idle = _do_not_matter(found.mattering)
    edges = [each for name in found.best if name not in idle and (each := _widen(name, found)) is not None]
    fixed = [_fix(name, found.best[name]) for name in idle if name in found.best]
    return [*edges, *fixed, *_regularise(found), *_stop(found), *_confirm(found)]


def _do_not_matter(mattering: Mapping[str, bool]) -> list[str]:
    """Parameters to fix: where none matters, or one alone was searched, that says nothing."""
    return [name for name, matters in mattering.items() if not matters] if any(mattering.values()) else []


def _fix(name: str, value: Any) -> Advice:
    override = format_override(key_of(name), value)
    why = "its importance is no more than noise, and around the best trial its effect is small"
    return Advice(f"{name} does not matter here: {why}. Fix it:", override, is_of_space=True)


def _widen(name: str, found: Found) -> Advice | None:
    """Where the best value is at an end of its range, or of choices that are numbers."""
    value, searched, space = found.best[name], found.ranges.get(name), found.space.get(name)
    if searched is None or space is None or not (searched.choices or _is_on(searched, value)):
        return None
    end = searched.edge(value) or _edge_of_choices(value, space)
    wider = _widen_range(space, end) if end is not None else None
    if wider is None:
        return None
    low, high = _ends(space)
    side = "below" if end == "lower" else "above"
    text = (
        f"{name} {format_number(value)} is at the {end} end of what was searched, {format_number(low)} to"
        f" {format_number(high)}: better values may be {side} it."
    )
    if ":" in name:  # a condition, which an override on the command line would lift
        return Advice(f"{text} Widen its range under hydra.sweeper.when to {wider}.")
    return Advice(f"{text} Search there:", f"{key_of(name)}={wider}", is_of_space=True)


def _is_on(searched: ParameterRange | None, value: Any) -> bool:
    """Whether a value has a place on the axis of a range: an enqueued trial may have any."""
    return searched is not None and not searched.choices and is_number(value) and (value > 0 or not searched.is_log)


def _ends(space: BaseDistribution) -> tuple[float, float]:
    if isinstance(space, CategoricalDistribution):
        numbers = [each for each in space.choices if is_number(each)]
        return min(numbers), max(numbers)
    assert isinstance(space, FloatDistribution | IntDistribution)
    return space.low, space.high


def _edge_of_choices(value: Any, space: BaseDistribution) -> str | None:
    """The end of choices that a value is at, where they are three numbers at least."""
    if not isinstance(space, CategoricalDistribution) or not is_number(value):
        return None
    numbers = sorted({each for each in space.choices if is_number(each)})
    if len(numbers) < max(3, len(space.choices)):
        return None
    return {numbers[0]: "lower", numbers[-1]: "upper"}.get(value)


def _widen_range(space: BaseDistribution, end: str) -> str | None:
    """The override's value that searches beyond an end; None where nothing is there.

    A range grows by half its length at that end, on a logarithmic scale by half its length there. Of choices the next
    number of their sequence is added. Nothing goes below 0, nor beyond 1 what was between 0 and 1: it may be a share.
    """
    low, high = _ends(space)
    is_share = low >= 0 and high <= 1
    if isinstance(space, CategoricalDistribution):
        numbers = sorted(each for each in space.choices if is_number(each))
        (near, far) = (numbers[0], numbers[1]) if end == "lower" else (numbers[-1], numbers[-2])
        is_ratio = min(numbers) > 0 and len({round(b / a, 3) for a, b in pairwise(numbers)}) == 1
        new = near * near / far if is_ratio else 2 * near - far
        new = int(new) if all(isinstance(each, int) for each in numbers) and new == int(new) else _rounded(new)
        if new <= 0 or (is_share and new >= 1):
            return None
        return f"choice({','.join(map(format_value, sorted([*numbers, new])))})"
    assert isinstance(space, FloatDistribution | IntDistribution)
    if space.log:
        factor = math.sqrt(high / low)
        new = low / factor if end == "lower" else high * factor
    elif (end == "lower" and low == 0) or (end == "upper" and is_share and high == 1):
        return None
    else:
        grown = (high - low) / 2
        new = low - grown if end == "lower" else high + grown
        if end == "lower" and low > 0:
            new = max(new, low / 2)
        if end == "upper" and is_share:
            new = min(new, (1 + high) / 2)
    if isinstance(space, IntDistribution):
        new = max(1, round(new)) if low > 0 else round(new)
    elif space.step is None:
        new = _rounded(new)
    if new in (low, high):
        return None
    low, high = (new, high) if end == "lower" else (low, new)
    return _format_range(space, low, high)


def _rounded(value: float) -> float:
    """To two digits."""
    return float(f"{value:.2g}")


def _format_range(space: FloatDistribution | IntDistribution, low: float, high: float) -> str:
    is_int = isinstance(space, IntDistribution)
    step = space.step if space.step not in (None, 1) or not is_int else None
    if step is not None and not space.log:
        first = space.low + round((low - space.low) / step) * step  # the values that were there stay possible
        return f"range({_plain(first)},{_plain(high + step / 2)},{_plain(step)})"
    inner = f"interval({_plain(low)},{_plain(high)})"
    inner = f"int({inner})" if is_int else inner
    return f"tag(log,{inner})" if space.log else inner


def _plain(value: float) -> str:
    short = format_number(value)
    return short if float(short) == value and not isinstance(value, int) else str(value)


def _regularise(found: Found) -> list[Advice]:
    """Where the best run is much better on train than on val."""
    gap = found.row.get("gap")
    if not is_number(gap) or gap < LARGE_GAP:
        return []
    low, off = [], []
    searched = {key_of(name): name for name in found.best}
    for key, value in found.row.items():
        if key.rpartition(".")[2] not in _REGULARISERS:
            continue
        name = searched.get(key)
        if name is None:
            off += [key] * ((is_number(value) and value == 0) or value is False)
        elif _is_on(found.ranges.get(name), found.best[name]) and found.ranges[name].share(found.best[name]) < _LOW:
            low.append(f"{key} {format_number(found.best[name])}")
    more = f" and {len(off) - _MOST_NAMED} more" * (len(off) > _MOST_NAMED)
    parts = [f"low in what was searched: {', '.join(low)}"] * bool(low)
    parts += [f"off: {', '.join(off[:_MOST_NAMED])}{more}"] * bool(off)
    if not parts:
        return []
    size = format_difference("train/acc", gap).removeprefix("+")
    text = f"The best run is {size} better on train than on val: it overfits. Regularisers that are {'; '.join(parts)}."
    return [Advice(text)]


def _stop(found: Found) -> list[Advice]:
    """Where the last trials, a third of all and ten at least, have not improved the best by more than noise."""
    count = max(FEWEST_LAST, len(found.values) // 3)
    if len(found.values) < 2 * count:
        return []
    gain = max(found.values) - max(found.values[:-count])
    if not gain <= (found.noise or 0.0):  # nor where none was completed
        return []
    size = format_difference(found.metric, gain).removeprefix("+")
    brought = f"improved the best by {size}, less than noise" if gain > 0 else "have not improved the best"
    return [Advice(f"The last {count} of {len(found.values)} trials {brought}: stop here, or search another space.")]


def _confirm(found: Found) -> list[Advice]:
    if found.confirm_with is None:
        return []
    text = (
        f"{found.confirm_with} fresh seeds each should tell the best from the baseline. Type the sweep's command with"
    )
    return [Advice(text, f"hydra.sweeper.confirm={found.confirm_with}")]
