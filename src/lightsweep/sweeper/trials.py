"""The trials of a study: their attributes, checked before they are used (a study may be somebody else's), and points
that are repeated."""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.sweeper.optuna_access import system_attributes
from lightsweep.sweeper.space import Params, key_of, point_key
from lightsweep.sweeper.statistics import Entry, Search

REPEAT_OF, INFEASIBLE = "repeat_of", "infeasible"
_NUMBER = (int, float)
SWEEP, OVER = "sweep", "over"  # attributes: what the sweep is, and why it ended before its total
SPEED = "speed"  # attribute: trials and images a second of the last sweep that trained some, and places of a worker
_OF_STUDY = {
    **dict.fromkeys(("space", "config", "beside", SWEEP, OVER, SPEED), dict),
    "enqueued": bool,
    "data": str,
    "changed_at": int,
}
_OF_TRIAL = {
    "facts": dict,
    "interrupted": bool,
    "put_back": bool,
    "baseline": bool,
    "retries": int,
    "retry_of": int,
    "repeat_of": int,
    "std": _NUMBER,
    "note": str,
    "error": str,
    INFEASIBLE: str,
    "folder": str,
}
_MARK = {"owner": str, "host": str, "seen": _NUMBER}
OWNER, PREFIX, OPENINGS = "lightsweep", "lightsweep:", "lightsweep:openings"


def check_attributes(study: optuna.Study, key: str = "hydra.sweeper.study_name") -> None:
    """Check that attributes have the types that this program writes.

    Args:
        key: what named the study.

    Raises:
        ConfigError: one has not; names it.
    """
    try:
        _check_attributes(study)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}: take another study") from error


def _check_attributes(study: optuna.Study) -> None:
    _check_kinds("the study", study.user_attrs, _OF_STUDY)
    system = system_attributes(study)
    _check_kinds("the study", system, {OPENINGS: int})
    if (names := study.metric_names) is not None and not _are_names(names, len(study.directions)):
        _refuse("the study", "metric_names", names)
    for name, mark in system.items():
        if name.startswith(PREFIX) and name != OPENINGS and mark is not None:
            _check_mark("the study", name, mark, {**_MARK, "held": bool})
    for trial in study.get_trials(deepcopy=False):
        owner = f"trial {trial.number}"
        _check_kinds(owner, trial.user_attrs, _OF_TRIAL)
        _check_kinds(owner, facts_of(trial), _OF_TRIAL)
        _check_kinds(owner, trial.system_attrs, {"fixed_params": dict})
        _check_kinds(owner, trial.constraints, dict.fromkeys(trial.constraints, _NUMBER))
        for name in trial.params:
            if key_of(name).lstrip("+~ \t").startswith("hydra"):  # it would be an override of a job
                _refuse(owner, name, trial.params[name])
        if OWNER in trial.user_attrs:
            _check_mark(owner, OWNER, trial.user_attrs[OWNER], _MARK)


def _are_names(names: Any, count: int) -> bool:
    """Whether they can name so many objectives, in one line each."""
    return (
        isinstance(names, list)
        and len(names) == count
        and all(isinstance(name, str) and name.isprintable() for name in names)
    )


def _check_kinds(owner: str, attributes: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if name in attributes and not isinstance(attributes[name], kind):
            _refuse(owner, name, attributes[name])


def _check_mark(owner: str, name: str, mark: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(mark, dict) or not all(isinstance(mark.get(key), kind) for key, kind in kinds.items()):
        _refuse(owner, name, mark)


def _refuse(owner: str, name: str, value: Any) -> None:
    raise ValueError(
        f"{owner} has an attribute {printable(name)} that this program did not write ({printable(repr(value))[:100]})"
    )


def facts_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """What a trial's job measured, by name: one attribute. In studies of version 0.1 each fact was one."""
    return {**trial.user_attrs, **trial.user_attrs.get("facts", {})}


def value_of(trial: FrozenTrial) -> float | None:
    """A complete trial's value; of one that was pruned or runs, what it reported last. A failed trial has none, nor has
    a complete one of several objectives."""
    if trial.values is not None and len(trial.values) > 1:
        return None
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING):
        return None
    if trial.state != TrialState.RUNNING and trial.value is not None:
        return trial.value
    if trial.last_step is None:
        return None
    last = trial.intermediate_values[trial.last_step]
    return last if math.isfinite(last) else None


def params_of(trial: FrozenTrial) -> Params:
    """A trial's values by key."""
    return {key_of(name): value for name, value in trial.params.items()}


def folder_of(number: int) -> str:
    return f"trial-{number:04d}"


def number_of(folder: Path) -> int:
    """The trial whose folder this is; -1 where its name is no trial's."""
    digits = folder.name.removeprefix("trial-")
    return int(digits) if digits.isdecimal() else -1


def is_repeat(trial: FrozenTrial) -> bool:
    return REPEAT_OF in trial.user_attrs


def without_repeats(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if REPEAT_OF not in trial.user_attrs]


def count_ended(trials: Sequence[FrozenTrial]) -> int:
    """How many trials ended by themselves, without repeats and points that were not tried."""
    return sum(map(has_ended, without_repeats(trials)))


def has_ended(trial: FrozenTrial) -> bool:
    """Whether it was tried, and ended by itself."""
    state = trial.state
    if state == TrialState.COMPLETE:  # most of many
        return True
    return state.is_finished() and not is_interrupted(trial) and not is_untried(trial)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether it violates no constraint, as far as they are known."""
    return all(value <= 0.0 for value in trial.constraints.values())


def is_untried(trial: FrozenTrial) -> bool:
    """Whether it violates a constraint that is known before training, and was closed without."""
    return trial.state == TrialState.PRUNED and not is_feasible(trial)


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether it ended with its sweeper or worker, and is to be retried."""
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get("interrupted"))


def baseline_of(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """The trial of the config as it stands; of several the completed one."""
    marked = [trial for trial in trials if trial.user_attrs.get("baseline") is True]
    return next((trial for trial in marked if trial.state == TrialState.COMPLETE), marked[-1] if marked else None)


def summarise_trials(
    trials: Sequence[FrozenTrial],
    *,
    metric: str,
    maximises: bool,
    seeds: int,
    changed_at: int,
    has_seed_key: bool = True,
) -> Search | None:
    """What the completed trials show that violate no constraint; None where there are none."""
    complete = {
        each.number: Entry(each.number, each.value)
        for each in trials
        if each.state == TrialState.COMPLETE and each.value is not None
    }
    done = [complete[each.number] for each in trials if each.number in complete and is_feasible(each)]
    if not done:
        return None
    sign = -1 if maximises else 1
    best = min(done, key=lambda entry: (sign * entry.value, entry.number))
    known = Search(metric, maximises, best, tuple(done), seeds=seeds, changed_at=changed_at, has_seed_key=has_seed_key)
    marked = baseline_of(trials)
    if marked is None:
        return known
    baseline = complete.get(marked.number)
    is_baseline = baseline == best and not marked.user_attrs.get("note")  # a note: it is only near the config
    state = "failed" if marked.state == TrialState.FAIL else marked.state.name.lower()
    state = "infeasible" if is_untried(marked) else state
    return replace(known, baseline=baseline, baseline_state=state, is_baseline=is_baseline)


MOST_REPEATS = 20  # repeats in a row
_SAMPLER_REPEATS = 5  # in a row, after which an untried point is drawn at random
_MOST_DRAWS = 100  # at random, until one is untried
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
        self.points, self.since, self.draw = points, since, draw
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
        ended = sum(trial.state.is_finished() for trial in trials if REPEAT_OF not in trial.user_attrs)
        if ended != self._ended:
            self.in_a_row, self._ended = 0, ended
        if _is_queued(trials):
            return None
        if self.points is not None and not self._untried(trials):
            return f"all {len({point_key(point) for point in self.points})} points of the space were tried"
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
        return [point for point in self.points or () if point_key(point) not in tried]


def _is_queued(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state == TrialState.WAITING for trial in trials)
