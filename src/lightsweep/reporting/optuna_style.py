"""Optuna's figures in the page's style."""

import json
from typing import Any

from lightsweep.reporting.figures import SCALE, Figure


def plain_figure(figure: Any) -> Figure:
    """Without the template and the title, which the page has, and with our colours for theirs."""
    content = json.loads(figure.to_json())
    for name in ("template", "title"):
        content["layout"].pop(name, None)
    for trace in content["data"]:
        if trace.get("type") == "contour":
            trace["colorscale"] = "Viridis"
        elif "colorscale" in trace.get("marker", {}):
            trace["marker"]["colorscale"] = SCALE
    _label_decades(content)
    return content


def _label_decades(figure: Figure) -> None:
    """On logarithmic axes a label a decade, or one at each end: plotly crowds twos and fives between."""
    for trace in figure["data"]:
        for letter in "xy":
            name = trace.get(f"{letter}axis", letter)
            axis = figure["layout"].get(name.replace(letter, f"{letter}axis"), {})
            values = [value for value in trace.get(letter, []) if isinstance(value, int | float) and value > 0]
            if axis.get("type") != "log" or not values:
                continue
            ends = [min(values), max(values)]
            axis |= (
                {"dtick": 1}
                if ends[1] >= 100 * ends[0]
                else {"tickvals": ends, "ticktext": [f"{end:.2g}" for end in ends]}
            )


def one_scale(figure: Figure) -> None:
    """Colours that mean the same in all traces: plotly would give each its own scale, and show the first one's."""
    markers = [trace["marker"] for trace in figure["data"] if isinstance(trace["marker"].get("color"), list)]
    numbers = [number for marker in markers for number in marker["color"]]
    for marker in markers:
        marker |= {"cmin": min(numbers), "cmax": max(numbers)}


def in_rows(figure: Figure, most: int) -> None:
    """Lay subplots that stand in one row out in rows of at most so many, where there are more."""
    layout = figure["layout"]
    count = sum(name.startswith("xaxis") for name in layout)
    rows = -(-count // most)
    if rows < 2:
        return
    for index in range(count):
        row, column = divmod(index, most)
        number = str(index + 1) if index else ""
        top, bottom = 1 - row / rows, 1 - (row + 1) / rows
        layout[f"xaxis{number}"]["domain"] = [column / most, (column + 0.85) / most]
        layout[f"yaxis{number}"] |= {"domain": [bottom + 0.3 / rows, top], "showticklabels": column == 0}
        if column == 0:
            layout[f"yaxis{number}"]["title"] = layout["yaxis"]["title"]


def colour_at(share: float) -> str:
    """Of `SCALE` at a share in [0, 1]."""
    low, high = (SCALE[0], SCALE[1]) if share < 0.5 else (SCALE[1], SCALE[2])
    part = min(1.0, max(0.0, (share - low[0]) / 0.5))
    ends = [[int(str(end[1])[start : start + 2], 16) for start in (1, 3, 5)] for end in (low, high)]
    mixed = (round(one + (other - one) * part) for one, other in zip(*ends, strict=True))
    return f"rgb({','.join(map(str, mixed))})"
