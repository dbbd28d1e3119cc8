"""Effects of settings on the score: main effects and two-way interactions, with intervals and p-values.

Where the design allows, runs are compared at equal other settings (the cell-means model): an effect is the mean of
these differences, and noise is the spread of the runs of a cell. Else effects are assumed to add up (an additive
linear model). Both are least squares by statsmodels; every effect is a contrast of the parameters.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lightsweep.core.errors import ConfigError
from lightsweep.reports.design import Design
from lightsweep.reports.least_squares import LEVEL, Cell, Estimate, Model, find_rests
from lightsweep.sweeper import statistics

_MAX_CELLS = 500  # of the cell-means model: it has a parameter for each


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
        effects: of that level against the reference, at each level of the second factor that has runs of both; none
            where p is large.
    """

    factors: tuple[int, int]
    p: float
    level: int = 1
    effects: tuple[tuple[int, Estimate], ...] = ()

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


def measure(design: Design) -> Effects:
    """Estimate every main effect and two-way interaction of a design with two runs at least.

    Raises:
        ConfigError: statsmodels is missing.
    """
    try:
        import statsmodels.regression.linear_model  # noqa: F401  # it changes the filters of warnings
    except ImportError as error:
        raise ConfigError(f"effects need statsmodels: pip install 'lightsweep[report]' ({error})") from error
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of what is looked at here: no freedom, no spread, too few runs
        return _measure(design)


def _measure(design: Design) -> Effects:
    cells = set(design.cells)
    pairs = {
        (factor, level): tuple(find_rests(cells, {factor: at}) for at in (level, 0))
        for factor, each in enumerate(design.factors)
        for level in range(1, len(each.levels))
    }
    is_paired = design.combinations <= _MAX_CELLS and all(
        2 * len(one & other) >= len(one | other) for one, other in pairs.values()
    )
    model = Model(design, is_paired=is_paired)
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


def _count_runs(design: Design, factor: int, level: int, rests: set[Cell]) -> int:
    return sum(cell[factor] == level and cell[:factor] + cell[factor + 1 :] in rests for cell in design.cells)


def _find_interactions(design: Design, main: Model) -> Iterator[Interaction]:
    """Of each pair of factors whose interaction can be tested; without pairs of runs by an additive model with it."""
    sizes = [len(factor.levels) for factor in design.factors]
    for pair in combinations(range(len(sizes)), 2):
        model = main if main.is_paired else Model(design, is_paired=False, together=pair)
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
            orders = [pair, (second, first)] if p < LEVEL else []
            described = [_describe(design, model, *order, p) for order in orders]
            yield min(described, key=lambda each: each.clarity, default=Interaction(pair, p))


def _describe(design: Design, model: Model, subject: int, other: int, p: float) -> Interaction:
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
