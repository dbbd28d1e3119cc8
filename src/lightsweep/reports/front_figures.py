"""The figures of a study with several objectives: its Pareto front, over each pair of them."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from lightsweep.reports.columns import escape_tags
from lightsweep.reports.figures import BEST_COLOUR, COLOURS, GREY, SYMBOLS, Figure, scatter
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.study import Study
from lightsweep.reports.study_figures import StudyFigures
from lightsweep.reports.trials import format_number
from lightsweep.sweeper.objectives import Objectives, format_value
from lightsweep.sweeper.trials import baseline_of

_MOST_PAIRS = 6  # of four objectives
_WIDE = 30.0  # the largest value by the smallest one, from which on an axis is logarithmic


def draw_objectives(drawing: Drawing, study: Study, views: Mapping[str, StudyFigures]) -> None:
    """Draw the front, and the history of each objective.

    Args:
        views: the study once for each objective, by the objective's name.
    """
    names = study.objectives.names
    text = "Completed trials. No other trial is as good as one on the front in all objectives, and better in one."
    drawing.section("front", "Pareto front", text)
    for left, below in list(combinations(range(len(names)), 2))[:_MOST_PAIRS]:
        drawing.add(f"{names[left]} over {names[below]}", partial(draw_front, study, below, left), size="tall")
    drawing.section("history", "Optimisation history")
    for name, view in views.items():
        note = f"Pruned trials are at the last {name} that they reported." * (name == study.objectives.prune_on)
        drawing.add(f"History of {name}", view.history, note)


def views_of(study: Study) -> dict[str, Study]:
    """The study with one of its several objectives alone, by the objective's name."""
    found, objectives = {}, study.objectives
    for index, (name, direction) in enumerate(zip(objectives.names, objectives.directions, strict=True)):
        one = optuna.create_study(study_name=study.name, direction=direction)
        for trial in study.study.get_trials(deepcopy=False):
            reduced = copy(trial)
            reduced.values = None if trial.values is None else [trial.values[index]]
            reduced.intermediate_values = trial.intermediate_values if index == objectives.reported else {}
            if trial.state == TrialState.PRUNED and index != objectives.reported:
                reduced.state = TrialState.WAITING  # nothing is known of it: a state that no figure uses
                reduced.datetime_start = reduced.datetime_complete = None
            one.add_trial(reduced)
        found[name] = replace(study, study=one)
    return found


def draw_front(study: Study, below: int, left: int) -> Figure | None:
    """Each completed trial over two objectives; those on the front stand out.

    Args:
        below, left: indices of the objectives.
    """
    objectives, trials = study.objectives, [each for each in study.trials if each.state == TrialState.COMPLETE]
    if not trials:
        return None
    ranks = objectives.pareto_ranks(trials)
    on_front = [trial for trial in trials if ranks.get(trial.number) == 1]
    behind = [trial for trial in trials if ranks.get(trial.number, 0) > 1]
    infeasible = [trial for trial in trials if trial.number not in ranks]
    traces = []
    dot = {"symbol": SYMBOLS["completed"], "color": COLOURS["completed"], "size": 8, "opacity": 0.6}
    cross = {"symbol": "x-thin-open", "color": GREY, "size": 8}
    for name, members, marker in (("dominated", behind, dot), ("infeasible", infeasible, cross)):
        if members:
            traces.append(_marks(objectives, members, below, left, name, marker))
    if len(objectives.names) == 2:
        traces.append(_draw_step(objectives, on_front, below, left))
    marker = {"symbol": "circle", "color": BEST_COLOUR, "size": 11, "line": {"color": "#ffffff", "width": 1}}
    traces.append(_marks(objectives, on_front, below, left, "Pareto front", marker))
    baseline = baseline_of(trials)
    if baseline is not None and baseline.state == TrialState.COMPLETE:
        ring = {"symbol": "square-open", "color": GREY, "size": 17, "line": {"width": 2}}
        traces.append(_marks(objectives, [baseline], below, left, "baseline", ring))
    layout = {
        "xaxis": _axis(objectives, trials, below),
        "yaxis": _axis(objectives, trials, left),
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def _marks(
    objectives: Objectives, trials: Sequence[FrozenTrial], below: int, left: int, name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    x, y = ([trial.values[index] for trial in trials] for index in (below, left))
    texts = ["<br>".join(_describe(objectives, trial)) for trial in trials]
    return scatter(
        "markers", x, y, name=name, text=texts, hovertemplate=f"%{{text}}<extra>{name}</extra>", marker=marker
    )


def _describe(objectives: Objectives, trial: FrozenTrial) -> Iterator[str]:
    yield f"trial {trial.number}"
    for name, value in zip(objectives.names, trial.values, strict=True):
        yield f"{escape_tags(name)} {format_value(value)}"
    for name, value in trial.params.items():  # escaped as the study was copied
        yield f"{name}={value if isinstance(value, str) else format_number(value)}"


def _draw_step(objectives: Objectives, front: Sequence[FrozenTrial], below: int, left: int) -> dict[str, Any]:
    """What is reached: at each value of the one objective the best of the other."""
    points = sorted((trial.values[below], trial.values[left]) for trial in front)
    shape = "hv" if objectives.directions[below] == "minimize" else "vh"
    line = {"color": BEST_COLOUR, "width": 1.5, "shape": shape}
    x, y = ([point[index] for point in points] for index in (0, 1))
    return scatter("lines", x, y, line=line, opacity=0.6, showlegend=False, hoverinfo="skip")


def _axis(objectives: Objectives, trials: Sequence[FrozenTrial], index: int) -> dict[str, Any]:
    better = "higher" if objectives.directions[index] == "maximize" else "lower"
    axis: dict[str, Any] = {"title": {"text": f"{escape_tags(objectives.names[index])} ({better} is better)"}}
    values = [trial.values[index] for trial in trials]
    if min(values) > 0.0 and max(values) / min(values) > _WIDE:
        axis |= {"type": "log", "dtick": 1, "tickformat": "~s"}
    return axis
