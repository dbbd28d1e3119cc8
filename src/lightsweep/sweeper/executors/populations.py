"""Many trials at once in each worker: a worker runs the app's batch function, and has a place for each trial of its
population. A place is a slot of the sweep's loop; the places of a worker share its process.

A worker asks for jobs as it has room for them, so that each is drawn when all that ended before is known.
"""

from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from hydra.core import utils as hydra_utils

from lightsweep.core import signals
from lightsweep.core.errors import Interrupted
from lightsweep.sweeper import batch
from lightsweep.sweeper.application import application_of
from lightsweep.sweeper.batch import Batch
from lightsweep.sweeper.batch_messages import Counted, Ended, Halved, Room, Said
from lightsweep.sweeper.executors import Executor, Slot
from lightsweep.sweeper.executors.worker_process import WorkerProcess
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.job_running import JobSetup, find_function
from lightsweep.sweeper.places import is_staggered
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.references import describe

_MOST_RESTARTS = 3  # of a process that dies each time before it serves


def serve_batch(setup: JobSetup, connection: Connection, *, name: str, places: int, staggered: bool) -> None:
    """Run the batch function in a worker, with jobs from the connection. When it returns or raises, open jobs are
    closed as interrupted. Then the process ends, since an error can leave GPU memory allocated.

    Args:
        name: of the batch function, as ``hydra.sweeper.batch_function`` has it.
        places, staggered: as `Batch` has them.
    """
    hydra_utils.setup_globals()
    try:
        function = find_function(setup)
        train = application_of(function).find_function(name, batch.KEY)
    except Exception as error:
        connection.send(JobResult(JobState.REFUSED, error=str(error)))
        return
    jobs = Batch(connection, setup, function, places=places, staggered=staggered)
    try:
        with signals.as_exceptions():
            train(jobs)
            if not jobs.is_over:
                raise RuntimeError("it returned before batch.is_over")
    except (Interrupted, KeyboardInterrupt):
        jobs.end_all("the worker was ended by a signal", by_signal=True)
    except BaseException as error:
        import traceback

        traceback.print_exc()
        reason = f"{batch.KEY}: {name} failed ({describe(error)})"
        if not jobs.open:
            connection.send(JobResult(JobState.REFUSED, error=reason))
        jobs.end_all(reason, by_signal=False)


class PopulationWorker:
    """A worker with several places, as its sweeper sees it.

    Args:
        index: of the worker, from 0.
        threads: for torch in it.
        name: of the batch function.
        places: jobs at once.
        staggered: as `Batch` has it.
    """

    def __init__(self, setup: JobSetup, *, index: int, threads: int, name: str, places: int, staggered: bool) -> None:
        self.places = places
        self._serve: Any = partial(serve_batch, name=name, staggered=staggered)
        self._room = 0  # further jobs that it asks for
        self._queue: list[Job] = []  # that it has not asked for yet
        self._running: list[str] = []  # the folders of jobs that it has
        self._results: dict[str, JobResult] = {}  # by folder, until a slot takes them
        self._lines: list[str] = []  # for the user
        self._images = 0
        self._failed_starts = 0
        self._is_stopped = False
        self.process = WorkerProcess(setup, index=index, threads=threads, serve=partial(self._serve, places=places))

    def is_starting(self) -> bool:
        return self.process.is_starting()

    def has_room(self) -> bool:
        """Whether it asks for a job, or is to refuse one."""
        self._update()
        return self.process.refusal is not None or self._room > len(self._queue)

    def submit(self, job: Job) -> None:
        """Give it a job, now or as soon as it has room."""
        self._queue.append(job)
        self._update()

    def take(self, folder: str) -> JobResult | None:
        """The result of a job, once; None while there is none."""
        self._update()
        return self._results.pop(folder, None)

    def take_images(self) -> int:
        """Images that it has trained on since this was last asked."""
        images, self._images = self._images, 0
        return images

    def take_lines(self) -> list[str]:
        """What it has to say to the user."""
        lines, self._lines = self._lines, []
        return lines

    def stop(self) -> None:
        """Ask it, once, to end its jobs in order. Called by a signal's handler."""
        if not self._is_stopped:
            self._is_stopped = True
            self.process.stop()

    def _update(self) -> None:
        """Take its messages, and send it what it has room for."""
        is_alive = self.process.is_alive()  # before: what it has sent at its end is there then
        while (message := self.process.receive()) is not None:
            self._handle(message)
        while self._queue and self._room > 0 and is_alive and not self._is_stopped:
            job = self._queue.pop(0)
            self._room -= 1
            self._running.append(job.folder)
            self.process.send(job)
        if self._is_stopped:
            self._close_queue(JobResult(JobState.INTERRUPTED))
        if not is_alive:
            self._replace_dead_process()
        if self.process.refusal is not None:
            self._close_queue(self.process.refusal)

    def _handle(self, message: Any) -> None:
        match message:
            case Room(jobs):
                self._room += jobs
                self._failed_starts = 0
            case Ended(folder, result):
                if folder in self._running:
                    self._running.remove(folder)
                    self._results[folder] = result
            case Counted(images):
                self._images += images
            case Said(line):
                self._lines.append(line)
            case Halved(places, reason):
                self._set_places(places, reason)
            case JobResult():
                self.process.refusal = message

    def _replace_dead_process(self) -> None:
        """Interrupt the jobs of a process that has died, and start another one."""
        lost, self._running, self._room = self._running, [], 0
        reason = self.process.describe_end()
        for folder in lost:
            counts = folder == lost[0] and not self._is_stopped
            self._results[folder] = JobResult(JobState.INTERRUPTED, error=reason, is_failure_of_worker=counts)
        if self._is_stopped or self.process.refuses():
            return
        if lost:  # most often the system has killed it as memory ran out
            self._set_places(max(1, self.places // 2), reason)
        self._failed_starts += 1
        if self._failed_starts > _MOST_RESTARTS:
            self.process.refusal = JobResult(JobState.REFUSED, error=f"{reason} as it started, {_MOST_RESTARTS} times")
            return
        self.process.serve = partial(self._serve, places=self.places)
        self.process.start()

    def _set_places(self, places: int, reason: str) -> None:
        self.places = places
        self._lines.append(f"{reason}: {_count(places)} in worker {self.process.index} from now on")

    def _close_queue(self, result: JobResult) -> None:
        self._results |= {job.folder: result for job in self._queue}
        self._queue = []


class PlaceSlot(Slot):
    """A place of a worker."""

    def __init__(self, worker: PopulationWorker) -> None:
        self.worker = worker
        self.folder: str | None = None  # of its job

    @property
    def process(self) -> WorkerProcess:
        return self.worker.process

    def start(self, job: Job) -> None:
        self.folder = job.folder
        self.worker.submit(job)

    def poll(self) -> JobResult | None:
        if self.folder is None or (result := self.worker.take(self.folder)) is None:
            return None
        self.folder = None
        return result

    def is_starting(self) -> bool:
        return self.worker.is_starting()

    def has_room(self) -> bool:
        return self.worker.has_room()

    def waitables(self) -> list[Any]:
        return self.process.waitables() if self.process.refusal is None else []

    def stop(self) -> None:
        self.worker.stop()

    def kill(self) -> None:
        self.process.kill()

    end_process = kill

    def close(self) -> None:
        self.process.close()


def open_populations(plan: Plan, setup: JobSetup, *, workers: int, places: int, threads: int) -> Executor:
    """So many workers, with so many places each."""
    name = plan.settings.batch_function
    assert name is not None
    opened = [
        PopulationWorker(setup, index=index, threads=threads, name=name, places=places, staggered=is_staggered(plan))
        for index in range(workers)
    ]  # in turn, so that the first trials are spread over all of them
    return Executor([PlaceSlot(worker) for _ in range(places) for worker in opened], workers=opened)


def _count(places: int) -> str:
    return f"{places} place{'s' * (places != 1)}"
