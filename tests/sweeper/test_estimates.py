"""The estimate of what a pruned trial would have reached."""

import pytest

from lightsweep.sweeper.estimates import final_value


def _line(slope: float, count: int) -> tuple[list[dict[int, float]], list[float]]:
    """Completed trials of ten steps, whose value is 0.5 + slope x their first report."""
    firsts = [index / count for index in range(count)]
    return [{1: first, 10: 0.5 + slope * first} for first in firsts], [0.5 + slope * first for first in firsts]


def test_many_completed_trials_show_what_an_early_report_is_worth() -> None:
    assert final_value({1: 0.5}, *_line(0.8, 500)) == pytest.approx(0.5 + 0.8 * 0.5, abs=0.01)
    assert final_value({1: 0.5}, *_line(0.0, 500)) == pytest.approx(0.5, abs=0.001)


def test_of_few_completed_trials_the_part_that_has_run_counts() -> None:
    complete, finals = [{1: 0.2, 5: 0.5, 10: 0.6}, {1: 0.4, 5: 0.3, 10: 0.4}], [0.6, 0.4]
    slope = (2 * -1.0 + 10 * 0.1) / 12  # of their own line, and of a tenth of a trial: 0 at least
    assert slope < 0
    assert final_value({1: 0.9}, complete, finals) == pytest.approx(0.5)
    assert final_value({5: 0.35}, complete, finals) == pytest.approx(0.5 - (2 * 1.0 + 3 * 0.5) / 5 * 0.05)
    assert final_value({5: 0.3}, complete[:1], finals[:1]) == pytest.approx(0.6 - 0.5 * 0.2)  # half has run


def test_the_slope_is_one_at_most() -> None:
    assert final_value({1: 0.1}, *_line(3.0, 500)) == pytest.approx(0.5 + 3 * 499 / 1000 + (0.1 - 499 / 1000), abs=1e-6)


def test_without_a_completed_trial_that_came_so_far_it_is_the_last_report() -> None:
    assert final_value({1: 0.2, 7: 0.3}, [{1: 0.1, 2: 0.3}], [0.5]) == 0.3
    assert final_value({1: 0.3}, [], []) == 0.3


def test_equal_reports_are_no_line() -> None:
    assert final_value({1: 0.3}, [{1: 0.2, 2: 0.5}, {1: 0.2, 2: 0.7}], [0.5, 0.7]) == pytest.approx(0.6 + 0.5 * 0.1)
