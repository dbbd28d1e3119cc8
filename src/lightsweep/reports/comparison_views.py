"""A comparison on the terminal and as a page."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from lightsweep.core.text import printable_line
from lightsweep.reports import figures, page
from lightsweep.reports.columns import format_value
from lightsweep.reports.comparison import Comparison, Group, subtract_shares
from lightsweep.reports.page import Drawing, describe_column, text_cell
from lightsweep.reports.runs import read_curve
from lightsweep.reports.table_text import open_console, print_grid, print_line

_MOST_CLASSES = 20  # on the terminal
_CURVES = 4  # metrics that are drawn on the page
_MATRICES = 4  # differences of confusion matrices on the page


def print_comparison(comparison: Comparison) -> None:
    """Print what differs, the scores, the curves, the tests and the classes."""
    console = open_console()
    for group in comparison.groups:
        seeds = f" (n = {len(group.runs)})" if len(group.runs) > 1 else ""
        print_line(console, f"{group.label}  {printable_line(group.name)}{seeds}")
    for note in comparison.notes:
        print_line(console, printable_line(note))
    _print_rows(console, "config keys that differ", comparison, comparison.setting_rows)
    _print_rows(console, "scores", comparison, comparison.score_rows)
    _print_rows(console, f"{comparison.monitor} by epoch", comparison, _curve_rows(comparison))
    for line in comparison.test_lines:
        print_line(console, line)
    if comparison.confusions is None:
        print_line(console, "no class report: not all groups have confusion counts of the same classes")
        return
    title = f"recall by class ({comparison.confusions.part}), largest difference first"
    _print_rows(console, title, comparison, _recall_rows(comparison))
    for line in comparison.trade_lines:
        print_line(console, line)


def _print_rows(console: Console, title: str, comparison: Comparison, rows: Sequence[Sequence[str]]) -> None:
    if rows:
        print_line(console, "")
        print_grid(console, [(title, True), *((group.label, False) for group in comparison.groups)], rows)


def _curve_rows(comparison: Comparison) -> list[list[str]]:
    """The monitored metric at five epochs."""
    curves = [_mean_curve(group, comparison.monitor) for group in comparison.groups]
    last = max((max(curve, default=0) for curve in curves), default=0)
    epochs = sorted({max(1, round(last * share)) for share in (0, 0.25, 0.5, 0.75, 1)}) if last else []
    return [
        [f"epoch {epoch}", *(format_value(comparison.monitor, curve.get(epoch)) for curve in curves)]
        for epoch in epochs
    ]


def _mean_curve(group: Group, metric: str) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for run in group.runs:
        for epoch, value in zip(*read_curve(run.folder, metric), strict=True):
            values.setdefault(int(epoch), []).append(value)
    return {epoch: float(np.mean(seen)) for epoch, seen in values.items()}


def _recall_rows(comparison: Comparison) -> list[list[str]]:
    assert comparison.confusions is not None
    recalls = comparison.confusions.recalls
    order = np.argsort(-np.ptp(recalls, axis=0), kind="stable")[:_MOST_CLASSES]
    classes = comparison.confusions.classes
    return [[printable_line(classes[index]), *(f"{recall[index]:.4f}" for recall in recalls)] for index in order]


def write_page(path: Path, comparison: Comparison) -> None:
    page.write_page(path, "compare.html.j2", *build_content(comparison))


def build_content(comparison: Comparison) -> tuple[dict[str, Any], dict[str, figures.Figure]]:
    """What the template shows, and the figures' data."""
    drawing = _draw(comparison)
    groups, metric = comparison.groups, comparison.monitor
    settings = _table("settings", "What differs", "Keys of the config", comparison, comparison.setting_rows)
    caption = "Mean ± standard deviation over the runs of a setting"
    scores = _table("scores", "Scores", caption, comparison, comparison.score_rows) | {"lines": comparison.test_lines}
    tables = [table for table in (settings, scores) if table["rows"]]
    return {
        "title": f"Comparison of {len(groups)} settings",
        "subtitle": f"{sum(len(group.runs) for group in groups)} runs",
        "summary": [(f"{group.label}, {metric}", group.format_mean(metric)) for group in groups],
        "notes": [printable_line(note) for note in (*comparison.notes, *drawing.problems)],
        "groups": [(group.label, printable_line(group.name)) for group in groups],
        "tables": tables,
        "figures": drawing.shown,
        "sections": [("runs", "Runs"), *((table["id"], table["title"]) for table in tables), *drawing.links],
    }, drawing.data


def _table(id_: str, title: str, caption: str, comparison: Comparison, rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    columns = [describe_column("", numeric=False, sortable=False)]
    columns += [describe_column(group.label, sortable=False) for group in comparison.groups]
    cells = [[text_cell(label), *(text_cell(text) | {"kind": "number"} for text in texts)] for label, *texts in rows]
    return {"id": id_, "title": title, "caption": caption, "columns": columns, "rows": cells, "lines": []}


def _draw(comparison: Comparison) -> Drawing:
    drawing, groups = Drawing(), comparison.groups
    named = [(f"{group.label} {group.name}" if len(groups) < 4 else group.label, group.runs) for group in groups]
    metrics = dict.fromkeys([comparison.monitor, "val/loss", "train/acc", "train/loss"])
    drawing.section("curves", "Learning curves")
    for metric in list(metrics)[:_CURVES]:
        drawing.add(f"{metric} by epoch", partial(figures.draw_groups, named, metric), "One line per run.")
    confusions = comparison.confusions
    if confusions is None:
        return drawing
    drawing.section("classes", "Classes")
    recalls = [(group.label, recall) for group, recall in zip(groups, confusions.recalls, strict=True)]
    drawing.add(
        "Recall by class",
        lambda: figures.draw_recalls(confusions.classes, recalls),
        f"Share of each class of the {confusions.part} set that was found.",
    )
    drawing.section("confusion", "Differences between the confusion matrices")
    first = groups[0].label
    for group, counts in list(zip(groups, confusions.counts, strict=True))[1 : 1 + _MATRICES]:
        points = subtract_shares(confusions.counts[0], counts)
        draw = partial(figures.draw_confusion_difference, confusions.classes, points)
        note = (
            f"Percentage points of the true class, {first} less {group.label}. Blue: {first} has more, which is good on"
            " the diagonal and bad elsewhere."
        )
        drawing.add(f"Confusion of {first} less {group.label}", draw, note, "tall")
    return drawing
