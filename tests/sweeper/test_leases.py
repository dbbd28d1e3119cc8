"""A lease of a study: one sweeper holds it, of those that begin together too, and it is never lost with one."""

import time
from pathlib import Path
from threading import Thread

import optuna
import pytest

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.leases import LOST_AFTER, Lease, Owner
from lightsweep.sweeper.storage import connect


@pytest.fixture
def candidate(tmp_path: Path):
    """Sweepers of one study, each with a connection and a name of its own."""
    owners = []

    def make(name: str | None = None) -> Lease:
        connect.cache_clear()
        study = optuna.create_study(study_name="study", storage=connect(str(tmp_path / JOURNAL)), load_if_exists=True)
        owners.append(Owner())
        owners[-1].name = name or owners[-1].name
        return Lease(study, "confirmation", owners[-1])

    yield make
    for owner in owners:
        owner.resign(trials_left=False)


def test_one_holds_it_until_it_leaves(candidate) -> None:
    one, other = candidate(), candidate()
    assert one.take()
    assert one.take()
    assert not other.take()
    one.leave()
    assert other.take()


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_one_of_two_that_write_before_either_reads_holds_it(candidate, on_machine, names: tuple[str, str]) -> None:
    """What sweepers of two machines do to a database, where no lock reaches both."""
    on_machine("here")
    one, other = candidate(names[0]), candidate(names[1])
    on_machine("elsewhere")
    both_wrote = _other_writes_first(one, other)
    taken = {}
    threads = [
        Thread(target=lambda name=name, each=each: taken.update({name: each.take()}), daemon=True)
        for name, each in zip(names, (one, other), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert both_wrote
    assert taken == {"a": True, "b": False}


def test_who_comes_between_anothers_look_and_its_word_does_not_hold_it_too(candidate) -> None:
    early, late = candidate("b"), candidate("a")  # the lower name would come first
    taken = []
    coming = Thread(target=lambda: taken.append(late.take()), daemon=True)
    look = early._other_marks

    def look_and_dawdle():
        seen = look()
        coming.start()
        coming.join(timeout=0.5)
        return seen

    early._other_marks = look_and_dawdle
    assert early.take()
    coming.join(timeout=10)
    assert taken == [False]


def _other_writes_first(*leases: Lease) -> list[str]:
    """Make each read only when all have written; returns who has written."""
    wrote: list[str] = []

    def slowed(lease: Lease) -> None:
        write, others = lease._write, lease._other_marks

        def write_and_say(mark) -> None:
            write(mark)
            wrote.append(lease._owner.name)

        def read_late():
            while len(set(wrote)) < len(leases):
                time.sleep(0.01)
            return others()

        lease._write, lease._other_marks = write_and_say, read_late

    for lease in leases:
        slowed(lease)
    return wrote


def test_a_holder_that_renews_keeps_it_and_one_that_is_gone_loses_it(candidate, set_clock, on_machine) -> None:
    now = 1000.0
    set_clock(now)
    holder = candidate()
    assert holder.take()
    on_machine("another machine")
    other = candidate()
    now += LOST_AFTER - 1
    set_clock(now)
    holder.renew()
    now += LOST_AFTER - 1
    set_clock(now)
    assert not other.take()
    now += LOST_AFTER
    set_clock(now)
    assert other.take()


def test_who_waits_gets_it_as_soon_as_it_is_free(candidate) -> None:
    holder, other = candidate(), candidate()
    assert holder.take()
    waiting = Thread(target=other.wait, daemon=True)
    waiting.start()
    waiting.join(timeout=0.5)
    assert waiting.is_alive()
    holder.leave()
    waiting.join(timeout=20)
    assert not waiting.is_alive()
    assert other.take()
