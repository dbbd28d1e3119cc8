"""An ablation's results: the effect of each change with its interval, in words, in ablation.json and ablation.csv."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from lightsweep.core.checks import is_number
from lightsweep.core.files import read_json, write_atomic
from lightsweep.core.text import printable_line, spreadsheet_cell
from lightsweep.sweeper.ablation import LEAVE_ONE_OUT, MOST_SEEDS, PATH
from lightsweep.sweeper.statistics import TTest, pooled_deviation, pooled_test, welch_test

ABLATION_FILE, TABLE_FILE = "ablation.json", "ablation.csv"
_MOST_CHANGES = 200  # of a file that is read
_LARGEST = 1e50
_COLUMNS = ("change", "from", "to", "difference", "half_width", "p", "n", "seeds", "words")


@dataclass(frozen=True)
class Point:
    """A configuration that was measured.

    Args:
        change: of a path what leads to it from the point before; of leave-one-out what it lacks; empty of the first.
        before: the value at the start, in words.
        after: the value at the end.
        values: of its completed runs.
    """

    change: str
    before: str
    after: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Effect:
    """What a change is worth: a difference of means, with its sign as measured.

    Args:
        test: None where one of the two configurations has no completed run.
        n: runs of the two.
    """

    change: str
    before: str
    after: str
    test: TTest | None
    n: tuple[int, int]

    @property
    def half_width(self) -> float | None:
        """Of the 95 % interval; None where there is none: of single runs, and of runs that all have one value."""
        interval = None if self.test is None else self.test.interval
        return None if interval is None else (interval[1] - interval[0]) / 2

    @property
    def is_more_than_noise(self) -> bool:
        """Whether the interval excludes 0."""
        return self.test is not None and self.test.interval is not None and not _holds(self.test.interval, 0.0)

    @property
    def judgement(self) -> str:
        if self.test is None:
            return "not measured: no run was completed"
        if min(self.n) < 2:
            return "of single runs: no interval"
        if self.test.interval is None:
            return "the same in every run: no interval" if self.test.difference else "no difference in any run"
        return "more than noise" if self.is_more_than_noise else "not distinguishable from noise"

    @property
    def title(self) -> str:
        """``dropout 0 → 0.29``"""
        return f"{self.change} {self.before} → {self.after}" if self.before or self.after else self.change

    @property
    def words(self) -> str:
        """``dropout 0 → 0.29: +0.0210 ± 0.0060 (n = 3), more than noise``"""
        if self.test is None:
            return f"{self.title}: {self.judgement}"
        n = str(self.n[0]) if self.n[0] == self.n[1] else f"{self.n[0]}, {self.n[1]}"
        return f"{self.title}: {format_effect(self.test.difference, self.half_width)} (n = {n}), {self.judgement}"


def format_effect(difference: float, half_width: float | None) -> str:
    """``+0.0210 ± 0.0060``: two digits of the half width that count."""
    size = half_width or abs(difference)
    least = 3 if size < 10 else 0
    digits = min(12, max(least, 1 - math.floor(math.log10(size)))) if size > 0 else 4
    text = f"{difference:+z.{digits}f}"
    return text if half_width is None else f"{text} ± {half_width:.{digits}f}"


def _holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


@dataclass(frozen=True)
class Ablation:
    """What was measured.

    Args:
        start, end: the two configurations, in words.
        seeds: of the reported runs.
        points: of a path from the start to the end; of leave-one-out the end, and then the end without each change.
        failed: runs that were not completed.
        test_score: the name of the score on test images; empty where test was not scored.
        test: values of it at the start and at the end.
    """

    metric: str
    maximises: bool
    method: str
    start: str
    end: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    failed: int = 0
    test_score: str = ""
    test: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    @property
    def effects(self) -> list[Effect]:
        """Of each change, in the order of the path."""
        if self.method == PATH:
            pairs = list(zip(self.points[1:], self.points[1:], self.points, strict=False))
        else:
            pairs = [(point, self.points[0], point) for point in self.points[1:]]
        return [self._compare(point, more.values, less.values) for point, more, less in pairs]

    @property
    def whole(self) -> Effect | None:
        """From the start to the end; None of leave-one-out, which need not measure the start."""
        if self.method != PATH:
            return None
        return self._compare(Point("all changes", "", "", ()), self.points[-1].values, self.points[0].values)

    @property
    def on_test(self) -> Effect | None:
        """The same on test images; None where they were not scored."""
        start, end = self.test
        if not self.test_score:
            return None
        test = welch_test(end, start) if start and end else None
        return Effect(f"all changes, {self.test_score}", "", "", test, (len(end), len(start)))

    def _compare(self, point: Point, more: Sequence[float], less: Sequence[float]) -> Effect:
        groups = [each.values for each in self.points]
        test = pooled_test(more, less, groups) if more and less else None
        return Effect(point.change, point.before, point.after, test, (len(more), len(less)))

    def mean_interval(self, values: Sequence[float]) -> float | None:
        """Half the width of the 95 % interval of a point's mean; None of a single value."""
        if len(values) < 2:
            return None
        from scipy import stats

        deviation, freedom = pooled_deviation([each.values for each in self.points])
        return float(stats.t.ppf(0.975, freedom)) * deviation / math.sqrt(len(values))

    @property
    def lines(self) -> list[str]:
        """The answer, a line a change."""
        better = "higher" if self.maximises else "lower"
        how = "each change on top of those above it" if self.method == PATH else "each change beside all the others"
        lines = [f"Ablation from {self.start} to {self.end}: {self.metric} ({better} is better), {how}."]
        lines += [each.words for each in self.effects]
        lines += [each.words for each in (self.whole, self.on_test) if each is not None]
        lines += [f"{self.failed} run{'s were' if self.failed > 1 else ' was'} not completed."] * bool(self.failed)
        if len(self.seeds) < 2:
            lines.append("One seed gives no interval, three do.")
        return lines


def write_ablation(folder: Path, ablation: Ablation, further: Mapping[str, Any]) -> None:
    """Write ablation.json and ablation.csv.

    Args:
        further: entries for people who want to know how it was chosen.
    """
    effects = [*ablation.effects, *(each for each in (ablation.whole, ablation.on_test) if each is not None)]
    content = asdict(ablation) | {
        "lines": ablation.lines,
        "effects": [_describe(each) for each in effects],
        **further,
    }
    write_atomic(folder / ABLATION_FILE, json.dumps(content, indent=1) + "\n")
    buffer = StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    seeds = " ".join(map(str, ablation.seeds))
    for each in effects:
        row = _describe(each) | {"seeds": seeds, "n": " ".join(map(str, each.n))}
        cells = {name: spreadsheet_cell(value) if isinstance(value, str) else value for name, value in row.items()}
        writer.writerow({name: cells[name] for name in _COLUMNS})
    write_atomic(folder / TABLE_FILE, buffer.getvalue())


def _describe(effect: Effect) -> dict[str, Any]:
    test = effect.test
    return {
        "change": effect.change,
        "from": effect.before,
        "to": effect.after,
        "difference": None if test is None else test.difference,
        "half_width": effect.half_width,
        "p": None if test is None else test.p,
        "n": list(effect.n),
        "words": effect.judgement,
    }


def read_ablation(folder: Path) -> Ablation | None:
    """A folder's ablation; None where there is none that can be read, or no scipy to judge it by."""
    if find_spec("scipy") is None:
        return None
    try:
        return _parse(read_json(folder / ABLATION_FILE))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _parse(content: Any) -> Ablation:
    """An ablation from a file that may be anybody's.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not what this program writes.
    """
    method, seeds, points = content["method"], content["seeds"], content["points"]
    known = method in (PATH, LEAVE_ONE_OUT) and isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
    if not known or not isinstance(points, list) or not 2 <= len(points) <= _MOST_CHANGES:
        raise ValueError("it is no ablation")
    failed = content["failed"]
    start, end = content["test"]
    return Ablation(
        _text(content["metric"]),
        content["maximises"] is True,
        method,
        _text(content["start"]),
        _text(content["end"]),
        tuple(seeds[:MOST_SEEDS]),
        tuple(
            Point(_text(each["change"]), _text(each["before"]), _text(each["after"]), _numbers(each["values"]))
            for each in points
        ),
        failed if type(failed) is int else 0,
        _text(content["test_score"]),
        (_numbers(start), _numbers(end)),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is none")
    return printable_line(value)[:200]


def _numbers(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or not all(is_number(value) and abs(value) < _LARGEST for value in values):
        raise ValueError("a value is no number")
    return tuple(values)
