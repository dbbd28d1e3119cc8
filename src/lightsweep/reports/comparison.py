"""A comparison on the terminal."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lightsweep.core.text import printable, printable_line
from lightsweep.reports import columns, comparing, figures, page, runs, terminal
from lightsweep.reports.columns import format_value, short_labels
from lightsweep.reports.comparing import Comparison, Group, describe_tests, describe_trades
from lightsweep.reports.page import Drawing

_MOST_CLASSES = 20


def print_comparison(comparison: Comparison) -> None:
    """Print what differs, the scores, the curves, the tests and the classes."""
    screen = terminal.open_console()
    for group in comparison.groups:
        seeds = f" (n = {len(group.runs)})" if len(group.runs) > 1 else ""
        _say(screen, f"{group.label}  {printable_line(group.name)}{seeds}")
    for note in comparison.notes:
        _say(screen, printable_line(note))
    _settings(screen, comparison)
    _scores(screen, comparison)
    _curves(screen, comparison)
    _tests(screen, comparison)
    _classes(screen, comparison)


def _settings(screen: Console, comparison: Comparison) -> None:
    if not comparison.differing:
        return
    labels = columns.short_labels(comparison.differing)
    rows = [
        (printable_line(labels[key]), *(format_value(key, group.setting(key)) for group in comparison.groups))
        for key in comparison.differing
    ]
    _table(screen, "config keys that differ", comparison.groups, rows)


def _scores(screen: Console, comparison: Comparison) -> None:
    keys = [*comparison.metrics, "gap", "params", "best_epoch", "seconds"]
    rows = [(key, *(format_value(key, *group.mean(key)) for group in comparison.groups)) for key in keys]
    _table(screen, "scores", comparison.groups, [row for row in rows if any(row[1:])])


def _curves(screen: Console, comparison: Comparison) -> None:
    """The monitored metric at five epochs."""
    curves = {group.label: _mean_curve(group, comparison.monitor) for group in comparison.groups}
    last = max((max(curve, default=0) for curve in curves.values()), default=0)
    if not last:
        return
    epochs = sorted({max(1, round(last * share)) for share in (0, 0.25, 0.5, 0.75, 1)})
    rows = [
        (
            f"epoch {epoch}",
            *(format_value(comparison.monitor, curves[group.label].get(epoch)) for group in comparison.groups),
        )
        for epoch in epochs
    ]
    _table(screen, f"{comparison.monitor} by epoch", comparison.groups, rows)


def _mean_curve(group: Group, metric: str) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for run in group.runs:
        for epoch, value in zip(*runs.read_curve(run.folder, metric), strict=True):
            values.setdefault(int(epoch), []).append(value)
    return {epoch: float(np.mean(seen)) for epoch, seen in values.items()}


def _tests(screen: Console, comparison: Comparison) -> None:
    for metric in comparison.tested:
        for line in describe_tests(comparison, metric):
            _say(screen, line)


def _classes(screen: Console, comparison: Comparison) -> None:
    part = comparison.part
    found = comparison.recalls(part) if part else None
    if found is None or part is None:
        _say(screen, "no class report: confusion counts of the same classes are not there for all")
        return
    classes, recalls = found
    spread = np.ptp([recall for _, recall in recalls], axis=0)
    order = np.argsort(-spread, kind="stable")[:_MOST_CLASSES]
    rows = [(printable_line(classes[index]), *(f"{recall[index]:.4f}" for _, recall in recalls)) for index in order]
    _table(screen, f"recall by class ({part}), largest difference first", comparison.groups, rows)
    for line in describe_trades(comparison, part):
        _say(screen, line)


def _table(screen: Console, title: str, groups: Sequence[Group], rows: Sequence[Sequence[str]]) -> None:
    _say(screen, "")
    grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(Text(printable(title)), overflow="fold")
    for group in groups:
        grid.add_column(group.label, justify="right", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(text)) for text in row))
    screen.print(grid)


def _say(screen: Console, line: str) -> None:
    screen.print(Text(printable(line)), soft_wrap=True)


_CURVES = 4


def write_page(path: Path, comparison: Comparison) -> None:
    page.write_page(path, "compare.html.j2", *build_content(comparison))


def build_content(comparison: Comparison) -> tuple[dict[str, Any], dict[str, figures.Figure]]:
    """What the template shows, and the figures' data."""
    drawing = _drawn(comparison)
    tables = [
        table for table in (_settings_comparison_page(comparison), _scores_comparison_page(comparison)) if table["rows"]
    ]
    return {
        "title": f"Comparison of {len(comparison.groups)} settings",
        "subtitle": printable_line(f"{sum(len(group.runs) for group in comparison.groups)} runs"),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "summary": _summary(comparison),
        "notes": [printable_line(note) for note in (*comparison.notes, *drawing.remarks)],
        "groups": [(group.label, printable_line(group.name)) for group in comparison.groups],
        "tables": tables,
        "figures": drawing.shown,
        "sections": [("runs", "Runs"), *((table["id"], table["title"]) for table in tables), *drawing.links],
    }, drawing.data


def _summary(comparison: Comparison) -> list[tuple[str, str]]:
    metric = comparison.monitor
    return [(f"{group.label}, {metric}", format_value(metric, *group.mean(metric))) for group in comparison.groups]


def _settings_comparison_page(comparison: Comparison) -> dict[str, Any]:
    labels = short_labels(comparison.differing)
    rows = [
        (printable_line(labels[key]), *(format_value(key, group.setting(key)) for group in comparison.groups))
        for key in comparison.differing
    ]
    return _table_comparison_page("settings", "What differs", "Keys of the config", comparison, rows)


def _scores_comparison_page(comparison: Comparison) -> dict[str, Any]:
    keys = [*comparison.metrics, "gap", "params", "best_epoch", "seconds"]
    rows = [(key, *(format_value(key, *group.mean(key)) for group in comparison.groups)) for key in keys]
    kept = [row for row in rows if any(row[1:])]
    table = _table_comparison_page(
        "scores", "Scores", "Mean ± standard deviation over the runs of a setting", comparison, kept
    )
    lines = [line for metric in comparison.tested for line in comparing.describe_tests(comparison, metric)]
    return table | {"lines": lines}


def _table_comparison_page(
    id_: str, title: str, caption: str, comparison: Comparison, rows: Sequence[Sequence[str]]
) -> dict[str, Any]:
    columns = [page.column("", numeric=False, sortable=False)]
    columns += [page.column(group.label, sortable=False) for group in comparison.groups]
    shown = [[page.text_cell(row[0]), *(page.text_cell(text) | {"kind": "number"} for text in row[1:])] for row in rows]
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
        drawing.add(f"{metric} by epoch", partial(figures.draw_groups, groups, metric), "A line a run.")
    part = comparison.part
    found = comparison.recalls(part) if part else None
    if found is None or part is None:
        return drawing
    classes, recalls = found
    drawing.section("classes", "Classes")
    shares = [(group.label, recall) for group, recall in recalls]
    drawing.add(
        "Recall by class",
        lambda: figures.draw_recalls(classes, shares),
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
                partial(figures.draw_confusion_difference, one[0], one[1], other[1]),
                note,
                "tall",
            )
    return drawing
