"""A sweeper renews what shows that it is alive, whatever else it does."""

import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper import leases
from lightsweep.sweeper.executors import local_jobs
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.leases import LOST_AFTER
from lightsweep.sweeper.storage import Address, connect
from lightsweep.sweeper.trial_queue import TrialQueue


def test_it_renews_the_confirmation_that_it_runs(open_queue, set_clock, on_machine) -> None:
    began = time.time()
    set_clock(began)
    one, other = open_queue(), open_queue()
    assert one.may_confirm()
    on_machine("another machine")
    set_clock(began + LOST_AFTER - 1)
    one.renew()
    set_clock(began + LOST_AFTER + 1)
    assert not other.may_confirm()


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
    """Main thread and renewal write at the same time, some fifty times."""
    place = {"journal": str(tmp_path / JOURNAL), "sqlite": f"sqlite:///{tmp_path}/study.db"}[kind]
    connect.cache_clear()
    study = optuna.create_study(study_name="study", storage=connect(place))
    queue = TrialQueue(study, Address(place, "study"), n_trials=10, retries=0)
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(0.01):  # without a pause the two of them wait for SQLite's lock most of the time
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
    assert [trial.state for trial in queue.trials()] == [TrialState.COMPLETE] * 10


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
