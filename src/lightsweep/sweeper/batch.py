"""Several jobs in one process at the same time: what a batch function is given.

A batch function, which ``hydra.sweeper.batch_function`` names, trains many trials as one computation. It takes jobs
from its `Batch` as long as it has places for them, reports for each as a job of its own would, and closes each:

    def train_batch(batch: lightsweep.Batch) -> None:
        running = {}
        while not batch.is_over:
            for job in batch.next():  # waits long only where no job is open
                running[job] = start(job.config)
            for job, loss in train_epoch(running):
                ...
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lightsweep.core import signals
from lightsweep.sweeper.application import application_of
from lightsweep.sweeper.batch_messages import Counted, Ended, Halved, Link, Room, Said
from lightsweep.sweeper.job import Job, JobResult, JobState, TrialContext
from lightsweep.sweeper.job_copies import Jobs
from lightsweep.sweeper.job_running import (
    JobFunction,
    JobSetup,
    explained,
    leave_config,
    leave_result,
    result_of_error,
    result_of_value,
)
from lightsweep.sweeper.job_scene import JobScene
from lightsweep.sweeper.references import describe

KEY = "hydra.sweeper.batch_function"
_PATIENCE = 0.1  # of the time since the jobs were last asked for: so long it is waited for new ones, while others train
_COUNT_EVERY = 1.0  # seconds between two messages with a count alone


class Batch:
    """The jobs of one worker.

    Attributes:
        places: open jobs at most.
        staggered: whether jobs are better started spread over time: the pruner compares them with trials that have
            completed, and if all start at once there are none.
        is_over: whether no job will come any more; then the function returns.
    """

    def __init__(
        self, link: Link, setup: JobSetup, function: Callable[[DictConfig], Any], *, places: int, staggered: bool
    ) -> None:
        self.places, self.staggered, self.is_over = places, staggered, False
        self._link, self._setup, self._function = link, setup, function
        self._jobs = Jobs(setup, function)
        self._open: dict[str, BatchJob] = {}
        self._waiting: list[Job] = []  # that have come, and have no place yet
        self._asked = 0  # that were asked for, and have not come
        self._images, self._counted = 0, time.monotonic()
        self._returned = time.monotonic()

    @property
    def open(self) -> list["BatchJob"]:
        """Jobs that are not over."""
        return [job for job in self._open.values() if job.is_open]

    def next(self, most: int | None = None) -> list["BatchJob"]:
        """Get new jobs for free places. While no job is open it waits until one comes or `is_over`; otherwise it waits
        for at most a tenth of the time since its last call returned.

        Args:
            most: new jobs at most; None for one for each free place.

        Returns:
            The new jobs, begun; may be empty. A job that cannot begin is closed as failed and left out.
        """
        self._settle()
        patience = _PATIENCE * (time.monotonic() - self._returned)
        self._send_count()
        opened = self._take(most, patience)
        while not (opened or self._open or self.is_over):
            opened = self._take(most, None)
        self._returned = time.monotonic()
        return opened

    def count(self, images: int) -> None:
        """Add to the count of training images, of which the sweep says how many there were a second."""
        self._images += images

    def say(self, line: str) -> None:
        """Show the user a line; one that was shown before is not shown again."""
        self._send(Said(line))

    def halve(self, reason: str) -> None:
        """Have half the places from now on, at least one. Jobs that are open stay open: `BatchJob.put_back` has them
        run later.

        Args:
            reason: that the user is shown, such as that the memory was full.
        """
        self.places = max(1, self.places // 2)
        self._send(Halved(self.places, reason))

    def report(self, reports: Iterable[tuple["BatchJob", Any, int]]) -> list["BatchJob"]:
        """Report a value of several jobs, such as those of an epoch, at once: job, value and step each.

        Returns:
            Those that `BatchJob.report` returns true for.
        """
        return [job for job, value, step in reports if job.report(value, step)]

    def end_all(self, reason: str, *, by_signal: bool) -> None:
        """Close what is open as interrupted, to be retried; in all that is one failure, unless it is a signal's."""
        while not self.is_over and self._link.poll(0):
            self._receive()
        self._settle()
        counts = not by_signal
        for job in self.open:
            job.close(JobResult(JobState.INTERRUPTED, error=reason, is_failure_of_worker=counts))
            counts = False
        for waiting in self._waiting:
            self._send(Ended(waiting.folder, JobResult(JobState.INTERRUPTED, error=reason)))

    def _settle(self) -> None:
        for job in list(self._open.values()):
            job.settle()

    def _take(self, most: int | None, seconds: float | None) -> list["BatchJob"]:
        """Ask for jobs, and open those that come.

        Args:
            seconds: for which they are waited for; None for as long as it takes until one comes.
        """
        free = max(0, self.places - len(self._open))
        wanted = free if most is None else min(free, most)
        if seconds is None:
            wanted = max(1, wanted)
        if (more := wanted - len(self._waiting) - self._asked) > 0:
            self._send(Room(more))
            self._asked += more
        until = None if seconds is None else time.monotonic() + seconds * (more > 0)
        while not self.is_over and len(self._waiting) < wanted:
            if not self._link.poll(None if until is None else max(0.0, until - time.monotonic())):
                break
            self._receive()
            until = time.monotonic() if until is None else until  # what has come, too, and no more
        chosen, self._waiting = self._waiting[:wanted], self._waiting[wanted:]
        return [job for each in chosen if (job := self._opened(each)) is not None]

    def _receive(self) -> None:
        with signals.blocking_all():
            try:
                self._waiting.append(self._link.recv())
                self._asked -= 1
            except EOFError:
                self.is_over = True

    def _opened(self, job: Job) -> "BatchJob | None":
        """The job, begun; None where it could not be, and has failed."""
        try:
            scene = self._jobs.begin(job)
        except Exception as error:  # such as a folder that cannot be written, a value that cannot be composed
            failed = explained(JobResult(JobState.FAILED, error=describe(error)), self._setup)
            self._send(Ended(job.folder, failed))
            return None
        self._open[job.folder] = BatchJob(self, job, scene)
        return self._open[job.folder]

    def _send(self, message: Any) -> None:
        with signals.blocking_all():
            try:
                self._link.send(message)
            except OSError:  # the sweeper is gone
                self.is_over = True

    def _send_count(self) -> None:
        now, is_last = time.monotonic(), len(self._open) <= 1  # nobody may listen later
        if self._images and (is_last or now - self._counted > _COUNT_EVERY):
            self._send(Counted(self._images))
            self._images, self._counted = 0, now

    def _close(self, job: "BatchJob", result: JobResult) -> None:
        """Send a job's result; its place is free."""
        self._send_count()
        with signals.blocking_all():
            if self._open.pop(job.job.folder, None) is not None:
                self._send(Ended(job.job.folder, result))


class BatchJob:
    """A job of a batch, until it is closed.

    Attributes:
        job: as the sweeper has it.
        trial: its trial, as `lightsweep.current_trial` gives it inside `entered`.
        config: as the app's function gets it.
        folder: the job's; it exists.
        overrides: ``key=value`` each.
    """

    def __init__(self, batch: Batch, job: Job, scene: JobScene) -> None:
        self._batch, self._scene, self.job = batch, scene, job
        self._started = time.monotonic()
        self._error: Exception | None = None  # with which a report has ended it
        self.config: DictConfig = scene.cfg
        self.trial: TrialContext = scene.trial
        self.folder: Path = scene.folder
        self.overrides: list[str] = list(scene.hydra.hydra.overrides.task)

    @property
    def number(self) -> int:
        """The trial's in its study, from 0."""
        return self.job.number

    @property
    def kind(self) -> str:
        """trial, seed, confirmation or ablation."""
        return self.job.kind

    @property
    def is_open(self) -> bool:
        return self._error is None and self._is_known

    @property
    def _is_known(self) -> bool:
        return self._batch._open.get(self.job.folder) is self

    def entered(self) -> Any:
        """A context in which all that is global in Python is this job's: Hydra's config, the log, the working
        directory, `lightsweep.current_trial`."""
        return self._scene.entered()

    def report(self, value: Any, step: int) -> bool:
        """Report an intermediate value, as `TrialContext.report` does.

        Returns:
            Whether the job is over: the pruner ends it, or it has failed as it reported. It is closed by the batch's
            `next` at the latest; what the trial records until then still counts.
        """
        try:
            with self.entered():
                self.trial.report(value, step)
        except Exception as error:  # also TrialPruned
            self._error = error
        return not self.is_open

    def settle(self) -> None:
        """Close the job, if a report has ended it."""
        if self._error is not None:
            self.fail(self._error)

    def complete(self, returned: Any) -> None:
        """Close the job in order.

        Args:
            returned: what the app's function would return.
        """
        with self.entered():
            result = result_of_value(returned, self.job, self.trial, self._name)
            if self._error is not None:
                result = result_of_error(self._error, self.trial)
        self.close(result)

    def fail(self, error: BaseException) -> None:
        """Close the job with an error, in the state that the error would give any job."""
        if not self._is_known:
            return
        with self.entered():
            result = result_of_error(error, self.trial)
        self.close(result)

    def put_back(self, reason: str) -> None:
        """Close the job as interrupted: it is run later, from its start, and that is none of its trial's retries."""
        self.close(JobResult(JobState.INTERRUPTED, error=reason, is_put_back=True))

    def run_alone(self) -> None:
        """Run the job now, by the app's own function, and close it."""
        if not self._is_known:
            return
        batch = self._batch
        with self.entered():
            result = JobFunction(batch._function, self.job, batch._setup.program)(self.config)
        self.close(result)
        signals.raise_lost()  # the job has taken it for its own

    def close(self, result: JobResult) -> None:
        """Close the job with a result; one that is closed stays as it is."""
        if not self._is_known:
            return
        setup, application = self._batch._setup, application_of(self._batch._function)
        result = explained(replace(result, seconds=result.seconds or time.monotonic() - self._started), setup)
        leave_result(result, self.job, self._scene.hydra.hydra, application.result_file)
        self._scene.end(result)
        leave_config(self._scene.config, setup, self.job, application)
        self._batch._close(self, result)

    @property
    def _name(self) -> str:
        """Of the app's function."""
        return getattr(self._batch._function, "__name__", "the function")
