"""What a study gives the rules of `advice`, and the command of the sweep that they propose."""

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from lightsweep.core.errors import ConfigError
from lightsweep.core.overrides import format_value
from lightsweep.core.text import printable_line
from lightsweep.reports import page
from lightsweep.reports.advice import Advice, Found, advise
from lightsweep.reports.study import Study, find_verdict, noise_of
from lightsweep.reports.table import Table
from lightsweep.reports.trials import find_ranges, status_of
from lightsweep.sweeper.status import read_sweep
from lightsweep.sweeper.trials import number_of, value_of

_NUMBERED = re.compile(r"(.*?)-(\d{1,4})")


def find_advice(study: Study, table: Table, mattering: Mapping[str, bool]) -> list[Advice]:
    """What to do after a sweep; nothing of several objectives, nor before a trial was completed.

    Args:
        mattering: whether each parameter matters, by its short name; empty where that is not known.
    """
    trials = study.trials
    best = None if table.best is None or study.objectives.several else number_of(table.best.folder)
    params = next((trial.params for trial in trials if trial.number == best), None)
    if params is None or table.best is None:
        return []
    names, ranges = study.names, find_ranges(trials)
    verdict = find_verdict(study, table.monitor)
    found = Found(
        best={names.get(each, each): _unescape(value) for each, value in params.items()},
        space={names.get(each, each): space for each, space in _last_space(trials).items()},
        ranges={names.get(each, each): searched for each, searched in ranges.items()},
        mattering={names.get(each, each): matters for each, matters in mattering.items()},
        row=table.best.row,
        values=[value for trial in trials if (value := _goodness(trial, maximises=study.maximises)) is not None],
        noise=noise_of(study, table.monitor),
        metric=table.monitor,
        confirm_with=verdict.numbers.get("confirm_with") if verdict and verdict.outcome == "unclear" else None,
    )
    advice = advise(found)
    return [replace(each, text=printable_line(each.text), override=printable_line(each.override)) for each in advice]


def _unescape(value: Any) -> Any:
    return html.unescape(value) if isinstance(value, str) else value  # it was escaped for figures


def _last_space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """What was searched of each parameter by the last trial that had it."""
    found = {name: space for trial in trials for name, space in trial.distributions.items()}
    return {
        name: CategoricalDistribution(list(map(_unescape, space.choices)))
        if isinstance(space, CategoricalDistribution)
        else space
        for name, space in found.items()
    }


def _goodness(trial: FrozenTrial, *, maximises: bool) -> float | None:
    """A completed trial's value, the larger the better; the worst of a pruned one, None of others."""
    status, value = status_of(trial), value_of(trial)
    if status == "pruned":
        return float("-inf")
    if status != "completed" or value is None:
        return None
    return value if maximises else -value


def next_command(study: Study, advice: Sequence[Advice]) -> str:
    """The command of a sweep over the space that is proposed, which learns from this one; empty where none is known.

    It has a name of its own: the space of a study is fixed by its first trials.
    """
    changes = [each.override for each in advice if each.is_of_space]
    try:
        sweep = read_sweep(study.study)
    except ConfigError:  # another program has written it
        return ""
    is_named = any(each.startswith("sweep=") for each in sweep.overrides)
    if not (changes and sweep.program and is_named and study.folder is not None):
        return ""
    folder = str(study.folder.resolve())
    kept = [each for each in sweep.overrides if not page.is_left_out(each)]
    own = [f"hydra.sweeper.study_name={_next_name(study)}", f"hydra.sweeper.warm_start=[{format_value(folder)}]"]
    return f"{sweep.program} {shlex.join(map(printable_line, [*kept, *changes, *own]))}"


def _next_name(study: Study) -> str:
    """``mlp-2`` after ``mlp``, the first one without a folder."""
    numbered = _NUMBERED.fullmatch(study.name)
    base, number = (numbered[1], int(numbered[2])) if numbered else (study.name, 1)
    folder = study.folder
    names = (f"{base}-{number + more}" for more in range(1, 1000))
    return next(format_value(name) for name in names if folder is None or not (folder.parent / name).exists())
