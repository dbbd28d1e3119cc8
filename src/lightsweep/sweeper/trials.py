"""The trials of a study: their attributes, checked before they are used (a study may be somebody else's), and points
that are repeated."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.sweeper.optuna_access import system_attributes
from lightsweep.sweeper.space import Params, key_of
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


class Count:
    """Counts the trials of one study again and again. Those before the first one that has not ended never change, and
    are not looked at again."""

    def __init__(self) -> None:
        self._settled = self._ended = 0

    def ended(self, trials: Sequence[FrozenTrial]) -> int:
        """As `count_ended`."""
        self._settle(trials)
        return self._ended + count_ended(trials[self._settled :])

    def running(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Those that run."""
        self._settle(trials)
        return [trial for trial in trials[self._settled :] if trial.state == TrialState.RUNNING]

    def _settle(self, trials: Sequence[FrozenTrial]) -> None:
        before = self._settled
        while self._settled < len(trials) and trials[self._settled].state.is_finished():
            self._settled += 1
        self._ended += count_ended(trials[before : self._settled])


def has_ended(trial: FrozenTrial) -> bool:
    """Whether it was tried, and ended by itself."""
    state = trial.state
    if state == TrialState.COMPLETE:  # most of many
        return True
    return state.is_finished() and not is_interrupted(trial) and not is_untried(trial)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether it violates no constraint, as far as they are known."""
    return not trial.system_attrs or all(value <= 0.0 for value in trial.constraints.values())


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
