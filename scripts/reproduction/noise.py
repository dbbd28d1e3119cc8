"""How far two rows differ, and whether that is more than seeds explain."""

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev, variance

from .records import Record

METRIC = "test/acc"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """The values of a metric over a row's seeds; empty where there are none."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    def __str__(self) -> str:
        spread = f" ± {stdev(self.values):.4f}" if len(self.values) > 1 else ""
        return f"{self.mean:.4f}{spread}"

    @property
    def with_n(self) -> str:
        return f"{self} (n = {len(self.values)})"


@dataclass(frozen=True)
class Noise:
    """The standard deviation over seeds, pooled over all rows that have several, and its degrees of freedom."""

    sd: float
    freedom: int

    def limit(self, first: Sample, second: Sample) -> float:
        """A difference of two means is more than this by chance in one of twenty cases (Student's t, two-sided)."""
        from scipy.stats import t

        quantile = float(t.ppf((1 + CONFIDENCE) / 2, self.freedom))
        return quantile * self.sd * sqrt(1 / len(first.values) + 1 / len(second.values))


def sample(records: list[Record], metric: str = METRIC) -> Sample:
    return Sample(tuple(record[metric] for record in records if record.get(metric) is not None))


def pooled(samples: list[Sample]) -> Noise | None:
    """None where no row has several seeds."""
    several = [each.values for each in samples if len(each.values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    return Noise(sqrt(sum((len(values) - 1) * variance(values) for values in several) / freedom), freedom)
