"""The sweep's loop: every free slot starts the next trial at once; each result is closed in the study and shown."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any

from optuna.trial import Trial

from lightsweep.core import signals
from lightsweep.core.errors import ConfigError, Interrupted, RunFailed
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import Slot, Stop
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trial_run import TrialRun

_REPEATS = 3  # of a job that belongs to no trial, where its worker has died
_CLAIM_AGAIN = 1.0  # seconds until the queue is asked again, where all trials are started or ended


@dataclass(frozen=True)
class Limits:
    """When the loop stops, and how it starts trials.

    Args:
        timeout: seconds until no further trial starts; None for never.
        max_failures: failures in a row that end the sweep.
        batch: how many slots must be free before further trials start together.
        grace: seconds that running jobs have to end in order.
    """

    timeout: float | None
    max_failures: int
    batch: int = 1
    grace: float = 60.0


@dataclass
class Controller:
    """Runs a study's trials, or a list of jobs, over slots.

    Args:
        queue: hands out trials and takes their results.
        start: makes a trial's `TrialRun`: draws its parameters; None where they are those of an earlier trial, and
            this one is closed.
        ended: called after each trial that was closed, with its number.
        show: called at each turn of the loop with the running trials' seconds by number.
        warn: called with a line to print.
        repeat: called with a job that belongs to no trial before it is run again.
        look_every: seconds between two looks at the slots, where nothing wakes the loop.
    """

    queue: TrialQueue
    slots: Sequence[Slot]
    limits: Limits
    start: Callable[[Trial], TrialRun | None]
    ended: Callable[[int], Any]
    show: Callable[[dict[int, float]], Any]
    warn: Callable[[str], Any]
    look_every: float = 0.5
    repeat: Callable[[Job], Any] = lambda job: None

    def __post_init__(self) -> None:
        self.stop = Stop(self.slots)
        self.running: dict[int, TrialRun] = {}  # by the slot's index
        self.failures: list[str] = []
        self.refusal = ""  # why no job of this sweep can run
        self.started: float | None = None  # when a slot was there for the first trial: workers take a while to start
        self.next_claim = 0.0
        self.is_filling = False  # free slots are left for the next turn
        self.is_drawing = False  # points are drawn and closed without a run
        self.waiting, self.ending = Wait(), Wait()

    def run_trials(self) -> None:
        """Until the total is reached, the time is over, or too much failed.

        Raises:
            ConfigError: a job found that none can run.
            Interrupted: a signal came; everything is written.
            RunFailed: too many trials failed in a row.
        """
        with self.stop.listening():
            while self.running or (self._may_start() and not self.queue.is_done()):
                if self._may_start():
                    self._fill()
                if self.running or self.is_drawing or self._is_starting():
                    self.waiting.end()
                else:
                    self.waiting.update(self.queue.waited_for)
                self._pause()
                self._collect()
        self._raise_reason()

    def run_jobs(self, jobs: Sequence[Job], ended: Callable[[Job, JobResult], Any]) -> None:
        """Jobs that belong to no trial, in order, over the same slots.

        Raises:
            ConfigError, Interrupted: as in `run_trials`.
        """
        queue, running, again = list(jobs), dict[int, Job](), Counter[str]()
        with self.stop.listening():
            while running or (queue and not self._is_stopping()):
                for index, slot in enumerate(self.slots):
                    if queue and not self._is_stopping() and index not in running and slot.has_room():
                        running[index] = queue.pop(0)
                        self._start_job(slot, running[index])
                self._pause()
                for index in list(running):
                    if (result := self.slots[index].poll()) is not None:
                        job, result = running.pop(index), self._interpret(index, result)
                        if result.state == JobState.INTERRUPTED and self._may_repeat(job, again):
                            queue.append(job)
                        else:
                            ended(job, result)
        self._raise_reason()

    def _may_repeat(self, job: Job, again: Counter[str]) -> bool:
        """Whether a job that was interrupted with its worker is run again, in a new folder; `again`: how often it
        was."""
        again[job.folder] += 1
        if self._is_stopping() or again[job.folder] > _REPEATS:
            return False
        self.repeat(job)
        return True

    @property
    def seconds(self) -> float:
        """Since the first trial could start."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    def _may_start(self) -> bool:
        """Whether further trials may start."""
        late = self.limits.timeout is not None and self.seconds > self.limits.timeout
        return not (self._is_stopping() or late or len(self.failures) >= self.limits.max_failures)

    def _is_starting(self) -> bool:
        """Whether a worker is not ready yet, or none has asked for a job."""
        has_room = not self.slots or any(slot.has_room() for slot in self.slots)
        return not has_room or any(slot.is_starting() for slot in self.slots)

    def _is_stopping(self) -> bool:
        """Whether a signal came, or a job found that none can run."""
        return bool(self.stop) or bool(self.refusal)

    def _fill(self) -> None:
        if self.started is None and not all(slot.is_starting() for slot in self.slots):
            self.started = time.monotonic()
        if self.running and len(self.slots) - len(self.running) < min(self.limits.batch, self.queue.remaining()):
            return
        until, self.is_filling = time.monotonic() + self.look_every, False
        for index, slot in enumerate(self.slots):
            if index in self.running or time.monotonic() < self.next_claim or not slot.has_room():
                continue
            self.is_filling = time.monotonic() > until
            if self.is_filling:
                return  # results have come meanwhile
            if (run := self._next_run()) is None:
                return
            self.running[index] = run
            self._start_job(slot, run.next_job())

    def _next_run(self) -> TrialRun | None:
        """The next trial's run; None while there is none to start, and where points were closed without a run for a
        while: other jobs may have ended."""
        started, self.is_drawing = time.monotonic(), False
        while self._may_start():
            if time.monotonic() - started > self.look_every:
                self.is_drawing = True
                return None
            if (trial := self.queue.claim()) is None:
                self.next_claim = time.monotonic() + _CLAIM_AGAIN
                return None
            try:
                if (run := self.start(trial)) is not None:
                    return run
            except ConfigError as error:  # the user's own function has failed for this trial
                self._close_trial(trial, JobResult(JobState.FAILED, error=str(error)))
        return None

    def _start_job(self, slot: Slot, job: Job) -> None:
        slot.start(job)
        if self.stop:  # the signal came meanwhile, and stopped only what was running
            slot.stop()

    def _collect(self) -> None:
        for index in list(self.running):
            slot, run = self.slots[index], self.running[index]
            if (result := slot.poll()) is None:
                if run.is_overdue(self.limits.grace):
                    slot.end_process()
                continue
            result = run.take(self._interpret(index, run.checked(result, self.limits.grace)))
            if result is None and not self._is_stopping():
                self._start_job(slot, run.next_job())  # the next seed
                continue
            del self.running[index]
            if (result := result or JobResult(JobState.INTERRUPTED)).state != JobState.DETACHED:
                self._close_trial(run.trial, result)

    def _interpret(self, index: int, result: JobResult) -> JobResult:
        """What a result means here: a job that died as the sweep stops was interrupted, one that a signal ended has
        failed."""
        if result.state == JobState.REFUSED or (result.of_all and not self.queue.has_completed()):
            self.refusal = result.error or "a job was refused"
            return replace(result, state=JobState.REFUSED)
        if self.stop:
            return replace(result, state=JobState.INTERRUPTED) if result.state == JobState.LOST else result
        if not result.by_signal:
            return result
        if self.slots[index].is_inline:  # the signal was for this very process
            self.stop.request(signals.received() or signal.SIGINT)
            return result
        return JobResult(JobState.FAILED, error="the job was ended by a signal", facts=result.facts)

    def _close_trial(self, trial: Trial, result: JobResult) -> None:
        if not self.queue.tell(trial, result):
            self.warn(f"trial {trial.number}: result discarded, another sweeper had already closed it")
            return
        self.next_claim = 0.0
        if result.state.is_failure or result.is_failure_of_worker:
            self.failures.append(f"trial {trial.number}: {result.error}")
        elif result.state not in (JobState.INTERRUPTED, JobState.REFUSED):
            self.failures.clear()
        self.ended(trial.number)

    def _pause(self) -> None:
        ready = list(dict.fromkeys(waitable for slot in self.slots for waitable in slot.waitables()))
        if ready:
            wait(ready, timeout=0.0 if self.is_filling else self.look_every)
        elif not any(slot.is_inline for slot in self.slots):
            time.sleep(self.look_every / 2)
        if self.stop and not self.stop.killed:
            grace = f"{self.limits.grace:.0f} s"
            self.ending.update(f"running jobs to end in order, at most {grace}")
            if self.stop.seconds > self.limits.grace:  # a process that is suspended receives no signal
                self.warn(f"running jobs did not end within {grace} of the signal: killed, to be retried")
                self.stop.kill()
        now = time.monotonic()
        self.show({run.trial.number: now - run.started for run in self.running.values()})

    def _raise_reason(self) -> None:
        if self.stop.signum is not None:
            raise Interrupted(self.stop.signum)
        if self.refusal:
            raise ConfigError(self.refusal)
        if len(self.failures) >= self.limits.max_failures:
            raise RunFailed(f"{len(self.failures)} trials failed in a row, the sweep stops: {'; '.join(self.failures)}")
