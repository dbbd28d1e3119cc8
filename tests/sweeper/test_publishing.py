"""How often the files of a sweep are written anew."""

from types import SimpleNamespace
from typing import Any

import pytest

from lightsweep.sweeper import publishing
from lightsweep.sweeper.publishing import Publisher


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Its time passes as it is set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(publishing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_files_are_written_as_often_as_time_allows_and_always_in_the_end(clock: Any, monkeypatch) -> None:
    written = []

    def write() -> None:
        written.append(clock.now)
        clock.now += 0.5

    publisher = Publisher(None, SimpleNamespace(retry=lambda operation: operation()))  # type: ignore[arg-type]
    monkeypatch.setattr(publisher, "_write", write)
    publisher.update()  # nothing has ended
    for clock.now in (101.0, 102.0, 103.0):
        publisher.update(trial_ended=True)
    for clock.now in (111.0, 112.0, 130.0, 131.0):
        publisher.update()
    publisher.update(trial_ended=True)
    publisher.publish()
    assert written == [101.0, 112.0, 131.0, 131.5]


def test_after_a_disk_that_was_full_for_long_the_next_ones_do_not_wait_as_long_again(clock: Any, monkeypatch) -> None:
    def wait(operation: Any) -> None:
        clock.now += 300
        operation()

    written = []
    publisher = Publisher(None, SimpleNamespace(retry=wait))  # type: ignore[arg-type]
    monkeypatch.setattr(publisher, "_write", lambda: written.append(clock.now))
    publisher.update(trial_ended=True)
    for clock.now in (459.0, 460.0):
        publisher.update(trial_ended=True)
    assert written == [400.0, 760.0]
