"""A comparison on the terminal."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lightsweep.core.text import printable
from lightsweep.reports import comparing, names, records, terminal
from lightsweep.reports.comparing import Comparison, Group
from lightsweep.reports.text import cell, plain
from lightsweep.sweeper import statistics

_MOST_CLASSES = 20


def show(comparison: Comparison) -> None:
    """Print what differs, the scores, the curves, the tests and the classes."""
    screen = terminal.console()
    for group in comparison.groups:
        seeds = f" (n = {len(group.runs)})" if len(group.runs) > 1 else ""
        _say(screen, f"{group.label}  {plain(group.name)}{seeds}")
    for note in comparison.notes:
        _say(screen, plain(note))
    _settings(screen, comparison)
    _scores(screen, comparison)
    _curves(screen, comparison)
    _tests(screen, comparison)
    _classes(screen, comparison)


def _settings(screen: Console, comparison: Comparison) -> None:
    if not comparison.differing:
        return
    labels = names.short(comparison.differing)
    rows = [
        (plain(labels[key]), *(cell(key, group.setting(key)) for group in comparison.groups))
        for key in comparison.differing
    ]
    _table(screen, "config keys that differ", comparison.groups, rows)


def _scores(screen: Console, comparison: Comparison) -> None:
    keys = [*comparison.metrics, "gap", "params", "best_epoch", "seconds"]
    rows = [(key, *(cell(key, *group.mean(key)) for group in comparison.groups)) for key in keys]
    _table(screen, "scores", comparison.groups, [row for row in rows if any(row[1:])])


def _curves(screen: Console, comparison: Comparison) -> None:
    """The monitored metric at five epochs."""
    curves = {group.label: _mean_curve(group, comparison.monitor) for group in comparison.groups}
    last = max((max(curve, default=0) for curve in curves.values()), default=0)
    if not last:
        return
    epochs = sorted({max(1, round(last * share)) for share in (0, 0.25, 0.5, 0.75, 1)})
    rows = [
        (f"epoch {epoch}", *(cell(comparison.monitor, curves[group.label].get(epoch)) for group in comparison.groups))
        for epoch in epochs
    ]
    _table(screen, f"{comparison.monitor} by epoch", comparison.groups, rows)


def _mean_curve(group: Group, metric: str) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for run in group.runs:
        for epoch, value in zip(*records.curve(run.folder, metric), strict=True):
            values.setdefault(int(epoch), []).append(value)
    return {epoch: float(np.mean(seen)) for epoch, seen in values.items()}


def _tests(screen: Console, comparison: Comparison) -> None:
    for metric in comparison.tested:
        for line in test_lines(comparison, metric):
            _say(screen, line)


def test_lines(comparison: Comparison, metric: str) -> list[str]:
    """A sentence a group, against the first; p-values of several tests are adjusted."""
    first = comparison.groups[0]
    tests = comparison.tests(metric)
    lines = [
        f"{metric}, {first.label} less {group.label}: "
        + statistics.describe_test(test, (len(first.values(metric)), len(group.values(metric))))
        for group, test in tests
    ]
    ps = [test.p for _, test in tests if test.p is not None]
    if len(ps) > 1:
        adjusted = ", ".join(f"{p:.2g}" for p in statistics.holm(ps))
        lines.append(f"{metric}: p-values adjusted for {len(ps)} tests (Holm): {adjusted}")
    return lines


def _classes(screen: Console, comparison: Comparison) -> None:
    part = comparison.part
    found = comparison.recalls(part) if part else None
    if found is None or part is None:
        _say(screen, "no class report: confusion counts of the same classes are not there for all")
        return
    classes, recalls = found
    spread = np.ptp([recall for _, recall in recalls], axis=0)
    order = np.argsort(-spread, kind="stable")[:_MOST_CLASSES]
    rows = [(plain(classes[index]), *(f"{recall[index]:.4f}" for _, recall in recalls)) for index in order]
    _table(screen, f"recall by class ({part}), largest difference first", comparison.groups, rows)
    for line in trade_lines(comparison, part):
        _say(screen, line)


def trade_lines(comparison: Comparison, part: str) -> list[str]:
    """Where one group's confusion matrix beats the other's, in words: the first against each."""
    first, *others = comparison.groups
    one = first.confusion(part)
    lines = []
    for group in others:
        other = group.confusion(part)
        if one is None or other is None:
            continue
        for true, predicted, points in comparing.trades(one[1], other[1], most=3):
            better, worse = (group, first) if points > 0 else (first, group)
            counts = ", ".join(
                f"{each.label} {table[true, predicted]:,.0f} of {table[true].sum():,.0f}"
                for each, table in ((first, one[1]), (group, other[1]))
            )
            lines.append(
                f"{better.label} beats {worse.label}: it takes {abs(points):.1f} % fewer of the {plain(one[0][true])}"
                f" images for {plain(one[0][predicted])} ({counts})"
            )
    return lines


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
