"""The first trials of a study: the config as it stands, and the points that the user named."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GridSampler
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Space, applies, key_of, values_of
from lightsweep.sweeper.trials import is_repeat, without_repeats


def enqueue_first(plan: Plan, study: optuna.Study) -> None:
    """The config as it stands is the first trial, then come the points that the user named, also for a study that is
    gone on with. None that is there already, in whatever state, is asked for again."""
    points = enqueued_points(plan)  # before a word is written: a point that does not exist is refused
    # The baseline comes once, and to a grid never, which visits its own points and no others.
    if not study.user_attrs.get("enqueued") and not isinstance(study.sampler, GridSampler):
        point, remarks = baseline_point(plan)
        note = {"note": "; ".join(remarks)} if remarks else {}
        study.enqueue_trial(point, user_attrs={"baseline": True, **note}, skip_if_exists=True)
        study.set_user_attr("enqueued", True)
    for point in points:
        study.enqueue_trial(point, user_attrs={"note": "enqueued"}, skip_if_exists=True)


def enqueued_points(plan: Plan) -> list[dict[str, Any]]:
    """``hydra.sweeper.enqueue`` as Optuna's parameters."""
    return [_wanted(plan.space, wanted) for wanted in plan.settings.enqueue or []]


def baseline_point(plan: Plan) -> tuple[dict[str, Any], list[str]]:
    """The point of the config as it stands, and what keeps it from being quite that."""
    config = plan.compose(plan.space.fixed)
    keys = list(dict.fromkeys(parameter.key for parameter in plan.space.parameters))
    values = values_of(config, keys, config.hydra.runtime.choices)
    point, remarks = plan.space.point(values)
    always = [parameter.key for parameter in plan.space.parameters if parameter.condition is None]
    return point, [*remarks, *(f"{key} is drawn, as the config has none" for key in always if key not in values)]


def _wanted(space: Space, wanted: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(wanted) - {parameter.key for parameter in space.parameters}
    if unknown:
        raise ConfigError(f"hydra.sweeper.enqueue must name searched keys, got {', '.join(sorted(unknown))}")
    point, remarks = space.point(wanted)
    if remarks:
        raise ConfigError(f"hydra.sweeper.enqueue must lie inside the space: {'; '.join(remarks)}")
    return point


def mark_baseline(trial: optuna.Trial, point: Mapping[str, Any], remarks: Sequence[str]) -> None:
    """Mark a trial as the baseline where its sampler has met that point, as a grid does."""
    if not remarks and same_point(trial.params, point):
        trial.set_user_attr("baseline", True)


MOST_REPEATS = 20  # repeats in a row
_SAMPLERS_OWN = 5  # repeats in a row after which an untried point is drawn
_MOST_POINTS = 10_000  # of a space that is listed
_BEST_KNOWN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)

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
        ended = sum(trial.state.is_finished() for trial in without_repeats(trials))
        if ended != self._ended:
            self.in_a_row, self._ended = 0, ended
        if _is_queued(trials):
            return None
        if self.points is not None and not self._untried(trials):
            return f"all {len({_point(point) for point in self.points})} points of the space were tried"
        return (
            f"{MOST_REPEATS} suggestions in a row were points that had been tried"
            if self.in_a_row >= MOST_REPEATS
            else None
        )

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


def list_points(space: Space) -> list[Params] | None:
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
