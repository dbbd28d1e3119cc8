"""The page of a comparison."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from lightsweep.reports import cells, class_figures, comparison_terminal, figures, names, page
from lightsweep.reports.comparing import Comparison
from lightsweep.reports.drawing import Drawing
from lightsweep.reports.text import cell, plain

_CURVES = 4


def write(path: Path, comparison: Comparison) -> None:
    page.write(path, "compare.html.j2", *content(comparison))


def content(comparison: Comparison) -> tuple[dict[str, Any], dict[str, figures.Figure]]:
    """What the template shows, and the figures' data."""
    drawing = _drawn(comparison)
    tables = [table for table in (_settings(comparison), _scores(comparison)) if table["rows"]]
    return {
        "title": f"Comparison of {len(comparison.groups)} settings",
        "subtitle": plain(f"{sum(len(group.runs) for group in comparison.groups)} runs"),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "summary": _summary(comparison),
        "notes": [plain(note) for note in (*comparison.notes, *drawing.remarks)],
        "groups": [(group.label, plain(group.name)) for group in comparison.groups],
        "tables": tables,
        "figures": drawing.shown,
        "sections": [("runs", "Runs"), *((table["id"], table["title"]) for table in tables), *drawing.links],
    }, drawing.data


def _summary(comparison: Comparison) -> list[tuple[str, str]]:
    metric = comparison.monitor
    return [(f"{group.label}, {metric}", cell(metric, *group.mean(metric))) for group in comparison.groups]


def _settings(comparison: Comparison) -> dict[str, Any]:
    labels = names.short(comparison.differing)
    rows = [
        (plain(labels[key]), *(cell(key, group.setting(key)) for group in comparison.groups))
        for key in comparison.differing
    ]
    return _table("settings", "What differs", "Keys of the config", comparison, rows)


def _scores(comparison: Comparison) -> dict[str, Any]:
    keys = [*comparison.metrics, "gap", "params", "best_epoch", "seconds"]
    rows = [(key, *(cell(key, *group.mean(key)) for group in comparison.groups)) for key in keys]
    kept = [row for row in rows if any(row[1:])]
    table = _table("scores", "Scores", "Mean ± standard deviation over the runs of a setting", comparison, kept)
    lines = [line for metric in comparison.tested for line in comparison_terminal.test_lines(comparison, metric)]
    return table | {"lines": lines}


def _table(id_: str, title: str, caption: str, comparison: Comparison, rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    columns = [cells.column("", numeric=False, sortable=False)]
    columns += [cells.column(group.label, sortable=False) for group in comparison.groups]
    shown = [
        [cells.text_cell(row[0]), *(cells.text_cell(text) | {"kind": "number"} for text in row[1:])] for row in rows
    ]
    return {"id": id_, "title": title, "caption": caption, "columns": columns, "rows": shown, "lines": []}


def _drawn(comparison: Comparison) -> Drawing:
    drawing = Drawing()
    groups = [
        (f"{group.label} {group.name}" if len(comparison.groups) < 4 else group.label, group.runs)
        for group in comparison.groups
    ]
    wanted = dict.fromkeys([comparison.monitor, "val/loss", "train/acc", "train/loss"])
    drawing.section("curves", "Learning curves")
    for metric in list(wanted)[:_CURVES]:
        drawing.add(f"{metric} by epoch", partial(figures.overlaid, groups, metric), "A line a run.")
    part = comparison.part
    found = comparison.recalls(part) if part else None
    if found is None or part is None:
        return drawing
    classes, recalls = found
    drawing.section("classes", "Classes")
    shares = [(group.label, recall) for group, recall in recalls]
    drawing.add(
        "Recall by class",
        lambda: class_figures.per_class(classes, shares),
        f"Share of each class of the {part} set that was found.",
    )
    drawing.section("confusion", "Where one confusion matrix beats the other")
    first, *others = comparison.groups
    for group in others[:4]:
        one, other = first.confusion(part), group.confusion(part)
        if one is not None and other is not None:
            note = (
                f"Percentage points of the true class, {first.label} less {group.label}. Blue: {first.label} has more;"
                " good on the diagonal, bad beside it."
            )
            drawing.add(
                f"Confusion of {first.label} less {group.label}",
                partial(class_figures.confusion_difference, one[0], one[1], other[1]),
                note,
                "tall",
            )
    return drawing
