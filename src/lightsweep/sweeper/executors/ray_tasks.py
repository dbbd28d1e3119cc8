"""Trials as tasks of Ray (``hydra.sweeper.executor=ray`` or ``hydra/launcher=ray``): on this machine, or on the cluster
that RAY_ADDRESS names.

Results come back as values, and reports through an actor on its head: the nodes need no shared disk and no
database. Ray ends a driver's tasks with it.
"""

import signal
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightsweep.core import files
from lightsweep.core.errors import StorageLost
from lightsweep.core.files import write_atomic
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import ray_connection
from lightsweep.sweeper.executors.slot import Executor, Slot
from lightsweep.sweeper.job import Job, JobResult, JobState, last_line
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.reports import deliver
from lightsweep.sweeper.worker import JobSetup, prepare, run_job

_LOOK_EVERY = 0.5  # seconds between two looks at what was reported
_ANSWER = 60.0  # seconds that a job waits for its sweeper
_NOTICED = 30.0  # seconds after which Ray has noticed that a node has failed, and sends no more tasks to it
_HEAD = "node:__internal_head__"  # a resource of the node without which there is no cluster
_LOST = "the node failed"
_LOGS = "log: on its node, /tmp/ray/session_latest/logs"


def make(plan: Plan, place: JobSetup) -> Executor:
    """An executor with `n_jobs` tasks in flight."""
    tasks = Tasks(plan, place)
    slots = [RaySlot(tasks) for _ in range(max(1, plan.settings.n_jobs))]
    return Executor(slots, close=tasks.close)


@dataclass(frozen=True)
class ActorReports:
    """Reports to the sweep's actor.

    Args:
        board: its handle.
        job: the job's name.
    """

    board: Any
    job: str

    def report(self, step: int, value: float) -> bool:
        """Add a value; whether the sweeper has given the trial up.

        Raises:
            StorageLost: the sweeper cannot be reached.
        """
        import ray

        try:
            return ray.get(self.board.report.remote(self.job, step, value), timeout=_ANSWER)
        except ray.exceptions.RayError as error:
            raise StorageLost(f"the sweep cannot be reached to report an epoch ({type(error).__name__})") from error


class Board:
    """What jobs report, until the sweeper takes it, and which of them it has given up. Lives in an actor."""

    def __init__(self) -> None:
        self._began: list[tuple[str, str]] = []
        self._reports: list[tuple[str, int, float]] = []
        self._given_up: set[str] = set()

    def begin(self, job: str, node: str) -> None:
        self._began.append((job, node))

    def report(self, job: str, step: int, value: float) -> bool:
        self._reports.append((job, step, value))
        return job in self._given_up

    def take(self) -> tuple[list[tuple[str, str]], list[tuple[str, int, float]]]:
        """Jobs that began, with their nodes, and reports."""
        taken = self._began, self._reports
        self._began, self._reports = [], []
        return taken

    def give_up(self, job: str) -> None:
        self._given_up.add(job)


def run_task(place: JobSetup, job: Job, board: Any, key: str) -> tuple[JobResult, dict[str, str]]:
    """What a node runs: a job; gives its outcome, and the records of its run by name."""
    import ray

    board.begin.remote(key, ray.get_runtime_context().get_node_id())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which Ray cancels; a node of `ray start &` ignores it
    prepare(place)
    folder = Path(place.config.hydra.sweep.dir).absolute() / job.folder
    files.set_aside(folder)  # a disk of the node's own may have one, of another sweep
    try:
        outcome = run_job(place, job)
    except KeyboardInterrupt:  # before the run could catch it
        outcome = JobResult(JobState.INTERRUPTED, error="cancelled")
    except SystemExit as error:  # Ray would take it for a crash
        outcome = JobResult(JobState.FAILED, error=f"the job ended with exit code {error.code}")
    records = {}
    for name in place.records:
        with suppress(OSError):
            records[name] = (folder / name).read_text(encoding="utf-8")
    return outcome, records


class Tasks:
    """The tasks of a sweep's slots."""

    def __init__(self, plan: Plan, place: JobSetup) -> None:
        import ray

        self.plan, self.folder = plan, plan.folder.absolute()
        ray_connection.connect(plan)
        self.board: Any = ray.remote(Board).options(num_cpus=0, resources={_HEAD: 0.001}).remote()
        self.place, self.records = ray.put(place), place.records
        self.remote = ray.remote(**{"max_retries": 0, **ray_connection.wanted(plan)})(run_task)
        self.stopped = self.killed = False
        self._reports: dict[str, Any] = {}  # the study's, by job
        self._nodes: dict[str, str] = {}  # where a job runs
        self._alive: set[str] | None = None  # nodes
        self._next_look = 0.0
        self._room = Wait()
        self._held: tuple[float, set[str] | None] | None = None

    def hold(self) -> None:
        """Submit nothing for a while: Ray would still send tasks to the node that has failed."""
        self._held = time.monotonic() + _NOTICED, self._alive

    def may_submit(self) -> bool:
        if self._held is not None and (time.monotonic() > self._held[0] or self._alive != self._held[1]):
            self._held = None
        return self._held is None

    def submit(self, job: Job, key: str) -> Any:
        if job.reports is not None:
            self._reports[key] = job.reports
            job = replace(job, reports=ActorReports(self.board, key))
        return self.remote.remote(self.place, job, self.board, key)

    def look(self, *, at_once: bool = False) -> None:
        """Carry what was reported to the study, and the pruner's answers to the jobs."""
        import ray

        if not at_once and time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY
        with suppress(ray.exceptions.RayError):  # what becomes of the jobs says what is wrong
            began, reports = ray.get(self.board.take.remote(), timeout=_ANSWER)
            self._nodes |= began
            for job, step, value in reports:
                if job in self._reports and deliver(self._reports[job], step, value):
                    self.board.give_up.remote(job)
            nodes = [node for node in ray.nodes() if node["Alive"]]
            self._alive = {node["NodeID"] for node in nodes}
            if ray_connection.has_room(self.plan, nodes):
                self._room.over()
            else:
                self._room.still(
                    f"a node of Ray with {ray_connection.told(ray_connection.wanted(self.plan))}: none has as much"
                )

    def has_lost(self, job: str) -> bool:
        """Whether a job's node is gone: Ray raises no error where a machine is frozen or cut off."""
        return self._alive is not None and job in self._nodes and self._nodes[job] not in self._alive

    def close(self) -> None:
        import ray

        ray.shutdown()


class RaySlot(Slot):
    """A place for one of the tasks."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.task: Any = None
        self.job: Job | None = None
        self._job = ""
        self._cancelled = False

    def start(self, job: Job) -> None:
        self.job, self._job, self._cancelled = job, uuid.uuid4().hex, False
        self.task = None

    def poll(self) -> JobResult | None:
        import ray

        if self.job is None:
            return None
        self.tasks.look()
        if self.task is None and self.tasks.stopped:
            return self._ended(JobResult(JobState.INTERRUPTED, error="it did not begin yet"))
        if self.task is None and self.tasks.may_submit():
            self.task = self.tasks.submit(self.job, self._job)
        if self.task is None:
            return None
        if self.tasks.stopped and not self._cancelled:
            self._cancelled = True
            ray.cancel(self.task)
        if self.tasks.killed or self.tasks.has_lost(self._job):
            ray.cancel(self.task, force=True)  # it may come back
            return self._ended(JobResult(JobState.INTERRUPTED, error="cancelled" if self.tasks.killed else _LOST))
        ready, _ = ray.wait([self.task], timeout=0)
        if not ready:
            return None
        self.tasks.look(at_once=True)  # no report may come later than the outcome
        try:
            outcome, records = ray.get(self.task)
        except ray.exceptions.RayError as error:
            outcome = _outcome_of(error)
            if outcome.error == _LOST:
                self.tasks.hold()
            return self._ended(outcome)
        self._keep(records)
        return self._ended(outcome)

    def is_starting(self) -> bool:
        return False

    def waitables(self) -> list[Any]:
        return []

    def stop(self) -> None:
        """Called by a signal's handler: the work is left to the next look."""
        self.tasks.stopped = True

    def kill(self) -> None:
        self.tasks.killed = True

    def close(self) -> None:
        """The tasks end with the connection."""

    def _ended(self, outcome: JobResult) -> JobResult:
        self.task = self.job = None
        return outcome

    def _keep(self, records: dict[str, str]) -> None:
        """Write a run's records into its folder here, where the node's disk is another one."""
        assert self.job is not None
        folder = self.tasks.folder / self.job.folder
        for name, text in records.items():
            if name in self.tasks.records and not (folder / name).exists():
                folder.mkdir(parents=True, exist_ok=True)
                write_atomic(folder / name, text)


def _outcome_of(error: Exception) -> JobResult:
    """What it means that a task gave no result."""
    from ray import exceptions

    lost = (exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.OwnerDiedError)
    if isinstance(error, exceptions.TaskCancelledError):
        return JobResult(JobState.INTERRUPTED, error="cancelled")
    if isinstance(error, exceptions.OutOfMemoryError):
        return JobResult(JobState.FAILED, error="Ray ended the job, its node ran out of memory")
    if isinstance(error, lost):
        return JobResult(JobState.INTERRUPTED, error=_LOST)
    if isinstance(error, exceptions.WorkerCrashedError):
        return JobResult(JobState.LOST, error=f"the worker died ({_LOGS})")
    said = last_line(str(error))[:300] or type(error).__name__
    return JobResult(JobState.FAILED, error=f"{said} ({_LOGS})")
