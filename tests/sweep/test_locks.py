"""Locks that a signal at any moment leaves free, or at least to be taken again."""

from pathlib import Path

import pytest

from lightsweep.errors import Interrupted
from lightsweep.sweep import locks
from lightsweep.sweep.locks import FileLock, JournalLock


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
    assert FileLock(tmp_path / "study.journal.lock").acquire(wait=False)
