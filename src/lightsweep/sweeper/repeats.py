"""Points that were tried already: with the same seed they would give what is known.

A sampler may suggest a point again, most often in a small discrete space. Such a trial is told what the earlier one
came to, so that the sampler learns from it as it would from a second training, gets the mark ``repeat_of``, and counts
nowhere; another point is asked for. A point that failed is not tried again either. Where the sampler goes on repeating
itself, an untried point is drawn at random from a space that can be listed; after `LIMIT` repeats in a row, or when
every point was tried, there is nothing more to ask for.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from lightsweep.sweeper.space import Space, applies, key_of

LIMIT = 20  # repeats in a row
_SAMPLERS_OWN = 5  # repeats in a row after which an untried point is drawn
_MOST_POINTS = 10_000  # of a space that is listed
_BEST_KNOWN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)
_MARK = "repeat_of"

Params = dict[str, Any]


class Repeats:
    """Finds repeats, and says when there is nothing more to ask for.

    Args:
        points: all points of the space, as Optuna's parameters; None where it cannot be listed.
        since: the first trial whose value holds for the settings of now.
    """

    def __init__(self, points: Sequence[Params] | None, since: int) -> None:
        self.points, self.since = points, since
        self.in_a_row = self._ended = 0

    def earlier(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The trial whose point this one repeats, that which says most; counts the repeats in a row."""
        here = _point(trial.params)
        others = [each for each in self._tried(trials) if each.number != trial.number and _point(each.params) == here]
        # Of two that run at once the first goes on.
        others = [each for each in others if each.state.is_finished() or each.number < trial.number]
        self.in_a_row = self.in_a_row + 1 if others else 0
        return min(others, key=lambda each: _BEST_KNOWN.index(each.state), default=None)

    def proposal(self, trials: Sequence[FrozenTrial]) -> Params | None:
        """An untried point, where the sampler repeats itself; None where it shall suggest one."""
        if self.in_a_row < _SAMPLERS_OWN or self.points is None or _is_queued(trials):
            return None
        untried = self._untried(trials)
        return random.Random(len(trials)).choice(untried) if untried else None  # the same in the same sweep again

    def why_over(self, trials: Sequence[FrozenTrial]) -> str | None:
        """Why no further point is asked for, in words; None where one is. A trial that ends may change the answer."""
        ended = sum(trial.state.is_finished() for trial in without(trials))
        if ended != self._ended:
            self.in_a_row, self._ended = 0, ended
        if _is_queued(trials):
            return None
        if self.points is not None and not self._untried(trials):
            return f"all {len({_point(point) for point in self.points})} points of the space were tried"
        return f"{LIMIT} suggestions in a row were points that had been tried" if self.in_a_row >= LIMIT else None

    def _tried(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        return [
            trial
            for trial in trials
            if trial.number >= self.since
            and trial.state != TrialState.WAITING
            and not trial.user_attrs.get("interrupted")
            and not is_repeat(trial)
        ]

    def _untried(self, trials: Sequence[FrozenTrial]) -> list[Params]:
        tried = {_point(trial.params) for trial in self._tried(trials)}
        return [point for point in self.points or () if _point(point) not in tried]


def is_repeat(trial: FrozenTrial) -> bool:
    return _MARK in trial.user_attrs


def without(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that are no repeats."""
    return [trial for trial in trials if not is_repeat(trial)]


def points(space: Space) -> list[Params] | None:
    """All points of a discrete space, as Optuna's parameters; None where there are more than can be listed."""
    if space.extend is not None:
        return None
    found: list[tuple[Params, Params]] = [({}, {})]  # by name, and by key
    for parameter in space.parameters:
        values = _values(parameter.distribution)
        if values is None or len(found) * len(values) > _MOST_POINTS:
            return None
        found = [
            (point | {parameter.name: value}, chosen | {parameter.key: value}) if value is not ... else (point, chosen)
            for point, chosen in found
            for value in (values if applies(parameter, chosen) else (...,))
        ]
    return [point for point, _ in found]


def _values(distribution: BaseDistribution) -> Sequence[Any] | None:
    """All values of a dimension; None where they are too many."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if not isinstance(distribution, IntDistribution | FloatDistribution) or distribution.step is None:
        return None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    if count > _MOST_POINTS:
        return None
    return [distribution.low + place * distribution.step for place in range(count)]


def same_point(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _point(one) == _point(other)


def _point(params: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """What is typed for these parameters; of floats as many digits as a step keeps."""
    texts = {name: f"{value:.12g}" if isinstance(value, float) else str(value) for name, value in params.items()}
    return frozenset((key_of(name), text) for name, text in texts.items())


def _is_queued(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state == TrialState.WAITING for trial in trials)
