"""The books of a study: totals, interruptions, retries, late results."""

import random
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.status import read_status
from lightsweep.sweeper.storage import Address, connect
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import Count, count_ended, is_interrupted


def test_hands_out_no_more_than_the_total(open_queue) -> None:
    queue = open_queue(n_trials=2)
    first, second = queue.claim(), queue.claim()
    assert queue.claim() is None
    queue.tell(first, JobResult(JobState.COMPLETED, 1.0))
    queue.tell(second, JobResult(JobState.FAILED, error="no luck"))
    assert queue.claim() is None
    assert queue.is_done()
    assert queue.trials()[1].user_attrs["error"] == "no luck"


def test_a_study_runs_while_a_sweeper_is_there_though_no_trial_is(open_queue) -> None:
    """Its workers may be starting; a second sweeper changes nothing."""
    queue, other = open_queue(), open_queue()
    for each, state in ((other, "running"), (queue, "empty")):
        assert read_status(queue.study).state == "running"
        each.close()
        assert read_status(queue.study).state == state


def test_two_sweepers_share_the_total(open_queue) -> None:
    one, other = open_queue(n_trials=3), open_queue(n_trials=3)
    claimed = [one.claim(), other.claim(), one.claim()]
    assert sorted(trial.number for trial in claimed) == [0, 1, 2]
    assert other.claim() is None


def test_an_interrupted_trial_does_not_count_and_is_asked_for_again(open_queue) -> None:
    queue = open_queue(n_trials=1)
    trial = queue.claim()
    trial.suggest_float("x", 0, 1)
    queue.tell(trial, JobResult(JobState.INTERRUPTED))
    again = queue.claim()
    assert again.number == 1
    assert again.suggest_float("x", 0, 1) == trial.params["x"]
    assert count_ended(queue.trials()) == 0
    queue.tell(again, JobResult(JobState.COMPLETED, 0.5))
    assert queue.is_done()
    assert is_interrupted(queue.trials()[0])
    assert queue.trials()[1].user_attrs["retry_of"] == 0


def test_a_retry_that_was_cut_off_before_it_had_its_parameters_keeps_them(open_queue) -> None:
    queue = open_queue(n_trials=1)
    first = queue.claim()
    wanted = {name: first.suggest_float(name, 0, 1) for name in ("x", "y")}
    queue.tell(first, JobResult(JobState.INTERRUPTED))
    second = queue.claim()
    second.suggest_float("x", 0, 1)
    queue.tell(second, JobResult(JobState.INTERRUPTED))
    third = queue.claim()
    assert {name: third.suggest_float(name, 0, 1) for name in ("x", "y")} == wanted


def test_a_trial_says_where_its_folder_is(open_queue) -> None:
    assert open_queue().claim().user_attrs["folder"] == "trial-0000"


def test_spent_retries_are_a_failure_that_counts(open_queue) -> None:
    queue = open_queue(n_trials=1, retries=2)
    for _ in range(3):
        queue.tell(queue.claim(), JobResult(JobState.INTERRUPTED))
    assert queue.claim() is None
    assert [is_interrupted(trial) for trial in queue.trials()] == [True, True, False]
    assert queue.trials()[2].user_attrs["error"] == "interrupted 3 times"


def test_a_torn_line_is_cut_off_before_the_next_is_written(open_queue, tmp_path: Path) -> None:
    queue = open_queue()
    queue.claim()
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    trial = queue.claim()  # the same process appends: the torn line must not swallow what it writes
    assert trial.number == 1
    assert len(open_queue().trials()) == 2


def test_a_grid_is_finished_after_an_interruption(tmp_path: Path) -> None:
    grid = {"x": [1, 2, 3], "y": [0.1, 0.2]}
    address = Address(str(tmp_path / JOURNAL), "study")
    connect.cache_clear()
    study = optuna.create_study(
        study_name="study", storage=connect(address.location), sampler=optuna.samplers.GridSampler(grid, seed=1)
    )
    queue = TrialQueue(study, address, n_trials=6, retries=3)
    interrupted = 0
    while (trial := queue.claim()) is not None:
        trial.suggest_categorical("x", grid["x"])
        if trial.number in (1, 5, 6):  # before it has all of its parameters, also the last of all
            interrupted += 1
            queue.tell(trial, JobResult(JobState.INTERRUPTED))
            continue
        trial.suggest_categorical("y", grid["y"])
        queue.tell(trial, JobResult(JobState.COMPLETED, 1.0))
    queue.close()
    visited = [tuple(trial.params.values()) for trial in queue.trials() if trial.state == TrialState.COMPLETE]
    assert interrupted == 3
    assert sorted(visited) == [(x, y) for x in grid["x"] for y in grid["y"]]


def test_trials_are_counted_as_if_all_were_looked_at() -> None:
    states = {
        state: create_trial(state=state, value=1.0 if state == TrialState.COMPLETE else None) for state in TrialState
    }
    repeat = create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs={"repeat_of": 0})
    kinds, draw, count, trials = [*states.values(), repeat], random.Random(0), Count(), list[FrozenTrial]()
    for _ in range(60):
        trials = [each if each.state.is_finished() else draw.choice(kinds) for each in trials] + [draw.choice(kinds)]
        assert count.ended(trials) == count_ended(trials)
        assert count.running(trials) == [each for each in trials if each.state == TrialState.RUNNING]
    assert count._settled > 0
