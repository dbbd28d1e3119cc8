"""The figures of a study: which parameters mattered, and every trial over time, over each and over all parameters."""

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import accumulate, compress
from typing import Any

from optuna import visualization
from optuna.trial import FrozenTrial

from lightsweep.reports import importances
from lightsweep.reports.columns import escape_tags
from lightsweep.reports.figures import BEST_COLOUR, COLOURS, GREY, SCALE, SYMBOLS, Figure, scatter
from lightsweep.reports.importances import ENOUGH, Importance, Valued
from lightsweep.reports.parallel import draw_parallel
from lightsweep.reports.study import Study
from lightsweep.reports.surrogate import Move, Surrogate
from lightsweep.reports.trials import STATUS_BY_STATE, describe_trial, find_ranges, key_of_trial, status_of
from lightsweep.sweeper.trials import folder_of, value_of

MAX_DRAWN = 300  # trials in parallel coordinates and in slices: thousands take seconds to draw
_MAX_SLICES, _MAX_AXES = 8, 10  # parameters that are drawn
_MAX_LEARNED = 12  # parameters that a surrogate learns from
_IN_A_ROW = 4  # slices
BEST = {"symbol": "star", "color": BEST_COLOUR, "size": 15, "line": {"color": "#ffffff", "width": 1}}


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
        self.best = choose_best(self.complete, key=_value, default=None)

    @cached_property
    def valued(self) -> list[Valued]:
        """Completed trials, and pruned ones with an estimated value."""
        return importances.value_trials(self.scored)

    @property
    def too_few(self) -> str:
        """Why there are no importances yet; empty where there are."""
        count = len(self.valued)
        if count >= ENOUGH:
            return ""
        return (
            f"Too few trials to tell which parameter mattered: {count} {'has' if count == 1 else 'have'} a value,"
            f" completed or pruned; it takes {ENOUGH}."
        )

    @cached_property
    def measured(self) -> list[Importance]:
        """The importances, the largest first; none where there are too few trials to tell."""
        try:
            return [] if self.too_few else importances.measure(self.valued, maximises=self.maximises)
        except (ValueError, RuntimeError, ArithmeticError):  # a study of another program's distributions
            return []

    @cached_property
    def importances(self) -> dict[str, float]:
        """The share of each parameter, the largest first; all 0 where there are too few trials to tell."""
        names = dict.fromkeys((name for trial in self.scored for name in trial.params), 0.0)
        return {each.name: each.share for each in self.measured} | {
            name: 0.0 for name in names if not any(each.name == name for each in self.measured)
        }

    @cached_property
    def surrogate(self) -> Surrogate | None:
        """Of the parameters that vary; None where there is nothing to learn from, or scikit-learn is missing."""
        names = [each.name for each in self.measured][:_MAX_LEARNED]
        if not names or find_spec("sklearn") is None:
            return None
        chosen = importances.choose(self.valued, importances.MOST, maximises=self.maximises)
        return Surrogate(chosen, {name: self.ranges[name] for name in names})

    @cached_property
    def moves(self) -> list[Move]:
        """What each parameter changes around the best trial; none where that cannot be told."""
        if self.surrogate is None or self.best is None or not self.surrogate.predicts:
            return []
        return self.surrogate.move_each(self.best.params)

    @property
    def mattering(self) -> dict[str, bool]:
        """Whether each parameter matters among all trials or around the best one. It does not where its effect around
        the best trial is known to be small; a parameter of which neither can be told is left out."""
        around = {each.name: each for each in self.moves}
        known = {each.name: each.matters or around[each.name].matters for each in self.measured if each.name in around}
        return {name: matters for name, matters in known.items() if matters or around[name].is_small}

    def history(self) -> Figure | None:
        """Each trial's value as a mark, and the best so far as a step; trials without a value lie beyond the worst."""
        if not self.trials:
            return None
        values = [value for trial in self.trials if (value := value_of(trial)) is not None]
        low, high = min(values, default=0.0), max(values, default=0.0)
        foot = low - 0.05 * (high - low) if self.maximises else high + 0.05 * (high - low)
        traces = [self._best_so_far()]
        for status in ("completed", "infeasible", "pruned", "unfinished", "interrupted", "failed"):
            members = [trial for trial in self.trials if status_of(trial) == status]
            if members:
                heights = [foot if (value := value_of(trial)) is None else value for trial in members]
                traces.append(_draw_marks(members, [trial.number for trial in members], heights, status))
        layout = {"xaxis": {"title": {"text": "trial"}}, "yaxis": {"title": {"text": self.metric}}}
        return {"data": traces, "layout": layout}

    def _best_so_far(self) -> dict:
        values = list(accumulate(map(_value, self.complete), max if self.maximises else min))
        numbers = [trial.number for trial in self.complete]
        if values:  # up to the last trial
            numbers, values = [*numbers, self.trials[-1].number], [*values, values[-1]]
        line = {"color": GREY, "shape": "hv", "width": 2}
        hover = "best up to trial %{x}: %{y:.4f}<extra></extra>"
        return scatter("lines", numbers, values, name="best so far", line=line, hovertemplate=hover)

    def parallel(self) -> Figure | None:
        """A line a trial, the best on top, through its value and its parameters; axes span what was searched."""
        names = [name for name in self.importances if all(name in trial.params for trial in self.scored)][:_MAX_AXES]
        if not names or len(self.scored) < 2:
            return None
        trials = self._sample(self.scored, MAX_DRAWN)
        return draw_parallel(trials, names, self.ranges, self.metric, maximises=self.maximises)

    def slices(self) -> Figure | None:
        """A plot a parameter: the trials' values over it. Completed trials have the colour of their number."""
        if not self.importances or len(self.scored) < 2:
            return None
        figure: Figure = {"data": [], "layout": {}}
        names = list(self.importances)[:_MAX_SLICES]
        rows, columns = -(-len(names) // _IN_A_ROW), min(len(names), _IN_A_ROW)
        for index, name in enumerate(names):
            row, column = divmod(index, _IN_A_ROW)
            number = str(index + 1) if index else ""
            span = {"domain": [column / columns, (column + 0.87) / columns], "anchor": f"y{number}"}
            figure["layout"][f"xaxis{number}"] = self.ranges[name].axis() | span | {"title": {"text": name}}
            bottom = 1 - (row + 1) / rows + (0.3 / rows if rows > 1 else 0)
            height: dict[str, Any] = {"domain": [bottom, 1 - row / rows], "anchor": f"x{number}"}
            height |= {"showticklabels": column == 0} | ({"matches": "y"} if index else {})
            figure["layout"][f"yaxis{number}"] = height | ({} if column else {"title": {"text": self.metric}})
            for trace in self._draw_slice(name):
                trace["marker"]["showscale"] = index == 0 and "cmin" in trace["marker"]
                figure["data"].append(trace | {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": index == 0})
        return figure

    def _draw_slice(self, name: str) -> list[dict]:
        searched, traces = self.ranges[name], []
        drawn = sorted(self._sample(self.scored, MAX_DRAWN), key=lambda trial: trial.number)
        numbers = [trial.number for trial in self.scored]
        # One scale for all plots: plotly would give each its own, and show the first one's.
        shared = {"cmin": min(numbers), "cmax": max(numbers), "colorscale": SCALE, "colorbar": _colour_bar("trial")}
        for status in ("pruned", "completed"):
            members = [trial for trial in drawn if name in trial.params and status_of(trial) == status]
            if members:
                at = [searched.at(trial.params[name]) for trial in members]
                trace = _draw_marks(members, at, list(map(_value, members)), status) | {"legendgroup": status}
                if status == "completed":
                    trace["marker"] |= shared | {"color": [trial.number for trial in members], "size": 8}
                traces.append(trace)
        if self.best is not None and name in self.best.params:
            star = _draw_marks([self.best], [searched.at(self.best.params[name])], [_value(self.best)], "completed")
            traces.append(star | {"name": "best", "legendgroup": "best", "marker": {**BEST}})
        return traces

    def timeline(self) -> Figure | None:
        """When each trial ran."""
        if not self.trials:
            return None
        figure = _without_template(visualization.plot_timeline(self.study))
        statuses = {trial.number: status_of(trial) for trial in self.trials}
        traces = []
        for trace in figure["data"]:
            state = STATUS_BY_STATE.get(trace["name"], "unfinished")
            for status in (state, "interrupted"):  # Optuna's bars of failed trials include interrupted ones
                chosen = [statuses.get(number) == status for number in trace["y"]]
                bars = {key: list(compress(trace[key], chosen)) for key in ("x", "y", "base")}
                if bars["y"]:
                    look = {"name": status, "marker": {"color": COLOURS[status]}}
                    look |= {"hovertemplate": "%{text}<extra>" + status + "</extra>"}
                    look |= {"text": [f"trial {number}" for number in bars["y"]]}
                    traces.append(trace | bars | look | {"runs": list(map(folder_of, bars["y"]))})
        figure["layout"]["xaxis"] = {"title": {"text": ""}, "type": "date"}
        return figure | {"data": traces}

    def _sample(self, trials: Sequence[FrozenTrial], most: int) -> list[FrozenTrial]:
        """At most so many of them, the best first: the best, and others from all ranks."""
        ranked = sorted(trials, key=_value, reverse=self.maximises)
        step = max(1.0, len(ranked) / most)
        return [ranked[int(index * step)] for index in range(min(most, len(ranked)))]


def _value(trial: FrozenTrial) -> float:
    return value_of(trial) or 0.0


def _draw_marks(trials: Sequence[FrozenTrial], x: Sequence[Any], y: Sequence[float], status: str) -> dict:
    marker = {"symbol": SYMBOLS[status], "color": COLOURS[status], "size": 9}
    shared = {"text": list(map(describe_trial, trials)), "runs": list(map(key_of_trial, trials))}
    hover = f"%{{text}}<extra>{status}</extra>"
    return scatter("markers", x, y, name=status, hovertemplate=hover, marker=marker, **shared)


def _colour_bar(title: str) -> dict[str, Any]:
    return {"title": {"text": title}, "thickness": 14, "outlinewidth": 0}


def _without_template(figure: Any) -> Figure:
    """Optuna's figure as plain values, without template and title, which are the page's."""
    content = json.loads(figure.to_json())
    for name in ("template", "title"):
        content["layout"].pop(name, None)
    return content
