"""The sweep's loop: every free slot starts the next trial at once; each result is closed in the study and shown.

A `TrialRun` is a trial that runs: its jobs, one for each seed, and what their results add up to.
"""

import json
import signal
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.trial import Trial

from lightsweep.core import signals
from lightsweep.core.errors import ConfigError, Interrupted, RunFailed
from lightsweep.core.files import write_atomic
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import GRACE, Slot, Stop, StorageReports
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.optuna_access import trial_id
from lightsweep.sweeper.statistics import spread
from lightsweep.sweeper.storage import Address
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import folder_of

_LOOK_EVERY = 0.5  # seconds between two looks at the slots, where nothing wakes the loop
_CLAIM_AGAIN = 1.0  # seconds until a total that was under way is looked at again
_SUMMED = ("seconds",)  # of facts over several seeds; the others are averaged


@dataclass(frozen=True)
class Limits:
    """When to stop asking: after `timeout` seconds (None: never), or after `max_failures` failures in a row; and how
    many slots must be free before further trials begin together."""

    timeout: float | None
    max_failures: int
    batch: int = 1


@dataclass
class TrialRun:
    """A trial under way.

    Args:
        overrides: fixed ones and the trial's own.
        seeds: empty for the config's own seed.
        folder: the study's.
        data: as of `Job`.
    """

    trial: Trial
    overrides: tuple[str, ...]
    seeds: Sequence[int]
    address: Address
    pruner: BasePruner
    folder: Path
    data: tuple[str, str] | None
    values: list[float] = field(default_factory=list)
    facts: list[Mapping[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def number(self) -> int:
        return self.trial.number

    def next_job(self) -> Job:
        """The job to run now."""
        name = folder_of(self.number)
        if len(self.seeds) > 1:  # the steps of the pruner are seeds: the job itself reports nothing
            seed = self.seeds[len(self.values)]
            overrides = (*self.overrides, f"seed={seed}")
            return Job("seed", overrides, f"{name}/seed-{seed}", self.number, data=self.data)
        overrides = (*self.overrides, *(f"seed={seed}" for seed in self.seeds))
        reports = StorageReports(self.address, trial_id(self.trial), self.pruner)
        return Job("trial", overrides, name, self.number, reports, self.data)

    def take(self, result: JobResult) -> JobResult | None:
        """Add a job's result; returns the trial's own when it has ended, None while seeds are left."""
        if len(self.seeds) <= 1 or result.state in (JobState.DETACHED, JobState.REFUSED):
            return result
        self.facts.append(result.facts)
        if result.state == JobState.COMPLETED:
            assert result.value is not None
            self.values.append(result.value)
            is_last = len(self.values) == len(self.seeds)
            if not is_last and not self._is_pruned():
                return None
            result = JobResult(JobState.COMPLETED if is_last else JobState.PRUNED, fmean(self.values))
        return self._sum_up(result)

    def _is_pruned(self) -> bool:
        """Report the seed that just ended, and ask the pruner."""
        # Wilcoxon's pruner compares seed by seed; the others compare how good a trial looks so far.
        seen = self.values[-1] if isinstance(self.pruner, WilcoxonPruner) else fmean(self.values)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a trial that was taken over repeats its first seeds
                self.trial.report(seen, len(self.values))
        except UpdateFinishedTrialError:  # another sweeper has closed the trial, which is said when it is told
            return True
        return self.trial.should_prune()

    def _sum_up(self, result: JobResult) -> JobResult:
        """The trial's result, which is also written as result.json above the folders of its seeds."""
        facts, std = mean_facts(self.facts), spread(self.values)
        content: dict[str, Any] = {
            "status": result.state,
            "kind": "trial",
            "seeds": list(self.seeds)[: len(self.values)],
            "values": self.values,
            "best_value": fmean(self.values) if self.values else None,
            "std": std,
            **facts,
            **({"error": result.error} if result.error else {}),
        }
        folder = self.folder / folder_of(self.number)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "result.json", json.dumps(content, indent=1) + "\n")
        return replace(result, facts=facts if std is None else {**facts, "std": std})


def mean_facts(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One value of each fact from those of several seeds: the sum of seconds, the mean of other numbers; integers that
    are the same for all seeds stay integers."""
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in facts for name in each):
        values = [each[name] for each in facts if isinstance(each.get(name), int | float)]
        if name in _SUMMED:
            means[name] = sum(values)
        elif values:
            means[name] = values[0] if len(set(values)) == 1 else fmean(values)
    return means


class Controller:
    """Runs a study's trials, or a list of jobs, over slots.

    Args:
        queue: hands out trials and takes their results.
        slots: one job each at a time.
        begin: makes a trial's `TrialRun`: draws its parameters; None where they are those of an earlier trial, and
            this one is closed.
        changed: called after each trial that was told, with its number.
        look: called at each turn of the loop with the running trials' seconds by number.
    """

    def __init__(
        self,
        queue: TrialQueue,
        slots: Sequence[Slot],
        *,
        begin: Callable[[Trial], TrialRun | None],
        limits: Limits,
        changed: Callable[[int], Any],
        look: Callable[[dict[int, float]], Any],
        say: Callable[[str], Any],
    ) -> None:
        self.queue, self.slots, self.begin, self.limits = queue, slots, begin, limits
        self.changed, self.look, self.say = changed, look, say
        self.stop = Stop(slots)
        self.running: dict[int, TrialRun] = {}  # by the slot's index
        self.failures: list[str] = []
        self.refusal = ""  # why no job of this sweep can run
        self.begun: float | None = None  # when a slot was there for the first trial: workers take a while to start
        self.next_claim = 0.0
        self.waiting, self.ending = Wait(), Wait()

    def run_trials(self) -> None:
        """Until the total is reached, the time is over, or too much failed.

        Raises:
            ConfigError: a job said that none can run.
            Interrupted: a signal came; everything is written.
            RunFailed: too many trials failed in a row.
        """
        with self.stop.listening():
            while not self._is_over():
                if self._may_ask():
                    self._fill()
                self._say_why_it_waits()
                self._pause()
                self._collect()
        self._raise_reason()

    def run_jobs(self, jobs: Sequence[Job], ended: Callable[[Job, JobResult], Any]) -> None:
        """Jobs that belong to no trial, in order, over the same slots.

        Raises:
            ConfigError: a job said that none can run.
            Interrupted: a signal came.
        """
        queue, under_way = list(jobs), dict[int, Job]()
        with self.stop.listening():
            while under_way or (queue and not self._may_end()):
                for index, slot in enumerate(self.slots):
                    if queue and not self._may_end() and index not in under_way:
                        under_way[index] = queue.pop(0)
                        self._start(slot, under_way[index])
                self._pause()
                for index in list(under_way):
                    if (result := self.slots[index].poll()) is not None:
                        self._interpret(index, result)
                        ended(under_way.pop(index), result)
        if self.stop.signum is not None:
            raise Interrupted(self.stop.signum)
        if self.refusal:
            raise ConfigError(self.refusal)

    @property
    def seconds(self) -> float:
        """Since the first trial could begin."""
        return 0.0 if self.begun is None else time.monotonic() - self.begun

    def _is_over(self) -> bool:
        if self.running:
            return False
        return not self._may_ask() or self.queue.is_done()

    def _may_ask(self) -> bool:
        late = self.limits.timeout is not None and self.seconds > self.limits.timeout
        return not (self._may_end() or late or len(self.failures) >= self.limits.max_failures)

    def _may_end(self) -> bool:
        """Did a signal come, or a job say that none can run?"""
        return bool(self.stop) or bool(self.refusal)

    def _fill(self) -> None:
        if self.begun is None and not all(slot.is_starting() for slot in self.slots):
            self.begun = time.monotonic()
        free = len(self.slots) - len(self.running)
        if self.running and free < min(self.limits.batch, self.queue.remaining()):
            return
        for index, slot in enumerate(self.slots):
            if index in self.running or slot.is_starting() or time.monotonic() < self.next_claim or not self._may_ask():
                continue
            if (run := self._next()) is None:
                return
            self.running[index] = run
            self._start(slot, run.next_job())

    def _next(self) -> TrialRun | None:
        """The next trial's run; None while there is none to begin."""
        while self._may_ask():
            trial = self.queue.claim()
            if trial is None:
                self.next_claim = time.monotonic() + _CLAIM_AGAIN
                return None
            try:
                if (run := self.begin(trial)) is not None:
                    return run
            except ConfigError as error:  # the user's own function has failed for this trial
                self._tell(trial, JobResult(JobState.FAILED, error=str(error)))
        return None

    def _say_why_it_waits(self) -> None:
        if self.running or any(slot.is_starting() for slot in self.slots):
            self.waiting.end()
        else:
            self.waiting.update(self.queue.waited_for)

    def _start(self, slot: Slot, job: Job) -> None:
        slot.start(job)
        if self.stop:  # a signal came since we looked, and stopped only what was running
            slot.stop()

    def _collect(self) -> None:
        for index in list(self.running):
            result = self.slots[index].poll()
            if result is None:
                continue
            run = self.running[index]
            result = run.take(self._interpret(index, result))
            if result is None and not self._may_end():
                self._start(self.slots[index], run.next_job())  # the next seed
                continue
            del self.running[index]
            result = result or JobResult(JobState.INTERRUPTED)
            if result.state != JobState.DETACHED:
                self._tell(run.trial, result)

    def _interpret(self, index: int, result: JobResult) -> JobResult:
        """What a result means here: a job that died because the sweep stops was interrupted; one that a signal from
        elsewhere ended has failed."""
        if result.state == JobState.REFUSED:
            self.refusal = result.error or "a job was refused"
            return result
        if self.stop:
            return replace(result, state=JobState.INTERRUPTED) if result.state == JobState.LOST else result
        if not result.by_signal:
            return result
        if self.slots[index].is_inline:  # the signal was for this very process
            self.stop.request(signals.received() or signal.SIGINT)
            return result
        return JobResult(JobState.FAILED, error="the job was ended by a signal", facts=result.facts)

    def _tell(self, trial: Trial, result: JobResult) -> None:
        if not self.queue.tell(trial, result):
            self.say(f"trial {trial.number}: result discarded, another sweeper had already closed it")
            return
        self.next_claim = 0.0
        if result.state.is_failure:
            self.failures.append(f"trial {trial.number}: {result.error}")
        elif result.state not in (JobState.INTERRUPTED, JobState.REFUSED):
            self.failures.clear()
        self.changed(trial.number)

    def _pause(self) -> None:
        ready = [waitable for slot in self.slots for waitable in slot.waitables()]
        if ready:
            wait(ready, timeout=_LOOK_EVERY)
        elif not any(slot.is_inline for slot in self.slots):
            time.sleep(_LOOK_EVERY / 2)
        if self.stop and not self.stop.killed:
            self.ending.update(f"running jobs to end in order, at most {GRACE:.0f} s")
        if self.stop.is_overdue():
            self.say(f"running jobs did not end within {GRACE:.0f} s of the signal: killed, to be retried")
            self.stop.kill()
        now = time.monotonic()
        self.look({run.number: now - run.started for run in self.running.values()})

    def _raise_reason(self) -> None:
        if self.stop.signum is not None:
            raise Interrupted(self.stop.signum)
        if self.refusal:
            raise ConfigError(self.refusal)
        if len(self.failures) >= self.limits.max_failures:
            raise RunFailed(f"{len(self.failures)} trials failed in a row, the sweep stops: {'; '.join(self.failures)}")
