"""Every trial of a study as a mark or a line: over time, over the searched range of each parameter, over all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from lightsweep.reports.columns import escape_tags
from lightsweep.reports.figures import BEST_COLOUR, COLOURS, GREY, SCALE, SYMBOLS, Figure, scatter
from lightsweep.sweeper.trials import value_of

_MARGIN = 0.04  # of an axis, beyond what was searched
_EDGE = 0.03  # of a range: a value this near to an end is at the edge
_MOST_TICKS = 6  # of a logarithmic axis


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
        return [10.0**power for power in powers[:: 1 + (len(powers) - 1) // _MOST_TICKS]]

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
    """Each parameter's range in all trials together: a study that goes on may have been given wider ones."""
    names = dict.fromkeys(name for trial in trials for name in trial.distributions)
    every = [trial.distributions for trial in trials]
    return {name: _join([each[name] for each in every if name in each]) for name in names}


def _join(distributions: Sequence[Any]) -> ParameterRange:
    last = distributions[-1]
    is_choice = isinstance(last, CategoricalDistribution)
    same = [each for each in distributions if isinstance(each, CategoricalDistribution) == is_choice]
    if is_choice:
        choices = dict.fromkeys(_format_choice(choice) for each in same for choice in each.choices)
        return ParameterRange(0.0, 0.0, is_log=False, choices=tuple(choices))
    low, high = min(each.low for each in same), max(each.high for each in same)
    return ParameterRange(low, high, is_log=bool(last.log) and low > 0)


def describe_edges(params: Mapping[str, Any], ranges: Mapping[str, ParameterRange]) -> list[str]:
    """A sentence for each value that is at an end of its range."""
    return [
        f"{name} {format_number(value)} is at the {end} end of what was searched,"
        f" {format_number(ranges[name].low)} to {format_number(ranges[name].high)}."
        for name, value in params.items()
        if (end := ranges[name].edge(value)) is not None
    ]


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


STATUS = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
}
BEST = {"symbol": "star", "color": BEST_COLOUR, "size": 15, "line": {"color": "#ffffff", "width": 1}}
_IN_A_ROW = 4  # slices


def status_of(trial: FrozenTrial) -> str | None:
    """As a run's; None of a trial that waits."""
    if trial.state == TrialState.FAIL and trial.user_attrs.get("interrupted"):
        return "interrupted"
    return STATUS.get(trial.state)


def draw_history(trials: Sequence[FrozenTrial], metric: str, *, maximises: bool) -> Figure:
    """Each trial's value as a mark, and the best so far as a step; those without a value are at the foot."""
    values = [value for trial in trials if (value := value_of(trial)) is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    foot = low - 0.05 * (high - low) if maximises else high + 0.05 * (high - low)
    traces = [_best_so_far(trials, maximises=maximises)]
    for status in ("completed", "pruned", "unfinished", "interrupted", "failed"):
        members = [trial for trial in trials if status_of(trial) == status]
        if members:
            heights = [foot if (value := value_of(trial)) is None else value for trial in members]
            traces.append(_marks(members, [trial.number for trial in members], heights, status))
    return {"data": traces, "layout": {"xaxis": {"title": {"text": "trial"}}, "yaxis": {"title": {"text": metric}}}}


def _best_so_far(trials: Sequence[FrozenTrial], *, maximises: bool) -> dict:
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    values = list(accumulate([trial.value or 0.0 for trial in complete], max if maximises else min))
    numbers = [trial.number for trial in complete]
    if complete:  # up to the last trial
        numbers, values = [*numbers, trials[-1].number], [*values, values[-1]]
    line = {"color": GREY, "shape": "hv", "width": 2}
    hover = "best up to trial %{x}: %{y:.4f}<extra></extra>"
    return scatter("lines", numbers, values, name="best so far", line=line, hovertemplate=hover)


def _marks(trials: Sequence[FrozenTrial], x: Sequence[Any], y: Sequence[float], status: str) -> dict:
    marker = {"symbol": SYMBOLS[status], "color": COLOURS[status], "size": 9}
    texts, hover = list(map(_describe, trials)), f"%{{text}}<extra>{status}</extra>"
    return scatter("markers", x, y, name=status, text=texts, hovertemplate=hover, marker=marker)


def _describe(trial: FrozenTrial) -> str:
    value, error = value_of(trial), trial.user_attrs.get("error")
    words = [f"trial {trial.number}"] + ([f"{value:.4f}"] if value is not None else [])
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        words.append(f"after step {trial.last_step}")
    return ", ".join(words) + (f"<br>{error}" if error else "")


def draw_slices(
    trials: Sequence[FrozenTrial], ranges: Mapping[str, ParameterRange], metric: str, best: FrozenTrial | None
) -> Figure:
    """A plot a parameter: the trials' values over it. Completed trials have the colour of their number.

    Args:
        trials: that have a value, completed or pruned.
    """
    figure: Figure = {"data": [], "layout": {}}
    rows = -(-len(ranges) // _IN_A_ROW)
    columns = min(len(ranges), _IN_A_ROW)
    for index, (name, searched) in enumerate(ranges.items()):
        row, column = divmod(index, _IN_A_ROW)
        number = str(index + 1) if index else ""
        span = {"domain": [column / columns, (column + 0.87) / columns], "anchor": f"y{number}"}
        figure["layout"][f"xaxis{number}"] = searched.axis() | span | {"title": {"text": name}}
        height = _height_axis(metric, row, rows, is_first=column == 0)
        figure["layout"][f"yaxis{number}"] = height | {"anchor": f"x{number}"}
        for trace in _slice(name, searched, trials, best):
            trace["marker"]["showscale"] = index == 0 and "cmin" in trace["marker"]
            figure["data"].append(trace | {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": index == 0})
    return figure


def _height_axis(metric: str, row: int, rows: int, *, is_first: bool) -> dict[str, Any]:
    top, bottom = 1 - row / rows, 1 - (row + 1) / rows
    axis: dict[str, Any] = {"domain": [bottom + 0.3 / rows if rows > 1 else 0, top], "showticklabels": is_first}
    axis |= {"title": {"text": metric}} if is_first else {}
    return axis | ({"matches": "y"} if row or not is_first else {})


def _slice(name: str, searched: ParameterRange, trials: Sequence[FrozenTrial], best: FrozenTrial | None) -> list[dict]:
    traces = []
    for status in ("pruned", "completed"):
        members = [trial for trial in trials if name in trial.params and status_of(trial) == status]
        if not members:
            continue
        at = [searched.at(trial.params[name]) for trial in members]
        trace = _marks(members, at, [value_of(trial) or 0.0 for trial in members], status)
        trace["legendgroup"] = status
        if status == "completed":
            trace["marker"] |= _colour_by_number(members, trials)
        traces.append(trace)
    if best is not None and name in best.params and best.value is not None:
        star = _marks([best], [searched.at(best.params[name])], [best.value], "completed")
        traces.append(star | {"name": "best", "legendgroup": "best", "marker": {**BEST}})
    return traces


def _colour_by_number(members: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """One scale for all plots: plotly would give each its own, and show the first one's."""
    numbers = [trial.number for trial in trials]
    scale = {"cmin": min(numbers), "cmax": max(numbers), "colorscale": SCALE, "colorbar": _colour_bar("trial")}
    return {"color": [trial.number for trial in members], "size": 8, **scale}


def _colour_bar(title: str) -> dict[str, Any]:
    return {"title": {"text": title}, "thickness": 14, "outlinewidth": 0}


def draw_parallel(
    trials: Sequence[FrozenTrial], ranges: Mapping[str, ParameterRange], metric: str, *, maximises: bool
) -> Figure:
    """A line a trial, through its value and its parameters; axes span what was searched.

    Args:
        trials: that have a value and all of these parameters, completed or pruned.
    """
    values = [value_of(trial) or 0.0 for trial in trials]
    axes = [(metric, ParameterRange(min(values), max(values), is_log=False)), *ranges.items()]

    def rank(trial: FrozenTrial) -> tuple[bool, float]:
        value = value_of(trial) or 0.0
        return trial.state == TrialState.COMPLETE, value if maximises else -value

    traces = []
    for trial in sorted(trials, key=rank):  # the best on top
        heights = [
            searched.share(trial.params[name] if index else value_of(trial))
            for index, (name, searched) in enumerate(axes)
        ]
        traces.append(_line(trial, heights, heights[0] if maximises else 1 - heights[0]))
    first_pruned = next((trace for trace in traces if trace["name"] == "pruned"), None)
    for trace in traces:
        trace["showlegend"] = trace is first_pruned
    scale = SCALE if maximises else [[1 - share, colour] for share, colour in reversed(SCALE)]
    return {"data": [*traces, _colour_legend(axes[0][1], metric, scale)], "layout": _upright_axes(axes)}


def _line(trial: FrozenTrial, heights: Sequence[float], goodness: float) -> dict:
    status = status_of(trial) or ""
    pruned = status == "pruned"
    line = {"color": COLOURS["pruned"], "width": 1, "dash": "dot"} if pruned else {"color": _colour_at(goodness)}
    opacity = 0.5 if pruned else 0.4 + 0.6 * goodness
    texts, hover = [_describe(trial)] * len(heights), f"%{{text}}<extra>{status}</extra>"
    shared = {"name": status, "legendgroup": status, "text": texts, "hovertemplate": hover}
    return scatter("lines", range(len(heights)), heights, line={"width": 1.6, **line}, opacity=opacity, **shared)


def _colour_at(share: float) -> str:
    """The colour of `SCALE` at a share in [0, 1]."""
    low, high = (SCALE[0], SCALE[1]) if share < 0.5 else (SCALE[1], SCALE[2])
    part = min(1.0, max(0.0, (share - low[0]) / 0.5))
    ends = [[int(str(end[1])[start : start + 2], 16) for start in (1, 3, 5)] for end in (low, high)]
    mixed = (round(one + (other - one) * part) for one, other in zip(*ends, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def _colour_legend(values: ParameterRange, metric: str, scale: list) -> dict:
    """A trace that shows nothing but the colours of the lines."""
    marker = {"color": [values.low], "cmin": values.low, "cmax": values.high, "colorscale": scale, "opacity": 0}
    marker |= {"showscale": True, "colorbar": _colour_bar(metric)}
    return scatter("markers", [0], [0], marker=marker, showlegend=False, hoverinfo="skip")


def _upright_axes(axes: Sequence[tuple[str, ParameterRange]]) -> dict[str, Any]:
    """Axes side by side, each with its own labels, low values below."""
    shapes, labels = [], []
    for index, (_, searched) in enumerate(axes):
        line = {"type": "line", "layer": "below", "line": {"color": GREY, "width": 1}}
        shapes.append(line | {"x0": index, "x1": index, "y0": 0, "y1": 1})
        for mark in searched.choices or searched.ticks():
            text = mark if isinstance(mark, str) else format_number(mark)
            label = {"text": text, "xanchor": "right", "xshift": -5, "showarrow": False, "font": {"size": 11}}
            labels.append(label | {"x": index, "y": searched.share(mark)})
    names = {"tickvals": list(range(len(axes))), "ticktext": [name for name, _ in axes]}
    return {
        "xaxis": {**names, "range": [-0.45, len(axes) - 0.85], "showgrid": False, "zeroline": False},
        "yaxis": {"visible": False, "range": [-0.04, 1.04]},
        "shapes": shapes,
        "annotations": labels,
        "hovermode": "closest",
    }
