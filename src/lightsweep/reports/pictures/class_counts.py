"""How many images of each class there are in each part of the data."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lightsweep.reports.pictures import style

_MOST_WITH_NUMBERS = 12  # classes


def class_counts(counts: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Draw counts ``int [K]`` by part, each part on a scale of its own."""
    width = float(np.clip(0.7 * len(class_names), 6, 14))
    figure = style.figure(width, 1.7 * len(counts) + 0.06 * style.longest(class_names) + 0.6)
    panels = figure.subplots(len(counts), sharex=True, squeeze=False)[:, 0]
    for axes, (part, numbers) in zip(panels, counts.items(), strict=True):
        bars = axes.bar(np.arange(len(numbers)), numbers, color=style.PARTS[part], width=0.8)
        if len(class_names) <= _MOST_WITH_NUMBERS:
            axes.bar_label(bars, fontsize=8, padding=1)
        axes.margins(x=0.01, y=0.15)
        style.quiet(axes)
        style.title(axes, f"{part}: {int(numbers.sum()):,} images{_spread(numbers)}")
    style.label_classes(panels[-1].xaxis, class_names, width - 0.8, rotation=_rotation(class_names, width))
    return figure


def _spread(numbers: np.ndarray) -> str:
    if numbers.min() == numbers.max():
        return f", {numbers.min():,} of each class"
    return f", {numbers.min():,} to {numbers.max():,} of a class"


def _rotation(class_names: Sequence[str], inches: float) -> float:
    letter = 0.085
    return 90 if style.longest(class_names) * letter > 0.9 * (inches - 0.8) / len(class_names) else 0
