"""Which networks form an ensemble: greedy forward selection with replacement (Caruana et al. 2004), and its gain."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lightsweep.core.metrics import format_difference, mode_of
from lightsweep.sweeper.statistics import format_p
from lightsweep.training.classifier import balanced_accuracy, macro_f1

SEED = 0  # of the halves and of the resampling
_LEVEL = 0.05
_RESAMPLES = 2000
_LEAST = 1e-38  # a probability that is 0 in float32 has a finite loss


def halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices ``int64``, ascending, of two halves of images with these classes (``int64 [N]``), always the same: of
    each class, and of all, the halves differ by one image at most."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # dealt out class by class
    return np.sort(order[::2]), np.sort(order[1::2])


def measure(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """A score of probabilities ``[N, K]`` for classes ``int64 [N]``.

    Args:
        metric: loss, acc, f1 or balanced_acc.
    """
    if metric == "loss":
        return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _LEAST)).mean())
    return _measure(metric, labels, probabilities.argmax(1), probabilities.shape[1])


def _measure(metric: str, labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    if metric == "acc":
        return float((predicted == labels).mean())
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return macro_f1(confusion) if metric == "f1" else balanced_accuracy(confusion)


def select(candidates: Sequence[np.ndarray], labels: np.ndarray, metric: str, count: int) -> list[int]:
    """Pick the candidate that makes the score of the picks' mean probabilities best, again and again; one may be picked
    several times. Of equal scores the smaller loss decides, then the first candidate.

    Args:
        candidates: of each, probabilities ``[N, K]``.
        labels: ``int64 [N]``.
        metric: as of `measure`.
        count: the number of picks, >= 1.

    Returns:
        The picks, as indices of candidates, in their order. The first is the best candidate alone.
    """
    total = np.zeros(candidates[0].shape)  # float64
    picks: list[int] = []
    for number in range(1, count + 1):
        ranks = [_rank(metric, labels, (total + each) / number) for each in candidates]
        picks.append(max(range(len(candidates)), key=ranks.__getitem__))
        total += candidates[picks[-1]]
    return picks


def _rank(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    score = measure(metric, labels, probabilities)
    return (score if mode_of(metric) == "max" else -score), -measure("loss", labels, probabilities)


@dataclass(frozen=True)
class Gain:
    """An ensemble's score less a single network's, on the same images.

    Args:
        low, high: 95 % interval, from resampled images (paired percentile bootstrap).
        p: of McNemar's exact test, of accuracies alone.
    """

    metric: str
    images: int
    value: float
    low: float
    high: float
    p: float | None

    @property
    def is_more_than_noise(self) -> bool:
        return not self.low <= 0.0 <= self.high and (self.p is None or self.p < _LEVEL)

    @property
    def is_better(self) -> bool:
        return self.value > 0 if mode_of(self.metric) == "max" else self.value < 0

    def describe(self) -> str:
        low, high = (format_difference(self.metric, value).removesuffix(" points") for value in (self.low, self.high))
        test = "" if self.p is None else f", McNemar p {format_p(self.p)}"
        verdict = "not distinguishable from noise"
        if self.is_more_than_noise:
            verdict = "more than noise" if self.is_better else "worse, by more than noise"
        value = format_difference(self.metric, self.value)
        return f"{value} (95 % interval {low} to {high}{test}, n = {self.images:,}): {verdict}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "more_than_noise": self.is_more_than_noise}


def gain(
    metric: str, labels: np.ndarray, ensemble: np.ndarray, single: np.ndarray, *, resamples: int = _RESAMPLES
) -> Gain:
    """What averaging gains on images with these classes (``int64 [N]``); probabilities ``[N, K]``."""
    classes, count = ensemble.shape[1], len(labels)
    if metric == "loss":
        losses = [-np.log(np.maximum(each[np.arange(count), labels], _LEAST)) for each in (ensemble, single)]
        differences = losses[0] - losses[1]
    else:
        ours, theirs = ensemble.argmax(1), single.argmax(1)
        differences = (ours == labels).astype(float) - (theirs == labels)

    def difference(chosen: np.ndarray) -> float:
        if metric in ("loss", "acc"):
            return float(differences[chosen].mean())
        both = (_measure(metric, labels[chosen], each[chosen], classes) for each in (ours, theirs))
        return next(both) - next(both)

    draw = np.random.default_rng(SEED)
    resampled = [difference(draw.integers(count, size=count)) for _ in range(resamples)]
    low, high = np.quantile(resampled, (_LEVEL / 2, 1 - _LEVEL / 2)).tolist()
    p = _mcnemar(differences) if metric == "acc" else None
    return Gain(metric, count, difference(np.arange(count)), low, high, p)


def _mcnemar(differences: np.ndarray) -> float:
    """Of images that one of two has right and the other wrong (1, -1; else 0): the exact two-sided p-value."""
    from scipy import stats

    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
