"""What a sweep optimises: objectives, each with its direction, and how trials are ordered by them.

Of several objectives no trial need be the best. On the *Pareto front* are the trials that no other one dominates: none
is as good in all objectives and better in one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import format_difference, in_points
from lightsweep.core.text import did_you_mean
from lightsweep.sweeper.job import RESERVED, UNNAMED
from lightsweep.sweeper.trials import is_feasible, is_untried

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan
    from lightsweep.sweeper.settings import Settings

Direction = Literal["minimize", "maximize"]
_DIRECTIONS: tuple[Direction, Direction] = ("minimize", "maximize")
_KEY = "hydra.sweeper.objectives"
_ORDER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
_MANY = 100_000.0  # from here on a value has no room for decimals


@dataclass(frozen=True)
class Objectives:
    """What trials are judged by.

    Args:
        directions: one a name.
        prune_on: of several, the one whose values trials report as they run; None where they report nothing.
    """

    names: tuple[str, ...]
    directions: tuple[Direction, ...]
    prune_on: str | None = None

    @property
    def several(self) -> bool:
        return len(self.names) > 1

    @property
    def reported(self) -> int | None:
        """The index of the one that trials report as they run; None where they report nothing."""
        if not self.several:
            return 0
        return None if self.prune_on is None else self.names.index(self.prune_on)

    @property
    def aim(self) -> str:
        """``val/acc is maximized, params is minimized``"""
        pairs = zip(self.names, self.directions, strict=True)
        return ", ".join(f"{name} is {direction}d" for name, direction in pairs)

    def losses(self, trial: FrozenTrial) -> np.ndarray:
        """A complete trial's values ``float [K]`` of K objectives, the lower the better."""
        return np.asarray(trial.values) * self._signs

    @property
    def _signs(self) -> list[float]:
        return [-1.0 if direction == "maximize" else 1.0 for direction in self.directions]

    def pareto_ranks(self, trials: Sequence[FrozenTrial]) -> dict[int, int]:
        """The Pareto rank of each complete trial, by number: 1 on the front, 2 on the front of the others, and so on.
        One that violates a constraint has none."""
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and is_feasible(trial)]
        if not complete:
            return {}
        losses = np.stack([self.losses(trial) for trial in complete])
        order = np.lexsort(losses.T[::-1])  # what dominates a trial comes before it
        ranks = np.ones(len(complete), dtype=int)
        for place, index in enumerate(order):
            before = order[:place]
            dominating = before[
                (losses[before] <= losses[index]).all(axis=1) & (losses[before] < losses[index]).any(axis=1)
            ]
            ranks[index] = 1 + ranks[dominating].max(initial=0)
        return {trial.number: int(rank) for trial, rank in zip(complete, ranks, strict=True)}

    def ranked(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Complete trials, best first; then those that violate a constraint; then pruned, running, waiting and failed
        ones, and points that were not tried, by number. Of several objectives the front comes first, in the order of
        the first objective."""
        ranks = self.pareto_ranks(trials) if self.several else {}
        sign = self._signs[0]

        def sort_key(trial: FrozenTrial) -> tuple[bool, int, bool, int, float, int]:
            is_complete = trial.state == TrialState.COMPLETE
            loss = sign * trial.values[0] if is_complete else 0.0
            rank, violates = ranks.get(trial.number, len(trials) + 1), is_complete and not is_feasible(trial)
            return is_untried(trial), _ORDER.index(trial.state), violates, rank, loss, trial.number

        return sorted(trials, key=sort_key)

    def ranked_complete(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Complete trials that violate no constraint, best first."""
        return self.ranked([trial for trial in trials if trial.state == TrialState.COMPLETE and is_feasible(trial)])

    def best(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The first of `ranked_complete`, of one objective; None where there is none."""
        sign = self._signs[0]
        complete = (trial for trial in trials if trial.state == TrialState.COMPLETE and is_feasible(trial))
        return min(complete, key=lambda trial: (sign * trial.values[0], trial.number), default=None)

    def front(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials on the Pareto front, in the order of the first objective."""
        ranks = self.pareto_ranks(trials)
        return [trial for trial in self.ranked_complete(trials) if ranks.get(trial.number) == 1]

    def spread(self, front: Sequence[FrozenTrial], most: int) -> list[FrozenTrial]:
        """At most so many trials of a front, far from each other: the first one, then always the one that is farthest
        from those that were taken, where each objective spans 1."""
        if len(front) <= most:
            return list(front)
        losses = np.stack([self.losses(trial) for trial in front])
        span = np.ptp(losses, axis=0)
        places = (losses - losses.min(axis=0)) / np.where(span > 0.0, span, 1.0)
        taken = [0]
        while len(taken) < most:
            distances = np.linalg.norm(places[:, None] - places[taken], axis=2).min(axis=1)
            taken.append(int(distances.argmax()))
        return [front[index] for index in sorted(taken)]

    def format_values(self, values: Sequence[float]) -> str:
        """``val/acc 0.6084 params 269322``"""
        return " ".join(f"{name} {format_value(value)}" for name, value in zip(self.names, values, strict=True))


def format_value(value: float) -> str:
    """A value in a table or a sentence: a count as it is, another number with four decimals where these tell it."""
    if float(value).is_integer() and (abs(value) >= 2.0 or value == 0.0):
        return f"{int(value)}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < _MANY else f"{value:.4g}"


def format_gap(name: str, gap: float) -> str:
    """A signed difference: of an accuracy in percentage points, of large counts without decimals."""
    if in_points(name) or abs(gap) < 1.0:
        return format_difference(name, gap)
    return f"{'+' * (gap > 0)}{format_value(gap)}"


def objectives_of(study: optuna.Study) -> Objectives:
    """The objectives of a study, perhaps another program's."""
    names = study.metric_names or [UNNAMED if index == 1 else f"{UNNAMED}_{index}" for index in _numbers(study)]
    return Objectives(tuple(names), tuple(map(_direction_of, study.directions)))


def _direction_of(direction: StudyDirection) -> Direction:
    return "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"


def _numbers(study: optuna.Study) -> range:
    return range(1, len(study.directions) + 1)


def check_settings(settings: "Settings") -> None:
    """Check the settings that say what is optimised, as far as they alone can tell.

    Raises:
        ConfigError: names the key.
    """
    direction, named = settings.direction, settings.objectives
    for each in direction if isinstance(direction, list) else [direction] if direction is not None else []:
        checks.choice("hydra.sweeper.direction", each, _DIRECTIONS)
    checks.require(direction != [], "hydra.sweeper.direction", "be null, or at least one direction", direction)
    points = settings.confirm_points
    listed = points is None or (
        isinstance(points, list) and bool(points) and all(type(each) is int and each >= 0 for each in points)
    )
    rule = "be null, or a list of numbers of trials"
    checks.require(listed and len(set(points or [])) == len(points or []), "hydra.sweeper.confirm_points", rule, points)
    if named is None:
        return
    is_mapping = isinstance(named, dict) and bool(named)
    checks.require(is_mapping, _KEY, "be null, or a mapping of names to minimize or maximize", named)
    for name, each in named.items():
        fine = isinstance(name, str) and name.isprintable() and name != "" and name not in RESERVED - {UNNAMED}
        checks.require(fine, _KEY, "have names that are no columns of the leaderboard", name)
        checks.choice(f"{_KEY}.{name}", each, _DIRECTIONS)
    if settings.metric is not None:
        raise ConfigError(f"hydra.sweeper.metric must be left out where {_KEY} is set, got {settings.metric!r}")
    given = [direction] if isinstance(direction, str) else direction
    if given is not None and given != list(named.values()):
        pairs = ", ".join(f"{name}: {each}" for name, each in named.items())
        raise ConfigError(
            f"hydra.sweeper.direction={','.join(given)} contradicts {_KEY}={{{pairs}}}: leave one of them out"
        )


def choose_objectives(settings: "Settings", own: tuple[str, str | None]) -> Objectives:
    """What a sweep optimises.

    Args:
        own: what the application returns, and its direction where it has one.
    """
    direction = settings.direction
    if settings.objectives is not None:
        names, directions = list(settings.objectives), list(settings.objectives.values())
    elif isinstance(direction, list):
        names = [settings.metric or own[0], *(f"{UNNAMED}_{index}" for index in range(2, len(direction) + 1))]
        directions = direction
    else:
        names, directions = [settings.metric or own[0]], [direction or own[1] or "minimize"]
    return Objectives(tuple(names), cast(tuple[Direction, ...], tuple(directions)), settings.prune_on)


def check_objectives(plan: "Plan") -> None:
    """Check that a trial measures what is to be optimised, in this direction.

    Raises:
        ConfigError: names the key.
    """
    objectives, settings = plan.objectives, plan.settings
    config = plan.compose(plan.space.fixed)
    measured, is_named = plan.application.measures(config), settings.objectives is not None
    if isinstance(settings.direction, list) and not is_named and measured is not None:
        raise ConfigError(f"hydra.sweeper.direction must be one: {_KEY}={{NAME: maximize, …}} names several objectives")
    known = dict([plan.application.objective(config), *(measured or {}).items()])
    for name, direction in zip(objectives.names, objectives.directions, strict=True):
        if measured is not None and name not in known:
            key, hint = _KEY if is_named else "hydra.sweeper.metric", did_you_mean(name, list(known))
            raise ConfigError(f"{key} must name what a trial measures, {', '.join(known)}; got {name}{hint}")
        # In another direction the best trials would be pruned, and the worst be confirmed.
        right, typed = known.get(name), f"{_KEY}.{name}" if is_named else "hydra.sweeper.direction"
        checks.require(right in (None, direction), typed, f"be {right} for {name}", direction)
    _check_reported(plan, objectives)
    if settings.confirm_points is not None and not objectives.several:
        raise ConfigError("hydra.sweeper.confirm_points needs several objectives: of one, the best trial is confirmed")
    if settings.confirm_points is not None and not settings.confirm:
        raise ConfigError("hydra.sweeper.confirm_points needs hydra.sweeper.confirm, the number of fresh seeds")
    if objectives.several and str(settings.sampler.get("_target_")).endswith("CmaEsSampler"):
        raise ConfigError(
            f"hydra.sweeper.sampler: CMA-ES knows one objective, got {' and '.join(objectives.names)}; tpe, gp, nsgaii"
            " and nsgaiii know several"
        )


def check_same_objectives(study: optuna.Study, plan: "Plan") -> None:
    """Check that a study was started with these objectives.

    Raises:
        ConfigError: it was not; says what it was started with.
    """
    before, now = objectives_of(study), plan.objectives
    if now.several or before.several or plan.settings.objectives is not None:
        is_same = (before.names, before.directions) == (now.names, now.directions)
        rule = f"be those that the study {study.study_name!r} was started with ({before.aim})"
        checks.require(is_same or study.metric_names is None, _KEY, rule, now.aim)
    rule = f"be {', '.join(before.directions)}, as when the study {study.study_name!r} was started"
    checks.require(
        before.directions == now.directions, "hydra.sweeper.direction", rule, ", ".join(map(str, now.directions))
    )


def _check_reported(plan: "Plan", objectives: Objectives) -> None:
    if (prune_on := objectives.prune_on) is None:
        return
    checks.choice("hydra.sweeper.prune_on", prune_on, objectives.names)
    own = plan.application.objective(plan.config)[0]
    if own != UNNAMED:
        checks.require(prune_on == own, "hydra.sweeper.prune_on", f"be {own}, which runs report", prune_on)


def values_by_name(objectives: Objectives, trial: FrozenTrial) -> dict[str, Any]:
    """A complete trial's values; empty of another one."""
    return dict(zip(objectives.names, trial.values, strict=True)) if trial.state == TrialState.COMPLETE else {}
