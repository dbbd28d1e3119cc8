"""Figures of classes: confusion matrices, their differences, and recall."""

from collections.abc import Sequence

import numpy as np

from lightsweep.reports.figures import LINES, Figure, axes
from lightsweep.reports.study import escaped


def confusion(names: Sequence[str], counts: np.ndarray) -> Figure:
    """Shares of each true class ``[K, K]`` as colours, counts as numbers."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    return _matrix(names, shares, counts, scale=[[0.0, "rgba(47,129,247,0)"], [1.0, "#2f81f7"]], limit=(0, 1))


def confusion_difference(names: Sequence[str], one: np.ndarray, other: np.ndarray) -> Figure:
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
    layout = axes("predicted", "true")
    layout["xaxis"] |= {"type": "category", "showgrid": False, "tickangle": -45 if max(map(len, names)) > 3 else 0}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    return {"data": [trace], "layout": layout}


def _distinct(names: Sequence[str]) -> list[str]:
    """Labels that stay apart: plotly puts equal categories into one place."""
    short = [escaped(name if len(name) <= 32 else f"{name[:31]}…") for name in names]
    return [label if short.count(label) == 1 else f"{label} ({index})" for index, label in enumerate(short)]


def per_class(names: Sequence[str], shares: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Recall ``[K]`` of each class in each group of runs, as bars side by side."""
    labels = _distinct(names)
    traces = [
        {
            "type": "bar",
            "name": escaped(group),
            "x": labels,
            "y": np.round(recall, 4).tolist(),
            "marker": {"color": LINES[index % len(LINES)]},
        }
        for index, (group, recall) in enumerate(shares)
    ]
    layout = axes("class", "recall") | {"barmode": "group"}
    layout["xaxis"]["type"] = "category"
    return {"data": traces, "layout": layout}
