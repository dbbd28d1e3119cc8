"""A stand-in for training runs: learning curves of any point of a recorded space, with the noise of real runs.

The mean curve of a point is the mean of two models of the recorded curves, a forest of extremely randomized trees and a
ridge regression on products of the parameters: neither is a Gaussian process, which would favour a sampler that is one.
A run adds the residuals of one recorded run, all its epochs together: what the models, fitted without that run, missed.
Runs near by are likelier to be taken. Their weighted mean is subtracted, so that noise has no direction.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from benchmarks.curves import Curves, Distribution

_FOLDS, _TREES = 10, 200
_NEAR = 0.35  # root of the mean squared distance of parameters, each from 0 to 1, at which a weight falls to exp(-0.5)
_LOOKED_AT, _REFINED, _ROUNDS = 20_000, 200, 12  # points, in the search for the best one


class Encoder:
    """Points as float [N, D] from 0 to 1: numbers on their scale, of choices that are no numbers one column each."""

    def __init__(self, distributions: Mapping[str, Distribution]) -> None:
        self.distributions = distributions
        self.owners = [index for index, each in enumerate(distributions.values()) for _ in range(_columns(each))]

    def encode(self, points: Sequence[Mapping[str, Any]]) -> np.ndarray:
        columns = [_encode(each, [point[key] for point in points]) for key, each in self.distributions.items()]
        return np.concatenate(columns, axis=1)

    def distances(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Of encoded points, float [N, M]: the root of the mean over parameters, of which those of a choice are 1."""
        shared = np.array([0.5 if self.owners.count(owner) > 1 else 1.0 for owner in self.owners])
        squares = ((one[:, None, :] - other[None, :, :]) ** 2 * shared).sum(-1)
        return np.sqrt(squares / len(self.distributions))


class Models:
    """The models of mean curves, float [N, epochs], of encoded points."""

    def __init__(self, inputs: np.ndarray, curves: np.ndarray) -> None:
        forest = ExtraTreesRegressor(_TREES, min_samples_leaf=2, max_features=0.7, random_state=0)
        self.trees = [tree.tree_ for tree in forest.fit(inputs, curves).estimators_]
        self.scaler = StandardScaler().fit(_products(inputs))
        self.linear = RidgeCV(np.logspace(-1, 4, 16)).fit(self.scaler.transform(_products(inputs)), curves)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        exact = np.ascontiguousarray(inputs, dtype=np.float32)
        forest = np.mean([tree.predict(exact)[..., 0] for tree in self.trees], axis=0)
        return (forest + self.linear.predict(self.scaler.transform(_products(inputs)))) / 2


class Surrogate:
    """Runs of any point of a recorded space."""

    def __init__(self, curves: Curves) -> None:
        self.curves = curves
        self.encoder = Encoder(curves.distributions)
        self.inputs = self.encoder.encode(curves.params)
        self.models = Models(self.inputs, curves.values)
        self.held_out = np.empty_like(curves.values)  # predictions of each run by models that did not see it
        for known, rest in KFold(_FOLDS, shuffle=True, random_state=0).split(self.inputs):
            self.held_out[rest] = Models(self.inputs[known], curves.values[known]).predict(self.inputs[rest])
        self.residuals = curves.values - self.held_out

    @property
    def epochs(self) -> int:
        return self.curves.values.shape[1]

    def rank_correlations(self) -> dict[str, float]:
        """Of held-out predictions and recorded runs (Spearman): the last epoch's value, and the best epoch's."""
        last = spearmanr(self.held_out[:, -1], self.curves.values[:, -1])
        best = spearmanr(self.held_out.max(1), self.curves.values.max(1))
        return {"last": float(last.statistic), "best": float(best.statistic)}

    def run(self, point: Mapping[str, Any], seed: int) -> np.ndarray:
        """The values of a run after each epoch, float [epochs]; the same for the same point and seed."""
        encoded = self.encoder.encode([point])
        weights, noise = self._noise(encoded)
        digest = hashlib.sha256(f"{seed} {sorted(point.items())}".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        chosen = min(int(np.searchsorted(np.cumsum(weights[0]), draw)), len(self.inputs) - 1)
        return self.models.predict(encoded)[0] + noise[0, chosen]

    def true_values(self, encoded: np.ndarray) -> np.ndarray:
        """The expected value of a run, its best epoch's, for encoded points: float [N]."""
        means = self.models.predict(encoded)
        values = np.empty(len(encoded))
        for first in range(0, len(encoded), 500):
            part = slice(first, first + 500)
            weights, noise = self._noise(encoded[part])
            values[part] = (weights * (means[part, None, :] + noise).max(-1)).sum(-1)
        return values

    def true_value(self, point: Mapping[str, Any]) -> float:
        return float(self.true_values(self.encoder.encode([point]))[0])

    @cached_property
    def best(self) -> float:
        """The highest expected value: of random points, and of points near the best of them."""
        draw = np.random.default_rng(0)
        inputs = self._random(draw, _LOOKED_AT)
        values = self.true_values(inputs)
        for number in range(_ROUNDS):
            top = inputs[np.argsort(values)[-_REFINED:]]
            others = self._random(draw, len(top))
            moved = top + draw.normal(0, 0.1 * 0.7**number, top.shape)
            discrete = [isinstance(each, FloatDistribution) for each in self.curves.distributions.values()]
            is_float = np.array(discrete)[self.encoder.owners]
            changed = draw.random((len(top), len(discrete)))[:, self.encoder.owners] < 1 / len(discrete)
            tried = np.where(is_float, np.clip(moved, 0, 1), np.where(changed, others, top))
            inputs = np.concatenate([inputs, tried])
            values = np.concatenate([values, self.true_values(tried)])
        return float(values.max())

    def _random(self, draw: np.random.Generator, count: int) -> np.ndarray:
        points: list[dict[str, Any]] = [{} for _ in range(count)]
        for key, each in self.curves.distributions.items():
            for point, unit in zip(points, draw.random(count), strict=True):
                point[key] = _decode(each, float(unit))
        return self.encoder.encode(points)

    def _noise(self, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The weights of the recorded runs, float [N, runs], and their residuals less the weighted mean, float
        [N, runs, epochs]."""
        weights = np.exp(-0.5 * (self.encoder.distances(encoded, self.inputs) / _NEAR) ** 2)
        weights /= weights.sum(1, keepdims=True)
        return weights, self.residuals[None] - (weights @ self.residuals)[:, None, :]


def _columns(distribution: Distribution) -> int:
    if not isinstance(distribution, CategoricalDistribution) or _is_scale(distribution):
        return 1
    return 1 if len(distribution.choices) == 2 else len(distribution.choices)


def _is_scale(distribution: CategoricalDistribution) -> bool:
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in distribution.choices)


def _encode(distribution: Distribution, values: Sequence[Any]) -> np.ndarray:
    if isinstance(distribution, CategoricalDistribution):
        positions = np.array([distribution.choices.index(value) for value in values])
        count = len(distribution.choices)
        return positions[:, None] / (count - 1) if _columns(distribution) == 1 else np.eye(count)[positions]
    low, high = float(distribution.low), float(distribution.high)
    numbers = np.array(values, dtype=float)
    if distribution.log:
        low, high, numbers = np.log(low), np.log(high), np.log(numbers)
    return ((numbers - low) / (high - low))[:, None]


def _decode(distribution: Distribution, unit: float) -> Any:
    """The value at this place of a distribution, from 0 to 1."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(unit * len(distribution.choices)), len(distribution.choices) - 1)]
    low, high = distribution.low, distribution.high
    if not isinstance(distribution, FloatDistribution):
        return low + min(int(unit * (high - low + 1)), high - low)
    return float(low * (high / low) ** unit) if distribution.log else low + unit * (high - low)


def _products(inputs: np.ndarray) -> np.ndarray:
    """The inputs and their products of two and three, powers too; of two only where columns are many."""
    centred = 2 * inputs - 1
    degrees = (1, 2, 3) if inputs.shape[1] <= 6 else (1, 2)
    chosen = [each for degree in degrees for each in combinations_with_replacement(range(inputs.shape[1]), degree)]
    return np.stack([centred[:, list(each)].prod(1) for each in chosen], axis=1)
