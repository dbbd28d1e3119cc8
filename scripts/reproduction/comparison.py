"""How far two experiments differ, and whether that is more than the noise over seeds."""

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev, variance

from .experiments import Experiment
from .records import Record

_METRIC = "test/acc"
_CONFIDENCE = 0.95
_WORDS = {1: "better by more than the noise", -1: "worse by more than the noise", 0: "within the noise"}

Found = dict[str, list[Record]]


@dataclass(frozen=True)
class Sample:
    """The values of a metric over the seeds of an experiment; may be empty."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    def __str__(self) -> str:
        spread = f" ± {stdev(self.values):.4f}" if len(self.values) > 1 else ""
        return f"{self.mean:.4f}{spread}" if self.values else ""

    @property
    def with_n(self) -> str:
        return f"{self} (n = {len(self.values)})"


@dataclass(frozen=True)
class Noise:
    """The standard deviation over seeds, pooled over all experiments that have several, and its degrees of freedom."""

    sd: float
    freedom: int

    def limit(self, first: Sample, second: Sample) -> float:
        """By chance two means differ by more than this in one of twenty cases (Student's t, two-sided)."""
        from scipy.stats import t

        quantile = float(t.ppf((1 + _CONFIDENCE) / 2, self.freedom))
        return quantile * self.sd * sqrt(1 / len(first.values) + 1 / len(second.values))


def sample(records: list[Record], metric: str = _METRIC) -> Sample:
    return Sample(tuple(record[metric] for record in records if record.get(metric) is not None))


def pool(samples: list[Sample]) -> Noise | None:
    """None where no experiment has several seeds."""
    several = [each.values for each in samples if len(each.values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    return Noise(sqrt(sum((len(values) - 1) * variance(values) for values in several) / freedom), freedom)


@dataclass(frozen=True)
class Comparison:
    """Two experiments. `limit` is the difference that noise explains, `reported` that of the report; `seconds` are
    those of the fastest run of each."""

    labels: tuple[str, str]
    samples: tuple[Sample, Sample]
    limit: float
    reported: float | None
    seconds: tuple[float, float]

    @property
    def difference(self) -> float:
        return self.samples[0].mean - self.samples[1].mean

    @property
    def verdict(self) -> int:
        """1 or -1 where the first is better or worse by more than the noise, else 0."""
        if abs(self.difference) <= self.limit:
            return 0
        return 1 if self.difference > 0 else -1

    def __str__(self) -> str:
        one, other = (f"{label} {each.with_n}" for label, each in zip(self.labels, self.samples, strict=True))
        reported = "" if self.reported is None else f", reported {self.reported:+.3f}"
        return f"{one} against {other}: {self.difference:+.4f}, {_WORDS[self.verdict]} ({self.limit:.4f}){reported}"

    @property
    def with_seconds(self) -> str:
        mine, theirs = self.seconds
        return f"{self}; {mine:.0f} s against {theirs:.0f} s, {mine / theirs:.2g} times as long"


def compare(one: Experiment, other: Experiment, found: Found, noise: Noise) -> Comparison | None:
    """None where one of the two has no score."""
    first, second = sample(found[one.name]), sample(found[other.name])
    if not (first.values and second.values):
        return None
    theirs = [each.reported[_METRIC] for each in (one, other) if _METRIC in each.reported]
    return Comparison(
        labels=(one.label, other.label),
        samples=(first, second),
        limit=noise.limit(first, second),
        reported=theirs[0] - theirs[1] if len(theirs) == 2 else None,
        seconds=(min(sample(found[one.name], "seconds").values), min(sample(found[other.name], "seconds").values)),
    )
