"""Pictures of a run: plain values in, a matplotlib Figure out. Nothing here knows a folder, a logger or a display.

matplotlib takes half a second to import: import a module of this package where it is about to draw.
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

# Okabe & Ito (2008).
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
PARTS = {"train": BLUE, "val": ORANGE, "test": GREEN}

DOTS_PER_INCH = 110
POINTS_PER_INCH = 72
SMALLEST = 6.0  # points; smaller letters cannot be read
_LARGEST = 9.0
_LINE = 1.25  # a line's height in letters' sizes
_SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Arabic", "Noto Sans Devanagari")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, drawn by Agg, that makes room for its labels."""
    room = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.07)  # inches
    made = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=room)
    FigureCanvasAgg(made)
    return made


def render_png(drawn: Figure) -> bytes:
    """The figure as a PNG file."""
    canvas = drawn.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for it
        canvas.draw()  # savefig would draw twice
    buffer = BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(buffer, "png")
    return buffer.getvalue()


def plain_text_style() -> dict[str, Any]:
    """How text is drawn that somebody else chose, a class's name: never as mathematics, in any script there is."""
    return {"parse_math": False, "family": _families()}


@cache
def _families() -> list[str]:
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _SCRIPTS if name in installed)]


def label_classes(
    axis: Axis, class_names: Sequence[str], inches: float, *, rotation: float = 0, most: int = 18
) -> None:
    """Names at the ticks 0, 1, ... of an axis that is `inches` long: in smaller letters, and then only every second,
    third ... name, where there are many."""
    pitch = inches * POINTS_PER_INCH / len(class_names)
    size = float(np.clip(pitch / _LINE, SMALLEST, _LARGEST))
    every = ceil(size * _LINE / pitch - 0.05)
    ticks = range(0, len(class_names), every)
    names = [shorten(class_names[tick], most) for tick in ticks]
    axis.set_ticks(ticks, labels=names, rotation=rotation, size=size, **plain_text_style())


def longest_label(class_names: Sequence[str], most: int = 18) -> int:
    """Letters in the longest label that `label_classes` makes."""
    return max(len(shorten(name, most)) for name in class_names)


def set_title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold")


def style_axes(axes: Axes) -> None:
    """A light grid, and no frame where nothing ends."""
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


_FEW = 40  # epochs; as many dots can be told apart


def draw_curves(rows: Sequence[Mapping[str, float]], best_epoch: float) -> Figure:
    """Draw the rows of metrics.csv; an epoch without a validation has no val/loss. Epochs count from 1.

    Args:
        best_epoch: is marked; 0 where there is none.
    """
    figure = new_figure(10, 6)
    panels = figure.subplot_mosaic([["loss", "acc"], ["lr", "lr"]], height_ratios=[3, 1])
    for metric, name in (("loss", "loss (cross-entropy)"), ("acc", "accuracy")):
        _compare(panels[metric], rows, metric, best_epoch)
        set_title(panels[metric], name)
    _rate(panels["lr"], rows, best_epoch)
    for axes in panels.values():
        style_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _room_for(axes, rows)
    return figure


def _compare(axes: Axes, rows: Sequence[Mapping[str, float]], metric: str, best_epoch: float) -> None:
    for part in ("train", "val"):
        epochs, values = _column(rows, f"{part}/{metric}")
        axes.plot(epochs, values, color=PARTS[part], label=part, **_line(epochs))
    _mark(axes, best_epoch)
    for row in rows:
        if row["epoch"] == best_epoch and f"val/{metric}" in row:
            value = row[f"val/{metric}"]
            axes.plot([best_epoch], [value], "o", color=VERMILION, markersize=8, label=f"best: {value:.4f}")
    axes.legend(frameon=False, fontsize=9)


def _rate(axes: Axes, rows: Sequence[Mapping[str, float]], best_epoch: float) -> None:
    epochs, rates = _column(rows, "lr")
    axes.plot(epochs, rates, color=PURPLE, drawstyle="steps-mid", **_line(epochs))
    positive = rates[rates > 0]
    if len(positive) and positive.max() > 20 * positive.min():
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    set_title(axes, "learning rate")
    axes.set_xlabel("epoch" + (f" (dashed: best epoch, {best_epoch:g})" if best_epoch else ""))
    _mark(axes, best_epoch)


def _mark(axes: Axes, best_epoch: float) -> None:
    if best_epoch:
        axes.axvline(best_epoch, color=VERMILION, linestyle="--", linewidth=1.2, zorder=1)


def _column(rows: Sequence[Mapping[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(row["epoch"], row[name]) for row in rows if name in row]
    return np.array([epoch for epoch, _ in pairs]), np.array([value for _, value in pairs], dtype=float)


def _line(epochs: np.ndarray) -> dict:
    return {"linewidth": 1.8, "marker": "." if len(epochs) <= _FEW else None, "markersize": 7}


def _room_for(axes: Axes, rows: Sequence[Mapping[str, float]]) -> None:
    last = max((row["epoch"] for row in rows), default=1)
    margin = max(0.5, 0.02 * last)
    axes.set_xlim(1 - margin, last + margin)


_MOST_WITH_NUMBERS = 25  # classes; more numbers would not fit
_LETTER = 0.64  # width of a digit in letters' sizes
_PALE = 0.5  # root of the share that a colour stands for: rare mistakes are seen beside the many that are right


def draw_confusion_counts(confusion: np.ndarray, class_names: Sequence[str], heading: str) -> Figure:
    """Draw counts ``int64 [K, K]``, true class by row, predicted by column."""
    largest = max(1, int(confusion.max(initial=0)))
    return _matrix(confusion.astype(float), class_names, heading, "images", largest, _whole)


def draw_confusion_shares(confusion: np.ndarray, class_names: Sequence[str], heading: str) -> Figure:
    """Draw each row's shares of 1: what became of a true class. A class without images is left white."""
    totals = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
    return _matrix(shares, class_names, heading, "share of the true class", 1.0, _percent)


def _matrix(values: np.ndarray, class_names: Sequence[str], heading: str, unit: str, largest: float, text) -> Figure:
    side = _side(len(class_names))
    room = 0.075 * longest_label(class_names) + 0.8  # inches, for the names
    figure = new_figure(side + room + 1.0, side + room)
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="Blues", norm=PowerNorm(_PALE, vmin=0, vmax=largest), interpolation="nearest")
    figure.colorbar(image, ax=axes, label=unit, fraction=0.04, pad=0.02)
    label_classes(axes.xaxis, class_names, side, rotation=90 if _crowded(class_names, side) else 0)
    label_classes(axes.yaxis, class_names, side)
    axes.set(xlabel="predicted class", ylabel="true class")
    set_title(axes, heading)
    if len(class_names) <= _MOST_WITH_NUMBERS:
        _write_numbers(axes, values, largest, text, side)
    return figure


def _side(classes: int) -> float:
    """Inches of the matrix: so many that all names of up to 110 classes can be read."""
    return float(np.clip(0.55 * classes, 3.2, 6.0) if classes <= _MOST_WITH_NUMBERS else np.clip(0.11 * classes, 6, 12))


def _crowded(class_names: Sequence[str], inches: float) -> bool:
    letter = 0.085  # inches, about, of 9 points
    return longest_label(class_names) * letter > 0.95 * inches / len(class_names)


def _write_numbers(axes: Axes, values: np.ndarray, largest: float, text, side: float) -> None:
    cell = side * POINTS_PER_INCH / len(values)  # points
    letters = max((len(text(value)) for value in values.ravel() if np.isfinite(value)), default=1)
    size = min(9.0, 0.9 * cell / (_LETTER * letters))
    if size < 0.8 * SMALLEST:
        return
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value) or value == 0:
            continue
        color = "white" if value > 0.4 * largest else "black"
        number = axes.text(column, row, text(value), ha="center", va="center", color=color, size=size)
        number.set_in_layout(False)  # inside: the layout need not measure it


def _whole(count: float) -> str:
    return f"{count:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.005 else "<1%"


_MOST_WITH_NUMBERS_class_counts = 12  # classes


def draw_class_counts(counts: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Draw counts ``int [K]`` by part, each part on a scale of its own."""
    width = float(np.clip(0.7 * len(class_names), 6, 14))
    figure = new_figure(width, 1.7 * len(counts) + 0.06 * longest_label(class_names) + 0.6)
    panels = figure.subplots(len(counts), sharex=True, squeeze=False)[:, 0]
    for axes, (part, numbers) in zip(panels, counts.items(), strict=True):
        bars = axes.bar(np.arange(len(numbers)), numbers, color=PARTS[part], width=0.8)
        if len(class_names) <= _MOST_WITH_NUMBERS_class_counts:
            axes.bar_label(bars, fontsize=8, padding=1)
        axes.margins(x=0.01, y=0.15)
        style_axes(axes)
        set_title(axes, f"{part}: {int(numbers.sum()):,} images{_spread(numbers)}")
    label_classes(panels[-1].xaxis, class_names, width - 0.8, rotation=_rotation(class_names, width))
    return figure


def _spread(numbers: np.ndarray) -> str:
    if numbers.min() == numbers.max():
        return f", {numbers.min():,} of each class"
    return f", {numbers.min():,} to {numbers.max():,} of a class"


def _rotation(class_names: Sequence[str], inches: float) -> float:
    letter = 0.085
    return 90 if longest_label(class_names) * letter > 0.9 * (inches - 0.8) / len(class_names) else 0


_COLUMNS = 8
_CELL = 1.2  # inches
_GAP = 0.06  # of a cell, between images
_LETTERS = 19  # that fit above an image
_SIZE = 7.5  # points of a caption


def draw_grid(images: np.ndarray, captions: Sequence[str], heading: str) -> Figure:
    """Draw images ``uint8 [N, C, H, W]``, each under its caption of one or more lines."""
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    columns = max(1, min(_COLUMNS, len(images)))
    rows = max(1, ceil(len(images) / columns))
    text = lines * _SIZE * 1.25 / POINTS_PER_INCH / _CELL  # height of a caption, in cells
    tallest = max((_fitted(image)[1] for image in images), default=1.0)
    pitch = tallest + text + 2 * _GAP
    figure = new_figure(max(4.0, columns * _CELL + 0.3), rows * pitch * _CELL + 0.5)
    axes = figure.add_subplot()
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, columns)
        top = row * pitch + text
        width, height = _fitted(image)
        left = column + (1 - width) / 2
        axes.imshow(_pixels(image), extent=(left, left + width, top + height, top), cmap="gray", vmin=0, vmax=255)
        short = "\n".join(shorten(line, _LETTERS) for line in caption.split("\n"))
        axes.text(column + 0.5, top - 0.02, short, ha="center", va="bottom", size=_SIZE, **plain_text_style())
    axes.set(xlim=(0, columns), ylim=(rows * pitch, -0.02), aspect="equal")
    axes.set_axis_off()
    set_title(axes, heading)
    return figure


def _fitted(image: np.ndarray) -> tuple[float, float]:
    """Width and height in cells of an image ``[C, H, W]`` that keeps its shape."""
    height, width = image.shape[1:]
    side = (1 - _GAP) / max(height, width)
    return width * side, height * side


def _pixels(image: np.ndarray) -> np.ndarray:
    """``uint8 [C, H, W]`` -> ``[H, W, 3]`` where there is colour, else grey ``[H, W]``."""
    if len(image) in (3, 4):
        return image[:3].transpose(1, 2, 0)
    return image.mean(0)


def draw_mistakes(
    part: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    images: Callable[[np.ndarray], np.ndarray],
    count: int,
) -> Figure:
    """A grid of them, each with its true class, the class that was seen, and how sure of it the network was.

    Args:
        part: train, val or test.
        labels: ``int64 [N]``.
        probabilities: ``float [N, K]``.
        names: of the K classes.
        images: from places among the N to ``uint8 [n, C, H, W]``.
        count: how many at most.
    """
    chosen = find_mistakes(labels, probabilities, count)
    captions = [
        f"true: {names[labels[place]]}\nseen: {names[seen]}\n{100 * probabilities[place, seen]:.1f}% sure"
        for place, seen in zip(chosen, probabilities[chosen].argmax(1), strict=True)
    ]
    wrong = int((probabilities.argmax(1) != labels).sum())
    return draw_grid(images(chosen), captions, f"{part}: the {len(chosen)} most confident of {wrong:,} mistakes")


def find_mistakes(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Places of the images, at most `count`, that got the wrong class with the most confidence, worst first.

    Args:
        labels: ``int64 [N]``.
        probabilities: ``float [N, K]``.
    """
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    confidence = probabilities[wrong, predicted[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")][:count]


def choose_across_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Places of at most `count` images, as many of each class as there is room for, in the order of the classes."""
    order = np.argsort(labels, kind="stable")
    grouped = labels[order]
    nth_of_class = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    taken = np.argsort(nth_of_class, kind="stable")[:count]
    return order[np.sort(taken)]
