"""The page of a comparison: what differs between groups of runs, their scores, curves and classes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightsweep.core.text import printable_line
from lightsweep.reports import figures, page
from lightsweep.reports.comparison import Comparison, Group, subtract_shares
from lightsweep.reports.page.drawing import Drawing, describe_column, text_cell
from lightsweep.reports.runs import MAIN

_MAX_MATRICES = 4  # differences of confusion matrices


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write the page of a comparison."""
    groups, metric, drawing = comparison.groups, comparison.monitor, _draw_comparison(comparison)
    settings = _build_table("settings", "What differs", "Keys of the config", groups, comparison.setting_rows)
    caption = "Mean ± standard deviation over the runs of a setting"
    scores = _build_table("scores", "Scores", caption, groups, comparison.score_rows)
    scores["lines"] = comparison.test_lines
    tables = [table for table in (settings, scores) if table["rows"]]
    content = {
        "title": f"Comparison of {len(groups)} settings",
        "subtitle": f"{sum(len(group.runs) for group in groups)} runs",
        "summary": [(f"{group.label}, {metric}", group.format_mean(metric)) for group in groups],
        "notes": [printable_line(note) for note in (*comparison.notes, *drawing.problems)],
        "groups": [(group.label, printable_line(group.name)) for group in groups],
        "tables": tables,
        "figures": drawing.shown,
        "sections": [("runs", "Runs"), *((table["id"], table["title"]) for table in tables), *drawing.links],
    }
    page.write_page(path, "compare.html.j2", content, drawing.data)


def _build_table(
    id_: str, title: str, caption: str, groups: Sequence[Group], rows: Sequence[Sequence[str]]
) -> dict[str, Any]:
    columns = [describe_column("", numeric=False, sortable=False)]
    columns += [describe_column(group.label, sortable=False) for group in groups]
    cells = [[text_cell(label), *(text_cell(text) | {"kind": "number"} for text in texts)] for label, *texts in rows]
    return {"id": id_, "title": title, "caption": caption, "columns": columns, "rows": cells, "lines": []}


def _draw_comparison(comparison: Comparison) -> Drawing:
    drawing, groups = Drawing(), comparison.groups
    named = [(f"{group.label} {group.name}" if len(groups) < 4 else group.label, group.runs) for group in groups]
    _, *others = [f"{part}/{name}" for part in ("val", "train") for name in MAIN]
    drawing.section("curves", "Learning curves")
    for metric in dict.fromkeys([comparison.monitor, *others]):
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
    for group, counts in list(zip(groups, confusions.counts, strict=True))[1 : 1 + _MAX_MATRICES]:
        points = subtract_shares(confusions.counts[0], counts)
        draw = partial(figures.draw_confusion_difference, confusions.classes, points)
        note = (
            f"Percentage points of the true class, {first} less {group.label}. Blue: {first} has more, which is good on"
            " the diagonal and bad elsewhere."
        )
        drawing.add(f"Confusion of {first} less {group.label}", draw, note, "tall")
    return drawing
