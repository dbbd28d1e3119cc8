"""What the trials of a study tell of its parameters: importances, moves around the best point, the landscape.

In words and figures. What comes from a surrogate is shown only if that predicts trials that it has not seen.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from lightsweep.reports.figures import BEST_COLOUR, COLOURS, GREY, Figure, scatter
from lightsweep.reports.importances import MOST, Importance, Valued
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.study_figures import BEST, StudyFigures
from lightsweep.reports.surrogate import Move, Surrogate
from lightsweep.reports.trials import format_number

_EXTRA = (
    "scikit-learn is not installed: pip install 'lightsweep[report]' shows how the value changes around the best trial"
)
_MAX_MOVES, _IN_A_ROW = 8, 4  # parameters around the best point that are drawn
_NOISE = "Not distinguishable from noise"
_FEW = 6  # bars on a low figure
_MAX_WORDS = 3  # parameters that a sentence each is written of


def draw_importances(drawing: Drawing, views: Mapping[str, StudyFigures]) -> None:
    """Add the sections on importances and on what changes around the best trial.

    Args:
        views: the study once for each objective, by the objective's name.
    """
    first = next(iter(views.values()), None)
    if first is None:
        return
    drawing.section("importances", "What mattered", first.too_few)
    for name, view in views.items():
        of = f" for {name}" * (len(views) > 1)
        size = "short" if len(view.importances) <= _FEW else ""
        note = f"{describe_trials(view.valued)} Lines are 95 % intervals."
        drawing.add(f"Importances{of}", partial(_show_importances, drawing, view, of), note, size)
    drawing.section("local", "Around the best trial")
    note = "Each parameter over its range, the others as in the best trial (star). Bands are 95 % intervals."
    for name, view in views.items():
        of = f" for {name}" * (len(views) > 1)
        draw = partial(_show_moves, drawing, view, of)
        drawing.add(f"Predicted values around the best trial{of}", draw, note, "wide")


def _show_importances(drawing: Drawing, view: StudyFigures, of: str) -> Figure | None:
    lines = describe_importances(view.measured)
    drawing.write([f"{of.strip().capitalize()}: {line}" if of else line for line in lines])
    return _draw_bars(view.measured)


def _show_moves(drawing: Drawing, view: StudyFigures, of: str) -> Figure | None:
    if view.too_few or view.best is None or not view.measured:
        return None
    if (surrogate := view.surrogate) is None:
        drawing.write([_EXTRA])
        return None
    drawing.write([describe_surrogate(surrogate, of)])
    drawing.write(describe_moves(view.moves, html.unescape(view.metric)))
    return _draw_moves(view.moves, view) if view.moves else None


def describe_trials(valued: Sequence[Valued]) -> str:
    """Of which trials importances are, as a sentence."""
    estimated = sum(each.is_estimated for each in valued)
    words = f"Of {len(valued)} trials"
    if estimated:
        words += f", of which {estimated} were pruned and count with an estimate of their final value"
    if len(valued) > MOST:
        words += f"; {MOST} of them, from all ranks alike, were taken"
    return words + "."


def describe_importances(measured: Sequence[Importance]) -> list[str]:
    """Which parameters mattered more than random ones, and which did not, a sentence each."""
    if len(measured) < 2:  # the share of one alone is 1
        return []
    clear = [each for each in measured if each.matters][:_MAX_WORDS]
    rest = [each for each in measured if not each.matters]
    lines = []
    for each in clear:
        name, most = html.unescape(each.name), " most" * (each is measured[0])
        lines.append(
            f"{name} mattered{most}: {each.share:.2f} ({each.low:.2f} to {each.high:.2f}), more than noise;"
            f" a random parameter would get up to {_limit(each)}."
        )
    if rest:
        names = [f"{html.unescape(each.name)} {each.share:.2f} ({_limit(each)})" for each in rest]
        lines.append(f"No more than a random parameter would get (in brackets): {_join(names)}. {_NOISE}.")
    return lines


def _limit(each: Importance) -> str:
    return f"{each.line:.2f}" if each.line < 1 else "more than 1"


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def describe_surrogate(surrogate: Surrogate, of: str = "") -> str:
    """Of what it was learned, and how well it predicts."""
    words = f"A Gaussian process of {surrogate.count} trials predicts left-out ones{of}"
    if surrogate.predicts:
        return f"{words}: rank correlation {surrogate.correlation:.2f}."
    return f"{words} no better than their mean does (rank correlation {surrogate.correlation:.2f}): it is not drawn."


def describe_moves(moves: Sequence[Move], metric: str) -> list[str]:
    """What changes the predicted value around the best trial, and what does not, a sentence each."""
    lines = []
    for each in [move for move in moves if move.matters][:_MAX_WORDS]:
        low, middle, high = each.change
        at = html.unescape(each.farthest) if isinstance(each.farthest, str) else format_number(each.farthest)
        share = f"{each.share:.2f} ({each.interval[0]:.2f} to {each.interval[1]:.2f})"
        lines.append(
            f"{html.unescape(each.name)} changed to {at}: predicted {metric} {middle:+.2g} ({low:+.2g} to {high:+.2g}),"
            f" more than noise; {share} of the variance around the best trial."
        )
    rest = [html.unescape(each.name) for each in moves if not each.matters]
    return [*lines, *([f"{_join(rest)}: {_NOISE.lower()}."] if rest else [])]


def _draw_bars(measured: Sequence[Importance]) -> Figure | None:
    """A bar each with its interval, grey where random parameters get as much; None for one alone."""
    if len(measured) < 2:
        return None
    shown = list(reversed(measured))
    names, shares = [each.name for each in shown], [each.share for each in shown]
    reach = {
        "array": [each.high - each.share for each in shown],
        "arrayminus": [each.share - each.low for each in shown],
    }
    texts = [f"{each.share:.2f} ({each.low:.2f} to {each.high:.2f}), random: {_limit(each)}" for each in shown]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "importance",
        "y": names,
        "x": shares,
        "customdata": texts,
        "marker": {"color": [COLOURS["completed"] if each.matters else GREY for each in shown]},
        "opacity": 0.85,
        "error_x": {"type": "data", "symmetric": False, **reach, "color": GREY, "thickness": 1.5, "width": 5},
        "hovertemplate": "%{y}: %{customdata}<extra></extra>",
    }
    marker = {"symbol": "diamond", "size": 9, "color": BEST_COLOUR}
    lines = [min(1.0, each.line) for each in shown]
    hover = "%{y}: a random parameter stays below %{x:.2f}<extra></extra>"
    limits = scatter(
        "markers", lines, names, name="95 of 100 random parameters stay below", marker=marker, hovertemplate=hover
    )
    layout = {
        "xaxis": {"title": {"text": "share of the importances (PED-ANOVA)"}, "range": [0, 1.02]},
        "yaxis": {"type": "category"},
    }
    return {"data": [bars | {"showlegend": False}, limits], "layout": layout}


def _draw_moves(moves: Sequence[Move], view: StudyFigures) -> Figure:
    """A plot a parameter: predicted means with a band of their 95 % interval, and the best trial."""
    figure: Figure = {"data": [], "layout": {"showlegend": False}}
    shown = moves[:_MAX_MOVES]
    rows, columns = -(-len(shown) // _IN_A_ROW), min(len(shown), _IN_A_ROW)
    for index, move in enumerate(shown):
        row, column = divmod(index, _IN_A_ROW)
        number = str(index + 1) if index else ""
        title = f"{move.name}: {move.share:.2f}"
        axis = view.ranges[move.name].axis() | {"domain": [column / columns, (column + 0.87) / columns]}
        figure["layout"][f"xaxis{number}"] = axis | {"anchor": f"y{number}", "title": {"text": title}}
        bottom = 1 - (row + 1) / rows + (0.3 / rows if rows > 1 else 0)
        height: dict[str, Any] = {"domain": [bottom, 1 - row / rows], "anchor": f"x{number}"}
        height |= {"showticklabels": column == 0} | ({"matches": "y"} if index else {})
        figure["layout"][f"yaxis{number}"] = height | (
            {} if column else {"title": {"text": f"predicted {view.metric}"}}
        )
        for trace in _draw_move(move, view):
            figure["data"].append(trace | {"xaxis": f"x{number}", "yaxis": f"y{number}"})
    return figure


def _draw_move(move: Move, view: StudyFigures) -> Iterator[dict[str, Any]]:
    searched = view.ranges[move.name]
    colour = COLOURS["completed"] if move.matters else GREY
    reach = 1.96 * move.deviations
    hover = f"{move.name} %{{x}}: %{{y:.4f}}<extra></extra>"
    if searched.choices:
        error = {"type": "data", "array": reach.tolist(), "color": GREY, "thickness": 1.5}
        yield scatter(
            "markers",
            move.places,
            move.means.tolist(),
            error_y=error,
            marker={"color": colour, "size": 9},
            hovertemplate=hover,
        )
    else:
        places = list(move.places)
        band = [*(move.means + reach).tolist(), *(move.means - reach).tolist()[::-1]]
        fill = {"fill": "toself", "fillcolor": "rgba(138,148,160,0.25)", "line": {"width": 0}, "hoverinfo": "skip"}
        yield scatter("lines", [*places, *places[::-1]], band, **fill)
        yield scatter("lines", places, move.means.tolist(), line={"color": colour, "width": 2.5}, hovertemplate=hover)
    assert view.best is not None
    at, value = searched.at(view.best.params[move.name]), view.best.value
    yield scatter("markers", [at], [value], marker={**BEST}, hovertemplate="the best trial: %{y:.4f}<extra></extra>")
