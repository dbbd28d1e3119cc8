"""Optuna's figures in the page's style."""

import json
from collections.abc import Mapping
from typing import Any

from lightsweep.reports.figures import COLOURS, SCALE, Figure


def plain_figure(figure: Any) -> Figure:
    """Without the template and the title, which the page has, and with our colours for theirs."""
    content = json.loads(figure.to_json())
    for name in ("template", "title"):
        content["layout"].pop(name, None)
    for trace in content["data"]:
        if trace.get("type") == "contour":
            trace["colorscale"] = "Viridis"
    return content


def bars(shares: Mapping[str, float], title: str) -> Figure:
    """A bar each, the largest above, with its number."""
    names = list(shares)[::-1]
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [shares[name] for name in names],
        "text": [f"{shares[name]:.2f}" for name in names],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": COLOURS["completed"]},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    room = 1.25 * max(shares.values())  # for the numbers at the bars
    layout = {"xaxis": {"title": {"text": title}, "range": [0, room]}, "yaxis": {"type": "category"}}
    return {"data": [trace], "layout": layout | {"showlegend": False}}


def colour_at(share: float) -> str:
    """Of `SCALE` at a share in [0, 1]."""
    low, high = (SCALE[0], SCALE[1]) if share < 0.5 else (SCALE[1], SCALE[2])
    part = min(1.0, max(0.0, (share - low[0]) / 0.5))
    ends = [[int(str(end[1])[start : start + 2], 16) for start in (1, 3, 5)] for end in (low, high)]
    mixed = (round(one + (other - one) * part) for one, other in zip(*ends, strict=True))
    return f"rgb({','.join(map(str, mixed))})"
