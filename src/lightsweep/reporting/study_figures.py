"""Optuna's own figures of a study, in colours that go with light and dark."""

import warnings
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import optuna
from optuna import visualization
from optuna.trial import FrozenTrial, TrialState

from lightsweep.reporting.figures import COLOURS, SYMBOLS, Figure
from lightsweep.reporting.optuna_style import colour_at, in_rows, one_scale, plain_figure
from lightsweep.reporting.study import Study
from lightsweep.sweep.repeats import is_repeat, without

_LINES = 200  # trials in parallel coordinates: more lines than that are a blot
_POINTS = 150  # trials in a contour, whose grid grows with their square
_SLICES, _SLICES_IN_A_ROW = 8, 4
_STATUS = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
}


class StudyFigures:
    """Draws a study; every method returns None where a figure would say nothing.

    Args:
        metric: what the study optimises, for the axes.
    """

    def __init__(self, study: Study, metric: str) -> None:
        self.study, self.metric = study.study, metric
        self.complete = study.complete
        with _quiet():
            self.importances = _importances(self.study, self.complete)

    def history(self) -> Figure | None:
        """Each trial's value and the best so far, the pruned at their last report, the failed at the foot."""
        trials = without(self.study.get_trials(deepcopy=False))
        if not trials:
            return None
        figure = plain_figure(visualization.plot_optimization_history(self.study, target_name=self.metric))
        for trace in figure["data"]:
            is_line = trace.get("mode") == "lines"
            trace["name"] = "best so far" if is_line else "completed"
            trace["line" if is_line else "marker"] = {"color": "#8a94a0" if is_line else COLOURS["completed"]}
        figure["data"] += self._others(trials)
        figure["layout"]["xaxis"] = {"title": {"text": "trial"}}
        return figure

    def importance(self) -> Figure | None:
        if len(self.importances) < 2 or not any(self.importances.values()):
            return None
        figure = self._of(visualization.plot_param_importances)
        figure["data"][0]["marker"] = {"color": COLOURS["completed"]}
        room = 1.25 * max(self.importances.values())  # for the numbers at the bars
        figure["layout"]["xaxis"] = {"title": {"text": "importance (PED-ANOVA)"}, "range": [0, room]}
        figure["layout"]["yaxis"] = {"title": {"text": ""}, "type": "category"}
        return figure

    def parallel(self) -> Figure | None:
        shared = [name for name in self.importances if all(name in trial.params for trial in self.complete)][:10]
        if not shared or len(self.complete) < 2:
            return None
        chosen = self._some(_LINES)
        with _quiet():
            drawn = visualization.plot_parallel_coordinate(chosen, params=shared, target_name=self.metric)
        figure = plain_figure(drawn)
        for trace in figure["data"]:
            if trace.get("mode") == "lines" and trace.get("y"):
                share = trace["y"][0] if self._maximises else 1 - trace["y"][0]
                trace |= {"line": {"color": colour_at(share), "width": 1.4}, "opacity": 0.35 + 0.6 * share}
        for annotation in figure["layout"].get("annotations", []):
            annotation.get("font", {}).pop("color", None)
        figure["layout"].pop("plot_bgcolor", None)
        return figure

    def slices(self) -> Figure | None:
        if not self.importances or len(self.complete) < 2:
            return None
        names = list(self.importances)[:_SLICES]
        figure = self._of(visualization.plot_slice, params=names)
        one_scale(figure)
        in_rows(figure, _SLICES_IN_A_ROW)
        return figure

    def contour(self) -> tuple[str, Figure] | None:
        """Of the two most important parameters that some trials have together, and their names."""
        names = list(self.importances)
        for first in names:
            for second in names[names.index(first) + 1 :]:
                if self._vary_together(first, second):
                    with _quiet():
                        drawn = visualization.plot_contour(
                            self._some(_POINTS), params=[first, second], target_name=self.metric
                        )
                    return f"{first} and {second}", plain_figure(drawn)
        return None

    def _vary_together(self, first: str, second: str) -> bool:
        points = [trial.params for trial in self.complete if {first, second} <= trial.params.keys()]
        return len(points) >= 4 and all(len({point[name] for point in points}) > 1 for name in (first, second))

    def timeline(self) -> Figure | None:
        if not self.study.get_trials(deepcopy=False):
            return None
        figure = self._timeline_in_our_colours()
        figure["layout"]["xaxis"] = {"title": {"text": ""}, "type": "date"}
        return figure

    def _timeline_in_our_colours(self) -> Figure:
        figure = plain_figure(visualization.plot_timeline(self.study))
        names = {state.name: name for state, name in _STATUS.items()} | {"interrupted": "interrupted"}
        figure["data"] = [part for trace in figure["data"] for part in self._interrupted_apart(trace)]
        for trace in figure["data"]:
            status = names.get(trace["name"], "unfinished")
            trace |= {"name": status, "marker": {"color": COLOURS[status]}}
            trace["text"] = [f"trial {number}" for number in trace["y"]]
            trace["hovertemplate"] = "%{text}<extra>" + status + "</extra>"
        return figure

    def _interrupted_apart(self, trace: dict) -> list[dict]:
        """Optuna's bars of failed trials as two: those that failed, and those that were cut off. What was never trained
        has none."""
        trials = self.study.get_trials(deepcopy=False)
        cut_off = [None if is_repeat(trial) else _status(trial) == "interrupted" for trial in trials]
        if not any(cut_off[number] is not False for number in trace["y"]):
            return [trace]
        parts = []
        for name, wanted in ((trace["name"], False), ("interrupted", True)):
            chosen = [cut_off[number] is wanted for number in trace["y"]]
            bars = {key: list(compress(trace[key], chosen)) for key in ("x", "y", "base")}
            parts += [{**trace, "name": name, **bars}] if bars["y"] else []
        return parts

    @property
    def _maximises(self) -> bool:
        return self.study.direction == optuna.study.StudyDirection.MAXIMIZE

    def _of(self, draw: Callable[..., Any], **arguments: Any) -> Figure:
        with _quiet():
            return plain_figure(draw(self.study, target_name=self.metric, **arguments))

    def _some(self, most: int) -> optuna.Study:
        """This study, or one with `most` of its complete trials: the best, and others from all ranks."""
        if len(self.complete) <= most:
            return self.study
        ranked = sorted(self.complete, key=lambda trial: trial.value or 0.0, reverse=self._maximises)
        step = len(ranked) / most
        fewer = optuna.create_study(direction=self.study.direction)
        fewer.add_trials([ranked[int(index * step)] for index in range(most)])
        return fewer

    def _others(self, trials: Sequence[FrozenTrial]) -> list[dict]:
        values = [value for trial in trials if (value := _seen(trial)) is not None]
        worst, best = (min, max) if self._maximises else (max, min)
        foot = worst(values, default=0.0) - 0.05 * (best(values, default=0.0) - worst(values, default=0.0))
        traces = []
        for status in ("pruned", "unfinished", "interrupted", "failed"):
            members = [trial for trial in trials if _status(trial) == status]
            if members:
                traces.append(_marks(members, status, foot))
        return traces


def _marks(trials: Sequence[FrozenTrial], status: str, foot: float) -> dict:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": status,
        "x": [trial.number for trial in trials],
        "y": [foot if (value := _seen(trial)) is None else value for trial in trials],
        "text": [trial.user_attrs.get("error", "") for trial in trials],
        "hovertemplate": "trial %{x}: %{y:.4f}<br>%{text}<extra>" + status + "</extra>",
        "marker": {"symbol": SYMBOLS[status], "color": COLOURS[status], "size": 9},
    }


def _status(trial: FrozenTrial) -> str | None:
    if trial.state == TrialState.FAIL and trial.user_attrs.get("interrupted"):
        return "interrupted"
    return _STATUS.get(trial.state)


def _seen(trial: FrozenTrial) -> float | None:
    """A trial's value, or the last that it reported."""
    if trial.state == TrialState.COMPLETE:
        return trial.value
    return None if trial.last_step is None else trial.intermediate_values[trial.last_step]


def _importances(study: optuna.Study, complete: Sequence[FrozenTrial]) -> dict[str, float]:
    """Of each parameter, the largest first; all equal where there are too few trials to tell."""
    names = dict.fromkeys(name for trial in complete for name in trial.params)
    if len(complete) < 4:
        return dict.fromkeys(names, 0.0)
    try:
        return optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError, ZeroDivisionError):
        return dict.fromkeys(names, 0.0)


def _quiet() -> warnings.catch_warnings:
    """Optuna warns of what is experimental in it."""
    return warnings.catch_warnings(action="ignore")
