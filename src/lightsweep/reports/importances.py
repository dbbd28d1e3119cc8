"""Which parameters mattered: Optuna's PED-ANOVA with its uncertainty, against what random parameters would get.

An importance is the share of a parameter in how much the best trials' values of all parameters differ from those of the
others. That is never 0, so each is compared with its dummies: the same values, shuffled among the trials.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from lightsweep.sweeper.estimates import final_value
from lightsweep.sweeper.trials import value_of

ENOUGH = 20  # trials with a value that show what mattered
MOST = 120  # trials of a larger study that are taken: the time grows with them
_OF_A_DUMMY = 3  # resamples of each dummy, whose median is compared
_TOP, _TOP_SHARE = 5, 0.1  # the best trials: so many, or this share of all; Optuna's documentation wants 5 at least
_INTERVAL, _LINE = (2.5, 97.5), 0.95  # percentiles; the share of dummies that stay below the line

_Cell = tuple[Any, Any] | None  # a value with its distribution; None where the parameter does not apply


@dataclass(frozen=True)
class Importance:
    """Of one parameter.

    Args:
        share: of the importances of all parameters: the median over resamples of the trials.
        low, high: its 95 % interval.
        line: what 95 % of its dummies stay below, in the same unit; may be more than 1.
    """

    name: str
    share: float
    low: float
    high: float
    line: float

    @property
    def matters(self) -> bool:
        return self.share > self.line


@dataclass(frozen=True)
class Valued:
    """A trial with its value, which is an estimate if it was pruned."""

    trial: FrozenTrial
    value: float

    @property
    def is_estimated(self) -> bool:
        return self.trial.state == TrialState.PRUNED


def value_trials(trials: Sequence[FrozenTrial]) -> list[Valued]:
    """The completed trials with their values, and the pruned ones with an estimate of their final value.

    Values and reports that are not finite are left out.
    """
    complete = [each for each in trials if each.state == TrialState.COMPLETE and _is_finite(value_of(each))]
    curves, finals = [_reports(each) for each in complete], [value_of(each) or 0.0 for each in complete]
    found = []
    for trial in trials:
        value = value_of(trial)
        if trial.state == TrialState.PRUNED and (reports := _reports(trial)):
            value = final_value(reports, curves, finals)
        if trial.params and trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and _is_finite(value):
            found.append(Valued(trial, value or 0.0))
    return found


def _reports(trial: FrozenTrial) -> dict[int, float]:
    return {step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)}


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def choose(valued: Sequence[Valued], most: int, *, maximises: bool) -> list[Valued]:
    """At most so many, the best first, from all ranks alike."""
    ranked = sorted(valued, key=lambda each: each.value, reverse=maximises)
    step = max(1.0, len(ranked) / most)
    return [ranked[int(index * step)] for index in range(min(most, len(ranked)))]


def measure(valued: Sequence[Valued], *, maximises: bool, resamples: int = 200, dummies: int = 99) -> list[Importance]:
    """The importances, the largest first; the same trials always give the same ones.

    Parameters with one value alone are left out; nothing is left where all trials have the same value.

    Args:
        resamples: of the trials, with replacement.
        dummies: of each parameter.
    """
    chosen = choose(valued, MOST, maximises=maximises)
    trials, values = [each.trial for each in chosen], [each.value for each in chosen]
    names = [name for name in dict.fromkeys(name for trial in trials for name in trial.params) if _varies(name, trials)]
    if not names or len(set(values)) < 2:
        return []
    random, importances = np.random.default_rng(0), _Importances(names, values, maximises=maximises)
    columns = [_column(name, trials) for name in names]
    drawn = random.integers(0, len(chosen), (resamples, len(chosen)))
    rows = importances.make_rows(columns)
    measured = np.array([importances.of([rows[index] for index in each]) for each in drawn])
    medians = []
    for dummy in range(dummies):
        rows = importances.make_rows([_shuffle(column, random) for column in columns])
        some = [(_OF_A_DUMMY * dummy + each) % resamples for each in range(_OF_A_DUMMY)]  # others for each dummy
        shuffled = [importances.of([rows[index] for index in drawn[each]]) for each in some]
        medians.append(np.median(shuffled, axis=0))
    lines = np.quantile(medians, _LINE, axis=0, method="higher")
    totals = measured.sum(axis=1, keepdims=True)
    shares = np.divide(measured, totals, out=np.zeros_like(measured), where=totals > 0)
    low, middle, high = np.percentile(shares, (_INTERVAL[0], 50, _INTERVAL[1]), axis=0)
    # As they are, importances of a parameter and of its dummies compare; shares of dummies would depend on the others.
    typical = np.median(measured, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = np.nan_to_num(middle * lines / typical, nan=1.0)
    found = [
        Importance(name, *map(float, numbers)) for name, *numbers in zip(names, middle, low, high, limits, strict=True)
    ]
    return sorted(found, key=lambda each: -each.share)


def _varies(name: str, trials: Sequence[FrozenTrial]) -> bool:
    return len({repr(trial.params[name]) for trial in trials if name in trial.params}) > 1


def _column(name: str, trials: Sequence[FrozenTrial]) -> list[_Cell]:
    return [(trial.params[name], trial.distributions[name]) if name in trial.params else None for trial in trials]


def _shuffle(column: Sequence[_Cell], random: np.random.Generator) -> list[_Cell]:
    """The values of a parameter at random among the trials that have it in the same range."""
    shuffled = list(column)
    ranges = [None if cell is None else cell[1] for cell in column]
    for each in dict.fromkeys(ranges):
        rows = [row for row, other in enumerate(ranges) if other == each]
        for row, other in zip(rows, random.permutation(rows), strict=True):
            shuffled[row] = column[other]
    return shuffled


class _Importances:
    """Optuna's importances as they are, not as shares, of rows that may be repeated.

    Args:
        values: of the trials, one a row.
    """

    def __init__(self, names: Sequence[str], values: Sequence[float], *, maximises: bool) -> None:
        self.names, self.values = names, values
        share = max(_TOP_SHARE, min(0.5, _TOP / len(values)))
        self.evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
        storage = InMemoryStorage()
        made = optuna.create_study(storage=storage, direction="maximize" if maximises else "minimize")
        self.study = _Study(made.study_name, storage)

    def make_rows(self, columns: Sequence[Sequence[_Cell]]) -> list[FrozenTrial]:
        return [self._make_row(row, [column[row] for column in columns]) for row in range(len(self.values))]

    def _make_row(self, row: int, cells: Sequence[_Cell]) -> FrozenTrial:
        known = {name: cell for name, cell in zip(self.names, cells, strict=True) if cell is not None}
        now = datetime.now()
        return FrozenTrial(
            number=row,
            trial_id=row,
            state=TrialState.COMPLETE,
            value=self.values[row],
            datetime_start=now,
            datetime_complete=now,
            params={name: value for name, (value, _) in known.items()},
            distributions={name: distribution for name, (_, distribution) in known.items()},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    def of(self, rows: Sequence[FrozenTrial]) -> np.ndarray:
        """Of each name, 0 where too few rows have it."""
        self.study.rows = rows
        with warnings.catch_warnings(action="ignore"):  # `normalize` is experimental; few rows may have a parameter
            found = optuna.importance.get_param_importances(self.study, evaluator=self.evaluator, normalize=False)
        return np.array([found.get(name, 0.0) for name in self.names])


class _Study(optuna.Study):
    """A study of given trials: to copy them for each resample would take longer than to measure them."""

    rows: Sequence[FrozenTrial] = ()

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return list(self.rows)
