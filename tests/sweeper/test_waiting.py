"""A sweep that waits says for what and how long at most, once."""

import time
from pathlib import Path
from threading import Timer

import optuna
import pytest

from lightsweep.core import text
from lightsweep.core.errors import RunFailed
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper import leases
from lightsweep.sweeper.controller import Controller, Limits
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.leases import AHEAD, FileLock, Lease, Owner, is_alive
from lightsweep.sweeper.storage import Address, connect
from lightsweep.sweeper.trial_queue import TrialQueue


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PRINT_AFTER", 0.2)


@pytest.fixture
def open_queue(tmp_path: Path):
    address = Address(str(tmp_path / JOURNAL), "study")
    opened = []

    def queue(n_trials: int) -> TrialQueue:
        connect.cache_clear()
        study = optuna.create_study(study_name="study", storage=connect(address.location), load_if_exists=True)
        opened.append(TrialQueue(study, address, n_trials=n_trials, retries=3))
        return opened[-1]

    yield queue
    for each in opened:
        each.close()


@pytest.mark.parametrize(("ahead", "lives"), [(AHEAD - 1, True), (AHEAD + 1, False), (1e9, False)])
def test_a_sign_from_the_future_is_stale(set_clock, ahead: float, lives: bool) -> None:
    now = 1_000_000.0
    set_clock(now)
    assert is_alive({"owner": "a", "host": "another machine", "seen": now + ahead}) is lives


def test_a_trial_with_a_sign_from_the_future_is_taken_over(open_queue, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = open_queue(n_trials=1)
    trial = lost.claim()
    trial.set_user_attr("lightsweep", {"owner": "x", "host": "another machine", "seen": time.time() + 86_400.0})
    assert open_queue(n_trials=1).claim().user_attrs["retry_of"] == 0


def test_who_waits_for_a_lock_says_so_once(tmp_path: Path, capsys) -> None:
    holder, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    holder.acquire()
    Timer(1.0, holder.release).start()
    assert other.acquire()
    assert capsys.readouterr().err == (
        f"waiting for the lock {tmp_path}/lock, held by another process, at most 15 minutes\n"
    )
    other.release()


def test_who_does_not_wait_long_says_nothing(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PRINT_AFTER", 5.0)
    holder, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    holder.acquire()
    Timer(0.05, holder.release).start()
    assert other.acquire()
    assert capsys.readouterr().err == ""
    other.release()


def test_a_lock_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LOCK_SECONDS", 0.3)
    holder = FileLock(tmp_path / "lock")
    holder.acquire()
    with pytest.raises(RunFailed, match=r"lock was locked by another process for \d+ minutes"):
        FileLock(tmp_path / "lock").acquire()


def test_who_waits_for_a_lease_says_so_once(tmp_path: Path, capsys) -> None:
    study = optuna.create_study(study_name="study", storage=connect(str(tmp_path / JOURNAL)))
    owners = [Owner(), Owner()]
    holder, other = (Lease(study, "opening", owner) for owner in owners)
    assert holder.take()
    Timer(1.0, holder.leave).start()
    other.wait()
    line = "waiting for another sweeper of this study, which holds the lease 'opening'; if it died, at most 60 s\n"
    assert capsys.readouterr().err == line
    for owner in owners:
        owner.resign(trials_left=False)


@pytest.mark.timeout(30)
def test_a_sweep_that_waits_for_anothers_trial_says_so_once(open_queue, capsys) -> None:
    one, other = open_queue(n_trials=1), open_queue(n_trials=1)
    trial = one.claim()
    Timer(2.0, lambda: one.tell(trial, JobResult(JobState.COMPLETED, 1.0))).start()
    controller_of(other).run_trials()
    assert capsys.readouterr().err == (
        "waiting for trial 0 of another sweeper; until it ends, or for 60 s if that sweeper died\n"
    )


def controller_of(queue: TrialQueue) -> Controller:
    quiet = {"ended": lambda number: None, "show": lambda running: None, "warn": lambda line: None}
    return Controller(queue, [], Limits(None, 3), start=lambda trial: None, **quiet)
