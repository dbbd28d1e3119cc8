"""Which class the network takes for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from lightsweep.reports.pictures import style

_MOST_WITH_NUMBERS = 25  # classes; more numbers would not fit
_LETTER = 0.64  # width of a digit in letters' sizes
_PALE = 0.5  # root of the share that a colour stands for: rare mistakes are seen beside the many that are right


def counts(confusion: np.ndarray, class_names: Sequence[str], heading: str) -> Figure:
    """Draw counts ``int64 [K, K]``, true class by row, predicted by column."""
    largest = max(1, int(confusion.max(initial=0)))
    return _matrix(confusion.astype(float), class_names, heading, "images", largest, _whole)


def row_normalised(confusion: np.ndarray, class_names: Sequence[str], heading: str) -> Figure:
    """Draw each row's shares of 1: what became of a true class. A class without images is left white."""
    totals = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
    return _matrix(shares, class_names, heading, "share of the true class", 1.0, _percent)


def _matrix(values: np.ndarray, class_names: Sequence[str], heading: str, unit: str, largest: float, text) -> Figure:
    side = _side(len(class_names))
    room = 0.075 * style.longest(class_names) + 0.8  # inches, for the names
    figure = style.figure(side + room + 1.0, side + room)
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="Blues", norm=PowerNorm(_PALE, vmin=0, vmax=largest), interpolation="nearest")
    figure.colorbar(image, ax=axes, label=unit, fraction=0.04, pad=0.02)
    style.label_classes(axes.xaxis, class_names, side, rotation=90 if _crowded(class_names, side) else 0)
    style.label_classes(axes.yaxis, class_names, side)
    axes.set(xlabel="predicted class", ylabel="true class")
    style.title(axes, heading)
    if len(class_names) <= _MOST_WITH_NUMBERS:
        _write_numbers(axes, values, largest, text, side)
    return figure


def _side(classes: int) -> float:
    """Inches of the matrix: so many that all names of up to 110 classes can be read."""
    return float(np.clip(0.55 * classes, 3.2, 6.0) if classes <= _MOST_WITH_NUMBERS else np.clip(0.11 * classes, 6, 12))


def _crowded(class_names: Sequence[str], inches: float) -> bool:
    letter = 0.085  # inches, about, of 9 points
    return style.longest(class_names) * letter > 0.95 * inches / len(class_names)


def _write_numbers(axes: Axes, values: np.ndarray, largest: float, text, side: float) -> None:
    cell = side * style.POINTS_PER_INCH / len(values)  # points
    letters = max((len(text(value)) for value in values.ravel() if np.isfinite(value)), default=1)
    size = min(9.0, 0.9 * cell / (_LETTER * letters))
    if size < 0.8 * style.SMALLEST:
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
