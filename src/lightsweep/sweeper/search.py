"""What a sweep's trials and its confirmation hold, and how far apart their values are. The words are in `verdict`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import variance

from optuna.trial import FrozenTrial, TrialState


@dataclass(frozen=True)
class Entry:
    """A completed trial."""

    number: int
    value: float


@dataclass(frozen=True)
class Search:
    """What is known from the trials alone.

    Args:
        best: the best of `completed`, which are all completed trials.
        baseline: None where it has no value.
        baseline_state: how its trial stands; None where there is none.
        is_baseline: is the best trial the baseline itself?
        seeds: that a trial's value is the mean of.
        changed_at: the first trial that has the data and settings of now.
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
    """A confirmation's scores, by configuration (best, baseline) and name.

    Args:
        trial: number of the trial that was the best then.
        failed: runs that were not completed, by configuration.
    """

    trial: int
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, tuple[float, ...]]]
    failed: Mapping[str, int] = field(default_factory=dict)

    def values(self, configuration: str, score: str) -> tuple[float, ...]:
        return self.scores.get(configuration, {}).get(score, ())

    def score(self, metric: str) -> str | None:
        """What the two are compared by: test images, which no trial was chosen by, else what was searched for; None
        where one of the two has neither."""
        wanted = (f"test/{metric.partition('/')[2]}", metric)
        return next((name for name in wanted if all(self.values(each, name) for each in ("best", "baseline"))), None)


def of_trials(
    trials: Sequence[FrozenTrial], *, metric: str, maximises: bool, seeds: int, changed_at: int
) -> Search | None:
    """What the trials say; None where none was completed."""
    done = [Entry(each.number, each.value) for each in trials if _is_complete(each) and each.value is not None]
    if not done:
        return None
    sign = -1 if maximises else 1
    best = min(done, key=lambda entry: (sign * entry.value, entry.number))
    marked = baseline_of(trials)
    if marked is None:
        return Search(metric, maximises, best, tuple(done), seeds=seeds, changed_at=changed_at)
    baseline = {entry.number: entry for entry in done}.get(marked.number)
    is_baseline = baseline == best and not marked.user_attrs.get("note")  # a note: it is only near the config
    return Search(metric, maximises, best, tuple(done), baseline, _state(marked), is_baseline, seeds, changed_at)


def baseline_of(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """The trial of the config as it stands: the completed one, where it was asked for several times."""
    marked = [trial for trial in trials if trial.user_attrs.get("baseline") is True]
    return next((trial for trial in marked if _is_complete(trial)), marked[-1] if marked else None)


def noise_of_trials(samples: Sequence[Sequence[float]], *, seeds: int) -> float | None:
    """By how much two trials of equal configurations differ at most, in 19 of 20 pairs; None where nothing tells.

    Args:
        samples: values of runs that differ by their seed alone, a group a configuration; their variances are pooled.
        seeds: that a trial's value is the mean of.
    """
    freedom = sum(len(sample) - 1 for sample in samples if sample)
    squares = sum((len(sample) - 1) * variance(sample) for sample in samples if len(sample) > 1)
    if squares == 0.0:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, freedom)) * sqrt(2 * squares / freedom / seeds)


def _is_complete(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE


def _state(trial: FrozenTrial) -> str:
    return {TrialState.FAIL: "failed"}.get(trial.state, trial.state.name.lower())
