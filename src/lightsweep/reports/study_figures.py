"""The figures of a study: which parameters mattered, and every trial over time, over each and over all parameters."""

import json
import warnings
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations, compress
from typing import Any

import optuna
from optuna import visualization
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lightsweep.reports import trial_figures
from lightsweep.reports.columns import escape_tags
from lightsweep.reports.figures import COLOURS, Figure, draw_bars, scatter
from lightsweep.reports.study import Study
from lightsweep.reports.trial_figures import find_ranges, status_of
from lightsweep.sweeper.trials import value_of

ENOUGH = 20  # trials with a value that show what mattered
_LINES = 200  # trials in parallel coordinates: more lines than that are a blot
_POINTS = 150  # trials in a contour, whose grid grows with their square
_SLICES, _AXES = 8, 10  # parameters that are drawn


class StudyFigures:
    """Draws a study; every method returns None where a figure would show nothing.

    Args:
        metric: what the study optimises, for the axes.
    """

    def __init__(self, study: Study, metric: str) -> None:
        self.study, self.metric, self.maximises = study.study, escape_tags(metric), study.maximises
        self.trials, self.complete = study.trials, study.complete
        self.scored = [
            trial
            for trial in self.trials
            if status_of(trial) in ("completed", "pruned") and value_of(trial) is not None and trial.params
        ]
        self.ranges = find_ranges(self.trials)
        choose_best = max if self.maximises else min
        self.best = choose_best(self.complete, key=lambda trial: trial.value or 0.0, default=None)

    @cached_property
    def importances(self) -> dict[str, float]:
        """Of each parameter, the largest first; all 0 where there are too few trials to tell."""
        names = dict.fromkeys((name for trial in self.scored for name in trial.params), 0.0)
        if len(self.scored) < ENOUGH:
            return names
        try:
            with _ignore_warnings():
                study = _complete_study(self.scored, self.study.direction)
                found = optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError, ZeroDivisionError):
            return names
        return found | {name: 0.0 for name in names if name not in found}

    @property
    def too_few(self) -> str:
        """Why there are no importances yet; empty where there are."""
        count = len(self.scored)
        if count >= ENOUGH:
            return ""
        return (
            f"Too few trials to tell which parameter mattered: {count} {'has' if count == 1 else 'have'} a value,"
            f" completed or pruned; it takes {ENOUGH}."
        )

    def history(self) -> Figure | None:
        return trial_figures.draw_history(self.trials, self.metric, maximises=self.maximises) if self.trials else None

    def importance(self) -> Figure | None:
        """None where there are too few trials to tell, or one parameter alone."""
        found = {name: share for name, share in reversed(self.importances.items()) if share > 0}
        return draw_bars(found, "importance (PED-ANOVA)", digits=2) if len(self.importances) > 1 and found else None

    def parallel(self) -> Figure | None:
        names = [name for name in self.importances if all(name in trial.params for trial in self.scored)][:_AXES]
        if not names or len(self.scored) < 2:
            return None
        shown, ranges = self._sample(self.scored, _LINES), {name: self.ranges[name] for name in names}
        return trial_figures.draw_parallel(shown, ranges, self.metric, maximises=self.maximises)

    def slices(self) -> Figure | None:
        if not self.importances or len(self.scored) < 2:
            return None
        ranges = {name: self.ranges[name] for name in list(self.importances)[:_SLICES]}
        return trial_figures.draw_slices(self.scored, ranges, self.metric, self.best)

    @property
    def contour_pair(self) -> tuple[str, str] | None:
        """The two most important parameters that some completed trials have together."""
        if len(self.complete) < ENOUGH:
            return None
        return next((pair for pair in combinations(self.importances, 2) if self._vary_together(pair)), None)

    def _vary_together(self, names: tuple[str, str]) -> bool:
        points = [trial.params for trial in self.complete if trial.params.keys() >= set(names)]
        return len(points) >= 4 and all(len({point[name] for point in points}) > 1 for name in names)

    def contour(self) -> Figure | None:
        """The value over `contour_pair`, of completed trials alone."""
        names = self.contour_pair
        if names is None:
            return None
        fewer = _complete_study(self._sample(self.complete, _POINTS), self.study.direction)
        with _ignore_warnings():
            drawn = visualization.plot_contour(fewer, params=list(names), target_name=self.metric)
        figure = _without_template(drawn)
        for letter, name in zip("xy", names, strict=True):
            if not self.ranges[name].choices:
                figure["layout"][f"{letter}axis"] |= self.ranges[name].axis()
        for trace in figure["data"]:
            if trace.get("type") == "contour":
                trace["colorscale"] = "Viridis"
        if self.best is not None and self.best.params.keys() >= set(names):
            x, y = ([self.ranges[name].at(self.best.params[name])] for name in names)
            hover = "the best<extra></extra>"
            figure["data"].append(scatter("markers", x, y, name="best", marker=trial_figures.BEST, hovertemplate=hover))
        return figure

    def timeline(self) -> Figure | None:
        if not self.trials:
            return None
        figure = _without_template(visualization.plot_timeline(self.study))
        statuses = {state.name: status for state, status in trial_figures.STATUS.items()}
        numbers = {trial.number: status_of(trial) for trial in self.trials}
        traces = []
        for trace in figure["data"]:
            state = statuses.get(trace["name"], "unfinished")
            for status in (state, "interrupted"):  # Optuna's bars of failed trials include interrupted ones
                chosen = [numbers.get(number) == status for number in trace["y"]]
                bars = {key: list(compress(trace[key], chosen)) for key in ("x", "y", "base")}
                if bars["y"]:
                    look = {"name": status, "marker": {"color": COLOURS[status]}}
                    hover = {"hovertemplate": "%{text}<extra>" + status + "</extra>"}
                    texts = {"text": [f"trial {number}" for number in bars["y"]]}
                    traces.append({**trace, **bars, **look, **hover, **texts})
        figure["layout"]["xaxis"] = {"title": {"text": ""}, "type": "date"}
        return figure | {"data": traces}

    def _sample(self, trials: Sequence[FrozenTrial], most: int) -> list[FrozenTrial]:
        """At most so many of them: the best, and others from all ranks."""
        ranked = sorted(trials, key=lambda trial: value_of(trial) or 0.0, reverse=self.maximises)
        step = max(1.0, len(ranked) / most)
        return [ranked[int(index * step)] for index in range(min(most, len(ranked)))]


def _complete_study(trials: Sequence[FrozenTrial], direction: StudyDirection) -> optuna.Study:
    """A study in which each of these trials is complete, with its value: Optuna leaves the others out."""
    study = optuna.create_study(direction=direction)
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(value=value_of(trial), params=trial.params, distributions=trial.distributions)
        )
    return study


def _without_template(figure: Any) -> Figure:
    """Optuna's figure as plain values, without template and title, which are the page's."""
    content = json.loads(figure.to_json())
    for name in ("template", "title"):
        content["layout"].pop(name, None)
    return content


def _ignore_warnings() -> warnings.catch_warnings:
    """Optuna warns of what is experimental in it."""
    return warnings.catch_warnings(action="ignore")
