"""Trials of a sweeper that is gone: closed once and retried, or taken over with their jobs; late results."""

import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from optuna.trial import TrialState

from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.leases import LOST_AFTER
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import count_ended, is_interrupted


def test_the_trials_of_a_dead_sweeper_are_found_once(open_queue) -> None:
    dead = open_queue(n_trials=2)
    dead.claim()
    dead.owner.resign(trials_left=True)  # as its death would
    one, other = open_queue(n_trials=2), open_queue(n_trials=2)
    claimed = [one.claim(), other.claim()]
    assert [trial.number for trial in claimed] == [1, 2]
    successors = [trial for trial in one.trials() if "retry_of" in trial.user_attrs]
    assert len(successors) == 1
    assert one.trials()[0].state == TrialState.FAIL


def test_all_trials_of_a_dead_sweeper_are_found_at_once(open_queue) -> None:
    dead = open_queue(n_trials=3)
    for _ in range(3):
        dead.claim()
    dead.close()  # an error ended it: its trials still say that they run
    again = open_queue(n_trials=3)
    again.claim()
    assert [is_interrupted(trial) for trial in again.trials()[:3]] == [True] * 3


def test_a_sweeper_with_another_temporary_folder_lives_by_its_lease(
    open_queue, tmp_path: Path, temporary, set_clock
) -> None:
    """As jobs of a cluster and containers have; the total is exact between them all the same."""
    one = open_queue(n_trials=2)
    one.claim()
    temporary(tmp_path)
    other = open_queue(n_trials=2)
    assert other._claims.path == one._claims.path
    assert other.claim().number == 1
    assert other.claim() is None
    assert one.trials()[0].state == TrialState.RUNNING
    late = time.time() + LOST_AFTER + 1
    set_clock(late)
    assert other.claim().user_attrs["retry_of"] == 0


def test_a_result_that_comes_too_late_is_refused(open_queue) -> None:
    slow = open_queue(n_trials=2)
    trial = slow.claim()
    slow.owner.resign(trials_left=True)
    open_queue(n_trials=2).claim()
    assert not slow.tell(trial, JobResult(JobState.COMPLETED, 1.0))
    assert slow.trials()[0].state == TrialState.FAIL


@pytest.fixture
def on_a_server(open_queue, monkeypatch: pytest.MonkeyPatch):
    """The same queues, as if their journal were a database that other machines reach."""
    monkeypatch.setattr("lightsweep.sweeper.trial_queue.is_server", lambda address: True)
    return open_queue


def test_a_trial_that_another_machine_claims_just_now_is_no_dead_one(on_a_server, monkeypatch) -> None:
    queue = on_a_server(n_trials=2)
    queue.study.ask()  # as the other's claim does, before its mark
    assert queue.claim().number == 1
    assert queue.trials()[0].state == TrialState.RUNNING
    later = time.monotonic() + LOST_AFTER
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert queue.claim().number == 2
    assert is_interrupted(queue.trials()[0])


def test_the_dead_are_left_to_the_sweeper_that_is_at_it(open_queue, tmp_path: Path) -> None:
    dead = open_queue(n_trials=1)
    dead.claim()
    dead.owner.resign(trials_left=True)
    at_it, other = open_queue(n_trials=1), open_queue(n_trials=1)
    assert at_it._closing.take()
    assert other.claim() is None
    assert other.trials()[0].state == TrialState.RUNNING
    at_it._closing.leave()
    assert other.claim().user_attrs["retry_of"] == 0


@pytest.fixture
def left(open_queue):
    """Two running trials of a sweeper that is gone; the second one's job goes on."""
    gone = open_queue(n_trials=3)
    claimed = [gone.claim(), gone.claim()]
    claimed[1].suggest_float("x", 0, 1)
    gone.owner.resign(trials_left=True)

    def sweeper() -> TrialQueue:
        queue = open_queue(n_trials=3)
        queue.has_job = lambda number: number == 1
        return queue

    return sweeper


def test_a_trial_whose_job_goes_on_is_taken_over_first_and_as_it_is(left) -> None:
    queue = left()
    adopted, retry, new = queue.claim(), queue.claim(), queue.claim()
    assert [trial.number for trial in (adopted, retry, new)] == [1, 2, 3]
    before, running = queue.trials()[:2]
    assert adopted.suggest_float("x", 0, 1) == running.params["x"]
    assert running.state == TrialState.RUNNING
    assert queue.owner.is_mine(running.user_attrs["lightsweep"])
    assert is_interrupted(before)  # nothing of it goes on
    assert [trial.user_attrs.get("retry_of") for trial in queue.trials()] == [None, None, 0, None]
    assert queue.claim() is None
    assert queue.tell(adopted, JobResult(JobState.COMPLETED, 1.0))
    assert count_ended(queue.trials()) == 1


def test_one_of_two_sweepers_takes_it_over(left) -> None:
    one, other = left(), left()
    claimed = [one.claim().number, other.claim().number, one.claim().number]
    assert sorted(claimed) == [1, 2, 3]


def test_nobody_takes_it_over_while_another_machine_is_at_it(left, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock reaches no other machine, the lease does."""
    at_it, other = left(), left()
    monkeypatch.setattr(other, "_claims", nullcontext())
    monkeypatch.setattr(at_it, "_claims", nullcontext())
    look, seen = at_it._without_sweeper, []

    def look_while_the_other_claims():
        if len(seen) == 1:  # the lease is taken
            seen.append(other.claim())
        else:
            seen.append(None)
        return look()

    monkeypatch.setattr(at_it, "_without_sweeper", look_while_the_other_claims)
    assert at_it.claim().number == 1
    assert seen[:2] == [None, None]
    assert other.trials()[0].state == TrialState.RUNNING  # nor was anything buried meanwhile
    assert other.claim().number != 1


def test_a_sweeper_that_was_only_late_ends_its_trial_itself(left, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = left()
    look, looks = queue._without_sweeper, []

    def look_and_be_late():
        found = look()
        looks.append(found)
        if len(looks) == 2:
            queue.study.tell(1, 0.5)
        return found

    monkeypatch.setattr(queue, "_without_sweeper", look_and_be_late)
    assert queue.claim().number == 2
    assert queue.trials()[1].value == 0.5
    assert queue.trials()[1].state == TrialState.COMPLETE


def test_a_trial_of_a_sweeper_that_lives_is_left_to_it(open_queue) -> None:
    one, other = open_queue(n_trials=2), open_queue(n_trials=2)
    trial = one.claim()
    other.has_job = lambda number: True
    assert other.claim().number == 1
    assert one.tell(trial, JobResult(JobState.COMPLETED, 1.0))


def test_a_trial_that_is_closed_as_lost_keeps_its_state(open_queue) -> None:
    late, other = open_queue(n_trials=1), open_queue(n_trials=1)
    trial = late.claim()
    other.study.tell(trial.number, state=TrialState.FAIL)
    assert not late.tell(trial, JobResult(JobState.COMPLETED, 1.0, facts={"epochs": 3}))
    late._mine[trial.number] = trial
    late.renew()


@pytest.mark.parametrize("step", ["set_trial_user_attr", "set_trial_state_values"])
def test_of_two_processes_that_close_a_trial_at_the_same_moment_one_is_refused(
    open_queue, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Both saw it running; no lock reaches a sweeper of another machine."""
    late, other = open_queue(n_trials=1), open_queue(n_trials=1)
    trial = late.claim()
    storage = late.study._storage
    write = getattr(storage, step)

    def write_too_late(*arguments):
        other.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return write(*arguments)

    monkeypatch.setattr(storage, step, write_too_late)
    assert not late.tell(trial, JobResult(JobState.COMPLETED, 1.0, facts={"epochs": 3}))
    (closed,) = other.trials()
    assert (closed.state, closed.value) == (TrialState.FAIL, None)
    late.renew()  # it is no longer this sweeper's
    assert late.claim() is None
