"""Images in a grid, with what they are above each."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.figure import Figure

from lightsweep.core.text import shorten
from lightsweep.reports.pictures import style

_COLUMNS = 8
_CELL = 1.2  # inches
_GAP = 0.06  # of a cell, between images
_LETTERS = 19  # that fit above an image
_SIZE = 7.5  # points of a caption


def grid(images: np.ndarray, captions: Sequence[str], heading: str) -> Figure:
    """Draw images ``uint8 [N, C, H, W]``, each under its caption of one or more lines."""
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    columns = max(1, min(_COLUMNS, len(images)))
    rows = max(1, ceil(len(images) / columns))
    text = lines * _SIZE * 1.25 / style.POINTS_PER_INCH / _CELL  # height of a caption, in cells
    tallest = max((_fitted(image)[1] for image in images), default=1.0)
    pitch = tallest + text + 2 * _GAP
    figure = style.figure(max(4.0, columns * _CELL + 0.3), rows * pitch * _CELL + 0.5)
    axes = figure.add_subplot()
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, columns)
        top = row * pitch + text
        width, height = _fitted(image)
        left = column + (1 - width) / 2
        axes.imshow(_pixels(image), extent=(left, left + width, top + height, top), cmap="gray", vmin=0, vmax=255)
        short = "\n".join(shorten(line, _LETTERS) for line in caption.split("\n"))
        axes.text(column + 0.5, top - 0.02, short, ha="center", va="bottom", size=_SIZE, **style.plain())
    axes.set(xlim=(0, columns), ylim=(rows * pitch, -0.02), aspect="equal")
    axes.set_axis_off()
    style.title(axes, heading)
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
