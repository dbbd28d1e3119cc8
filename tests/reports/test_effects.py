"""Effects of made-up designs, whose true effects are known."""

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
from scipy import stats

from lightsweep.reports.design import Design, Factor
from lightsweep.reports.effects import Effects, measure
from lightsweep.reports.effects_text import describe_effect, describe_interactions, describe_open
from lightsweep.reports.effects_view import draw_forest
from lightsweep.sweeper.statistics import seeds_needed

SD = 0.005
NOISE = "not distinguishable from noise"
Cell = tuple[int, ...]


def make_design(
    sizes: Sequence[int],
    truth: Callable[[Cell], float],
    rng: np.random.Generator,
    *,
    seeds: int = 3,
    keep: Callable[[Cell, int], bool] = lambda cell, seed: True,
    maximises: bool = True,
) -> Design:
    """Runs of all combinations of levels, but for those that are not kept; scores are normal around the truth."""
    factors = tuple(Factor((f"model.k{index}",), f"k{index}", tuple("abcd"[:size])) for index, size in enumerate(sizes))
    cells = [cell for cell in product(*(range(size) for size in sizes)) for seed in range(seeds) if keep(cell, seed)]
    scores = tuple(truth(cell) + rng.normal(0, SD) for cell in cells)
    return Design(factors, tuple(cells), scores, maximises=maximises)


def effect_of(found: Effects, factor: int, level: int = 1):
    return next(each for each in found.effects if (each.factor, each.level) == (factor, level))


def is_within(hits: int, of: int, share: float) -> bool:
    """Whether a count is what chance gives in all but 1 of 1,000 cases."""
    return stats.binomtest(hits, of, share).pvalue > 0.001


@pytest.mark.parametrize(
    ("keep", "is_paired"),
    [
        (lambda cell, seed: True, True),
        (lambda cell, seed: seed == 0 or cell != (0, 1, 1), True),
        (lambda cell, seed: sum(cell) < 2, False),
    ],
    ids=["balanced", "unbalanced", "missing"],
)
def test_intervals_hold_the_true_effect_in_19_of_20_tables(keep, is_paired: bool) -> None:
    rng, hits, of = np.random.default_rng(3), [0, 0, 0], 80
    true = (0.02, -0.004, 0.0)
    for _ in range(of):
        found = measure(make_design((2, 2, 2), lambda cell: 0.5 + np.dot(cell, true), rng, keep=keep))
        assert found.is_paired == is_paired
        for each in found.effects:
            hits[each.factor] += abs(each.estimate.value - true[each.factor]) <= each.estimate.reach
    assert all(is_within(count, of, 0.95) for count in hits), hits


def test_where_nothing_matters_one_table_in_twenty_says_that_something_does() -> None:
    rng, of = np.random.default_rng(4), 100
    tables = [measure(make_design((2, 3), lambda cell: 0.5, rng)) for _ in range(of)]
    wrong = sum(any(each.matters for each in (*found.effects, *found.interactions)) for found in tables)
    assert tables[0].tests == 4
    assert wrong <= stats.binom.ppf(0.999, of, 0.05), wrong
    assert wrong > 0


def test_effects_are_mean_differences_within_pairs_with_the_pooled_variance() -> None:
    design = make_design((2, 3), lambda cell: 0.5 + 0.01 * cell[1], np.random.default_rng(5), seeds=4)
    scores = np.array(design.scores).reshape(2, 3, 4)
    found = measure(design)
    variance = scores.var(axis=2, ddof=1).mean()
    for level in (1, 2):
        value = (scores[:, level] - scores[:, 0]).mean()
        error = math.sqrt(2 * variance / 8)
        estimate = effect_of(found, 1, level).estimate
        assert estimate.value == pytest.approx(value)
        assert estimate.reach == pytest.approx(stats.t.ppf(0.975, 18) * error)
        assert estimate.p == pytest.approx(2 * stats.t.sf(abs(value) / error, 18))
    assert found.noise == pytest.approx(math.sqrt(variance))
    assert found.freedom == 18


def test_p_values_of_main_effects_and_interactions_are_those_of_an_analysis_of_variance() -> None:
    from pandas import DataFrame
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    design = make_design((2, 3, 2), lambda cell: 0.004 * cell[0] * cell[1], np.random.default_rng(6))
    columns = {f"k{index}": [str(cell[index]) for cell in design.cells] for index in range(3)}
    frame = DataFrame({**columns, "y": design.scores})
    full = ols("y ~ C(k0, Sum) * C(k1, Sum) * C(k2, Sum)", frame).fit()
    table = anova_lm(full, typ=3)["PR(>F)"]
    found = measure(design)
    assert effect_of(found, 0).estimate.p == pytest.approx(table["C(k0, Sum)"])
    raw = sorted(table[name] for name in table.index if name.count(":") == 1)
    assert len(found.interactions) == len(raw) == 3
    # The smallest of seven tests is adjusted by seven.
    assert found.tests == 7
    smallest = min([*raw, *(each.estimate.p for each in found.effects)])
    assert min(each.p for each in (*found.effects, *found.interactions)) == pytest.approx(7 * smallest)


def test_a_planted_interaction_is_found_and_no_other() -> None:
    def truth(cell: Cell) -> float:
        return 0.5 - 0.03 * (cell[0] == 2 and cell[1] == 1)

    found = measure(make_design((3, 2, 2), truth, np.random.default_rng(7)))
    assert [each.factors for each in found.interactions if each.matters] == [(0, 1)]
    line, rest = describe_interactions(found)
    assert line.startswith("k0 c against a: worse only with k1 b (")
    assert "with a, -0.0" in line
    assert rest == "the other 2 pairs of keys: not distinguishable from noise"


def test_opposite_effects_and_an_effect_that_grows_are_said_so() -> None:
    rng = np.random.default_rng(11)
    crossed = measure(make_design((2, 2), lambda cell: 0.03 * (cell[0] == cell[1]), rng))
    assert "better with k1 b, worse with a" in describe_interactions(crossed)[0]
    assert describe_effect(crossed, effect_of(crossed, 0)).endswith(f"{NOISE}; depends on k1")
    assert describe_open(crossed) == []
    growing = measure(make_design((2, 2), lambda cell: 0.02 * sum(cell) + 0.04 * cell[0] * cell[1], rng))
    assert "better with each k1, most with b" in describe_interactions(growing)[0]


def test_an_interaction_is_found_without_all_combinations() -> None:
    def keep(cell: Cell, seed: int) -> bool:
        return cell[2] == cell[3] == 0 or (sum(cell) < 3 and seed == 0)

    design = make_design((2, 2, 3, 3), lambda cell: 0.03 * cell[0] * cell[1], np.random.default_rng(9), keep=keep)
    found = measure(design)
    assert not found.is_paired
    assert [each.factors for each in found.interactions if each.matters] == [(0, 1)]


def test_a_smaller_loss_is_better() -> None:
    found = measure(make_design((2,), lambda cell: 1 - 0.1 * cell[0], np.random.default_rng(1), maximises=False))
    text = describe_effect(found, found.effects[0])
    assert text.startswith("k0 b against a: -0.1")
    assert text.endswith("(n = 3 pairs), p < 0.0001: better, more than noise")


def test_seeds_needed_are_those_of_a_t_test() -> None:
    found = measure(make_design((2,), lambda cell: 0.5 + 0.001 * cell[0], np.random.default_rng(2)))
    (each,) = found.effects
    assert not each.matters
    assert each.seeds == seeds_needed(each.estimate.value, found.noise, found.noise) > 3
    assert describe_open(found)[1] == f"k0 b against a: {each.seeds} ({2 * each.seeds - 6} more runs)"


def test_more_combinations_need_fewer_seeds_each() -> None:
    alone, crossed = (
        Design(
            tuple(Factor((f"k{index}",), f"k{index}", ("a", "b")) for index in range(keys)),
            tuple(cell for cell in product((0, 1), repeat=keys) for _ in range(2)),
            tuple(0.5 + 0.002 * cell[0] + sign for cell in product((0, 1), repeat=keys) for sign in (-SD, SD)),
        )
        for keys in (1, 3)
    )
    few, many = effect_of(measure(crossed), 0).seeds, effect_of(measure(alone), 0).seeds
    assert many / 5 < few < many / 3


def test_one_seed_gives_effects_without_intervals() -> None:
    found = measure(make_design((2, 2), lambda cell: 0.5 + 0.1 * cell[0], np.random.default_rng(0), seeds=1))
    assert found.noise is None
    assert found.interactions == ()
    each = effect_of(found, 0)
    assert each.estimate.value == pytest.approx(0.1, abs=4 * SD)
    assert (each.estimate.reach, each.p, each.seeds) == (None, None, None)
    assert describe_open(found) == []


@pytest.mark.parametrize("scores", [(0.5, 0.5, 0.6, 0.6), (1e300, -1e300, 1e300, 0.0), (0.0, 0.0, 0.0, 0.0)])
def test_scores_without_a_noise_that_can_be_computed_give_no_intervals(scores: tuple[float, ...]) -> None:
    factors = (Factor(("k",), "k", ("a", "b")),)
    found = measure(Design(factors, ((0,), (0,), (1,), (1,)), scores))
    assert found.noise is None
    assert found.effects[0].p is None


def test_effects_that_the_runs_do_not_tell_apart_are_said_so() -> None:
    factors = tuple(Factor((name,), name, ("a", "b")) for name in ("k0", "k1", "k2"))
    cells = ((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)) * 2  # each key is told
    told = measure(Design(factors, cells, tuple(float(sum(cell)) + index % 3 for index, cell in enumerate(cells))))
    assert not told.is_paired
    assert all(each.estimate is not None for each in told.effects)
    cells = ((0, 0, 0), (1, 1, 0), (1, 0, 1)) * 2  # k1 + k2 = k0
    untold = measure(Design(factors, cells, (0.1, 0.2, 0.3, 0.11, 0.22, 0.31)))
    assert [each.estimate for each in untold.effects] == [None] * 3
    assert "not told apart" in describe_effect(untold, untold.effects[0])


def test_a_combination_that_failed_costs_its_pairs_only() -> None:
    def keep(cell: Cell, seed: int) -> bool:
        return cell != (1, 1)

    found = measure(make_design((2, 3), lambda cell: 0.5 + 0.02 * cell[0], np.random.default_rng(3), keep=keep))
    assert found.is_paired
    assert effect_of(found, 0).pairs == (2, 3)
    assert "(n = 6 pairs, at 2 of 3 combinations)" in describe_effect(found, effect_of(found, 0))


def test_the_figure_has_every_effect_once_the_most_important_on_top() -> None:
    rng = np.random.default_rng(13)
    for seeds in (3, 1):
        found = measure(make_design((4, 3), lambda cell: 0.5 + 0.004 * cell[0], rng, seeds=seeds))
        figure = draw_forest(found)
        drawn = [name for trace in figure["data"] for name in trace["y"]]
        assert sorted(drawn) == sorted(figure["layout"]["yaxis"]["categoryarray"])
        assert len(set(drawn)) == 5
        assert figure["layout"]["yaxis"]["categoryarray"][-1] == "k0 d against a"
        (first, *_) = figure["data"]
        assert first["name"] == ("more than noise" if seeds == 3 else "without an interval")
        assert (first["error_x"]["array"][0] > 0) == (seeds == 3)


def test_ninety_six_runs_take_less_than_two_seconds() -> None:
    import time

    design = make_design((2,) * 5, lambda cell: 0.5, np.random.default_rng(0))
    measure(design)
    start = time.perf_counter()
    assert measure(design).tests == 15
    assert time.perf_counter() - start < 2.0
