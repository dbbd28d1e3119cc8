"""Pictures of a run: plain values in, a matplotlib Figure out. Nothing here knows a folder, a logger or a display.

matplotlib takes half a second to import: import this module where it is about to draw.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from PIL import Image

from lightsweep.core.text import shorten

Rows = Sequence[Mapping[str, float]]  # of metrics.csv
Format = Callable[[float], str]

# Okabe & Ito (2008): colours that colour-blind people tell apart.
_BLUE, _ORANGE, _GREEN, _VERMILION, _PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
PARTS = {"train": _BLUE, "val": _ORANGE, "test": _GREEN}
_SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Arabic", "Noto Sans Devanagari")

_DOTS_PER_INCH, _POINTS_PER_INCH = 110, 72
_MIN_SIZE, _MAX_SIZE = 6.0, 9.0  # points of a letter; smaller ones cannot be read
_LINE_HEIGHT, _DIGIT_WIDTH = 1.25, 0.64  # height of a line and width of a digit, in letters' sizes
_LETTER_WIDTH = 0.085  # inches, about, of 9 points
_MAX_LETTERS = 18  # letters of a class's name
_FEW_EPOCHS = 40  # more dots would run into each other
_MATRIX_NUMBERS, _BAR_NUMBERS = 25, 12  # classes; more numbers would not fit
_GAMMA = 0.5  # exponent of a share for its colour: rare mistakes are visible next to the many that are right
_COLUMNS, _CELL = 8, 1.2  # of a grid of images, and inches of each
_GAP = 0.06  # of a cell, between images
TITLE: dict[str, Any] = {"loc": "left", "fontsize": 11, "fontweight": "bold"}
_CAPTION, _CAPTION_LETTERS = 7.5, 19  # points of a caption, and letters that fit


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, drawn by Agg, that makes room for its labels."""
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.07)  # inches
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def render_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # it is drawn as a box
        canvas.draw()  # savefig would draw twice
    buffer = BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(buffer, "png")
    return buffer.getvalue()


def text_style() -> dict[str, Any]:
    """How a text that somebody else chose is drawn, a class's name: never as mathematics, in any installed script."""
    return {"parse_math": False, "family": _font_families()}


@cache
def _font_families() -> list[str]:
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _SCRIPTS if name in installed)]


def _label_classes(axis: Axis, class_names: Sequence[str], inches: float, *, may_turn: bool = False) -> None:
    """Names at the ticks 0, 1, ... of an axis of `inches`: where there are many, in smaller letters, and then only
    every second, third ... name."""
    pitch = inches * _POINTS_PER_INCH / len(class_names)
    size = float(np.clip(pitch / _LINE_HEIGHT, _MIN_SIZE, _MAX_SIZE))
    every = ceil(size * _LINE_HEIGHT / pitch - 0.05)
    ticks = range(0, len(class_names), every)
    turned = may_turn and _longest(class_names) * _LETTER_WIDTH > 0.9 * inches / len(class_names)
    names = [shorten(class_names[tick], _MAX_LETTERS) for tick in ticks]
    axis.set_ticks(ticks, labels=names, rotation=90 if turned else 0, size=size, **text_style())


def _longest(class_names: Sequence[str]) -> int:
    """Letters in the longest label of `_label_classes`."""
    return max(len(shorten(name, _MAX_LETTERS)) for name in class_names)


def style_axes(axes: Axes) -> None:
    """A light grid, and no frame above and on the right."""
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves(rows: Rows, best_epoch: float) -> Figure:
    """Loss and accuracy, train against val, and the learning rate below.

    Args:
        rows: an epoch without a validation has no val/loss. Epochs count from 1.
        best_epoch: is marked; 0 where there is none.
    """
    figure = new_figure(10, 6)
    panels = figure.subplot_mosaic([["loss", "acc"], ["lr", "lr"]], height_ratios=[3, 1])
    for metric, name in (("loss", "loss (cross-entropy)"), ("acc", "accuracy")):
        _draw_metric(panels[metric], rows, metric, best_epoch)
        panels[metric].set_title(name, **TITLE)
    _draw_rate(panels["lr"], rows, best_epoch)
    last = max((row["epoch"] for row in rows), default=1)
    margin = max(0.5, 0.02 * last)
    for axes in panels.values():
        style_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(1 - margin, last + margin)
        if best_epoch:
            axes.axvline(best_epoch, color=_VERMILION, linestyle="--", linewidth=1.2, zorder=1)
    return figure


def _draw_metric(axes: Axes, rows: Rows, metric: str, best_epoch: float) -> None:
    for part in ("train", "val"):
        _plot(axes, rows, f"{part}/{metric}", color=PARTS[part], label=part)
    for row in rows:
        if row["epoch"] == best_epoch and f"val/{metric}" in row:
            value = row[f"val/{metric}"]
            axes.plot([best_epoch], [value], "o", color=_VERMILION, markersize=8, label=f"best: {value:.4f}")
    axes.legend(frameon=False, fontsize=9)


def _draw_rate(axes: Axes, rows: Rows, best_epoch: float) -> None:
    rates = _plot(axes, rows, "lr", color=_PURPLE, drawstyle="steps-mid")
    positive = rates[rates > 0]
    if len(positive) and positive.max() > 20 * positive.min():
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_title("learning rate", **TITLE)
    axes.set_xlabel("epoch" + (f" (dashed: best epoch, {best_epoch:g})" if best_epoch else ""))


def _plot(axes: Axes, rows: Rows, name: str, **style: Any) -> np.ndarray:
    """Draw one metric by epoch, and return its values."""
    measured = [row for row in rows if name in row]
    values = np.array([row[name] for row in measured], dtype=float)
    marker = "." if len(measured) <= _FEW_EPOCHS else None
    axes.plot([row["epoch"] for row in measured], values, linewidth=1.8, marker=marker, markersize=7, **style)
    return values


def draw_confusion_counts(confusion: np.ndarray, class_names: Sequence[str], heading: str) -> Figure:
    """Counts ``int64 [K, K]``, true class by row, predicted by column."""
    largest = max(1, int(confusion.max(initial=0)))
    return _draw_matrix(confusion.astype(float), class_names, heading, "images", largest, "{:.0f}".format)


def draw_confusion_shares(confusion: np.ndarray, class_names: Sequence[str], heading: str) -> Figure:
    """Each row's shares of 1: what a true class was predicted as. A class without images is left white."""
    totals = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
    return _draw_matrix(shares, class_names, heading, "share of the true class", 1.0, _percent)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.005 else "<1%"


def _draw_matrix(
    values: np.ndarray, class_names: Sequence[str], heading: str, unit: str, largest: float, text: Format
) -> Figure:
    classes = len(class_names)
    with_numbers = classes <= _MATRIX_NUMBERS
    side = float(np.clip(0.55 * classes, 3.2, 6) if with_numbers else np.clip(0.11 * classes, 6, 12))  # inches
    room = 0.075 * _longest(class_names) + 0.8  # inches, for the names
    figure = new_figure(side + room + 1.0, side + room)
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="Blues", norm=PowerNorm(_GAMMA, vmin=0, vmax=largest), interpolation="nearest")
    figure.colorbar(image, ax=axes, label=unit, fraction=0.04, pad=0.02)
    _label_classes(axes.xaxis, class_names, side, may_turn=True)
    _label_classes(axes.yaxis, class_names, side)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(heading, **TITLE)
    if with_numbers:
        _write_numbers(axes, values, largest, text, side)
    return figure


def _write_numbers(axes: Axes, values: np.ndarray, largest: float, text: Format, side: float) -> None:
    cell = side * _POINTS_PER_INCH / len(values)  # points
    letters = max((len(text(value)) for value in values.ravel() if np.isfinite(value)), default=1)
    size = min(9.0, 0.9 * cell / (_DIGIT_WIDTH * letters))
    if size < 0.8 * _MIN_SIZE:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and value != 0:
            color = "white" if value > 0.4 * largest else "black"
            number = axes.text(column, row, text(value), ha="center", va="center", color=color, size=size)
            number.set_in_layout(False)  # it is inside: the layout need not measure it


def draw_class_counts(counts: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Counts ``int [K]`` of the images by part, each part on a scale of its own."""
    width = float(np.clip(0.7 * len(class_names), 6, 14))
    figure = new_figure(width, 1.7 * len(counts) + 0.06 * _longest(class_names) + 0.6)
    panels = figure.subplots(len(counts), sharex=True, squeeze=False)[:, 0]
    for axes, (part, numbers) in zip(panels, counts.items(), strict=True):
        bars = axes.bar(np.arange(len(numbers)), numbers, color=PARTS[part], width=0.8)
        if len(class_names) <= _BAR_NUMBERS:
            axes.bar_label(bars, fontsize=8, padding=1)
        axes.margins(x=0.01, y=0.15)
        style_axes(axes)
        low, high = numbers.min(), numbers.max()
        spread = f"{low:,} of each class" if low == high else f"{low:,} to {high:,} of a class"
        axes.set_title(f"{part}: {int(numbers.sum()):,} images, {spread}", **TITLE)
    _label_classes(panels[-1].xaxis, class_names, width - 0.8, may_turn=True)
    return figure


def draw_grid(images: np.ndarray, captions: Sequence[str], heading: str) -> Figure:
    """Images ``uint8 [N, C, H, W]``, each under its caption of one or more lines."""
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    columns = max(1, min(_COLUMNS, len(images)))
    rows = max(1, ceil(len(images) / columns))
    text = lines * _CAPTION * 1.25 / _POINTS_PER_INCH / _CELL  # height of a caption, in cells
    pitch = max((_fit(image)[1] for image in images), default=1.0) + text + 2 * _GAP
    figure = new_figure(max(4.0, columns * _CELL + 0.3), rows * pitch * _CELL + 0.5)
    axes = figure.add_subplot()
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, columns)
        top = row * pitch + text
        width, height = _fit(image)
        left = column + (1 - width) / 2
        pixels = image[:3].transpose(1, 2, 0) if len(image) in (3, 4) else image.mean(0)  # [H, W, 3], or grey
        axes.imshow(pixels, extent=(left, left + width, top + height, top), cmap="gray", vmin=0, vmax=255)
        short = "\n".join(shorten(line, _CAPTION_LETTERS) for line in caption.split("\n"))
        axes.text(column + 0.5, top - 0.02, short, ha="center", va="bottom", size=_CAPTION, **text_style())
    axes.set(xlim=(0, columns), ylim=(rows * pitch, -0.02), aspect="equal")
    axes.set_axis_off()
    axes.set_title(heading, **TITLE)
    return figure


def _fit(image: np.ndarray) -> tuple[float, float]:
    """Width and height in cells of an image ``[C, H, W]``, in its own proportions."""
    height, width = image.shape[1:]
    side = (1 - _GAP) / max(height, width)
    return width * side, height * side


def draw_mistakes(
    part: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    images: Callable[[np.ndarray], np.ndarray],
    count: int,
) -> Figure:
    """A grid of the most confident mistakes: true class, predicted class, and the network's confidence.

    Args:
        labels: ``int64 [N]``.
        probabilities: ``float [N, K]``.
        names: of the K classes.
        images: from indices among the N to ``uint8 [n, C, H, W]``.
        count: how many at most.
    """
    predicted = probabilities.argmax(1)
    chosen = find_mistakes(labels, probabilities, count)
    captions = [
        f"true: {names[labels[index]]}\nseen: {names[predicted[index]]}\n"
        f"{100 * probabilities[index, predicted[index]]:.1f}% sure"
        for index in chosen
    ]
    wrong = int((predicted != labels).sum())
    return draw_grid(images(chosen), captions, f"{part}: the {len(chosen)} most confident of {wrong:,} mistakes")


def find_mistakes(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Indices of the images, at most `count`, that got the wrong class with the most confidence, worst first."""
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    confidence = probabilities[wrong, predicted[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")][:count]


def choose_across_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most `count` images, as evenly of all classes as possible, in the order of the classes."""
    order = np.argsort(labels, kind="stable")
    grouped = labels[order]
    nth_of_class = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    taken = np.argsort(nth_of_class, kind="stable")[:count]
    return order[np.sort(taken)]
