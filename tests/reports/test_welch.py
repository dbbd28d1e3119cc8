"""Welch's test and the number of seeds, against values from the literature."""

import numpy as np
import pytest
from scipy import stats

from lightsweep.sweeper import statistics


@pytest.mark.parametrize(("effect", "n"), [(0.5, 64), (0.8, 26), (1.0, 17), (1.2, 12)])
def test_seeds_needed_are_those_of_cohens_tables(effect: float, n: int) -> None:
    assert statistics.seeds_needed(effect, 1.0, 1.0) == n


def test_p_and_interval_are_those_of_scipy() -> None:
    one, other = [0.61, 0.60, 0.62, 0.59], [0.57, 0.58, 0.55]
    result = statistics.welch_test(one, other)
    expected = stats.ttest_ind(one, other, equal_var=False)
    assert result.p == pytest.approx(expected.pvalue)
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_a_group_without_spread_is_tested_by_the_others(recwarn: pytest.WarningsRecorder) -> None:
    """With the other's degrees of freedom alone: by hand, the standard error is 0.1, of one degree."""
    result = statistics.welch_test([0.6, 0.8], [0.5, 0.5])
    assert result.p == pytest.approx(2 * stats.t.sf(2.0, 1))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ([0.5], [0.4, 0.3], "two seeds a group at least"),
        ([0.5, 0.5], [0.4, 0.4], "needs runs that differ"),
        ([0.5, 0.6], [0.5, 0.6], "chance alone may give that. No number of seeds up to 1,000"),
        (
            [0.50, 0.51, 0.52],
            [0.40, 0.41, 0.42],
            "more than chance would give. A difference of that size needs 2 seeds",
        ),
    ],
)
def test_in_words(one, other, said: str) -> None:
    assert said in statistics.describe_test(statistics.welch_test(one, other), (len(one), len(other)))


def test_a_difference_that_is_far_off_needs_no_more_than_two() -> None:
    assert statistics.seeds_needed(1.0, 1e-6, 0.0) == 2


def test_holm() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_a_pooled_test_is_the_contrast_of_an_analysis_of_variance() -> None:
    from statsmodels.api import OLS

    random = np.random.default_rng(5)
    groups = [random.normal(mean, 0.3, size).tolist() for mean, size in ((1.0, 3), (1.4, 2), (0.9, 4), (2.0, 1))]
    values = [value for group in groups for value in group]
    cells = np.repeat(np.eye(4), [len(group) for group in groups], axis=0)
    contrast = OLS(values, cells).fit().t_test([-1, 1, 0, 0])

    ours = statistics.pooled_test(groups[1], groups[0], groups)

    assert ours.difference == pytest.approx(contrast.effect[0])
    assert ours.p == pytest.approx(float(contrast.pvalue))
    assert ours.interval == pytest.approx(tuple(contrast.conf_int()[0]))


def test_a_pooled_test_of_a_single_run_or_of_equal_ones_has_no_interval() -> None:
    assert statistics.pooled_test([0.5], [0.4, 0.6], [[0.5], [0.4, 0.6]]).interval is None
    assert statistics.pooled_test([0.5, 0.5], [0.4, 0.4], [[0.5, 0.5], [0.4, 0.4]]).interval is None
