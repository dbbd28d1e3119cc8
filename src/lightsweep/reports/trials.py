"""The trials of any app's study: as runs, the rows of a table; and what they searched of each parameter, as an axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.checks import is_number
from lightsweep.core.metrics import PARETO
from lightsweep.core.overrides import decode_choice, format_override
from lightsweep.reports.columns import SD, escape_tags
from lightsweep.reports.finding import BASELINE, note_differences
from lightsweep.reports.runs import Row, Run, is_metric
from lightsweep.sweeper.job import RESERVED
from lightsweep.sweeper.objectives import objectives_of, values_by_name
from lightsweep.sweeper.space import key_of
from lightsweep.sweeper.status import Sweep
from lightsweep.sweeper.trials import (
    INFEASIBLE,
    baseline_of,
    facts_of,
    folder_of,
    is_feasible,
    value_of,
    without_repeats,
)

PARAMS, _FACTS = "params.", "facts."  # keys of a row, beside those that every run has
_MOST_LETTERS = 200  # of a text that was recorded
STATUS_BY_STATE = {  # of a run, by the name of a trial's state
    "COMPLETE": "completed",
    "INFEASIBLE": "infeasible",  # a bar of Optuna's timeline
    "PRUNED": "pruned",
    "RUNNING": "unfinished",
    "FAIL": "failed",
}
_MARGIN = 0.04  # of an axis, beyond what was searched
_EDGE = 0.03  # of a range: a value this near to an end is at the edge
_MAX_TICKS = 6  # of a logarithmic axis


def runs_of_trials(study: optuna.Study, sweep: Sweep, folder: Path | None) -> list[Run]:
    """A run for each trial that is not waiting; its row has ``params.KEY``, and ``facts.NAME`` where a recorded name
    has no slash.

    Args:
        folder: the sweep's; without it the folders of runs are relative.
    """
    trials = without_repeats(study.get_trials(deepcopy=False))
    parent = Path() if folder is None else folder.resolve()
    objectives, runs = objectives_of(study), dict[int, Run]()
    metric = sweep.metric if sweep.metric in objectives.names or not objectives.several else objectives.names[0]
    recorded, ranks = _recorded(trials, [metric, *objectives.names]), objectives.pareto_ranks(trials)
    maximises = objectives.directions[objectives.names.index(metric) if objectives.several else 0] == "maximize"
    for trial in trials:
        status = status_of(trial)
        if status is not None:
            facts = {key: facts_of(trial).get(name) for name, key in recorded.items()}
            row = _make_row(trial, status, study.study_name, metric, maximises=maximises)
            if objectives.several:
                row |= values_by_name(objectives, trial)
                row |= {PARETO: ranks[trial.number]} if trial.number in ranks else {}
            params = {PARAMS + key_of(name): _plain(decode_choice(value)) for name, value in trial.params.items()}
            shown = {key: _plain(value) for key, value in facts.items() if value is not None}
            own = [format_override(key_of(name), value) for name, value in trial.params.items()]
            runs[trial.number] = Run(
                parent / folder_of(trial.number),
                folder_of(trial.number),
                row | params | shown,
                (*sweep.overrides, *own),
                settings=frozenset(params),
                sweep=sweep,
                recorded=(*(objectives.names if objectives.several else ()), *recorded.values()),
                curve=_curve(trial),
            )
    baseline = baseline_of(trials)
    if baseline is not None and baseline.number in runs:
        runs[baseline.number].row[BASELINE] = True
        note_differences(runs.values(), runs[baseline.number])
    return list(runs.values())


def _make_row(trial: FrozenTrial, status: str, study: str, metric: str, *, maximises: bool) -> Row:
    facts = facts_of(trial)
    is_diverged = status == "failed" and facts.get("status") == "diverged"
    row: Row = {
        "kind": "trial",
        "status": "diverged" if is_diverged else status,
        "data": study,
        "monitor": metric,
        "monitor.mode": "max" if maximises else "min",
        metric: value_of(trial),
        "error": trial.user_attrs.get("error") or trial.user_attrs.get(INFEASIBLE),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "steps": trial.last_step,
    }
    return row | ({metric + SD: facts["std"]} if is_number(facts.get("std")) else {})


def _recorded(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> dict[str, str]:
    """The keys of what trials have recorded, by its name."""
    names = dict.fromkeys(
        str(name)
        for trial in trials
        for name, value in facts_of(trial).items()
        if name not in RESERVED and name not in ("status", "facts", *objectives) and not isinstance(value, dict | list)
    )
    return {name: name if is_metric(name) else _FACTS + name for name in names}


def _plain(value: Any) -> Any:
    """A value of a cell: a number, a truth value, or a short text."""
    if value is None or isinstance(value, bool) or is_number(value):
        return value
    return str(value)[:_MOST_LETTERS]


def _curve(trial: FrozenTrial) -> tuple[list[float], list[float]]:
    points = sorted((step, value) for step, value in trial.intermediate_values.items() if is_number(value))
    return [float(step) for step, _ in points], [value for _, value in points]


def status_of(trial: FrozenTrial) -> str | None:
    """As a run's; None of a trial that waits, or was not run."""
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and not is_feasible(trial):
        return "infeasible" if trial.state == TrialState.COMPLETE else None
    if trial.state == TrialState.FAIL and trial.user_attrs.get("interrupted"):
        return "interrupted"
    return STATUS_BY_STATE.get(trial.state.name)


def key_of_trial(trial: FrozenTrial) -> str:
    """What a trial is called in the page's data, as the row of its run is."""
    return folder_of(trial.number)


def describe_trial(trial: FrozenTrial) -> str:
    """Its number and value, and why it has none, for a figure."""
    value, error = value_of(trial), trial.user_attrs.get("error") or trial.user_attrs.get(INFEASIBLE)
    words = [f"trial {trial.number}"] + ([f"{value:.4f}"] if value is not None else [])
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        words.append(f"after step {trial.last_step}")
    return ", ".join(words) + (f"<br>{error}" if error else "")


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
