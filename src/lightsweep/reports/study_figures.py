"""Optuna's own figures of a study, in colours that go with light and dark."""

import json
import warnings
from collections.abc import Sequence
from itertools import compress
from typing import Any

import optuna
from optuna import visualization
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lightsweep.reports import trial_figures
from lightsweep.reports.figures import COLOURS, Figure, draw_bars
from lightsweep.reports.study import Study, find_ranges
from lightsweep.sweeper.trials import value_of, without_repeats


def plain_figure(figure: Any) -> Figure:
    """Without the template and the title, which the page has, and with our colours for theirs."""
    content = json.loads(figure.to_json())
    for name in ("template", "title"):
        content["layout"].pop(name, None)
    for trace in content["data"]:
        if trace.get("type") == "contour":
            trace["colorscale"] = "Viridis"
    return content


ENOUGH = 20  # trials with a value from which it can be told what mattered

_LINES = 200  # trials in parallel coordinates: more lines than that are a blot
_POINTS = 150  # trials in a contour, whose grid grows with their square
_SLICES, _AXES = 8, 10  # parameters that are drawn


class StudyFigures:
    """Draws a study; every method returns None where a figure would say nothing.

    Args:
        metric: what the study optimises, for the axes.
    """

    def __init__(self, study: Study, metric: str) -> None:
        self.study, self.metric = study.study, metric
        self.trials = without_repeats(self.study.get_trials(deepcopy=False))
        self.complete = study.complete
        shown = ("completed", "pruned")
        self.scored = [
            trial
            for trial in self.trials
            if trial_figures.status_of(trial) in shown and value_of(trial) is not None and trial.params
        ]
        self.ranges = find_ranges(self.trials)
        self.best = trial_figures.best_of(self.trials, maximises=self._maximises)
        with _quiet():
            self.importances = _importances(self.study, self.scored)

    def history(self) -> Figure | None:
        """Each trial's value and the best so far, the pruned at their last report, the failed at the foot."""
        return trial_figures.draw_history(self.trials, self.metric, maximises=self._maximises) if self.trials else None

    def importance(self) -> Figure | None:
        """None where there are too few trials to tell, or one parameter alone."""
        found = {name: share for name, share in self.importances.items() if share > 0}
        return draw_bars(found, "importance (PED-ANOVA)") if len(self.importances) > 1 and found else None

    @property
    def too_few(self) -> str | None:
        """Why there are no importances yet, in words."""
        count = len(self.scored)
        if count >= ENOUGH:
            return None
        return (
            f"Too few trials to tell which parameter mattered: {count} {'has' if count == 1 else 'have'} a value,"
            f" completed or pruned; it takes {ENOUGH}."
        )

    def parallel(self) -> Figure | None:
        names = [name for name in self.importances if all(name in trial.params for trial in self.scored)][:_AXES]
        if not names or len(self.scored) < 2:
            return None
        shown, ranges = self._some(self.scored, _LINES), {name: self.ranges[name] for name in names}
        return trial_figures.draw_parallel(shown, ranges, self.metric, maximises=self._maximises)

    def slices(self) -> Figure | None:
        if not self.importances or len(self.scored) < 2:
            return None
        ranges = {name: self.ranges[name] for name in list(self.importances)[:_SLICES]}
        return trial_figures.draw_slices(self.scored, ranges, self.metric, self.best)

    def contour(self) -> tuple[str, Figure] | None:
        """Of the two most important parameters that some trials have together, and their names. It is drawn from
        completed trials alone, and only where there are enough of them."""
        names = list(self.importances)
        if len(self.complete) < ENOUGH:
            return None
        for first in names:
            for second in names[names.index(first) + 1 :]:
                if self._vary_together(first, second):
                    return f"{first} and {second}", self._contour_of(first, second)
        return None

    def _contour_of(self, first: str, second: str) -> Figure:
        fewer = _study_of(self._some(self.complete, _POINTS), self.study.direction)
        with _quiet():
            figure = plain_figure(visualization.plot_contour(fewer, params=[first, second], target_name=self.metric))
        for letter, name in (("x", first), ("y", second)):
            if not self.ranges[name].choices:
                figure["layout"][f"{letter}axis"] |= self.ranges[name].axis()
        if self.best is not None and {first, second} <= self.best.params.keys():
            at = [[self.ranges[name].at(self.best.params[name])] for name in (first, second)]
            star = {"type": "scatter", "mode": "markers", "name": "best", "x": at[0], "y": at[1]}
            figure["data"].append(star | {"marker": trial_figures.BEST, "hovertemplate": "the best<extra></extra>"})
        return figure

    def _vary_together(self, first: str, second: str) -> bool:
        points = [trial.params for trial in self.complete if {first, second} <= trial.params.keys()]
        return len(points) >= 4 and all(len({point[name] for point in points}) > 1 for name in (first, second))

    def timeline(self) -> Figure | None:
        if not self.trials:
            return None
        figure = self._timeline_in_our_colours()
        figure["layout"]["xaxis"] = {"title": {"text": ""}, "type": "date"}
        return figure

    def _timeline_in_our_colours(self) -> Figure:
        figure = plain_figure(visualization.plot_timeline(self.study))
        names = {state.name: name for state, name in trial_figures.STATUS.items()} | {"interrupted": "interrupted"}
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
        status = {trial.number: trial_figures.status_of(trial) for trial in self.trials}
        cut_off = [status[number] == "interrupted" if number in status else None for number in trace["y"]]
        if all(each is False for each in cut_off):
            return [trace]
        parts = []
        for name, wanted in ((trace["name"], False), ("interrupted", True)):
            chosen = [each is wanted for each in cut_off]
            bars = {key: list(compress(trace[key], chosen)) for key in ("x", "y", "base")}
            parts += [{**trace, "name": name, **bars}] if bars["y"] else []
        return parts

    @property
    def _maximises(self) -> bool:
        return self.study.direction == StudyDirection.MAXIMIZE

    def _some(self, trials: Sequence[FrozenTrial], most: int) -> list[FrozenTrial]:
        """At most so many of them: the best, and others from all ranks."""
        ranked = sorted(trials, key=lambda trial: value_of(trial) or 0.0, reverse=self._maximises)
        step = max(1.0, len(ranked) / most)
        return [ranked[int(index * step)] for index in range(min(most, len(ranked)))]


def _importances(study: optuna.Study, scored: Sequence[FrozenTrial]) -> dict[str, float]:
    """Of each parameter, the largest first; all equal where there are too few trials to tell."""
    names = dict.fromkeys((name for trial in scored for name in trial.params), 0.0)
    if len(scored) < ENOUGH:
        return names
    try:
        found = optuna.importance.get_param_importances(_study_of(scored, study.direction))
    except (ValueError, RuntimeError, ZeroDivisionError):
        return names
    return found | {name: 0.0 for name in names if name not in found}


def _study_of(trials: Sequence[FrozenTrial], direction: StudyDirection) -> optuna.Study:
    """A study in which each of these trials is complete, with its value: Optuna leaves the others out."""
    study = optuna.create_study(direction=direction)
    for trial in trials:
        as_complete = optuna.trial.create_trial(
            value=value_of(trial), params=trial.params, distributions=trial.distributions
        )
        study.add_trial(as_complete)
    return study


def _quiet() -> warnings.catch_warnings:
    """Optuna warns of what is experimental in it."""
    return warnings.catch_warnings(action="ignore")
