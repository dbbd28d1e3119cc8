"""Runs side by side: what differs in their configs, scores and classes, and whether it is more than chance."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from lightsweep.core.checks import is_number
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable_line
from lightsweep.reports import finding, runs
from lightsweep.reports.runs import Run, is_metric
from lightsweep.reports.table import comparable, find_differences
from lightsweep.sweeper import statistics

_PARTS = ("val", "test")
_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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

    def setting(self, key: str) -> object:
        return self.runs[0].row.get(key)

    def mean(self, metric: str) -> tuple[float | None, float | None]:
        """Mean and standard deviation."""
        values = self.values(metric)
        return (fmean(values) if values else None, stdev(values) if len(values) > 1 else None)

    def confusion(self, part: str) -> tuple[list[str], np.ndarray] | None:
        """Class names and counts ``[K, K]``, summed over the runs."""
        return runs.read_confusion(Run(self.runs[0].folder, self.name, {}, seeds=self.runs), part)


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, the first of which is what the others are held against."""

    groups: tuple[Group, ...]
    differing: tuple[str, ...]
    metrics: tuple[str, ...]
    monitor: str
    notes: tuple[str, ...]

    @property
    def _of_the_same_data(self) -> bool:
        return not {"data", "data.root"} & set(self.differing)

    @property
    def tested(self) -> list[str]:
        """The metrics that the groups are tested on."""
        if not self._of_the_same_data:
            return []
        wanted = dict.fromkeys([self.monitor, "test/acc"])
        return [metric for metric in wanted if all(group.values(metric) for group in self.groups)]

    def tests(self, metric: str) -> list[tuple[Group, statistics.WelchTest]]:
        """Each group against the first."""
        first, *others = self.groups
        return [(group, statistics.welch_test(first.values(metric), group.values(metric))) for group in others]

    def recalls(self, part: str) -> tuple[list[str], list[tuple[Group, np.ndarray]]] | None:
        """Class names and each group's recall ``[K]``; None unless all have the same classes."""
        found = [(group, group.confusion(part)) for group in self.groups]
        if any(counts is None or counts[0] != (found[0][1] or ([],))[0] for _, counts in found):
            return None
        names = found[0][1][0]  # type: ignore[index]
        return names, [(group, _recall(counts[1])) for group, counts in found if counts is not None]

    @property
    def part(self) -> str | None:
        """Of which images of one data set the confusion counts are there for all: val, else test."""
        if not self._of_the_same_data:
            return None
        return next((part for part in _PARTS if self.recalls(part) is not None), None)


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read the runs of some folders: runs, trials over several seeds, or folders of such.

    Raises:
        ConfigError: a path holds no run, or there is nothing to compare.
    """
    members: dict[Path, Run] = {}
    notes = []
    for path in paths:
        found = finding.find_runs([path])
        for run in found.runs:
            named = str(path) if run.folder == path else str(path / run.name)
            members.setdefault(run.folder.resolve(), Run(run.folder, named, run.row, run.overrides, (), run.settings))
        notes += [f"skipped {name}: {reason}" for name, reason in found.broken.items()]
        notes += [f"{name} has no result.json yet" for name in found.unfinished]
    leaves = [
        seed for run in finding.mark_baselines(finding.fold_seeds(members.values())) for seed in (run.seeds or (run,))
    ]
    typed = {folder: place for place, folder in enumerate(members)}
    leaves.sort(key=lambda run: typed[run.folder.resolve()])  # folding has moved seeds behind single runs
    complete = [run for run in leaves if run.is_complete]
    notes += [f"{run.name} is {run.status}" for run in leaves if not run.is_complete]
    chosen = complete if len(complete) > 1 else leaves
    if len(chosen) < 2:
        raise ConfigError(f"compare.py needs two runs at least, got {len(chosen)}")
    return _compared(chosen, notes)


def _compared(chosen: Sequence[Run], notes: list[str]) -> Comparison:
    differing = find_differences(chosen)
    mixed = len({str(run.row.get("data")) for run in chosen}) > 1
    differing = ("data", *differing) if mixed else differing
    if mixed or "data.root" in differing:
        notes.append("the runs are of different data sets: their scores cannot be compared")
    parts: dict[tuple[str, ...], list[Run]] = {}
    for run in chosen:
        key = tuple(comparable(run.row.get(name)) for name in differing)
        parts.setdefault(key, []).append(run)
    if len(parts) == 1:  # the same config: each run for itself
        parts = {(str(index),): [run] for index, run in enumerate(chosen)}
        notes.append("the runs differ by their seed alone")
    if len(parts) > len(_NAMES):
        raise ConfigError(
            f"compare.py compares at most {len(_NAMES)} settings, got {len(parts)}; report.py has no limit"
        )
    groups = tuple(Group(_NAMES[index], _name(members), tuple(members)) for index, members in enumerate(parts.values()))
    notes += [line for group in groups for line in _repeated(group)]
    monitors = {run.monitor for run in chosen}
    if len(monitors) > 1:
        notes.append(f"the runs watched different metrics: {', '.join(sorted(monitors))}")
    metrics = dict.fromkeys(key for run in chosen for key in run.row if is_metric(key) and is_number(run.row[key]))
    return Comparison(
        groups, differing, tuple(sorted(metrics, key=_part_first)), chosen[0].monitor, tuple(dict.fromkeys(notes))
    )


def _repeated(group: Group) -> list[str]:
    """A seed that a group has twice gives the same run twice, which is no second witness."""
    counts = Counter(str(run.row["seed"]) for run in group.runs if run.row.get("seed") is not None)
    twice = [seed for seed, count in counts.items() if count > 1]
    if not twice:
        return []
    seeds = ", ".join(map(printable_line, twice))
    return [f"{group.label} has runs of the same seed ({seeds}): its spread and n say too much"]


def _part_first(metric: str) -> int:
    parts = ("train", "val", "test")
    part = metric.partition("/")[0]
    return parts.index(part) if part in parts else len(parts)


def _name(members: Sequence[Run]) -> str:
    more = f" and {len(members) - 1} more" * (len(members) > 1)
    return f"{members[0].name}{more}{' (baseline)' * (members[0].row.get(finding.BASELINE) is True)}"


def _recall(counts: np.ndarray) -> np.ndarray:
    """The share of each true class that was found: counts ``[K, K]`` -> ``[K]``."""
    return np.diag(counts) / np.maximum(counts.sum(axis=1), 1)


def find_trades(one: np.ndarray, other: np.ndarray, most: int) -> list[tuple[int, int, float]]:
    """The confusions ``(true, predicted, points)`` whose share of the true class differs most, `one` less `other`."""
    shares = [100 * each / np.maximum(each.sum(axis=1, keepdims=True), 1) for each in (one, other)]
    difference = shares[0] - shares[1]
    np.fill_diagonal(difference, 0.0)
    order = np.argsort(-np.abs(difference), axis=None)[:most]
    cells = [divmod(int(place), len(difference)) for place in order]
    return [(i, j, float(difference[i, j])) for i, j in cells if difference[i, j] != 0.0]


def describe_tests(comparison: Comparison, metric: str) -> list[str]:
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
        lines.append(
            f"{metric}: p-values adjusted for {len(ps)} tests (Holm):"
            f" {', '.join(f'{p:.2g}' for p in statistics.holm(ps))}"
        )
    return lines


def describe_trades(comparison: Comparison, part: str) -> list[str]:
    """Where one group's confusion matrix beats the other's, in words: the first against each."""
    first, *others = comparison.groups
    one = first.confusion(part)
    lines = []
    for group in others:
        other = group.confusion(part)
        if one is None or other is None:
            continue
        for true, predicted, points in find_trades(one[1], other[1], most=3):
            better, worse = (group, first) if points > 0 else (first, group)
            counts = ", ".join(
                f"{each.label} {table[true, predicted]:,.0f} of {table[true].sum():,.0f}"
                for each, table in ((first, one[1]), (group, other[1]))
            )
            lines.append(
                f"{better.label} beats {worse.label}: it takes {abs(points):.1f} % fewer of the"
                f" {printable_line(one[0][true])} images for {printable_line(one[0][predicted])} ({counts})"
            )
    return lines
