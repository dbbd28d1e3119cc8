"""Runs side by side: what differs in their configs, scores and classes, and whether it is more than chance."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from rich.console import Console

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import PARTS
from lightsweep.core.text import printable_line
from lightsweep.reports.columns import format_value, short_labels
from lightsweep.reports.finding import BASELINE, find_runs, fold_seeds, mark_baselines
from lightsweep.reports.runs import MAIN, Run, is_metric, read_confusion, read_curve
from lightsweep.reports.table import comparable, find_differences
from lightsweep.reports.table_text import open_console, print_grid, print_line
from lightsweep.sweeper import statistics

_LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MAX_CLASSES = 20  # on the terminal
_MAX_TRADES = 3  # confusions a pair of groups that are described


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone; often a single one.

    Args:
        label: A, B, …
    """

    label: str
    name: str
    runs: tuple[Run, ...]

    def values(self, metric: str) -> list[float]:
        return [run.row[metric] for run in self.runs if is_number(run.row.get(metric))]

    def format_mean(self, metric: str) -> str:
        """Mean ± standard deviation, as text."""
        values = self.values(metric)
        mean, spread = fmean(values) if values else None, stdev(values) if len(values) > 1 else None
        return format_value(metric, mean, spread)


@dataclass(frozen=True)
class Confusions:
    """Confusion counts ``[K, K]`` of each group, true class by row, on one part of the data."""

    part: str
    classes: list[str]
    counts: list[np.ndarray]

    @property
    def recalls(self) -> list[np.ndarray]:
        """Of each group, the share of each true class that was found, ``[K]``."""
        return [np.diag(counts) / np.maximum(counts.sum(axis=1), 1) for counts in self.counts]


@dataclass(frozen=True)
class Comparison:
    """Groups of runs; the others are compared with the first."""

    groups: tuple[Group, ...]
    differing: tuple[str, ...]
    metrics: tuple[str, ...]
    monitor: str
    notes: tuple[str, ...]

    @property
    def setting_rows(self) -> list[list[str]]:
        """The keys of the config that differ, and their value in each group, as text."""
        labels = short_labels(self.differing)
        return [
            [printable_line(labels[key]), *(format_value(key, group.runs[0].row.get(key)) for group in self.groups)]
            for key in self.differing
        ]

    @property
    def score_rows(self) -> list[list[str]]:
        """The scores, and their mean ± standard deviation in each group, as text."""
        keys = [*self.metrics, "gap", "params", "best_epoch", "seconds"]
        rows = [[key, *(group.format_mean(key) for group in self.groups)] for key in keys]
        return [row for row in rows if any(row[1:])]

    @property
    def _has_same_data(self) -> bool:
        return not {"data", "data.root"} & set(self.differing)

    @property
    def test_lines(self) -> list[str]:
        """For the monitor and the test accuracy, a sentence a group; p-values of several tests are adjusted."""
        lines = []
        for metric in dict.fromkeys([self.monitor, f"test/{MAIN[0]}"]) if self._has_same_data else ():
            first, *others = samples = [group.values(metric) for group in self.groups]
            if not all(samples):
                continue
            tests = [statistics.welch_test(first, other) for other in others]
            for group, other, test in zip(self.groups[1:], others, tests, strict=True):
                result = statistics.describe_test(test, (len(first), len(other)))
                lines.append(f"{metric}, {self.groups[0].label} less {group.label}: {result}")
            ps = [test.p for test in tests if test.p is not None]
            if len(ps) > 1:
                adjusted = ", ".join(f"{p:.2g}" for p in statistics.holm(ps))
                lines.append(f"{metric}: p-values adjusted for {len(ps)} tests (Holm): {adjusted}")
        return lines

    @cached_property
    def confusions(self) -> Confusions | None:
        """Of the validation images, else of the test images; None unless all groups have counts of the same classes."""
        for part in ("val", "test") if self._has_same_data else ():
            members = [Run(group.runs[0].folder, group.name, {}, seeds=group.runs) for group in self.groups]
            found = [counts for member in members if (counts := read_confusion(member, part)) is not None]
            if len(found) == len(members) and all(classes == found[0][0] for classes, _ in found):
                return Confusions(part, found[0][0], [np.array(counts) for _, counts in found])
        return None

    @property
    def trade_lines(self) -> list[str]:
        """Which classes the first group confuses more or less often than each other one."""
        if self.confusions is None:
            return []
        first, *others = zip(self.groups, self.confusions.counts, strict=True)
        return [line for other in others for line in _describe_trades(first, other, self.confusions.classes)]


def subtract_shares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Percentage points ``[K, K]`` of a true class that `one` puts into a class more than `other`."""
    shares = [100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) for counts in (one, other)]
    return shares[0] - shares[1]


def _describe_trades(
    first: tuple[Group, np.ndarray], second: tuple[Group, np.ndarray], classes: Sequence[str]
) -> list[str]:
    difference = subtract_shares(first[1], second[1])
    np.fill_diagonal(difference, 0.0)
    lines = []
    for index in np.argsort(-np.abs(difference), axis=None)[:_MAX_TRADES]:
        true, predicted = divmod(int(index), len(difference))
        points = float(difference[true, predicted])
        if points == 0.0:
            continue
        better, worse = (second, first) if points > 0 else (first, second)
        counts = ", ".join(
            f"{group.label} {table[true, predicted]:,.0f} of {table[true].sum():,.0f}"
            for group, table in (first, second)
        )
        lines.append(
            f"{better[0].label} beats {worse[0].label}: it takes {abs(points):.1f} % fewer of the"
            f" {printable_line(classes[true])} images for {printable_line(classes[predicted])} ({counts})"
        )
    return lines


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read the runs of some folders: runs, trials over several seeds, or folders of such.

    Raises:
        ConfigError: a path holds no run, or there is nothing to compare.
    """
    found: dict[Path, Run] = {}
    notes = []
    for path in paths:
        below = find_runs([path])
        for run in below.runs:
            name = str(path) if run.folder == path else str(path / run.name)
            found.setdefault(run.folder.resolve(), Run(run.folder, name, run.row, run.overrides, (), run.settings))
        notes += [f"skipped {name}: {reason}" for name, reason in below.broken.items()]
        notes += [f"{name} has no result.json yet" for name in below.unfinished]
    runs = [seed for run in mark_baselines(fold_seeds(found.values())) for seed in run.members]
    order = {folder: index for index, folder in enumerate(found)}
    runs.sort(key=lambda run: order[run.folder.resolve()])  # as typed: fold_seeds puts seed runs last
    notes += [f"{run.name} is {run.status}" for run in runs if not run.is_complete]
    complete = [run for run in runs if run.is_complete]
    runs = complete if len(complete) > 1 else runs
    if len(runs) < 2:
        raise ConfigError(f"compare.py needs at least two runs, got {len(runs)}")
    differing = find_differences(runs)
    if len({str(run.row.get("data")) for run in runs}) > 1:
        differing = ("data", *differing)
    if {"data", "data.root"} & set(differing):
        notes.append("the runs are of different data sets: their scores cannot be compared")
    groups = _group(runs, differing, notes)
    notes += [note for group in groups for note in _note_repeated_seeds(group)]
    monitors = {run.monitor for run in runs}
    if len(monitors) > 1:
        notes.append(f"the runs monitored different metrics: {', '.join(sorted(monitors))}")
    metrics = dict.fromkeys(key for run in runs for key in run.row if is_metric(key) and is_number(run.row[key]))
    parts = {part: index for index, part in enumerate(PARTS)}
    in_order = sorted(metrics, key=lambda metric: parts.get(metric.partition("/")[0], len(parts)))
    return Comparison(groups, differing, tuple(in_order), runs[0].monitor, tuple(dict.fromkeys(notes)))


def _group(runs: Sequence[Run], differing: Sequence[str], notes: list[str]) -> tuple[Group, ...]:
    parts: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        parts.setdefault(tuple(comparable(run.row.get(name)) for name in differing), []).append(run)
    members = list(parts.values())
    if len(members) == 1:  # one config: each run by itself
        members = [[run] for run in runs]
        notes.append("the runs differ by their seed alone")
    if len(members) > len(_LABELS):
        raise ConfigError(
            f"compare.py compares at most {len(_LABELS)} settings, got {len(members)}; report.py has no limit"
        )
    return tuple(Group(label, _name_group(each), tuple(each)) for label, each in zip(_LABELS, members, strict=False))


def _name_group(runs: Sequence[Run]) -> str:
    more = f" and {len(runs) - 1} more" * (len(runs) > 1)
    return f"{runs[0].name}{more}{' (baseline)' * (runs[0].row.get(BASELINE) is True)}"


def _note_repeated_seeds(group: Group) -> list[str]:
    """The same config and seed give the same run again, which adds no information."""
    counts = Counter(str(run.row["seed"]) for run in group.runs if run.row.get("seed") is not None)
    repeated = ", ".join(printable_line(seed) for seed, count in counts.items() if count > 1)
    return [f"{group.label} has runs of the same seed ({repeated}): do not trust its spread and n"] if repeated else []


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
    order = np.argsort(-np.ptp(recalls, axis=0), kind="stable")[:_MAX_CLASSES]
    classes = comparison.confusions.classes
    return [[printable_line(classes[index]), *(f"{recall[index]:.4f}" for recall in recalls)] for index in order]
