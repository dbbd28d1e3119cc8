"""A surrogate of a study: scikit-learn's Gaussian process of the values over the parameters.

It says how sure it is of each prediction, and it is fitted to tens of trials in a fraction of a second.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lightsweep.reports.importances import Valued
from lightsweep.reports.trials import ParameterRange

_FOLDS, _LEVEL = 5, 0.05
_STEPS, _DRAWS = 25, 400  # places along a parameter; functions drawn from the process
_INTERVAL = (2.5, 50, 97.5)  # percentiles
_SMALL = 0.1  # of the variance: a parameter that surely has no more hardly matters


class Surrogate:
    """Predicts the value of any point.

    Args:
        valued: trials with their values, at least `_FOLDS`.
        ranges: of the parameters that are learned from.

    Raises:
        ImportError: scikit-learn is missing.
    """

    def __init__(self, valued: Sequence[Valued], ranges: Mapping[str, ParameterRange]) -> None:
        import sklearn  # noqa: F401  (of the extra `report`)

        self.ranges, self.count = ranges, len(valued)
        self.values = np.array([each.value for each in valued])
        self.points = self.encode([each.trial.params for each in valued])

    def encode(self, points: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """``[N, D]``: a column for each range and for choices in an order, from 0 to 1, and one for each other choice.
        A parameter that a point lacks is in the middle, or no choice."""
        return np.array([[cell for name in self.ranges for cell in self._cells(name, point)] for point in points])

    def _cells(self, name: str, point: Mapping[str, Any]) -> list[float]:
        searched = self.ranges[name]
        if not searched.choices:
            return [searched.share(point[name]) if name in point else 0.5]
        order, choice = _order_of(searched), searched.at(point[name]) if name in point else None
        if order:
            return [0.5 if choice is None else order.index(choice) / (len(order) - 1)]
        return [float(choice == each) for each in searched.choices]

    @cached_property
    def correlation(self) -> float:
        """Spearman's, of the values and what is predicted of each trial from the other folds; 0 where it is not
        known."""
        return self._score[0]

    @property
    def predicts(self) -> bool:
        """Whether it predicts trials that it has not seen better than their mean does, at the 5 % level."""
        return self._score[1] < _LEVEL

    @cached_property
    def _score(self) -> tuple[float, float]:
        from scipy.stats import spearmanr
        from sklearn.model_selection import KFold, cross_val_predict

        if len(set(self.values)) < 2:
            return 0.0, 1.0
        folds = KFold(_FOLDS, shuffle=True, random_state=0)
        try:
            with warnings.catch_warnings(action="ignore"):  # a length scale is at a bound
                predicted = cross_val_predict(self._make(), self.points, self.values, cv=folds)
                found = spearmanr(predicted, self.values, alternative="greater")
        except ValueError:  # values of such sizes that the process cannot be computed
            return 0.0, 1.0
        known = bool(np.isfinite(found.statistic))
        return (float(found.statistic), float(found.pvalue)) if known else (0.0, 1.0)

    def _make(self) -> Any:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        scales = np.full(self.points.shape[1], 2.0)
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(scales, (0.1, 1e2), nu=2.5) + WhiteKernel(0.1, (1e-3, 10.0))
        return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)

    @cached_property
    def _fitted(self) -> Any:
        """The process without the noise of a single value, which `predict` would add to its uncertainty."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        with warnings.catch_warnings(action="ignore"):
            learned = self._make().fit(self.points, self.values).kernel_
            function = GaussianProcessRegressor(
                learned.k1, alpha=learned.k2.noise_level, optimizer=None, normalize_y=True
            )
            return function.fit(self.points, self.values)

    def predict(self, points: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations ``[N]``."""
        with warnings.catch_warnings(action="ignore"):
            means, deviations = self._fitted.predict(self.encode(points), return_std=True)
        return means, deviations

    def move_each(self, best: Mapping[str, Any]) -> list["Move"]:
        """What each parameter changes around a point, the others as they are there; what changes most first."""
        places = {name: places_of(self.ranges[name]) for name in self.ranges if name in best}
        points = [dict(best), *({**best, name: place} for name, each in places.items() for place in each)]
        means, deviations = self.predict(points)
        with warnings.catch_warnings(action="ignore"):
            drawn = self._fitted.sample_y(self.encode(points), _DRAWS, random_state=0).T  # [draws, points]
        ends = np.cumsum([1, *map(len, places.values())])
        spans = dict(zip(places, map(slice, ends, ends[1:]), strict=False))
        variances = np.array([drawn[:, span].var(axis=1) for span in spans.values()])
        shares = np.percentile(variances / variances.sum(axis=0), _INTERVAL, axis=1).T
        moves = []
        for (name, span), (low, share, high) in zip(spans.items(), shares, strict=True):
            farthest = span.start + int(np.argmax(np.abs(means[span] - means[0])))
            change = np.percentile(drawn[:, farthest] - drawn[:, 0], _INTERVAL)
            moves.append(
                Move(
                    name,
                    float(share),
                    (float(low), float(high)),
                    places[name],
                    means[span],
                    deviations[span],
                    places[name][farthest - span.start],
                    (float(change[0]), float(change[1]), float(change[2])),
                )
            )
        return sorted(moves, key=lambda each: -each.share)


@dataclass(frozen=True)
class Move:
    """One parameter over its range, the others at the best point (Biedenkapp et al. 2018).

    Args:
        share: of the variances of all parameters' predicted values: the median over functions drawn from the process.
        interval: its 95 % interval.
        places: values along the range.
        means, deviations: predicted there.
        farthest: the place whose predicted value differs most from the best point's.
        change: of the predicted value from the best point to there: 2.5 %, 50 % and 97.5 %.
    """

    name: str
    share: float
    interval: tuple[float, float]
    places: Sequence[Any]
    means: np.ndarray
    deviations: np.ndarray
    farthest: Any
    change: tuple[float, float, float]

    @property
    def matters(self) -> bool:
        return not self.change[0] <= 0.0 <= self.change[2]

    @property
    def is_small(self) -> bool:
        """Whether it surely changes little; one that merely cannot be told from noise may change much."""
        return self.interval[1] <= _SMALL


def _order_of(searched: ParameterRange) -> list[str]:
    """Choices that are numbers, three at least, from the lowest to the highest."""
    try:
        return sorted(searched.choices, key=float) if len(searched.choices) > 2 else []
    except ValueError:
        return []


def places_of(searched: ParameterRange, count: int = _STEPS) -> list[Any]:
    """Values along a range, or its choices as text."""
    if searched.choices:
        return list(searched.choices)
    space = np.geomspace if searched.is_log else np.linspace
    return list(map(float, space(searched.low, searched.high, count)))
