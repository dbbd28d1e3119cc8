"""Effects of settings on the score: main effects and two-way interactions, with intervals and p-values.

Where the design allows, runs are compared at equal other settings (the cell-means model): an effect is the mean of
these differences, and noise is the spread of the runs of a cell. Else effects are assumed to add up (an additive
linear model). Both are least squares by statsmodels; every effect is a contrast of the parameters.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import combinations
from typing import Any

import numpy as np

from lightsweep.core.errors import ConfigError
from lightsweep.reports.design import Design
from lightsweep.sweeper import statistics

LEVEL = 0.05
_MAX_CELLS = 500  # of the cell-means model: it has a parameter for each
_SAME = 1e-9  # runs of a cell that differ by less, relative to the scores, do not differ

Cell = tuple[int, ...]
Terms = Sequence[tuple[int, Mapping[int, int]]]  # a sign, and the level of some factors: mean scores that are added


@dataclass(frozen=True)
class Estimate:
    """A difference of mean scores.

    Args:
        reach: half the width of its 95 % interval; None where noise is not known.
    """

    value: float
    reach: float | None = None
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        return self.reach is not None and abs(self.value) > self.reach


@dataclass(frozen=True)
class Effect:
    """A level of a factor against the factor's reference.

    Args:
        factor, level: indices.
        estimate: None where the runs do not tell it from other effects.
        pairs: the combinations of other factors that have runs of both levels, and those that have runs of one.
        runs: that are compared, of the level and of the reference.
        p: adjusted for all tests (Holm); None where noise is not known.
        seeds: runs a cell that would show an effect of this size (80 % power, 5 % level), where it does not matter;
            None: more than 1,000.
    """

    factor: int
    level: int
    estimate: Estimate | None
    pairs: tuple[int, int]
    runs: tuple[int, int]
    p: float | None = None
    seeds: int | None = None

    @property
    def matters(self) -> bool:
        """Whether it is more than noise, after the adjustment for all tests."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class Interaction:
    """How the effect of one factor changes with the level of another.

    Args:
        factors: indices; the effects below are of the first.
        p: adjusted for all tests (Holm).
        level: of the first factor, whose effect changes most.
        effects: of that level against the reference, at each level of the second factor that has runs of both.
    """

    factors: tuple[int, int]
    p: float
    level: int
    effects: tuple[tuple[int, Estimate], ...]

    @property
    def matters(self) -> bool:
        return self.p < LEVEL

    @property
    def clarity(self) -> int:
        """How plainly it can be said, 0 the best: an effect at some levels only, opposite ones, larger ones."""
        signs = {(each.value > 0) - (each.value < 0) if each.excludes_zero else 0 for _, each in self.effects}
        return 3 if signs == {0} else 0 if len(signs) == 2 and 0 in signs else 1 if {1, -1} <= signs else 2


@dataclass(frozen=True)
class Effects:
    """What a design tells.

    Args:
        is_paired: the cell-means model; else effects are assumed to add up.
        noise: standard deviation of what the model does not explain; None where it is not known.
        freedom: its degrees of freedom.
        effects: the largest first, those that matter before others.
        interactions: of each pair of factors that can be tested, the smallest p-value first.
    """

    design: Design
    is_paired: bool
    noise: float | None
    freedom: int
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]

    @property
    def tests(self) -> int:
        """That p-values are adjusted for."""
        return sum(each.p is not None for each in self.effects) + len(self.interactions)


def check_installed() -> None:
    """Raises ConfigError: statsmodels is missing; it names the extra."""
    if find_spec("statsmodels") is None:
        raise ConfigError("--effects needs statsmodels: pip install 'lightsweep[report]'")


def measure(design: Design) -> Effects:
    """Estimate every main effect and two-way interaction of a design with two runs at least."""
    from statsmodels.regression import linear_model  # noqa: F401  # it sets filters of warnings

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter(
            "ignore"
        )  # of what is looked at here: no freedom, no spread, parameters that are not told
        return _measure(design)


def _measure(design: Design) -> Effects:
    pairs = {
        (factor, level): tuple(_rests(design.cells, {factor: at}) for at in (level, 0))
        for factor, each in enumerate(design.factors)
        for level in range(1, len(each.levels))
    }
    is_paired = design.combinations <= _MAX_CELLS and all(
        2 * len(one & other) >= len(one | other) for one, other in pairs.values()
    )
    model = _Model(design, is_paired=is_paired)
    contrasts = [model.contrast([(1, {factor: level}), (-1, {factor: 0})]) for factor, level in pairs]
    effects = []
    for ((factor, level), (one, other)), estimate in zip(pairs.items(), map(model.estimate, contrasts), strict=True):
        compared = one & other if is_paired else one | other
        runs = _count_runs(design, factor, level, compared), _count_runs(design, factor, 0, compared)
        counts = len(one & other), len(one | other)
        effects.append(Effect(factor, level, estimate, counts, runs, estimate.p if estimate else None))
    interactions = [] if model.noise is None else list(_find_interactions(design, model))
    raw = [*(each.p for each in effects), *(each.p for each in interactions)]
    adjusted = iter(statistics.holm([p for p in raw if p is not None]))
    effects = [each if each.p is None else replace(each, p=next(adjusted)) for each in effects]
    interactions = [replace(each, p=next(adjusted)) for each in interactions]
    effects = [
        each if each.matters else replace(each, seeds=model.seeds_needed(contrast))
        for each, contrast in zip(effects, contrasts, strict=True)
    ]
    effects.sort(key=lambda each: (not each.matters, -abs(each.estimate.value) if each.estimate else 0.0))
    interactions.sort(key=lambda each: each.p)
    return Effects(design, is_paired, model.noise, model.freedom, tuple(effects), tuple(interactions))


def _rests(cells: Iterable[Cell], fixed: Mapping[int, int]) -> set[Cell]:
    """The levels of the other factors, of the cells with these levels of some."""
    return {
        tuple(level for factor, level in enumerate(cell) if factor not in fixed)
        for cell in cells
        if all(cell[factor] == level for factor, level in fixed.items())
    }


def _count_runs(design: Design, factor: int, level: int, rests: set[Cell]) -> int:
    return sum(cell[factor] == level and cell[:factor] + cell[factor + 1 :] in rests for cell in design.cells)


class _Model:
    """Least squares, and contrasts of its parameters.

    Args:
        is_paired: a parameter for each cell that has a run; else a constant, and one for each level but the reference.
        together: of the latter, a pair of factors that interact: also a parameter for each pair of their levels.
    """

    def __init__(self, design: Design, *, is_paired: bool, together: tuple[int, ...] = ()) -> None:
        from statsmodels.regression.linear_model import OLS

        self.is_paired, self._together = is_paired, together
        self._sizes = [len(factor.levels) for factor in design.factors]
        self._places = {cell: place for place, cell in enumerate(sorted(set(design.cells)))}
        rows = {cell: self._row(cell) for cell in self._places}
        matrix, scores = np.array([rows[cell] for cell in design.cells]), np.array(design.scores)
        self._fitted: Any = OLS(scores, matrix).fit()
        self._runs = len(scores)
        self.freedom = self._runs - int(self._fitted.model.rank)
        self._told = np.linalg.pinv(matrix) @ matrix  # projects parameters onto what the runs determine
        noise = math.sqrt(self._fitted.ssr / self.freedom) if self.freedom > 0 else 0.0
        is_known = design.is_replicated and math.isfinite(noise) and noise > _SAME * float(np.abs(scores).max())
        self.noise = noise if is_known else None

    def _row(self, cell: Cell) -> np.ndarray:
        """Of the design matrix."""
        if self.is_paired:
            return np.eye(len(self._places))[self._places[cell]]
        levels = [np.eye(size)[level][1:] for size, level in zip(self._sizes, cell, strict=True)]
        products = [np.outer(*(levels[factor] for factor in self._together)).ravel()] if self._together else []
        return np.concatenate([[1.0], *levels, *products])

    def contrast(self, terms: Terms) -> np.ndarray | None:
        """Weights of the parameters, averaged over the combinations of other factors that have runs of every term; None
        where there is no such combination, or the runs do not determine it."""
        if self.is_paired:
            rests = set.intersection(*(_rests(self._places, fixed) for _, fixed in terms))
        else:
            rests = {(0,) * (len(self._sizes) - len(terms[0][1]))}
        if not rests:
            return None
        rows = [sign * self._row(self._cell(fixed, rest)) for rest in sorted(rests) for sign, fixed in terms]
        mean = np.sum(rows, axis=0) / len(rests)
        return mean if np.allclose(mean @ self._told, mean, atol=1e-8) else None

    def _cell(self, fixed: Mapping[int, int], rest: Cell) -> Cell:
        others = iter(rest)
        return tuple(fixed[factor] if factor in fixed else next(others) for factor in range(len(self._sizes)))

    def estimate(self, contrast: np.ndarray | None) -> Estimate | None:
        if contrast is None:
            return None
        tested = self._fitted.t_test(contrast)
        value = float(tested.effect[0])
        if self.noise is None or not math.isfinite(value):
            return Estimate(value) if math.isfinite(value) else None
        low, high = tested.conf_int(LEVEL)[0]
        return Estimate(value, float(high - low) / 2, float(tested.pvalue))

    def test_jointly(self, contrasts: Sequence[np.ndarray]) -> float:
        """The p-value of an F test that all contrasts are 0."""
        return float(self._fitted.f_test(np.array(contrasts)).pvalue)

    def seeds_needed(self, contrast: np.ndarray | None) -> int | None:
        """Runs a cell with which a contrast of the size seen is found, by the noncentral t distribution."""
        estimate = self.estimate(contrast)
        if estimate is None or estimate.reach is None or estimate.value == 0.0:
            return None
        from statsmodels.stats.power import ttest_power

        per_cell, rank = self._runs / len(self._places), self._runs - self.freedom
        size = abs(estimate.value) / float(self._fitted.t_test(contrast).sd[0, 0]) / math.sqrt(per_cell)

        def power(n: int) -> float:
            found = float(ttest_power(size, n, LEVEL, df=max(1, n * len(self._places) - rank)))
            return 1.0 if math.isnan(found) else found  # scipy gives up only far above the critical value

        return statistics.fewest(power)


def _find_interactions(design: Design, main: _Model) -> Iterator[Interaction]:
    """Of each pair of factors whose interaction can be tested; without pairs of runs by an additive model with it."""
    sizes = [len(factor.levels) for factor in design.factors]
    for pair in combinations(range(len(sizes)), 2):
        model = main if main.is_paired else _Model(design, is_paired=False, together=pair)
        first, second = pair
        contrasts = [
            model.contrast(
                [
                    (sign_one * sign_other, {first: one, second: other})
                    for one, sign_one in ((level, 1), (0, -1))
                    for other, sign_other in ((against, 1), (0, -1))
                ]
            )
            for level in range(1, sizes[first])
            for against in range(1, sizes[second])
        ]
        told = [each for each in contrasts if each is not None]
        p = model.test_jointly(told) if told and model.noise is not None else math.nan
        if math.isfinite(p):
            described = [_describe(design, model, first, second, p), _describe(design, model, second, first, p)]
            yield min(described, key=lambda each: each.clarity)


def _describe(design: Design, model: _Model, subject: int, other: int, p: float) -> Interaction:
    """The interaction as the effect of the subject's level whose effect changes most with the other's level."""
    best: dict[int, Estimate] = {}
    chosen, most = 1, -1.0
    for level in range(1, len(design.factors[subject].levels)):
        effects = {}
        for at in range(len(design.factors[other].levels)):
            estimate = model.estimate(model.contrast([(1, {subject: level, other: at}), (-1, {subject: 0, other: at})]))
            if estimate is not None:
                effects[at] = estimate
        values = [each.value for each in effects.values()]
        if values and max(values) - min(values) > most:
            best, chosen, most = effects, level, max(values) - min(values)
    return Interaction((subject, other), p, chosen, tuple(best.items()))
