"""What all pictures share: colours that colour-blind people tell apart, a canvas without a display, labels that fit."""

import warnings
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
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


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, drawn by Agg, that makes room for its labels."""
    room = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.07)  # inches
    made = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=room)
    FigureCanvasAgg(made)
    return made


def png(drawn: Figure) -> bytes:
    """The figure as a PNG file."""
    canvas = drawn.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for it
        canvas.draw()  # savefig would draw twice
    buffer = BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(buffer, "png")
    return buffer.getvalue()


def plain() -> dict[str, Any]:
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
    axis.set_ticks(ticks, labels=names, rotation=rotation, size=size, **plain())


def longest(class_names: Sequence[str], most: int = 18) -> int:
    """Letters in the longest label that `label_classes` makes."""
    return max(len(shorten(name, most)) for name in class_names)


def title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold")


def quiet(axes: Axes) -> None:
    """A light grid, and no frame where nothing ends."""
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
