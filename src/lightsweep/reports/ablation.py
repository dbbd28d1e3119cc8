"""The figures of an ablation, for the page and as a PNG: the score along its path, and what each change is worth."""

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from lightsweep.core.text import shorten
from lightsweep.reports.columns import escape_tags
from lightsweep.reports.figures import BEST_COLOUR, COLOURS, GREY, Figure, label_axes, scatter
from lightsweep.reports.page.drawing import Drawing
from lightsweep.sweeper.ablation_results import Ablation, Effect, format_effect, read_ablation

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

PICTURE_FILE = "ablation.png"
_LETTERS = 44  # of a change's name


def add_section(drawing: Drawing, folder: Path | None) -> None:
    """Add the ablation of a sweep's folder; nothing where there is none that can be read."""
    found = None if folder is None else read_ablation(folder)
    if found is None:
        return
    drawing.section("ablation", "What each change is worth")
    drawing.write(line if line.endswith(".") else f"{line}." for line in found.lines)
    note = f"Means of {len(found.seeds)} runs with seeds that have chosen nothing; bars are 95 % intervals."
    if found.method == "path":
        drawing.add("Along the path", lambda: draw_path(found), f"From {found.start} to {found.end}. {note}")
    drawing.add("What each change is worth", lambda: draw_effects(found), _note_effects(found), "short")


def _note_effects(found: Ablation) -> str:
    beside = "on top of the changes above it" if found.method == "path" else "beside all other changes"
    share = "; % is the share of the whole difference" if _whole(found) else ""
    return f"Differences of {found.metric}, each {beside}, with 95 % intervals{share}. Grey: within noise."


def _whole(found: Ablation) -> float | None:
    """The whole difference, where it is more than noise: shares of anything else mean nothing."""
    whole = found.whole
    return whole.test.difference if whole is not None and whole.test and whole.is_more_than_noise else None


def list_labels(found: Ablation) -> list[str]:
    """The points of a path: its start, and what each step changes; numbered, as two may be called the same."""
    labels = [f"start: {found.start}", *(f"{index}. {each.title}" for index, each in enumerate(found.effects, 1))]
    return [shorten(label, _LETTERS) for label in labels]


def _list_bars(found: Ablation) -> list[tuple[str, Effect, str]]:
    """The label, the effect and the text of each bar."""
    whole, bars = _whole(found), []
    for index, effect in enumerate(found.effects, 1):
        if effect.test is None:
            continue
        share = f", {100 * effect.test.difference / whole:.0f} %" if whole else ""
        text = format_effect(effect.test.difference, effect.half_width) + share
        bars.append((shorten(f"{index}. {effect.title}", _LETTERS), effect, text))
    return bars


def draw_path(found: Ablation) -> Figure | None:
    """The mean at each point of the path with its 95 % interval, and the single runs."""
    labels = list_labels(found)
    known = [(escape_tags(label), point.values) for label, point in zip(labels, found.points, strict=True)]
    known = [(label, values) for label, values in known if values]
    if len(known) < 2:
        return None
    names, means = [label for label, _ in known], [fmean(values) for _, values in known]
    half = [found.mean_interval(values) or 0.0 for _, values in known]
    line = scatter(
        "lines+markers",
        names,
        means,
        name="mean",
        line={"color": COLOURS["completed"], "width": 2},
        marker={"size": 9, "color": COLOURS["completed"]},
        error_y={"type": "data", "array": half, "color": COLOURS["completed"]},
        hovertemplate="%{x}<br>%{y:.4f}<extra>mean</extra>",
    )
    single = [(label, value) for label, values in known for value in values]
    runs = scatter(
        "markers",
        [label for label, _ in single],
        [value for _, value in single],
        name="run",
        marker={"size": 6, "color": GREY, "symbol": "circle-open"},
        hovertemplate="%{x}<br>%{y:.4f}<extra>run</extra>",
    )
    layout = label_axes("", found.metric)
    layout["xaxis"] |= {"type": "category", "automargin": True}
    return {"data": [runs, line], "layout": layout}


def draw_effects(found: Ablation) -> Figure | None:
    """A bar for each change, with its 95 % interval, in the order of the path from above."""
    bars = _list_bars(found)
    if not bars:
        return None
    differences = [effect.test.difference for _, effect, _ in bars if effect.test]
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [escape_tags(label) for label, _, _ in bars],
        "x": differences,
        "text": [escape_tags(text) for _, _, text in bars],
        "textposition": "none",
        "showlegend": False,
        "marker": {"color": [_colour(effect, maximises=found.maximises) for _, effect, _ in bars]},
        "error_x": {"type": "data", "array": [effect.half_width or 0.0 for _, effect, _ in bars], "color": GREY},
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
    }
    ends = [max(0.0, each.test.difference + (each.half_width or 0.0)) for _, each, _ in bars if each.test]
    texts = scatter(
        "text",
        ends,
        [escape_tags(label) for label, _, _ in bars],
        text=[f"  {escape_tags(text)}" for _, _, text in bars],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    low = min(0.0, *(each.test.difference - (each.half_width or 0.0) for _, each, _ in bars if each.test))
    span = max(*ends, 0.0) - low
    layout = label_axes(f"difference of {found.metric}", "")
    layout["xaxis"]["range"] = [low - 0.05 * span, low + 1.4 * span] if span else None  # room for the texts
    layout["yaxis"] |= {"type": "category", "autorange": "reversed", "automargin": True}
    return {"data": [trace, texts], "layout": layout}


def _colour(effect: Effect, *, maximises: bool) -> str:
    if not effect.is_more_than_noise or effect.test is None:
        return GREY
    return COLOURS["completed"] if (effect.test.difference > 0) == maximises else BEST_COLOUR


def draw_picture(found: Ablation) -> "Picture":
    """Both figures in one, of matplotlib."""
    from lightsweep.reports import pictures

    bars, has_path = _list_bars(found), found.method == "path"
    rows = max(3.0, 0.5 * len(bars) + 1.2)
    figure = pictures.new_figure(11 if has_path else 8, rows)
    panels = figure.subplots(1, 2 if has_path else 1, squeeze=False)[0]
    style = pictures.text_style()
    if has_path:
        axes, labels = panels[0], list_labels(found)
        known = [(index, point.values) for index, point in enumerate(found.points) if point.values]
        height = [-index for index, _ in known]
        half = [found.mean_interval(values) or 0.0 for _, values in known]
        for index, values in known:
            axes.plot(values, [-index] * len(values), "o", color=GREY, markersize=4, fillstyle="none", zorder=1)
        means = [fmean(values) for _, values in known]
        axes.errorbar(means, height, xerr=half, marker="o", color=COLOURS["completed"], capsize=3, linewidth=1.6)
        axes.set_yticks([-index for index in range(len(labels))], labels=labels, fontsize=8, **style)
        axes.set_title(shorten(f"{found.metric} along the path", 60), **pictures.TITLE, **style)
        pictures.style_axes(axes)
    axes = panels[-1]
    for index, (_, effect, text) in enumerate(bars):
        assert effect.test is not None
        colour = _colour(effect, maximises=found.maximises)
        axes.barh(-index, effect.test.difference, color=colour, height=0.6, alpha=0.75)
        axes.errorbar(effect.test.difference, -index, xerr=effect.half_width or 0.0, color="#333333", capsize=3)
        reach = max(0.0, effect.test.difference) + (effect.half_width or 0.0)
        axes.text(reach, -index, f"  {text}", va="center", ha="left", fontsize=8)
    axes.axvline(0.0, color="#555555", linewidth=0.9)
    axes.margins(x=0.25)
    labels = [label.partition(" ")[0] if has_path else label for label, _, _ in bars]  # the numbers are on the left
    axes.set_yticks([-index for index in range(len(bars))], labels=labels, fontsize=8, **style)
    axes.set_title("what each change is worth, 95 % intervals", **pictures.TITLE)
    pictures.style_axes(axes)
    return figure


def write_picture(folder: Path) -> Path | None:
    """Write the PNG beside ablation.json; None where that cannot be read."""
    from lightsweep.core.files import replace_atomically
    from lightsweep.reports import pictures

    if (found := read_ablation(folder)) is None:
        return None
    file = folder / PICTURE_FILE
    content = pictures.render_png(draw_picture(found))
    with replace_atomically(file) as temporary:
        temporary.write_bytes(content)
    return file
