"""Figures of runs, as plotly takes them: ``{"data": […], "layout": {…}}``. Colours of axes and text are the page's."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lightsweep.reports.columns import escape_tags
from lightsweep.reports.runs import Run, find_best_epoch, read_curve, read_epochs

Figure = dict[str, Any]

COLOURS = {
    "completed": "#2f81f7",
    "unfinished": "#3fa45b",
    "pruned": "#c98a12",
    "interrupted": "#986ee2",
    "diverged": "#c2469b",
    "failed": "#e5534b",
}
SYMBOLS = {
    "completed": "circle",
    "unfinished": "circle-open",
    "pruned": "diamond-open",
    "interrupted": "triangle-up",
    "diverged": "star",
    "failed": "x",
}
SCALE: list[list[Any]] = [
    [0.0, "#a3adb8"],
    [0.5, "#3b82f6"],
    [1.0, "#d6246e"],
]  # each end is seen on white and on black
LINES = ("#2f81f7", "#d6246e", "#c98a12", "#3fa45b", "#986ee2", "#0f9aa8", "#e5534b", "#8a94a0")


def draw_learning_curves(runs: Sequence[Run], metric: str, best: Run | None) -> Figure | None:
    """One metric by epoch of all runs, a trace a status, so that a thousand runs stay light."""
    traces = []
    for status in dict.fromkeys(run.status for run in runs):
        members = [seed for run in runs if run.status == status for seed in (run.seeds or (run,))]
        traces += _joined(members, metric, status)
    if best is not None:
        traces += [_line(seed, metric, "best", "#d6246e", width=3) for seed in (best.seeds or (best,))[:1]]
    traces = [trace for trace in traces if trace["x"]]
    return {"data": traces, "layout": _by_epoch(traces, metric)} if traces else None


def _by_epoch(traces: Sequence[dict], metric: str) -> dict[str, Any]:
    layout = label_axes("epoch", metric)
    last = max((epoch for trace in traces for epoch in trace["x"] if epoch is not None), default=0)
    if last <= 12:
        layout["xaxis"]["dtick"] = 1  # no halves of epochs
    return layout


def _joined(runs: Iterable[Run], metric: str, status: str) -> list[dict]:
    x: list[float | None] = []
    y: list[float | None] = []
    names: list[str | None] = []
    ends: list[tuple[float, float, str]] = []
    for run in runs:
        epochs, values = read_curve(run.folder, metric)
        if not epochs:
            continue
        name = escape_tags(run.name)
        x += [*epochs, None]
        y += [*values, None]
        names += [*[name] * len(epochs), None]
        ends.append((epochs[-1], values[-1], name))
    colour = COLOURS.get(status, "#8a94a0")
    shared = {"type": "scatter", "name": escape_tags(status), "legendgroup": escape_tags(status)}
    hover = f"%{{text}}<br>epoch %{{x}}: %{{y:.4f}}<extra>{escape_tags(status)}</extra>"
    line = {"width": 1.2, "color": colour}
    lines = shared | {"mode": "lines", "x": x, "y": y, "text": names, "line": line, "opacity": 0.55}
    marks = shared | {
        "mode": "markers",
        "x": [end[0] for end in ends],
        "y": [end[1] for end in ends],
        "text": [end[2] for end in ends],
        "marker": {"symbol": SYMBOLS.get(status, "circle"), "size": 7, "color": colour},
    }
    lines["showlegend"] = False
    return [lines | {"hovertemplate": hover}, marks | {"hovertemplate": hover}]


def _line(run: Run, metric: str, name: str, colour: str, *, width: float = 2, dash: str = "solid") -> dict:
    epochs, values = read_curve(run.folder, metric)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": epochs,
        "y": values,
        "name": escape_tags(name),
        "line": {"width": width, "color": colour, "dash": dash},
        "hovertemplate": "epoch %{x}: %{y:.4f}<extra>" + escape_tags(name) + "</extra>",
    }


def draw_run(run: Run) -> dict[str, Figure]:
    """Every metric of a run that has both a train and a val column, by the metric's name: ``acc``, ``loss``."""
    folder = (run.seeds or (run,))[0].folder
    columns = dict.fromkeys(name for row in read_epochs(folder) for name in row)
    ends = [name.partition("/")[2] for name in columns if name.startswith("val/") and f"train/{name[4:]}" in columns]
    shown = {}
    for end in sorted(ends, key=lambda name: (name != "acc", name != "loss", name))[:4]:
        member = Run(folder, run.name, run.row)
        traces = [
            _line(member, f"train/{end}", f"train/{end}", LINES[7], dash="dot"),
            _line(member, f"val/{end}", f"val/{end}", LINES[0]),
        ]
        layout = _by_epoch(traces, end)
        if (epoch := find_best_epoch(member)) is not None:
            layout["shapes"] = [
                {
                    "type": "line",
                    "x0": epoch,
                    "x1": epoch,
                    "y0": 0,
                    "y1": 1,
                    "yref": "paper",
                    "line": {"dash": "dash", "width": 1, "color": "#8a94a0"},
                }
            ]
        shown[end] = {"data": traces, "layout": layout}
    return shown


def draw_groups(groups: Sequence[tuple[str, Sequence[Run]]], metric: str) -> Figure | None:
    """One metric of several groups of runs, a colour a group."""
    traces = []
    for index, (name, runs) in enumerate(groups):
        for run in runs:
            trace = _line(run, metric, name, LINES[index % len(LINES)])
            if trace["x"]:
                traces.append(trace | {"legendgroup": str(index), "showlegend": run is runs[0]})
    return {"data": traces, "layout": _by_epoch(traces, metric)} if traces else None


def draw_time(seconds: dict[str, float], counts: dict[str, int]) -> Figure:
    """How long runs of each status took in all."""
    total = sum(seconds.values())
    unit, size = ("seconds", 1) if total < 120 else ("minutes", 60) if total < 7200 else ("hours", 3600)
    names = list(seconds)
    trace: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "y": [f"{escape_tags(name)}, {_runs(counts[name])}" for name in names],
        "x": [seconds[name] / size for name in names],
        "text": [f"{seconds[name] / size:.1f}" for name in names],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": [COLOURS.get(name, "#8a94a0") for name in names]},
        "hovertemplate": f"%{{y}}: %{{text}} {unit}<extra></extra>",
    }
    layout = label_axes(unit, "") | {"showlegend": False}
    layout["xaxis"]["range"] = [0, 1.25 * max(trace["x"])]  # with room for the text, on a phone too
    return {"data": [trace], "layout": layout}


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def label_axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": escape_tags(x)}}, "yaxis": {"title": {"text": escape_tags(y)}}}


def draw_confusion(names: Sequence[str], counts: np.ndarray) -> Figure:
    """Shares of each true class ``[K, K]`` as colours, counts as numbers."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    return _matrix(names, shares, counts, scale=[[0.0, "rgba(47,129,247,0)"], [1.0, "#2f81f7"]], limit=(0, 1))


def draw_confusion_difference(names: Sequence[str], one: np.ndarray, other: np.ndarray) -> Figure:
    """Where `one` puts a larger share of a true class than `other`, in percentage points ``[K, K]``."""
    shares = [100 * each / np.maximum(each.sum(axis=1, keepdims=True), 1) for each in (one, other)]
    difference = shares[0] - shares[1]
    most = max(1.0, float(np.abs(difference).max()))
    scale = [[0.0, "#d6246e"], [0.5, "rgba(128,128,128,0.08)"], [1.0, "#2f81f7"]]
    return _matrix(names, difference, np.round(difference, 1), scale=scale, limit=(-most, most))


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
    if len(names) <= 20:
        trace |= {"text": numbers.tolist(), "texttemplate": "%{text}", "textfont": {"size": 11}}
    layout = label_axes("predicted", "true")
    layout["xaxis"] |= {"type": "category", "showgrid": False, "tickangle": -45 if max(map(len, names)) > 3 else 0}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    return {"data": [trace], "layout": layout}


def _distinct(names: Sequence[str]) -> list[str]:
    """Labels that stay apart: plotly puts equal categories into one place."""
    short = [escape_tags(name if len(name) <= 32 else f"{name[:31]}…") for name in names]
    return [label if short.count(label) == 1 else f"{label} ({index})" for index, label in enumerate(short)]


def draw_recalls(names: Sequence[str], shares: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Recall ``[K]`` of each class in each group of runs, as bars side by side."""
    labels = _distinct(names)
    traces = [
        {
            "type": "bar",
            "name": escape_tags(group),
            "x": labels,
            "y": np.round(recall, 4).tolist(),
            "marker": {"color": LINES[index % len(LINES)]},
        }
        for index, (group, recall) in enumerate(shares)
    ]
    layout = label_axes("class", "recall") | {"barmode": "group"}
    layout["xaxis"]["type"] = "category"
    return {"data": traces, "layout": layout}


def draw_bars(shares: Mapping[str, float], title: str) -> Figure:
    """A bar each, the largest above, with its number."""
    names = list(shares)[::-1]
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [shares[name] for name in names],
        "text": [f"{shares[name]:.2f}" for name in names],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": COLOURS["completed"]},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    room = 1.25 * max(shares.values())  # for the numbers at the bars
    layout = {"xaxis": {"title": {"text": title}, "range": [0, room]}, "yaxis": {"type": "category"}}
    return {"data": [trace], "layout": layout | {"showlegend": False}}
