"""The picture of an ensemble: its score by the number of picks."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightsweep.reports import pictures


def draw(metric: str, scores: Sequence[tuple[float, float]]) -> Figure:
    """The ensemble's score on both halves of the validation images.

    Args:
        metric: its name, ``val/acc``.
        scores: of the first picks, one, two and so on, on the half that chooses and on the half that confirms; the
            first pick is the best single network.
    """
    figure = pictures.new_figure(8, 4.2)
    axes = figure.add_subplot()
    counts = range(1, len(scores) + 1)
    marker = "." if len(scores) <= 40 else None
    for index, (name, part) in enumerate((("half that chooses", "train"), ("half that confirms", "val"))):
        values, color = [each[index] for each in scores], pictures.PARTS[part]
        axes.plot(counts, values, color=color, label=name, marker=marker, markersize=8, linewidth=1.8)
        axes.axhline(values[0], color=color, linestyle=":", linewidth=1.4, label="the best single network there")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("picks, with replacement")
    axes.set_title(f"{metric} of the ensemble", **pictures.TITLE)
    axes.legend(frameon=False, fontsize=9, ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    pictures.style_axes(axes)
    return figure
