"""The trials of a study as runs: any app's, from what the study itself holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lightsweep.core.checks import is_number
from lightsweep.core.overrides import decode_choice, format_override
from lightsweep.reports.columns import SD
from lightsweep.reports.finding import BASELINE, note_differences
from lightsweep.reports.runs import Row, Run, is_metric
from lightsweep.reports.study_figures import status_of
from lightsweep.sweeper.job import RESERVED
from lightsweep.sweeper.space import key_of
from lightsweep.sweeper.status import Sweep
from lightsweep.sweeper.trials import INFEASIBLE, baseline_of, facts_of, folder_of, value_of, without_repeats

_PARAMS, _FACTS = "params.", "facts."  # keys of a row, beside those that every run has
_MOST_LETTERS = 200  # of a text that was recorded


def runs_of_trials(study: optuna.Study, sweep: Sweep, folder: Path | None) -> list[Run]:
    """A run for each trial that is not waiting; its row has ``params.KEY``, and ``facts.NAME`` where a recorded name
    has no slash.

    Args:
        folder: the sweep's; without it the folders of runs are relative.
    """
    trials = without_repeats(study.get_trials(deepcopy=False))
    parent = Path() if folder is None else folder.resolve()
    maximises, recorded = study.direction == StudyDirection.MAXIMIZE, _recorded(trials, sweep.metric)
    runs = {}
    for trial in trials:
        status = status_of(trial)
        if status is not None:
            facts = {key: facts_of(trial).get(name) for name, key in recorded.items()}
            row = _make_row(trial, status, study.study_name, sweep.metric, maximises=maximises)
            params = {_PARAMS + key_of(name): _plain(decode_choice(value)) for name, value in trial.params.items()}
            shown = {key: _plain(value) for key, value in facts.items() if value is not None}
            own = [format_override(key_of(name), value) for name, value in trial.params.items()]
            runs[trial.number] = Run(
                parent / folder_of(trial.number),
                folder_of(trial.number),
                row | params | shown,
                (*sweep.overrides, *own),
                settings=frozenset(params),
                sweep=sweep,
                recorded=tuple(recorded.values()),
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


def _recorded(trials: Sequence[FrozenTrial], metric: str) -> dict[str, str]:
    """The keys of what trials have recorded, by its name."""
    names = dict.fromkeys(
        str(name)
        for trial in trials
        for name, value in facts_of(trial).items()
        if name not in RESERVED and name not in ("status", "facts", metric) and not isinstance(value, dict | list)
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
