"""Whether a difference between two groups of runs is more than chance, and how many seeds would show it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev, variance
from typing import Any

_LEVEL = 0.05
_POWER = 0.8
_MOST = 1000


@dataclass(frozen=True)
class TTest:
    """Two samples compared.

    Args:
        difference: of their means, the first less the second.
        p: of the t-test, two-sided; None where there are too few runs, or no spread.
        interval: 95 % confidence interval of the difference.
        seeds: how many a group find such a difference in 4 of 5 experiments at the 5 % level; None for more than
            1,000, or where `p` is None.
    """

    difference: float
    p: float | None = None
    interval: tuple[float, float] | None = None
    seeds: int | None = None


def welch_test(one: Sequence[float], other: Sequence[float]) -> TTest:
    """Welch's t-test, which lets the groups' variances differ (Welch 1947)."""
    difference = fmean(one) - fmean(other)
    if min(len(one), len(other)) < 2:
        return TTest(difference)
    deviations = stdev(one), stdev(other)
    if max(deviations) < _least_spread(one, other):  # t is infinite, or 0/0
        return TTest(difference)
    return _t_test(difference, *_error(*deviations, len(one), len(other)), deviations)


def pooled_test(one: Sequence[float], other: Sequence[float], groups: Sequence[Sequence[float]]) -> TTest:
    """A t-test with the variance that all groups share, as in an analysis of variance: with three runs a group and five
    groups it has 10 degrees of freedom, where Welch's has about 4.

    Args:
        one, other: two of the groups.
        groups: all that were measured.
    """
    difference = fmean(one) - fmean(other)
    if min(len(one), len(other)) < 2:
        return TTest(difference)
    deviation, freedom = pooled_deviation(groups)
    if deviation < _least_spread(one, other):
        return TTest(difference)
    error = deviation * math.sqrt(1 / len(one) + 1 / len(other))
    return _t_test(difference, error, freedom, (deviation, deviation))


def pooled_deviation(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within groups, one of which has two values at least, and its degrees of freedom."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    return math.sqrt(sum((len(group) - 1) * variance(group) for group in several) / freedom), freedom


def _least_spread(one: Sequence[float], other: Sequence[float]) -> float:
    """Below that, values differ by rounding."""
    return 1e-9 * max(1e-9, abs(fmean(one)), abs(fmean(other)))


def _t_test(difference: float, error: float, freedom: float, deviations: tuple[float, float]) -> TTest:
    from scipy import stats

    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    reach = float(stats.t.ppf(1 - _LEVEL / 2, freedom)) * error
    return TTest(difference, p, (difference - reach, difference + reach), seeds_needed(difference, *deviations))


def _error(one: float, other: float, n: int, m: int) -> tuple[float, float]:
    """Standard error of the difference of two means, and Welch's degrees of freedom; scipy's own test warns where one
    of the groups has no spread.

    Args:
        one, other: standard deviations of the groups.
        n, m: their sizes.
    """
    variances = one**2 / n, other**2 / m
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / (n - 1) + variances[1] ** 2 / (m - 1))
    return math.sqrt(sum(variances)), freedom


def seeds_needed(difference: float, one: float, other: float) -> int | None:
    """The smallest n a group with which Welch's test sees `difference` in 80 % of experiments at the 5 % level.

    The power is that of the noncentral t distribution (Cohen 1988, chapter 2), with Welch's degrees of freedom.

    Args:
        one, other: standard deviations of the groups.
    """
    return None if difference == 0.0 else fewest(lambda n: _power(difference, one, other, n))


def fewest(power: Callable[[int], float]) -> int | None:
    """The smallest n from 2 on whose power is 80 %; None for more than 1,000.

    Args:
        power: grows with n.
    """
    if power(_MOST) < _POWER:
        return None
    few, enough = 1, _MOST
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if power(middle) >= _POWER else (middle, enough)
    return enough


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several tests, adjusted (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, ps[index] * (len(ps) - rank)))
        adjusted[index] = highest
    return adjusted


def _power(difference: float, one: float, other: float, n: int) -> float:
    from scipy import stats

    error, freedom = _error(one, other, n, n)
    shift = abs(difference) / error
    critical = stats.t.ppf(1 - _LEVEL / 2, freedom)
    below = stats.nct.cdf(critical, freedom, shift)
    return 1.0 if math.isnan(below) else float(1 - below)  # scipy gives up only far above the critical value


def describe_test(result: TTest, sizes: tuple[int, int]) -> str:
    """One sentence or two."""
    text, count = f"difference {result.difference:+.4f}", f"n = {sizes[0]}, {sizes[1]}"
    if result.p is None or result.interval is None:
        needed = "two seeds a group at least" if min(sizes) < 2 else "runs that differ"
        return f"{text} ({count}); a Welch t-test needs {needed}"
    low, high = result.interval
    text += f" (95 % interval {low:+.4f} to {high:+.4f}), Welch p {format_p(result.p)}, {count}"
    text += ": more than chance would give" if result.p < _LEVEL else ": chance alone may give that"
    if result.seeds is None:
        return f"{text}. No number of seeds up to {_MOST:,} would settle a difference so small"
    return f"{text}. A difference of that size needs {result.seeds} seeds a group (80 % power, 5 % level)"


def format_p(value: float | None) -> str:
    if value is None:
        return "unknown"
    return "< 0.0001" if value < 1e-4 else f"= {value:.2g}"


@dataclass(frozen=True)
class Entry:
    """A completed trial."""

    number: int
    value: float


@dataclass(frozen=True)
class Search:
    """What the trials alone show.

    Args:
        best: the best of `completed`, which are all completed trials.
        baseline: None where it has no value.
        baseline_state: of its trial; None where there is none.
        is_baseline: whether the best trial is the baseline.
        seeds: that a trial's value is the mean of.
        changed_at: the first trial with the present data and settings.
        has_seed_key: whether the sweep was told which key of the config is the seed.
    """

    metric: str
    maximises: bool
    best: Entry
    completed: tuple[Entry, ...]
    baseline: Entry | None = None
    baseline_state: str | None = None
    is_baseline: bool = False
    seeds: int = 1
    changed_at: int = 0
    has_seed_key: bool = True

    @property
    def tied(self) -> list[int]:
        """The other trials whose value is the best's."""
        return [each.number for each in self.completed if each != self.best and each.value == self.best.value]

    def within(self, noise: float) -> list[int]:
        """Trials that are behind the best by no more than `noise`, the nearest first."""
        behind = {each.number: abs(each.value - self.best.value) for each in self.completed}
        return sorted((number for number in behind if 0.0 < behind[number] <= noise), key=behind.__getitem__)


@dataclass(frozen=True)
class Confirmed:
    """A confirmation's scores, by configuration (best and baseline; of several objectives best-NUMBER, too) and name.

    Args:
        trial: number of the trial that was the best then; None of several objectives.
        failed: runs that were not completed, by configuration.
        compared_by: the score that the two are to be compared by; None for the searched metric.
    """

    trial: int | None
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, tuple[float, ...]]]
    failed: Mapping[str, int] = field(default_factory=dict)
    compared_by: str | None = None

    def values(self, configuration: str, score: str) -> tuple[float, ...]:
        return self.scores.get(configuration, {}).get(score, ())

    def score(self, metric: str) -> str | None:
        """The score that the two are compared by: `compared_by`, else the searched metric, else one that is called the
        same but for what stands before a slash; None where one of the two has none of these. Of several objectives
        `compared_by` holds for the one that is called like it."""
        others = [scores for name, scores in self.scores.items() if name != "baseline"]
        both = [name for scores in others for name in scores if self.values("baseline", name)]
        alike = [name for name in both if name.rpartition("/")[2] == metric.rpartition("/")[2]]
        chosen = self.compared_by if self.trial is not None or self.compared_by in alike else None
        return next((name for name in (chosen, metric, *alike) if name in both), None)


def noise_of_trials(samples: Sequence[Sequence[float]], *, seeds: int) -> float | None:
    """By how much two trials of equal configurations differ at most, in 19 of 20 pairs; None if unknown.

    Args:
        samples: values of runs that differ by their seed alone, a group a configuration; their variances are pooled.
        seeds: that a trial's value is the mean of.
    """
    freedom = sum(len(sample) - 1 for sample in samples if sample)
    squares = sum((len(sample) - 1) * variance(sample) for sample in samples if len(sample) > 1)
    if squares == 0.0:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, freedom)) * math.sqrt(2 * squares / freedom / seeds)


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation; None of a single value."""
    return stdev(values) if len(values) > 1 else None


def format_mean(values: Sequence[float]) -> str:
    """``0.6048 ± 0.0057``"""
    std = spread(values)
    return f"{fmean(values):.4f}" + ("" if std is None else f" ± {std:.4f}")


def mean_facts(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One value of each fact from those of several seeds: the sum of seconds, the mean of other numbers; integers that
    are the same for all seeds stay integers."""
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in facts for name in each):
        values = [each[name] for each in facts if isinstance(each.get(name), int | float)]
        if name == "seconds":
            means[name] = sum(values)
        elif values:
            means[name] = values[0] if len(set(values)) == 1 else fmean(values)
    return means
