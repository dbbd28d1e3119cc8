"""A storage out of reach for a while: tried again, told once, and after a set time one line. Nothing is lost."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import DataError, OperationalError

from lightsweep.core import text
from lightsweep.core.errors import StorageLost
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper import storage
from lightsweep.sweeper.job import JobResult, JobState, TrialContext
from lightsweep.sweeper.job_running import _call
from lightsweep.sweeper.leases import LOST_AFTER, is_alive
from lightsweep.sweeper.optuna_access import Retry, RetryingStorage, outage_reason
from lightsweep.sweeper.storage import Address, connect, follow
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import is_interrupted
from tiny import TINY

PAUSES = (0.01, 0.05)
GONE = OperationalError("SELECT 1", None, Exception("server closed the\nconnection"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PAUSES", PAUSES)
    monkeypatch.setattr(text, "PRINT_AFTER", 0.1)
    monkeypatch.setattr(storage, "_LOCKED", 0.1)
    connect.cache_clear()
    follow.cache_clear()


def retry_for(name: str, *, seconds: float = 300.0) -> Retry:
    return Retry(name, seconds=seconds, pauses=PAUSES)


def failing(seconds: float, error: Exception) -> Callable[[], str]:
    end = time.monotonic() + seconds

    def operation() -> str:
        if time.monotonic() < end:
            raise error
        return "done"

    return operation


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (GONE, "server closed the connection"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_is_tried_again_and_told_once(error: Exception, reason: str, capsys) -> None:
    retry = retry_for("the database")
    assert retry(failing(0.5, error)) == "done"
    assert capsys.readouterr().err == f"waiting for the database ({reason}), at most 300 s\n"
    assert time.time() - retry.reached_since < 1.0


def test_a_hiccup_is_not_told(capsys) -> None:
    assert retry_for("the database")(failing(0.02, GONE)) == "done"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "error",
    [
        DataError("INSERT", None, Exception("too long")),
        ValueError("a bug"),
        PermissionError(errno.EACCES, "Permission denied"),
        optuna.exceptions.UpdateFinishedTrialError("told before"),
    ],
)
def test_what_no_time_mends_is_not_tried_again(error: Exception) -> None:
    began = time.monotonic()
    with pytest.raises(type(error)):
        retry_for("the database")(failing(5.0, error))
    assert time.monotonic() - began < 1.0


def test_what_optuna_makes_of_it_is_known() -> None:
    def operation() -> None:
        try:
            raise GONE
        except OperationalError as error:
            raise optuna.exceptions.StorageInternalError("An exception is raised during the commit.") from error

    with pytest.raises(optuna.exceptions.StorageInternalError) as wrapped:
        operation()
    assert outage_reason(wrapped.value) == "server closed the connection"


def test_after_a_set_time_it_is_lost_and_what_follows_fails_at_once() -> None:
    retry = retry_for("the database", seconds=0.3)
    with pytest.raises(StorageLost, match=r"^the database .* for 0 s \(server closed the connection\); .* continues$"):
        retry(failing(60.0, GONE))
    began = time.monotonic()
    with pytest.raises(StorageLost):
        retry(failing(60.0, GONE))
    assert time.monotonic() - began < 0.2


class Forgetful(InMemoryStorage):
    """Does what it is asked for, and loses the answer to some."""

    losing = False

    def create_new_trial(self, study_id, template_trial=None):
        return self._answered(super().create_new_trial(study_id, template_trial))

    def set_trial_state_values(self, trial_id, state, values=None):
        return self._answered(super().set_trial_state_values(trial_id, state, values))

    def _answered(self, answer):
        losing, self.losing = self.losing, False
        if losing:
            raise GONE
        return answer


@pytest.fixture
def forgetful() -> tuple[Forgetful, optuna.Study]:
    storage = Forgetful()
    return storage, optuna.create_study(storage=RetryingStorage(storage, retry_for("the database")))


def test_a_trial_that_waits_is_made_once_although_the_answer_was_lost(forgetful) -> None:
    storage, study = forgetful
    study.enqueue_trial({"x": 1})
    storage.losing = True
    study.add_trial(create_trial(state=TrialState.WAITING, user_attrs={"retry_of": 3}))
    assert [trial.user_attrs.get("retry_of") for trial in study.trials] == [None, 3]
    study.add_trial(create_trial(state=TrialState.WAITING, user_attrs={"retry_of": 3}))
    assert len(study.trials) == 3  # asked for again on purpose


def test_a_trial_is_told_once_although_the_answer_was_lost(forgetful) -> None:
    storage, study = forgetful
    trial = study.ask()
    storage.losing = True
    study.tell(trial, 0.5)
    assert study.trials[0].value == 0.5


def test_a_trial_whose_making_was_not_answered_is_found_as_cut_off(tmp_path: Path, monkeypatch) -> None:
    address = Address(str(tmp_path / JOURNAL), "study")
    study = optuna.create_study(study_name="study", storage=connect(address.location))
    journal = study._storage._storage
    create, answers = journal.create_new_trial, iter([False, True, True, True])

    def forgets(*arguments):
        made = create(*arguments)
        if not next(answers):
            raise OSError(errno.EIO, "Input/output error")
        return made

    monkeypatch.setattr(journal, "create_new_trial", forgets)
    queue = TrialQueue(study, address, n_trials=2, retries=3)
    for _ in range(2):
        assert queue.tell(queue.claim(), JobResult(JobState.COMPLETED, 1.0))
    assert queue.claim() is None
    assert [is_interrupted(trial) for trial in queue.trials()] == [True, False, False]
    queue.close()


def test_a_full_disk_under_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(study_name="study", storage=connect(str(tmp_path / JOURNAL)))
    fsync, left = os.fsync, [0, 1, 2]

    def full(descriptor: int) -> None:
        if left:
            left.pop()
            os.truncate(tmp_path / JOURNAL, (tmp_path / JOURNAL).stat().st_size - 3)  # what was written is torn
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    study.set_user_attr("kept", 1)
    connect.cache_clear()
    assert optuna.load_study(study_name="study", storage=connect(str(tmp_path / JOURNAL))).user_attrs == {"kept": 1}
    assert not left


def test_nobody_is_lost_by_an_outage(set_clock) -> None:
    now = 10_000.0
    set_clock(now)
    mark = {"owner": "a", "host": "another machine", "seen": now - LOST_AFTER - 100}
    assert not is_alive(mark)
    assert is_alive(mark, reached_since=now - 5)
    assert not is_alive(mark, reached_since=now - LOST_AFTER - 1)


def test_a_job_that_lost_its_study_is_no_failure() -> None:
    def job(cfg) -> float:
        raise StorageLost("the database could not be used")

    result = _call(job, None, TrialContext(None), "value")
    assert result == JobResult(
        JobState.INTERRUPTED, error="the database could not be used", facts={"status": "interrupted"}
    )


@pytest.fixture
def locked(tmp_path: Path):
    """Lock the SQLite study, as another program does; gives what unlocks it."""
    connections = []

    def lock() -> Callable[[], None]:
        connection = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False, timeout=60)
        connection.execute("BEGIN EXCLUSIVE")
        connections.append(connection)
        return connection.close

    yield lock
    for connection in connections:
        connection.close()


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Things to do in the first epochs of the first trial, one an epoch."""
    from lightsweep.training.callbacks import Recorder

    actions: list[Callable[[], None]] = []
    record = Recorder.on_train_epoch_end

    def acting(self, *arguments) -> None:
        if actions:
            actions.pop(0)()
        record(self, *arguments)

    monkeypatch.setattr(Recorder, "on_train_epoch_end", acting)
    return actions


@pytest.mark.slow
def test_a_lock_of_some_seconds_costs_no_trial(launch, tmp_path: Path, locked, training, capsys) -> None:
    training.append(lambda: Timer(2.0, locked()).start())
    where = (f"hydra.sweep.dir={tmp_path}/study", f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db")
    done = launch("sweep=quick", *where, *TINY, "hydra.sweeper.n_trials=2")
    assert done.code == 0, done.err
    (line,) = done.err.splitlines()
    assert line.startswith("waiting for hydra.sweeper.storage: sqlite:///")
    assert line.endswith("(database is locked), at most 300 s")
    study = optuna.load_study(study_name="quick", storage=where[1].partition("=")[2])
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


@pytest.mark.slow
def test_a_lock_that_lasts_is_one_line_and_the_same_command_goes_on(
    launch, tmp_path: Path, locked, training, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlock: list[Callable[[], None]] = []
    training.append(lambda: unlock.append(locked()))
    where = (f"hydra.sweep.dir={tmp_path}/study", f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db")
    typed = ("sweep=quick", *where, *TINY, "hydra.sweeper.n_trials=2")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "RETRY_SECONDS", 1.0)
        done = launch(*typed)
    assert done.code == 1
    assert "Traceback" not in done.err
    *others, last = done.err.splitlines()
    assert last.startswith("hydra.sweeper.storage: sqlite:///")
    assert last.endswith(" could not be used for 1 s (database is locked); the same command continues")
    assert len(others) <= 3, done.err
    for each in unlock:
        each()
    assert launch(*typed).code == 0
    trials = optuna.load_study(study_name="quick", storage=where[1].partition("=")[2]).trials
    assert [is_interrupted(trial) for trial in trials] == [True, False, False]
    assert [trial.state for trial in trials if not is_interrupted(trial)] == [TrialState.COMPLETE] * 2
