"""How training went: loss and accuracy, train against val, and the learning rate below."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightsweep.reports.pictures import style

_FEW = 40  # epochs; as many dots can be told apart


def curves(rows: Sequence[Mapping[str, float]], best_epoch: float) -> Figure:
    """Draw the rows of metrics.csv; an epoch without a validation has no val/loss. Epochs count from 1.

    Args:
        best_epoch: is marked; 0 where there is none.
    """
    figure = style.figure(10, 6)
    panels = figure.subplot_mosaic([["loss", "acc"], ["lr", "lr"]], height_ratios=[3, 1])
    for metric, name in (("loss", "loss (cross-entropy)"), ("acc", "accuracy")):
        _compare(panels[metric], rows, metric, best_epoch)
        style.title(panels[metric], name)
    _rate(panels["lr"], rows, best_epoch)
    for axes in panels.values():
        style.quiet(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _room_for(axes, rows)
    return figure


def _compare(axes: Axes, rows: Sequence[Mapping[str, float]], metric: str, best_epoch: float) -> None:
    for part in ("train", "val"):
        epochs, values = _column(rows, f"{part}/{metric}")
        axes.plot(epochs, values, color=style.PARTS[part], label=part, **_line(epochs))
    _mark(axes, best_epoch)
    for row in rows:
        if row["epoch"] == best_epoch and f"val/{metric}" in row:
            value = row[f"val/{metric}"]
            axes.plot([best_epoch], [value], "o", color=style.VERMILION, markersize=8, label=f"best: {value:.4f}")
    axes.legend(frameon=False, fontsize=9)


def _rate(axes: Axes, rows: Sequence[Mapping[str, float]], best_epoch: float) -> None:
    epochs, rates = _column(rows, "lr")
    axes.plot(epochs, rates, color=style.PURPLE, drawstyle="steps-mid", **_line(epochs))
    positive = rates[rates > 0]
    if len(positive) and positive.max() > 20 * positive.min():
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    style.title(axes, "learning rate")
    axes.set_xlabel("epoch" + (f" (dashed: best epoch, {best_epoch:g})" if best_epoch else ""))
    _mark(axes, best_epoch)


def _mark(axes: Axes, best_epoch: float) -> None:
    if best_epoch:
        axes.axvline(best_epoch, color=style.VERMILION, linestyle="--", linewidth=1.2, zorder=1)


def _column(rows: Sequence[Mapping[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(row["epoch"], row[name]) for row in rows if name in row]
    return np.array([epoch for epoch, _ in pairs]), np.array([value for _, value in pairs], dtype=float)


def _line(epochs: np.ndarray) -> dict:
    return {"linewidth": 1.8, "marker": "." if len(epochs) <= _FEW else None, "markersize": 7}


def _room_for(axes: Axes, rows: Sequence[Mapping[str, float]]) -> None:
    last = max((row["epoch"] for row in rows), default=1)
    margin = max(0.5, 0.02 * last)
    axes.set_xlim(1 - margin, last + margin)
