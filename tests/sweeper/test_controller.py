"""The sweep's loop: a signal that comes while a trial is handed out stops that trial too."""

import contextlib
import signal
from types import SimpleNamespace

import pytest

from lightsweep.core import signals
from lightsweep.core.errors import Interrupted
from lightsweep.sweeper import executors
from lightsweep.sweeper.controller import Controller, Limits
from lightsweep.sweeper.executors import Stop
from lightsweep.sweeper.job import Job, JobResult, JobState

LIMITS = Limits(timeout=None, max_failures=3)


class Slot(executors.Slot):
    """Runs until it is stopped."""

    def __init__(self) -> None:
        self.running = False
        self.result: JobResult | None = None

    def start(self, job: Job) -> None:
        self.running = True

    def poll(self) -> JobResult | None:
        result, self.result = self.result, None
        return result

    def waitables(self) -> list:
        return []

    def stop(self) -> None:
        if self.running:
            self.running, self.result = False, JobResult(JobState.INTERRUPTED)

    def kill(self) -> None:
        raise AssertionError("one signal kills nothing")


class Queue:
    """Hands out one trial, and is interrupted as it does."""

    def __init__(self) -> None:
        self.results: list[JobResult] = []

    def claim(self) -> SimpleNamespace:
        signal.raise_signal(signal.SIGTERM)
        return SimpleNamespace(number=0)

    def tell(self, trial: SimpleNamespace, result: JobResult) -> bool:
        self.results.append(result)
        return True

    def renew(self) -> None: ...

    def is_done(self) -> bool:
        return False


class Run(SimpleNamespace):
    started = 0.0

    def next_job(self) -> Job:
        return Job("trial", (), "trial-0000", 0)

    def take(self, result: JobResult) -> JobResult:
        return result

    def is_overdue(self, grace: float) -> bool:
        return False

    def checked(self, result: JobResult, grace: float) -> JobResult:
        return result


def controller_of(queue, *slots, limits: Limits = LIMITS, warnings: list[str] | None = None, **settings) -> Controller:
    warn = (lambda line: None) if warnings is None else warnings.append
    return Controller(
        queue,
        slots,
        limits,
        start=lambda trial: Run(trial=trial),
        ended=lambda number: None,
        show=lambda running: None,
        warn=warn,
        **settings,
    )


@pytest.mark.timeout(10)
def test_a_trial_that_is_claimed_while_a_signal_comes_is_stopped() -> None:
    queue, slot = Queue(), Slot()
    with pytest.raises(Interrupted):
        controller_of(queue, slot).run_trials()
    assert [result.state for result in queue.results] == ["interrupted"]
    assert not slot.running


class Stuck(Slot):
    """Does not end in order, as a process that was stopped."""

    def stop(self) -> None: ...

    def kill(self) -> None:
        self.running, self.result = False, JobResult(JobState.LOST, error="the worker died of SIGKILL")


@pytest.mark.timeout(10)
def test_a_job_that_does_not_end_after_a_signal_is_killed_and_retried() -> None:
    queue, slot, warnings = Queue(), Stuck(), list[str]()
    with pytest.raises(Interrupted):
        controller_of(queue, slot, limits=Limits(None, 3, grace=0.5), warnings=warnings).run_trials()
    assert [result.state for result in queue.results] == ["interrupted"]
    assert len(warnings) == 1
    assert warnings[0].startswith("running jobs did not end within")


@pytest.mark.timeout(10)
def test_a_signal_before_the_first_trial_ends_the_sweep() -> None:
    queue, slot = Queue(), Slot()

    def sweep() -> None:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)  # as in an import
        controller_of(queue, slot).run_trials()

    with pytest.raises(Interrupted) as end, signals.as_exceptions():
        sweep()
    assert end.value.signum == signal.SIGTERM
    assert not queue.results


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

    started: int = 0

    def start(self, job: Job) -> None:
        self.started += 1
        super().start(job)

    def end(self) -> None:
        self.running, self.result = False, JobResult(JobState.COMPLETED, 1.0)


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

    def tell(self, trial: SimpleNamespace, result: JobResult) -> bool:
        return True


@pytest.mark.parametrize(
    ("batch", "started"), [(1, [4, 5, 6, 7, 8, 9]), (3, [4, 4, 4, 7, 7, 7]), (9, [4, 4, 4, 4, 8, 8])]
)
def test_trials_start_together(batch: int, started: list[int]) -> None:
    """One of four slots becomes free after the other; all start again where nothing runs any more."""
    slots = [Waiting() for _ in range(4)]
    controller = controller_of(Many(20), *slots, limits=Limits(None, 3, batch))
    seen = []
    for turn in range(6):
        controller._fill()
        seen.append(sum(slot.started for slot in slots))
        slots[turn % 4].end()
        controller._collect()
    assert seen == started


def test_the_last_trials_do_not_wait_for_a_full_batch() -> None:
    slots = [Waiting() for _ in range(4)]
    queue = Many(5)
    controller = controller_of(queue, *slots, limits=Limits(None, 3, batch=3))
    controller._fill()
    slots[0].end()
    controller._collect()
    controller._fill()  # one is free, and one is left
    assert queue.left == 0


class Left(Slot):
    """Its job runs on when the sweep is stopped."""

    def stop(self) -> None:
        self.running, self.result = False, JobResult(JobState.DETACHED)


@pytest.mark.timeout(10)
def test_a_trial_whose_job_is_left_stays_open() -> None:
    queue = Queue()
    with pytest.raises(Interrupted):
        controller_of(queue, Left()).run_trials()
    assert queue.results == []


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
        self.result = JobResult(JobState.COMPLETED, 1.0)


class Sequel:
    """Hands out some trials."""

    waited_for = "nobody"

    def __init__(self, count: int) -> None:
        self.count, self.left, self.results = count, count, list[int]()

    def claim(self) -> SimpleNamespace | None:
        self.left -= 1
        return SimpleNamespace(number=self.left) if self.left >= 0 else None

    def tell(self, trial: SimpleNamespace, result: JobResult) -> bool:
        self.results.append(trial.number)
        return True

    def remaining(self) -> int:
        return max(0, self.left)

    def is_done(self) -> bool:
        return len(self.results) == self.count


@pytest.mark.timeout(20)
@pytest.mark.parametrize("timeout", [None, 0.2])
def test_a_trial_is_asked_for_when_its_worker_is_ready_and_the_time_counts_from_then(timeout: float | None) -> None:
    queue = Sequel(1)
    slow = Starting(30)  # some time longer than `timeout`
    controller = controller_of(queue, slow, limits=Limits(timeout, 3), look_every=0.1)
    assert controller.seconds == 0
    controller.run_trials()
    assert queue.results == [0]
    assert 0 < controller.seconds < 5


@pytest.mark.timeout(20)
def test_workers_that_are_ready_wait_for_no_other() -> None:
    queue = Sequel(3)
    controller_of(queue, Starting(10**9), Starting(0), look_every=0.02).run_trials()
    assert queue.results == [2, 1, 0]
