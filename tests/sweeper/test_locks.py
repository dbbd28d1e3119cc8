"""Locks that a signal at any moment leaves free, or at least to be taken again."""

import os
import time
from pathlib import Path
from threading import Thread

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from lightsweep.core.errors import Interrupted
from lightsweep.sweeper import leases, storage
from lightsweep.sweeper.leases import FileLock, Owner
from lightsweep.sweeper.storage import JournalLock, connect


def test_a_lock_that_a_signal_left_behind_is_taken_again(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()  # the signal came before the block that releases it
    assert lock.acquire(wait=False)
    lock.release()
    assert FileLock(tmp_path / "lock").acquire(wait=False)


@pytest.mark.parametrize("place", ["flock", "cut"])
def test_a_signal_while_a_journal_is_locked_leaves_it_free(tmp_path: Path, monkeypatch, place: str) -> None:
    file = tmp_path / "study.journal"
    file.touch()
    lock = JournalLock(file)
    flock = leases.fcntl.flock

    def interrupted(*arguments) -> None:
        if place == "flock":
            flock(*arguments)
        raise Interrupted(15)

    with monkeypatch.context() as patch:
        where = (leases.fcntl, "flock") if place == "flock" else (storage, "remove_torn_line")
        patch.setattr(*where, interrupted)
        with pytest.raises(Interrupted):
            lock.acquire()
    assert FileLock(tmp_path / "study.journal.flock").acquire(wait=False)


def test_a_program_with_optunas_own_lock_can_write_too(tmp_path: Path) -> None:
    """A dashboard that keeps a note, say."""
    file = str(tmp_path / "study.journal")
    ours = optuna.create_study(study_name="study", storage=connect(file))
    ours.tell(ours.ask(), 1.0)
    theirs = optuna.load_study(study_name="study", storage=JournalStorage(JournalFileBackend(file)))
    started = time.monotonic()
    theirs.set_user_attr("note", "good")
    assert time.monotonic() - started < 10.0  # Optuna takes a lock for abandoned after thirty seconds
    ours.tell(ours.ask(), 2.0)
    assert len(theirs.trials) == 2
    assert ours.user_attrs == {"note": "good"}


def test_a_lock_leaves_no_file(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        assert not FileLock(tmp_path / "lock").acquire(wait=False)
        assert lock.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_who_gets_the_lock_of_a_removed_file_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, second, third = (FileLock(tmp_path / "lock") for _ in range(3))
    holder.acquire()
    flock = leases.fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(leases.fcntl, "flock", flock)
        holder.release()  # between the opening of the file and its locking
        assert third.acquire(wait=False)
        flock(descriptor, operation)

    monkeypatch.setattr(leases.fcntl, "flock", late)
    assert not second.acquire(wait=False)
    third.release()
    assert second.acquire(wait=False)


def test_a_lock_is_anothers_whose_file_was_replaced(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()
    (tmp_path / "lock").unlink()  # by hand
    second.acquire()
    first.release()
    assert (tmp_path / "lock").exists()
    assert not first.acquire(wait=False)


def test_one_at_a_time_although_each_removes_the_file(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(100):
            with FileLock(tmp_path / "lock"):
                number = int(counter.read_text())
                counter.write_text(str(number + 1))

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=50)
    assert counter.read_text() == "400"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_locks_that_killed_sweepers_left_go_after_a_day(tmp_path: Path, temporary) -> None:
    temporary(tmp_path)
    living = Owner()
    folder = living._lock.path.parent
    for name, age in (("old.lock", 90_000), ("young.lock", 80_000), (living._lock.path.name, 90_000)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    Owner().resign(trials_left=False)
    assert {path.name for path in folder.iterdir()} == {"young.lock", living._lock.path.name}
    living.resign(trials_left=False)
