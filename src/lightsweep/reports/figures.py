"""Figures of runs and classes, as plotly takes them: ``{"data": […], "layout": {…}}``. Colours of text and axes are the
page's."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lightsweep.core.text import printable_line
from lightsweep.reports.columns import escape_tags
from lightsweep.reports.runs import MAIN, Matrix, Run, curve_of, read_curve, read_epochs

Figure = dict[str, Any]

COLOURS = {
    "completed": "#2f81f7",
    "infeasible": "#0f9aa8",
    "unfinished": "#3fa45b",
    "pruned": "#c98a12",
    "interrupted": "#986ee2",
    "diverged": "#c2469b",
    "failed": "#e5534b",
}
SYMBOLS = {
    "completed": "circle",
    "infeasible": "square-open",
    "unfinished": "circle-open",
    "pruned": "diamond-open",
    "interrupted": "triangle-up",
    "diverged": "star",
    "failed": "x",
}
BEST_COLOUR = "#d6246e"
GREY = "#8a94a0"
SCALE: list[list[Any]] = [[0.0, "#a3adb8"], [0.5, "#3b82f6"], [1.0, BEST_COLOUR]]  # seen on white and on black
_PALETTE = ("#2f81f7", BEST_COLOUR, "#c98a12", "#3fa45b", "#986ee2", "#0f9aa8", "#e5534b", GREY)
_MAX_METRICS = 4  # of one run
_MAX_CLASSES_WITH_NUMBERS = 20  # classes of a confusion matrix
_MAX_LETTERS = 32  # letters of a class's name


def key_of_run(run: Run) -> str:
    """What a run is called in the page's data: in the rows of tables, and as the ``runs`` of a trace's points."""
    return printable_line(run.name)


def label_axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": escape_tags(x)}}, "yaxis": {"title": {"text": escape_tags(y)}}}


def scatter(mode: str, x: Sequence[Any], y: Sequence[Any], **more: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": mode, "x": list(x), "y": list(y), **more}


def colour_at(share: float) -> str:
    """The colour of `SCALE` at a share in [0, 1]."""
    low, high = (SCALE[0], SCALE[1]) if share < 0.5 else (SCALE[1], SCALE[2])
    part = min(1.0, max(0.0, (share - low[0]) / 0.5))
    ends = [[int(str(end[1])[start : start + 2], 16) for start in (1, 3, 5)] for end in (low, high)]
    mixed = (round(one + (other - one) * part) for one, other in zip(*ends, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def draw_learning_curves(runs: Sequence[Run], metric: str, best: Run | None) -> Figure | None:
    """One metric by epoch, or by step, of all runs, two traces a status, so that a thousand runs stay light."""
    traces = []
    for status in dict.fromkeys(run.status for run in runs):
        members = [(key_of_run(run), seed) for run in runs if run.status == status for seed in run.members]
        traces += _join_curves(members, metric, status)
    if best is not None:
        thick = _curve(best.members[0], metric, "best", BEST_COLOUR, width=3)
        traces.append(thick | {"runs": [key_of_run(best)] * len(thick["x"])})
    figure = _by_epoch(traces, metric, runs[0].unit if runs else "epoch")
    return figure and figure | {"curves": True}  # rows that are opened take theirs from it


def _by_epoch(traces: Iterable[dict], metric: str, unit: str = "epoch") -> Figure | None:
    shown = [trace for trace in traces if trace["x"]]
    if not shown:
        return None
    layout = label_axes(unit, metric)
    if max(epoch for trace in shown for epoch in trace["x"] if epoch is not None) <= 12:
        layout["xaxis"]["dtick"] = 1  # no halves of epochs
    return {"data": shown, "layout": layout}


def _join_curves(members: Sequence[tuple[str, Run]], metric: str, status: str) -> list[dict]:
    """The curves of runs, each with the key of its row, as one trace, and their ends as another."""
    x: list[float | None] = []
    y: list[float | None] = []
    names: list[str | None] = []
    keys: list[str] = []
    ends: list[tuple[float, float, str, str]] = []
    for key, run in members:
        epochs, values = curve_of(run, metric)
        if epochs:
            name = escape_tags(run.name)
            x += [*epochs, None]
            y += [*values, None]
            names += [*[name] * len(epochs), None]
            keys += [key] * (len(epochs) + 1)
            ends.append((epochs[-1], values[-1], name, key))
    colour, label = COLOURS.get(status, GREY), escape_tags(status)
    unit = next((run.unit for _, run in members), "epoch")
    hover = f"%{{text}}<br>{unit} %{{x}}: %{{y:.4f}}<extra>{label}</extra>"
    shared = {"name": label, "legendgroup": label, "hovertemplate": hover}
    line = {"width": 1.2, "color": colour}
    end_x, end_y, end_names, end_keys = map(list, zip(*ends, strict=True)) if ends else ([], [], [], [])
    marker = {"symbol": SYMBOLS.get(status, "circle"), "size": 7, "color": colour}
    return [
        scatter("lines", x, y, text=names, runs=keys, line=line, opacity=0.55, showlegend=False, **shared),
        scatter("markers", end_x, end_y, text=end_names, runs=end_keys, marker=marker, **shared),
    ]


def _curve(run: Run, metric: str, name: str, colour: str, *, width: float = 2, dash: str = "solid") -> dict:
    line = {"width": width, "color": colour, "dash": dash}
    hover = f"{run.unit} %{{x}}: %{{y:.4f}}<extra>{escape_tags(name)}</extra>"
    return scatter("lines", *curve_of(run, metric), name=escape_tags(name), line=line, hovertemplate=hover)


def draw_run(run: Run) -> dict[str, Figure]:
    """Every metric of a run that has both a train and a val column, by the metric's name: ``acc``, ``loss``."""
    first = Run(run.members[0].folder, run.name, run.row)
    columns = dict.fromkeys(name for row in read_epochs(first.folder) for name in row)
    ends = [name.partition("/")[2] for name in columns if name.startswith("val/") and f"train/{name[4:]}" in columns]
    best_epoch = _find_best_epoch(first)
    figures = {}
    in_order = sorted(ends, key=lambda name: (MAIN.index(name) if name in MAIN else len(MAIN), name))
    for end in in_order[:_MAX_METRICS]:
        train = _curve(first, f"train/{end}", f"train/{end}", GREY, dash="dot")
        figure = _by_epoch([train, _curve(first, f"val/{end}", f"val/{end}", _PALETTE[0])], end)
        if figure is None:
            continue
        if best_epoch is not None:
            line = {"type": "line", "line": {"dash": "dash", "width": 1, "color": GREY}}
            span = {"x0": best_epoch, "x1": best_epoch, "y0": 0, "y1": 1, "yref": "paper"}
            figure["layout"]["shapes"] = [line | span]
        figures[end] = figure
    return figures


def _find_best_epoch(run: Run) -> float | None:
    """The first epoch with the best value of the monitor. (That of a `result.json` is the epoch that was scored, which
    may be the last.)"""
    epochs, values = read_curve(run.folder, run.monitor)
    return epochs[values.index((max if run.maximises else min)(values))] if values else None


def draw_groups(groups: Sequence[tuple[str, Sequence[Run]]], metric: str) -> Figure | None:
    """One metric of several groups of runs, a colour a group."""
    traces = []
    for index, (name, runs) in enumerate(groups):
        curves = [_curve(run, metric, name, _PALETTE[index % len(_PALETTE)]) for run in runs]
        traces += [curve | {"legendgroup": str(index), "showlegend": curve is curves[0]} for curve in curves]
    return _by_epoch(traces, metric)


def draw_time(seconds: Mapping[str, float], counts: Mapping[str, int]) -> Figure:
    """How long runs of each status took in all."""
    total = sum(seconds.values())
    unit, size = ("seconds", 1) if total < 120 else ("minutes", 60) if total < 7200 else ("hours", 3600)
    bars = {
        f"{escape_tags(name)}, {counts[name]} run{'s' * (counts[name] != 1)}": spent / size
        for name, spent in seconds.items()
    }
    figure = draw_bars(bars, unit, digits=1)
    (trace,) = figure["data"]
    trace["marker"] = {"color": [COLOURS.get(name, GREY) for name in seconds]}
    trace["hovertemplate"] = f"%{{y}}: %{{text}} {unit}<extra></extra>"
    return figure


def draw_bars(lengths: Mapping[str, float], title: str, *, digits: int) -> Figure:
    """A bar each, from below, with its number."""
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(lengths),
        "x": list(lengths.values()),
        "text": [f"{length:.{digits}f}" for length in lengths.values()],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": COLOURS["completed"]},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    layout = label_axes(title, "") | {"showlegend": False}
    layout["xaxis"]["range"] = [0, 1.25 * max(lengths.values())]  # with room for the numbers, on a phone too
    layout["yaxis"]["type"] = "category"
    return {"data": [trace], "layout": layout}


def draw_confusion(names: Sequence[str], rows: Matrix) -> Figure:
    """Shares of each true class ``[K, K]`` as colours, counts as numbers."""
    counts = np.array(rows)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    return _matrix(names, shares, counts, scale=[[0.0, "rgba(47,129,247,0)"], [1.0, "#2f81f7"]], limit=(0, 1))


def draw_confusion_difference(names: Sequence[str], points: np.ndarray) -> Figure:
    """Percentage points ``[K, K]`` by which two matrices differ in the share of a true class."""
    most = max(1.0, float(np.abs(points).max()))
    scale = [[0.0, BEST_COLOUR], [0.5, "rgba(128,128,128,0.08)"], [1.0, "#2f81f7"]]
    return _matrix(names, points, np.round(points, 1), scale=scale, limit=(-most, most))


def _matrix(names: Sequence[str], colours: np.ndarray, numbers: np.ndarray, *, scale: list, limit: tuple) -> Figure:
    labels = _distinct(names)
    trace = {
        "type": "heatmap",
        "x": labels,
        "y": labels,
        "z": np.round(colours, 4).tolist(),
        "zmin": limit[0],
        "zmax": limit[1],
        "colorscale": scale,
        "customdata": numbers.tolist(),
        "hovertemplate": "true %{y}<br>predicted %{x}<br>%{customdata}<extra></extra>",
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    if len(names) <= _MAX_CLASSES_WITH_NUMBERS:
        trace |= {"text": numbers.tolist(), "texttemplate": "%{text}", "textfont": {"size": 11}}
    layout = label_axes("predicted", "true")
    layout["xaxis"] |= {"type": "category", "showgrid": False, "tickangle": -45 if max(map(len, names)) > 3 else 0}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    return {"data": [trace], "layout": layout}


def _distinct(names: Sequence[str]) -> list[str]:
    """Labels that differ: plotly draws equal categories as one."""
    short = [escape_tags(name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…") for name in names]
    return [label if short.count(label) == 1 else f"{label} ({index})" for index, label in enumerate(short)]


def draw_recalls(names: Sequence[str], recalls: Iterable[tuple[str, np.ndarray]]) -> Figure:
    """Recall ``[K]`` of each class in each group of runs, as bars side by side."""
    labels = _distinct(names)
    traces = [
        {
            "type": "bar",
            "name": escape_tags(group),
            "x": labels,
            "y": np.round(recall, 4).tolist(),
            "marker": {"color": _PALETTE[index % len(_PALETTE)]},
        }
        for index, (group, recall) in enumerate(recalls)
    ]
    layout = label_axes("class", "recall") | {"barmode": "group"}
    layout["xaxis"]["type"] = "category"
    return {"data": traces, "layout": layout}
