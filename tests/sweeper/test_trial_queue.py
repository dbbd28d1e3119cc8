"""The books of a study: totals, interruptions, retries, late results."""

import threading
import time
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper import leases
from lightsweep.sweeper.executors import local_jobs
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.leases import LOST_AFTER, is_alive
from lightsweep.sweeper.status import read_status
from lightsweep.sweeper.storage import Address, connect
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import count_ended, is_interrupted


@pytest.fixture
def open_queue(tmp_path: Path):
    """Several queues on one journal, as several sweepers would have."""
    address = Address(str(tmp_path / JOURNAL), "study")
    opened = []

    def queue(n_trials: int = 3, retries: int = 3) -> TrialQueue:
        connect.cache_clear()
        study = optuna.create_study(study_name="study", storage=connect(address.location), load_if_exists=True)
        opened.append(TrialQueue(study, address, n_trials=n_trials, retries=retries))
        return opened[-1]

    yield queue
    for each in opened:
        each.close()


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


def test_a_trial_says_where_its_folder_is(open_queue) -> None:
    assert open_queue().claim().user_attrs["folder"] == "trial-0000"


def test_a_confirmation_is_renewed_while_it_runs_and_taken_over_when_its_sweeper_is_gone(
    open_queue, set_clock, on_machine
) -> None:
    now = time.time()
    set_clock(now)
    one, other = open_queue(), open_queue()
    assert one.may_confirm()
    assert not other.may_confirm()
    on_machine("another machine")
    now += LOST_AFTER - 1
    set_clock(now)
    one._renewed = float("-inf")
    one.renew()
    now += LOST_AFTER - 1
    set_clock(now)
    assert not other.may_confirm()
    now += LOST_AFTER
    set_clock(now)
    assert other.may_confirm()


def test_a_result_that_comes_too_late_is_refused(open_queue) -> None:
    slow = open_queue(n_trials=2)
    trial = slow.claim()
    slow.owner.resign(trials_left=True)
    open_queue(n_trials=2).claim()
    assert not slow.tell(trial, JobResult(JobState.COMPLETED, 1.0))
    assert slow.trials()[0].state == TrialState.FAIL


def test_spent_retries_are_a_failure_that_counts(open_queue) -> None:
    queue = open_queue(n_trials=1, retries=2)
    for _ in range(3):
        queue.tell(queue.claim(), JobResult(JobState.INTERRUPTED))
    assert queue.claim() is None
    assert [is_interrupted(trial) for trial in queue.trials()] == [True, True, False]
    assert queue.trials()[2].user_attrs["error"] == "interrupted 3 times"


def test_a_lease_of_another_machine_is_lost_after_a_minute(set_clock) -> None:
    now = 1000.0
    set_clock(now)
    assert is_alive({"owner": "a", "host": "far away", "seen": now - LOST_AFTER + 1})
    assert not is_alive({"owner": "a", "host": "far away", "seen": now - LOST_AFTER - 1})
    assert not is_alive(None)


def test_a_torn_line_is_cut_off_before_the_next_is_written(open_queue, tmp_path: Path) -> None:
    queue = open_queue()
    queue.claim()
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    trial = queue.claim()  # the same process appends: the torn line must not swallow what it writes
    assert trial.number == 1
    assert len(open_queue().trials()) == 2


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


def seen(queue: TrialQueue) -> float:
    return queue.trials()[0].user_attrs["lightsweep"]["seen"]


@pytest.fixture
def quickly_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightsweep.sweeper.leases.RENEW_EVERY", 0.05)


@pytest.mark.usefixtures("quickly_renewed")
def test_a_lease_is_renewed_while_a_trial_keeps_the_sweeper_busy(open_queue) -> None:
    queue, other = open_queue(), open_queue()
    queue.claim()
    first = seen(other)
    with leases.renewing(queue.renew):
        time.sleep(0.5)  # as a trial in this process does
        again = seen(other)
        assert again > first
        time.sleep(0.3)
        assert seen(other) > again
    last = seen(other)
    time.sleep(0.3)
    assert seen(other) == last


@pytest.mark.usefixtures("quickly_renewed")
def test_a_renewal_that_fails_ends_nothing(open_queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = open_queue()
    trial = queue.claim()
    storage, failures = queue.study._storage, []

    def down(*arguments) -> None:
        failures.append(arguments)
        raise OSError("the server is gone")

    with leases.renewing(queue.renew):
        with monkeypatch.context() as patch:
            patch.setattr(storage, "set_trial_user_attr", down)
            time.sleep(0.3)
        first = seen(queue)
        time.sleep(0.3)
        assert len(failures) > 1
        assert seen(queue) > first
    assert queue.tell(trial, JobResult(JobState.COMPLETED, 1.0))


@pytest.mark.usefixtures("quickly_renewed")
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_books_are_kept_while_they_are_renewed(tmp_path: Path, kind: str) -> None:
    """Main thread and renewal write at the same time, fifty times."""
    place = {"journal": str(tmp_path / JOURNAL), "sqlite": f"sqlite:///{tmp_path}/study.db"}[kind]
    connect.cache_clear()
    study = optuna.create_study(study_name="study", storage=connect(place))
    queue = TrialQueue(study, Address(place, "study"), n_trials=12, retries=0)
    stop = threading.Event()

    def renew() -> None:
        while not stop.is_set():
            queue.renew()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        while (trial := queue.claim()) is not None:
            trial.suggest_float("x", 0, 1)
            trial.report(0.5, 1)
            assert queue.tell(trial, JobResult(JobState.COMPLETED, 1.0))
    finally:
        stop.set()
        thread.join(10)
    queue.close()
    assert [trial.state for trial in queue.trials()] == [TrialState.COMPLETE] * 12


def test_a_trial_in_this_process_does_not_keep_the_lease_from_being_renewed(toy_sweep, monkeypatch) -> None:
    """The loop has no turn while a trial runs with n_jobs=0."""
    monkeypatch.setattr("lightsweep.sweeper.leases.RENEW_EVERY", 0.05)
    renewed: list[float] = []
    running: list[tuple[float, float]] = []
    renew, run = TrialQueue.renew, local_jobs.run_job

    def watched(queue: TrialQueue) -> None:
        renew(queue)
        renewed.append(time.monotonic())

    def timed(*arguments):
        begun = time.monotonic()
        time.sleep(0.3)
        outcome = run(*arguments)
        running.append((begun, time.monotonic()))
        return outcome

    monkeypatch.setattr(TrialQueue, "renew", watched)
    monkeypatch.setattr(local_jobs, "run_job", timed)
    assert toy_sweep("hydra.sweeper.n_trials=2").code == 0
    for begun, over in running:
        assert sum(begun < moment < over for moment in renewed) >= 2
