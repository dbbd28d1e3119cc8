"""The sweep's loop: a signal that comes while a trial is handed out stops that trial too."""

import contextlib
import signal
from types import SimpleNamespace

import pytest

from lightsweep.core import signals
from lightsweep.core.errors import Interrupted
from lightsweep.sweeper.controller import Controller, Limits
from lightsweep.sweeper.executors import Stop
from lightsweep.sweeper.job import Job, JobResult, JobState


class Slot:
    """Runs until it is stopped."""

    def __init__(self) -> None:
        self.running = False
        self.outcome: JobResult | None = None

    is_inline = False

    def is_starting(self) -> bool:
        return False

    def start(self, job: Job) -> None:
        self.running = True

    def poll(self) -> JobResult | None:
        outcome, self.outcome = self.outcome, None
        return outcome

    def waitables(self) -> list:
        return []

    def stop(self) -> None:
        if self.running:
            self.running, self.outcome = False, JobResult(JobState.INTERRUPTED)

    def kill(self) -> None:
        raise AssertionError("one signal kills nothing")


class Books:
    """Hands out one trial, and is interrupted as it does."""

    def __init__(self) -> None:
        self.told: list[JobResult] = []

    def claim(self) -> SimpleNamespace:
        signal.raise_signal(signal.SIGTERM)
        return SimpleNamespace(number=0)

    def tell(self, trial: SimpleNamespace, outcome: JobResult) -> bool:
        self.told.append(outcome)
        return True

    def renew(self) -> None: ...

    def is_done(self) -> bool:
        return False


class Run(SimpleNamespace):
    number, started = 0, 0.0

    def next_job(self) -> Job:
        return Job("trial", (), "trial-0000", 0)

    def take(self, outcome: JobResult) -> JobResult:
        return outcome


@pytest.mark.timeout(10)
def test_a_trial_that_is_claimed_while_a_signal_comes_is_stopped() -> None:
    books, slot = Books(), Slot()
    controller = Controller(
        books,
        [slot],
        begin=lambda trial: Run(trial=trial),
        limits=Limits(None, 3),
        changed=lambda number: None,
        look=lambda running: None,
        say=lambda line: None,
    )
    with pytest.raises(Interrupted):
        controller.run_trials()
    assert [outcome.state for outcome in books.told] == ["interrupted"]
    assert not slot.running


class Stuck(Slot):
    """Does not end in order, as a process that was stopped."""

    def stop(self) -> None: ...

    def kill(self) -> None:
        self.running, self.outcome = False, JobResult(JobState.LOST, error="the worker died of SIGKILL")


def controlled(books, slot, said: list[str]) -> Controller:
    quiet = {"changed": lambda number: None, "look": lambda running: None, "say": said.append}
    return Controller(books, [slot], begin=lambda trial: Run(trial=trial), limits=Limits(None, 3), **quiet)


@pytest.mark.timeout(10)
def test_what_does_not_end_after_a_signal_is_killed_and_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightsweep.sweeper.executors.GRACE", 0.5)
    books, slot, said = Books(), Stuck(), list[str]()
    with pytest.raises(Interrupted):
        controlled(books, slot, said).run_trials()
    assert [outcome.state for outcome in books.told] == ["interrupted"]
    assert len(said) == 1
    assert said[0].startswith("running jobs did not end within")


@pytest.mark.timeout(10)
def test_a_signal_that_got_lost_before_the_first_trial_ends_the_sweep() -> None:
    books, slot = Books(), Slot()

    def sweep() -> None:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)  # as in an import
        controlled(books, slot, []).run_trials()

    with pytest.raises(Interrupted) as end, signals.as_exceptions():
        sweep()
    assert end.value.signum == signal.SIGTERM
    assert not books.told


@pytest.mark.timeout(10)
def test_a_third_signal_ends_a_loop_that_hangs() -> None:
    stop = Stop([Stuck()])
    with stop.listening():
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        assert stop.killed
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


class Waiting(Slot):
    """Its job ends when it is told to."""

    begun: int = 0

    def start(self, job: Job) -> None:
        self.begun += 1
        super().start(job)

    def end(self) -> None:
        self.running, self.outcome = False, JobResult(JobState.COMPLETED, 1.0)


class Many:
    """Hands out so many trials."""

    def __init__(self, left: int) -> None:
        self.left = left

    def claim(self) -> SimpleNamespace | None:
        if not self.left:
            return None
        self.left -= 1
        return SimpleNamespace(number=self.left)

    def remaining(self) -> int:
        return self.left

    def tell(self, trial: SimpleNamespace, outcome: JobResult) -> bool:
        return True


@pytest.mark.parametrize(
    ("batch", "begun"), [(1, [4, 5, 6, 7, 8, 9]), (3, [4, 4, 4, 7, 7, 7]), (9, [4, 4, 4, 4, 8, 8])]
)
def test_trials_begin_together(batch: int, begun: list[int]) -> None:
    """One of four slots becomes free after the other; all begin again where nothing runs any more."""
    slots = [Waiting() for _ in range(4)]
    quiet = {"changed": lambda number: None, "look": lambda running: None, "say": lambda line: None}
    begin = lambda trial: Run(trial=trial)  # noqa: E731
    controller = Controller(Many(20), slots, begin=begin, limits=Limits(None, 3, batch), **quiet)
    seen = []
    for turn in range(6):
        controller._fill()
        seen.append(sum(slot.begun for slot in slots))
        slots[turn % 4].end()
        controller._collect()
    assert seen == begun


def test_the_last_trials_do_not_wait_for_a_whole_batch() -> None:
    slots = [Waiting() for _ in range(4)]
    books = Many(5)
    controller = controlled(books, slots[0], [])
    controller.slots, controller.limits = slots, Limits(None, 3, batch=3)
    controller._fill()
    slots[0].end()
    controller._collect()
    controller._fill()  # one is free, and one is left
    assert books.left == 0


class Left(Slot):
    """Its job goes on when the sweep is stopped."""

    def stop(self) -> None:
        self.running, self.outcome = False, JobResult(JobState.DETACHED)


@pytest.mark.timeout(10)
def test_a_trial_whose_job_is_left_stays_open() -> None:
    books = Books()
    with pytest.raises(Interrupted):
        controlled(books, Left(), []).run_trials()
    assert books.told == []


class Starting(Slot):
    """Is ready after so many looks; what it is handed ends at once."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_starting(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def start(self, job: Job) -> None:
        assert self.looks < 0
        self.outcome = JobResult(JobState.COMPLETED, 1.0)


class Sequel:
    """Hands out some trials."""

    waited_for = "nobody"

    def __init__(self, count: int) -> None:
        self.count, self.left, self.told = count, count, list[int]()

    def claim(self) -> SimpleNamespace | None:
        self.left -= 1
        return SimpleNamespace(number=self.left) if self.left >= 0 else None

    def tell(self, trial: SimpleNamespace, outcome: JobResult) -> bool:
        self.told.append(trial.number)
        return True

    def remaining(self) -> int:
        return max(0, self.left)

    def is_done(self) -> bool:
        return len(self.told) == self.count


@pytest.mark.timeout(20)
@pytest.mark.parametrize("timeout", [None, 0.2])
def test_a_trial_is_asked_for_when_its_worker_is_ready_and_the_time_counts_from_then(
    monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    monkeypatch.setattr("lightsweep.sweeper.controller._LOOK_EVERY", 0.1)
    books = Sequel(1)
    quiet = {"changed": lambda number: None, "look": lambda running: None, "say": lambda line: None}
    slow = Starting(30)  # some time longer than `timeout`
    controller = Controller(books, [slow], begin=lambda trial: Run(trial=trial), limits=Limits(timeout, 3), **quiet)
    assert controller.seconds == 0
    controller.run_trials()
    assert books.told == [0]
    assert 0 < controller.seconds < 5


@pytest.mark.timeout(20)
def test_workers_that_are_ready_wait_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightsweep.sweeper.controller._LOOK_EVERY", 0.02)
    books = Sequel(3)
    quiet = {"changed": lambda number: None, "look": lambda running: None, "say": lambda line: None}
    never = Starting(10**9)
    controller = Controller(
        books, [never, Starting(0)], begin=lambda trial: Run(trial=trial), limits=Limits(None, 3), **quiet
    )
    controller.run_trials()
    assert books.told == [2, 1, 0]
