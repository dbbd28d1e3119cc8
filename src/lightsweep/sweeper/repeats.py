"""Points that are suggested again: how they are found, what is drawn in their place, and when no new one is left."""

import random
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial, TrialState

from lightsweep.sweeper.space import Params, point_key
from lightsweep.sweeper.trials import REPEAT_OF, is_repeat

MOST_REPEATS = 20  # repeats in a row
_SAMPLER_REPEATS = 5  # in a row, after which an untried point is drawn at random
_MOST_DRAWS = 100  # at random, until one is untried
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_BY_KNOWLEDGE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


class Repeats:
    """Finds repeats, and whether an untried point is left.

    Args:
        points: all points of the space, as Optuna's parameters; None where it cannot be listed.
        since: the first trial with the present data and settings.
        draw: draws a point at random, from a seed, where the space cannot be listed.
    """

    def __init__(
        self, points: Sequence[Params] | None, since: int, draw: Callable[[int], Params] | None = None
    ) -> None:
        self.points = None if points is None else {point_key(point): point for point in points}
        self.since, self.draw = since, draw
        self.in_a_row = self._ended = 0
        self._keys: dict[int, frozenset[tuple[str, str]]] = {}  # of trials that have ended, by number

    def earlier(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The trial whose point this one repeats, a completed one if there is; counts the repeats in a row."""
        key = point_key(trial.params)
        others = [
            each
            for each in self._tried([each for each in trials if self._key(each) == key])
            if each.number != trial.number
            and (each.state.is_finished() or each.number < trial.number)  # of two that run at once the first continues
        ]
        self.in_a_row = self.in_a_row + 1 if others else 0
        return min(others, key=lambda each: _BY_KNOWLEDGE.index(each.state), default=None)

    def proposal(self, trials: Sequence[FrozenTrial]) -> Params | None:
        """An untried point, where the sampler repeats itself; None where the sampler is to suggest one."""
        if self.in_a_row < _SAMPLER_REPEATS or _is_queued(trials):
            return None
        seed = len(trials)  # reproducible
        if self.points is not None:
            untried = self._untried(trials)
            return random.Random(seed).choice(untried) if untried else None
        if self.draw is None:
            return None
        tried = {self._key(trial) for trial in self._tried(trials)}
        drawn = (self.draw(seed * _MOST_DRAWS + attempt) for attempt in range(_MOST_DRAWS))
        return next((point for point in drawn if point_key(point) not in tried), None)

    def why_over(self, trials: Sequence[FrozenTrial]) -> str | None:
        """Why no further point is drawn; None where one is. A trial that ends may change the answer."""
        ended = sum(trial.state in _FINISHED for trial in trials if REPEAT_OF not in trial.user_attrs)
        if ended != self._ended:
            self.in_a_row, self._ended = 0, ended
        if _is_queued(trials):
            return None
        if self.points is not None and not self._untried(trials):
            return f"all {len(self.points)} points of the space were tried"
        if self.in_a_row < MOST_REPEATS:
            return None
        return f"{MOST_REPEATS} suggestions in a row were points that had been tried"

    def _tried(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        return [
            trial
            for trial in trials
            if trial.number >= self.since
            and trial.state != TrialState.WAITING
            and not trial.user_attrs.get("interrupted")
            and not is_repeat(trial)
        ]

    def _key(self, trial: FrozenTrial) -> frozenset[tuple[str, str]]:
        number = trial.number
        if (known := self._keys.get(number)) is not None:
            return known
        key = point_key(trial.params)
        if trial.state.is_finished():  # it has all its parameters
            self._keys[number] = key
        return key

    def _untried(self, trials: Sequence[FrozenTrial]) -> list[Params]:
        tried = {self._key(trial) for trial in self._tried(trials)}
        return [point for key, point in (self.points or {}).items() if key not in tried]


def _is_queued(trials: Sequence[FrozenTrial]) -> bool:
    return TrialState.WAITING in [trial.state for trial in trials]
