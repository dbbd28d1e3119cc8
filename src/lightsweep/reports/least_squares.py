"""Least squares over the cells of a design, by statsmodels: mean differences of cells, with intervals and p-values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightsweep.reports.design import Design
from lightsweep.sweeper import statistics

LEVEL = 0.05
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


def find_rests(cells: Iterable[Cell], fixed: Mapping[int, int]) -> set[Cell]:
    """The levels of the other factors, of the cells with these levels of some."""
    return {
        tuple(level for factor, level in enumerate(cell) if factor not in fixed)
        for cell in cells
        if all(cell[factor] == level for factor, level in fixed.items())
    }


class Model:
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
        distinct = np.array(list(rows.values()))
        self._told = np.linalg.pinv(distinct) @ distinct  # projects parameters onto what the runs determine
        noise = math.sqrt(self._fitted.ssr / self.freedom) if self.freedom > 0 else 0.0
        is_known = design.is_replicated and math.isfinite(noise) and noise > _SAME * float(np.abs(scores).max())
        self.noise = noise if is_known else None

    def _row(self, cell: Cell) -> np.ndarray:
        """Of the design matrix."""
        if self.is_paired:
            row = np.zeros(len(self._places))
            row[self._places[cell]] = 1.0
            return row
        levels = [np.eye(size)[level][1:] for size, level in zip(self._sizes, cell, strict=True)]
        products = [np.outer(*(levels[factor] for factor in self._together)).ravel()] if self._together else []
        return np.concatenate([[1.0], *levels, *products])

    def contrast(self, terms: Terms) -> np.ndarray | None:
        """Weights of the parameters, averaged over the combinations of other factors that have runs of every term; None
        where there is no such combination, or the runs do not determine it."""
        if self.is_paired:
            rests = set.intersection(*(find_rests(self._places, fixed) for _, fixed in terms))
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
