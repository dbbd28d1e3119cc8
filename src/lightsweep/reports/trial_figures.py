"""Every trial of a study as a mark or a line: over time, over each parameter, over all parameters."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lightsweep.reports.figures import COLOURS, SCALE, SYMBOLS, Figure
from lightsweep.reports.study import ParameterRange, format_number
from lightsweep.sweeper.trials import value_of

STATUS = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
}
BEST = {"symbol": "star", "color": "#d6246e", "size": 15, "line": {"color": "#ffffff", "width": 1}}
_IN_A_ROW = 4  # slices
_LINE = "#8a94a0"


def status_of(trial: FrozenTrial) -> str | None:
    """As a run's; None of a trial that waits."""
    if trial.state == TrialState.FAIL and trial.user_attrs.get("interrupted"):
        return "interrupted"
    return STATUS.get(trial.state)


def best_of(trials: Sequence[FrozenTrial], *, maximises: bool) -> FrozenTrial | None:
    """The complete trial with the best value, the first of equals."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    return (max if maximises else min)(complete, key=lambda trial: trial.value or 0.0, default=None)


def draw_history(trials: Sequence[FrozenTrial], metric: str, *, maximises: bool) -> Figure:
    """Each trial's value as a mark, and the best so far as a step; those without a value stand at the foot."""
    values = [value for trial in trials if (value := value_of(trial)) is not None]
    worst, best = (min, max) if maximises else (max, min)
    foot = worst(values, default=0.0) - 0.05 * (best(values, default=0.0) - worst(values, default=0.0))
    traces = [_best_so_far(trials, maximises=maximises)]
    for status in ("completed", "pruned", "unfinished", "interrupted", "failed"):
        members = [trial for trial in trials if status_of(trial) == status]
        if members:
            heights = [foot if (value := value_of(trial)) is None else value for trial in members]
            traces.append(_marks(members, [trial.number for trial in members], heights, status))
    return {"data": traces, "layout": {"xaxis": {"title": {"text": "trial"}}, "yaxis": {"title": {"text": metric}}}}


def _best_so_far(trials: Sequence[FrozenTrial], *, maximises: bool) -> dict:
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    values = list(accumulate([trial.value or 0.0 for trial in complete], max if maximises else min))
    numbers = [trial.number for trial in complete]
    if complete:  # it holds up to now
        numbers, values = [*numbers, trials[-1].number], [*values, values[-1]]
    line = {"color": _LINE, "shape": "hv", "width": 2}
    trace = {"type": "scatter", "mode": "lines", "name": "best so far", "x": numbers, "y": values, "line": line}
    return trace | {"hovertemplate": "best up to trial %{x}: %{y:.4f}<extra></extra>"}


def _marks(trials: Sequence[FrozenTrial], x: Sequence[Any], y: Sequence[float], status: str) -> dict:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": status,
        "x": list(x),
        "y": list(y),
        "text": [_about(trial) for trial in trials],
        "hovertemplate": "%{text}<extra>" + status + "</extra>",
        "marker": {"symbol": SYMBOLS[status], "color": COLOURS[status], "size": 9},
    }


def _about(trial: FrozenTrial) -> str:
    value, error = value_of(trial), trial.user_attrs.get("error")
    words = [f"trial {trial.number}"] + ([f"{value:.4f}"] if value is not None else [])
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        words.append(f"after step {trial.last_step}")
    return ", ".join(words) + (f"<br>{error}" if error else "")


def draw_slices(
    trials: Sequence[FrozenTrial], ranges: Mapping[str, ParameterRange], metric: str, best: FrozenTrial | None
) -> Figure:
    """A plot a parameter: what each value of it came to. Completed trials have the colour of their number."""
    figure: Figure = {"data": [], "layout": {}}
    rows = -(-len(ranges) // _IN_A_ROW)
    columns = min(len(ranges), _IN_A_ROW)
    for index, (name, found) in enumerate(ranges.items()):
        row, column = divmod(index, _IN_A_ROW)
        number = str(index + 1) if index else ""
        place = {"domain": [column / columns, (column + 0.87) / columns], "anchor": f"y{number}"}
        figure["layout"][f"xaxis{number}"] = found.axis() | place | {"title": {"text": name}}
        figure["layout"][f"yaxis{number}"] = _height(metric, row, rows, first=column == 0) | {"anchor": f"x{number}"}
        for trace in _slice(name, found, trials, best):
            figure["data"].append(trace | {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": index == 0})
            trace["marker"]["showscale"] = index == 0 and "cmin" in trace["marker"]
    return figure


def _height(metric: str, row: int, rows: int, *, first: bool) -> dict[str, Any]:
    top, bottom = 1 - row / rows, 1 - (row + 1) / rows
    axis: dict[str, Any] = {"domain": [bottom + 0.3 / rows if rows > 1 else 0, top], "showticklabels": first}
    axis |= {"title": {"text": metric}} if first else {}
    return axis | ({"matches": "y"} if row or not first else {})


def _slice(name: str, found: ParameterRange, trials: Sequence[FrozenTrial], best: FrozenTrial | None) -> list[dict]:
    traces = []
    for status in ("pruned", "completed"):
        members = [
            trial
            for trial in trials
            if name in trial.params and status_of(trial) == status and value_of(trial) is not None
        ]
        if not members:
            continue
        at = [found.at(trial.params[name]) for trial in members]
        trace = _marks(members, at, [value_of(trial) or 0.0 for trial in members], status)
        trace["legendgroup"] = status
        if status == "completed":
            trace["marker"] |= _by_number(members, trials)
        traces.append(trace)
    if best is not None and name in best.params and best.value is not None:
        star = _marks([best], [found.at(best.params[name])], [best.value], "completed")
        traces.append(star | {"name": "best", "legendgroup": "best", "marker": {**BEST}})
    return traces


def _by_number(members: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Colours that mean the same in every plot: plotly would give each its own scale, and show the first one's."""
    numbers = [trial.number for trial in trials]
    bar = {"title": {"text": "trial"}, "thickness": 14, "outlinewidth": 0}
    scale = {"cmin": min(numbers), "cmax": max(numbers), "colorscale": SCALE, "colorbar": bar}
    return {"color": [trial.number for trial in members], "size": 8, **scale}


def draw_parallel(
    trials: Sequence[FrozenTrial], ranges: Mapping[str, ParameterRange], metric: str, *, maximises: bool
) -> Figure:
    """A line a trial, through its value and its parameters; axes span what was searched."""
    values = [value for trial in trials if (value := value_of(trial)) is not None]
    axes = [(metric, ParameterRange(min(values), max(values), is_log=False)), *ranges.items()]
    figure: Figure = {"data": [], "layout": _upright(axes)}
    named = set()
    for trial in sorted(trials, key=lambda trial: _rank(trial, maximises=maximises)):  # the best lie on top
        status = status_of(trial) or ""
        heights = [
            found.place(value_of(trial) if index == 0 else trial.params[name])
            for index, (name, found) in enumerate(axes)
        ]
        trace = _thread(trial, heights, status, maximises=maximises)
        figure["data"].append(trace | {"showlegend": status == "pruned" and status not in named})
        named.add(status)
    figure["data"].append(_colour_bar(axes[0][1], metric, maximises=maximises))
    return figure


def _rank(trial: FrozenTrial, *, maximises: bool) -> tuple[bool, float]:
    value = value_of(trial) or 0.0
    return trial.state == TrialState.COMPLETE, value if maximises else -value


def _thread(trial: FrozenTrial, heights: Sequence[float], status: str, *, maximises: bool) -> dict:
    share = heights[0] if maximises else 1 - heights[0]
    pruned = status == "pruned"
    line = {"color": COLOURS["pruned"], "width": 1, "dash": "dot"} if pruned else {"color": colour_at(share)}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": status,
        "legendgroup": status,
        "x": list(range(len(heights))),
        "y": list(heights),
        "line": {"width": 1.6, **line},
        "opacity": 0.5 if pruned else 0.4 + 0.6 * share,
        "text": [_about(trial)] * len(heights),
        "hovertemplate": "%{text}<extra>" + status + "</extra>",
    }


def _colour_bar(found: ParameterRange, metric: str, *, maximises: bool) -> dict:
    scale = SCALE if maximises else [[1 - share, colour] for share, colour in reversed(SCALE)]
    bar = {"title": {"text": metric}, "thickness": 14, "outlinewidth": 0}
    marker = {"color": [found.low], "cmin": found.low, "cmax": found.high, "colorscale": scale, "colorbar": bar}
    marker |= {"showscale": True, "opacity": 0}
    return {"type": "scatter", "mode": "markers", "x": [0], "y": [0], "marker": marker} | {
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _upright(axes: Sequence[tuple[str, ParameterRange]]) -> dict[str, Any]:
    """Axes side by side, each with its own labels, low below and high above."""
    shapes, labels = [], []
    for index, (_, found) in enumerate(axes):
        shapes.append({"type": "line", "x0": index, "x1": index, "y0": 0, "y1": 1, "layer": "below"})
        shapes[-1]["line"] = {"color": _LINE, "width": 1}
        marks = found.choices or found.ticks()
        for mark in marks:
            said = mark if isinstance(mark, str) else format_number(mark)
            labels.append({"x": index, "y": found.place(mark), "text": said, "xanchor": "right", "xshift": -5})
            labels[-1] |= {"showarrow": False, "font": {"size": 11}}
    names = {"tickvals": list(range(len(axes))), "ticktext": [name for name, _ in axes]}
    return {
        "xaxis": {**names, "range": [-0.45, len(axes) - 0.85], "showgrid": False, "zeroline": False},
        "yaxis": {"visible": False, "range": [-0.04, 1.04]},
        "shapes": shapes,
        "annotations": labels,
        "hovermode": "closest",
    }


def colour_at(share: float) -> str:
    """Of `SCALE` at a share in [0, 1]."""
    low, high = (SCALE[0], SCALE[1]) if share < 0.5 else (SCALE[1], SCALE[2])
    part = min(1.0, max(0.0, (share - low[0]) / 0.5))
    ends = [[int(str(end[1])[start : start + 2], 16) for start in (1, 3, 5)] for end in (low, high)]
    mixed = (round(one + (other - one) * part) for one, other in zip(*ends, strict=True))
    return f"rgb({','.join(map(str, mixed))})"
