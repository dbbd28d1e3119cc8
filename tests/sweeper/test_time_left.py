"""How long a sweep may still take, from trials that have ended."""

from datetime import datetime, timedelta

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.sweeper.view import format_duration, seconds_left

NOW = datetime(2026, 1, 2, 3, 4, 5)


def trial(state: TrialState, seconds: float, *, ago: float = 0.0, **attributes) -> FrozenTrial:
    """One that ended so many seconds ago, or runs since then."""
    made = create_trial(state=state, value=1.0 if state == TrialState.COMPLETE else None, user_attrs=attributes)
    runs = state == TrialState.RUNNING
    made.datetime_start = NOW - timedelta(seconds=ago + (0 if runs else seconds))
    made.datetime_complete = None if runs else NOW - timedelta(seconds=ago)
    return made


def running(ago: float) -> FrozenTrial:
    return trial(TrialState.RUNNING, 0.0, ago=ago)


@pytest.mark.parametrize("done", [0, 1, 2])
def test_nothing_is_said_before_enough_trials_have_ended(done: int) -> None:
    assert seconds_left([*[trial(TrialState.COMPLETE, 10.0)] * done, running(3.0)], 20, NOW) is None


def test_each_worker_must_have_ended_one() -> None:
    four = [running(1.0)] * 4
    assert seconds_left([*[trial(TrialState.COMPLETE, 10.0)] * 3, *four], 20, NOW) is None
    assert seconds_left([*[trial(TrialState.COMPLETE, 10.0)] * 4, *four], 20, NOW) is not None


def test_workers_share_what_is_left_and_what_runs_counts_for_its_rest() -> None:
    ended = [trial(TrialState.COMPLETE, 30.0), trial(TrialState.PRUNED, 10.0), trial(TrialState.PRUNED, 20.0)]
    assert seconds_left([*ended, running(5.0), running(15.0)], 9, NOW) == pytest.approx((4 * 20 + 15 + 5) / 2)


def test_one_that_runs_longer_than_others_is_about_to_end() -> None:
    ended = [trial(TrialState.FAIL, 4.0)] * 5
    assert seconds_left([*ended, running(60.0)], 6, NOW) == 0


def test_the_latest_trials_decide_and_what_was_cut_off_does_not_count() -> None:
    first = [trial(TrialState.COMPLETE, 1000.0, ago=9000.0 - index) for index in range(40)]
    latest = [trial(TrialState.PRUNED, 2.0, ago=900.0 - index) for index in range(30)]
    cut_off = [trial(TrialState.FAIL, 5000.0, interrupted=True)] * 3
    assert seconds_left([*first, *latest, *cut_off, running(0.0)], 81, NOW) == pytest.approx(10 * 2.0 + 2.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (7200, "2.0 h")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
