"""Locks that a signal at any moment leaves free, or at least to be taken again."""

import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from lightsweep.errors import Interrupted
from lightsweep.sweep import locks
from lightsweep.sweep.locks import FileLock, JournalLock
from lightsweep.sweep.storage import connect


def test_a_lock_that_a_signal_left_behind_is_taken_again(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()  # the signal came before the block that releases it
    assert lock.acquire(wait=False)
    lock.release()
    assert FileLock(tmp_path / "lock").acquire(wait=False)


@pytest.mark.parametrize("place", ["flock", "cut"])
def test_a_signal_while_a_journal_is_locked_leaves_it_free(tmp_path: Path, monkeypatch, place: str) -> None:
    journal = tmp_path / "study.journal"
    journal.touch()
    lock = JournalLock(journal)
    flock = locks.fcntl.flock

    def interrupted(*arguments) -> None:
        if place == "flock":
            flock(*arguments)
        raise Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr(*((locks.fcntl, "flock") if place == "flock" else (locks, "_cut_torn_line")), interrupted)
        with pytest.raises(Interrupted):
            lock.acquire()
    assert FileLock(tmp_path / "study.journal.flock").acquire(wait=False)


def test_a_program_with_optunas_own_lock_can_write_too(tmp_path: Path) -> None:
    """A dashboard that keeps a note, say."""
    journal = str(tmp_path / "study.journal")
    ours = optuna.create_study(study_name="study", storage=connect(journal))
    ours.tell(ours.ask(), 1.0)
    theirs = optuna.load_study(study_name="study", storage=JournalStorage(JournalFileBackend(journal)))
    started = time.monotonic()
    theirs.set_user_attr("note", "good")
    assert time.monotonic() - started < 10.0  # Optuna takes a lock for abandoned after thirty seconds
    ours.tell(ours.ask(), 2.0)
    assert len(theirs.trials) == 2
    assert ours.user_attrs == {"note": "good"}
