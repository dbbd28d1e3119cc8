"""The landscape of a study: the value over its two most important parameters, as a surrogate predicts it."""

import html
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np

from lightsweep.reports.figures import COLOURS, SYMBOLS, Figure, scatter
from lightsweep.reports.importances import Valued
from lightsweep.reports.mattered import describe_surrogate
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.study_figures import BEST, StudyFigures
from lightsweep.reports.surrogate import Surrogate, places_of
from lightsweep.reports.trials import ParameterRange

_GRID = 41  # places along an axis
_UNSURE = [[0.0, "#fdf6e8"], [1.0, "#a86a00"]]  # the surer, the paler


def draw_landscape(drawing: Drawing, view: StudyFigures) -> None:
    """Add the predicted value over the two most important parameters, and its standard deviation."""
    surrogate = view.surrogate
    if view.too_few or view.best is None or surrogate is None or not surrogate.predicts:
        return
    pairs = combinations(
        [name for name in view.importances if name in surrogate.ranges and name in view.best.params], 2
    )
    if (pair := next(pairs, None)) is None:
        return
    names = html.unescape(" and ".join(pair))
    drawing.section("landscape", f"Landscape of {names}", describe_surrogate(surrogate))
    note = (
        "Predicted from the trials, the other parameters as in the best one (star). Dots are completed trials, diamonds"
        " pruned ones, in the colour of their own value."
    )
    draw = cache(partial(_draw_landscape, pair, view, surrogate))
    drawing.add(f"Predicted value over {names}", lambda: draw()[0], note, "tall")
    note = "Where this is large nothing was tried nearby, and the prediction above says little."
    drawing.add(f"Standard deviation of the prediction over {names}", lambda: draw()[1], note, "tall")


def _draw_landscape(pair: tuple[str, str], view: StudyFigures, surrogate: Surrogate) -> tuple[Figure, Figure]:
    """Predicted means, and their standard deviations."""
    assert view.best is not None
    best = view.best.params
    across, up = (places_of(view.ranges[name], _GRID) for name in pair)
    points = [{**best, pair[0]: x, pair[1]: y} for y in up for x in across]
    means, deviations = (found.reshape(len(up), len(across)) for found in surrogate.predict(points))
    shown = [each for each in view.valued if all(name in each.trial.params for name in pair)]
    values = [each.value for each in shown]
    low, high = float(min(means.min(), *values)), float(max(means.max(), *values))
    scales: dict[str, Any] = {"zmin": low, "zmax": high, "colorscale": "Viridis", "reversescale": not view.maximises}
    figures = []
    for heights, title, look in (
        (means, f"predicted {view.metric}", scales),
        (deviations, "standard deviation", {"colorscale": _UNSURE, "zmin": 0.0}),
    ):
        surface = _draw_surface(pair, (across, up), heights, title, look, view.ranges)
        marks = [*_draw_trials(pair, view, shown, look if look is scales else None), _draw_star(pair, view)]
        layout = {
            f"{letter}axis": view.ranges[name].axis() | {"title": {"text": name}}
            for letter, name in zip("xy", pair, strict=True)
        }
        figures.append({"data": [surface, *marks], "layout": layout})
    return figures[0], figures[1]


def _draw_surface(
    pair: tuple[str, str],
    places: tuple[Sequence[Any], Sequence[Any]],
    heights: np.ndarray,
    title: str,
    look: Mapping[str, Any],
    ranges: Mapping[str, ParameterRange],
) -> dict[str, Any]:
    is_smooth = not any(ranges[name].choices for name in pair)
    bar = {"title": {"text": title, "side": "right"}, "thickness": 14, "outlinewidth": 0}
    hover = f"{pair[0]} %{{x}}<br>{pair[1]} %{{y}}<br>{title} %{{z:.4f}}<extra></extra>"
    surface = {
        "x": list(places[0]),
        "y": list(places[1]),
        "z": heights.tolist(),
        "colorbar": bar,
        "hovertemplate": hover,
        **look,
    }
    if is_smooth:
        return surface | {"type": "contour", "ncontours": 12, "line": {"width": 0.5}}
    return surface | {"type": "heatmap"}


def _draw_trials(
    pair: tuple[str, str], view: StudyFigures, shown: Sequence[Valued], look: Mapping[str, Any] | None
) -> Iterator[dict[str, Any]]:
    for status in ("pruned", "completed"):
        members = [each for each in shown if each.is_estimated == (status == "pruned")]
        if not members:
            continue
        x, y = ([view.ranges[name].at(each.trial.params[name]) for each in members] for name in pair)
        marker: dict[str, Any] = {
            "symbol": SYMBOLS[status].removesuffix("-open"),
            "size": 9,
            "line": {"color": "#ffffff", "width": 1.5},
        }
        if look is None:
            marker["color"] = COLOURS[status]
        else:
            marker |= {"color": [each.value for each in members], "cmin": look["zmin"], "cmax": look["zmax"]}
            marker |= {key: look[key] for key in ("colorscale", "reversescale")}
        texts = [f"trial {each.trial.number}: {each.value:.4f}" + ", estimated" * each.is_estimated for each in members]
        yield scatter(
            "markers", x, y, name=status, text=texts, marker=marker, hovertemplate=f"%{{text}}<extra>{status}</extra>"
        )


def _draw_star(pair: tuple[str, str], view: StudyFigures) -> dict[str, Any]:
    assert view.best is not None
    x, y = ([view.ranges[name].at(view.best.params[name])] for name in pair)
    return scatter("markers", x, y, name="best", marker={**BEST}, hovertemplate="the best<extra></extra>")
