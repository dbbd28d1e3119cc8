"""Parallel coordinates: every trial as a line through its value and its parameters."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from lightsweep.reports.figures import COLOURS, GREY, SCALE, Figure, colour_at, scatter
from lightsweep.reports.trials import ParameterRange, describe_trial, format_number, key_of_trial, status_of
from lightsweep.sweeper.trials import value_of

_SHADES = 12  # of completed lines: the lines of one shade are one trace, so that a thousand lines stay light


def draw_parallel(
    trials: Sequence[FrozenTrial],
    names: Sequence[str],
    ranges: Mapping[str, ParameterRange],
    metric: str,
    *,
    maximises: bool,
) -> Figure:
    """A line a trial, the best on top; axes span what was searched.

    Args:
        trials: with a value and with all of these parameters.
        metric: the name of the value, escaped.
    """
    values = {trial.number: value_of(trial) or 0.0 for trial in trials}
    scores = ParameterRange(min(values.values()), max(values.values()), is_log=False)
    shaded: dict[int, list[FrozenTrial]] = {}  # -1: pruned, drawn first
    shares = {number: scores.share(value) for number, value in values.items()}
    goodness = shares if maximises else {number: 1 - share for number, share in shares.items()}
    for trial in sorted(trials, key=lambda trial: goodness[trial.number]):
        shade = -1 if status_of(trial) == "pruned" else min(_SHADES - 1, int(_SHADES * goodness[trial.number]))
        shaded.setdefault(shade, []).append(trial)
    lines = []
    for shade, members in sorted(shaded.items()):
        heights = [
            [shares[trial.number], *(ranges[name].share(trial.params[name]) for name in names)] for trial in members
        ]
        lines.append(_draw_lines(members, heights, None if shade < 0 else shade / (_SHADES - 1)))
    scale = SCALE if maximises else [[1 - share, colour] for share, colour in reversed(SCALE)]
    marker = {"color": [scores.low], "cmin": scores.low, "cmax": scores.high, "colorscale": scale, "opacity": 0}
    marker |= {"showscale": True, "colorbar": {"title": {"text": metric}, "thickness": 14, "outlinewidth": 0}}
    colours = scatter("markers", [0], [0], marker=marker, showlegend=False, hoverinfo="skip")  # invisible points
    axes = [(metric, scores), *((name, ranges[name]) for name in names)]
    return {
        "data": [*lines, colours],
        "layout": _upright_axes(axes),
        "axes": [_describe_axis(name, searched) for name, searched in axes],
    }


def _draw_lines(trials: Sequence[FrozenTrial], heights: Sequence[Sequence[float]], goodness: float | None) -> dict:
    """Lines of one colour; None: of pruned trials."""
    is_pruned, x, y, texts, keys = goodness is None, list[Any](), list[Any](), list[Any](), list[str]()
    for trial, own in zip(trials, heights, strict=True):
        x += [*range(len(own)), None]
        y += [*own, None]
        texts += [*[describe_trial(trial)] * len(own), None]
        keys += [key_of_trial(trial)] * (len(own) + 1)
    colour = COLOURS["pruned"] if goodness is None else colour_at(goodness)
    line = {"color": colour, "width": 1 if is_pruned else 1.6, "dash": "dot" if is_pruned else "solid"}
    opacity = 0.5 if goodness is None else 0.4 + 0.6 * goodness
    status = "pruned" if is_pruned else "completed"
    shared = {"name": status, "text": texts, "hovertemplate": f"%{{text}}<extra>{status}</extra>", "runs": keys}
    return scatter("lines", x, y, line=line, opacity=opacity, showlegend=is_pruned, **shared)


def _describe_axis(name: str, searched: ParameterRange) -> dict[str, Any]:
    """For the page's script, which turns heights into values."""
    choices = [html.unescape(choice) for choice in searched.choices]
    return {"name": name, "low": searched.low, "high": searched.high, "log": searched.is_log, "choices": choices}


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
    names = {"tickvals": list(range(len(axes))), "ticktext": [name for name, _ in axes], "fixedrange": True}
    return {
        "xaxis": {
            **names,
            "range": [-0.45, len(axes) - 0.85],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        "yaxis": {"visible": False, "range": [-0.04, 1.04], "fixedrange": True},
        "shapes": shapes,
        "annotations": labels,
        "hovermode": "closest",
        "dragmode": False,
    }
