"""Trials as tasks of Ray (``hydra.sweeper.executor=ray`` or ``hydra/launcher=ray``): on this machine, or on the cluster
that RAY_ADDRESS names.

Results come back as values, and reports through an actor on the cluster's head: the nodes need no shared disk and no
database. Ray ends a driver's tasks with it.
"""

import signal
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lightsweep.core import files
from lightsweep.core.errors import StorageLost
from lightsweep.core.files import write_atomic
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import Executor, Slot, ray_connection
from lightsweep.sweeper.job import Job, JobResult, JobSetup, JobState, Reports, last_line, prepare_process, run_job
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.trial_run import deliver_report

_LOOK_EVERY = 0.5  # seconds between two looks at what was reported
_ANSWER_SECONDS = 60.0  # that a job waits for its sweeper
_NOTICED = 30.0  # seconds after which Ray has noticed that a node has failed, and sends no more tasks to it
_HEAD = "node:__internal_head__"  # a resource of the node without which there is no cluster
_CANCELLED = JobResult(JobState.INTERRUPTED, error="cancelled")
_NODE_FAILED = JobResult(JobState.INTERRUPTED, error="the node failed")
_LOGS = "log: on its node, /tmp/ray/session_latest/logs"


def open_ray(plan: Plan, setup: JobSetup) -> Executor:
    """An executor with `n_jobs` tasks in flight."""
    import ray

    tasks = RayTasks(plan, setup)
    return Executor([RaySlot(tasks) for _ in range(max(1, plan.settings.n_jobs))], close=ray.shutdown)


class ReportBuffer:
    """What jobs report, until the sweeper takes it, and which of them are pruned. Lives in an actor."""

    def __init__(self) -> None:
        self._begun: list[tuple[str, str]] = []
        self._reports: list[tuple[str, int, float]] = []
        self._pruned: set[str] = set()

    def begin(self, key: str, node: str) -> None:
        self._begun.append((key, node))

    def report(self, key: str, step: int, value: float) -> bool:
        self._reports.append((key, step, value))
        return key in self._pruned

    def take(self) -> tuple[list[tuple[str, str]], list[tuple[str, int, float]]]:
        """Jobs that began, with their nodes, and reports."""
        taken = self._begun, self._reports
        self._begun, self._reports = [], []
        return taken

    def prune(self, key: str) -> None:
        self._pruned.add(key)


@dataclass(frozen=True)
class ActorReports:
    """Reports to the sweep's actor.

    Args:
        buffer: the actor's handle.
        key: the job's.
    """

    buffer: Any
    key: str

    def report(self, step: int, value: float) -> bool:
        """Add a value; returns whether the trial is pruned.

        Raises:
            StorageLost: the sweeper cannot be reached.
        """
        import ray

        try:
            return ray.get(self.buffer.report.remote(self.key, step, value), timeout=_ANSWER_SECONDS)
        except ray.exceptions.RayError as error:
            raise StorageLost(f"the sweep cannot be reached to report an epoch ({type(error).__name__})") from error


def run_task(setup: JobSetup, job: Job, buffer: Any, key: str) -> tuple[JobResult, dict[str, str]]:
    """What a node runs: a job. Returns its result, and the records in its folder by name."""
    import ray

    buffer.begin.remote(key, ray.get_runtime_context().get_node_id())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which Ray cancels; a node of `ray start &` ignores it
    prepare_process(setup)
    folder = setup.folder / job.folder
    files.set_aside(folder)  # a disk of the node's own may have one, of another sweep
    try:
        result = run_job(setup, job)
    except KeyboardInterrupt:  # before the run could catch it
        result = _CANCELLED
    except SystemExit as error:  # Ray would take it for a crash
        result = JobResult(JobState.FAILED, error=f"the job ended with exit code {error.code}")
    records = {}
    for name in setup.records:
        with suppress(OSError):
            records[name] = (folder / name).read_text(encoding="utf-8")
    return result, records


class RayTasks:
    """The tasks of a sweep's slots."""

    def __init__(self, plan: Plan, setup: JobSetup) -> None:
        import ray

        ray_connection.connect_to_ray(plan)
        self.options = ray_connection.wanted(plan)
        self.folder, self.records = plan.folder.absolute(), setup.records
        self.buffer: Any = ray.remote(ReportBuffer).options(num_cpus=0, resources={_HEAD: 0.001}).remote()
        self.setup = ray.put(setup)
        self.remote = ray.remote(**{"max_retries": 0, **self.options})(run_task)
        self.stopped = self.killed = False
        self._reports: dict[str, Reports] = {}  # the study's, by job
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
            job = replace(job, reports=ActorReports(self.buffer, key))
        return self.remote.remote(self.setup, job, self.buffer, key)

    def look(self, *, at_once: bool = False) -> None:
        """Add new reports to the study, and hand the pruner's answers to the jobs."""
        import ray

        if not at_once and time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY
        with suppress(ray.exceptions.RayError):  # what becomes of the jobs says what is wrong
            begun, reports = ray.get(self.buffer.take.remote(), timeout=_ANSWER_SECONDS)
            self._nodes |= begun
            for key, step, value in reports:
                if key in self._reports and deliver_report(self._reports[key], step, value):
                    self.buffer.prune.remote(key)
            nodes = [node for node in ray.nodes() if node["Alive"]]
            self._alive = {node["NodeID"] for node in nodes}
            if ray_connection.has_room(self.options, nodes):
                self._room.over()
            else:
                needs = ray_connection.describe_resources(self.options)
                self._room.still(f"a node of Ray with {needs}: none has as much")

    def has_lost(self, key: str) -> bool:
        """Whether a job's node is gone: Ray raises no error where a machine is frozen or cut off."""
        return self._alive is not None and key in self._nodes and self._nodes[key] not in self._alive


class RaySlot(Slot):
    """Has one of the tasks at a time."""

    def __init__(self, tasks: RayTasks) -> None:
        self.tasks = tasks
        self.task: Any = None
        self.job: Job | None = None
        self._key = ""
        self._cancelled = False

    def start(self, job: Job) -> None:
        self.job, self.task, self._key, self._cancelled = job, None, uuid.uuid4().hex, False

    def poll(self) -> JobResult | None:
        if self.job is None:
            return None
        self.tasks.look()
        if self.task is None and self.tasks.may_submit() and not self.tasks.stopped:
            self.task = self.tasks.submit(self.job, self._key)
        result = self._result(self.job)
        if result is not None:
            self.task = self.job = None
        return result

    def _result(self, job: Job) -> JobResult | None:
        import ray

        if self.task is None:
            return JobResult(JobState.INTERRUPTED, error="it did not begin yet") if self.tasks.stopped else None
        if self.tasks.stopped and not self._cancelled:
            self._cancelled = True
            ray.cancel(self.task)
        if self.tasks.killed or self.tasks.has_lost(self._key):
            ray.cancel(self.task, force=True)  # it may come back
            return _CANCELLED if self.tasks.killed else _NODE_FAILED
        ready, _ = ray.wait([self.task], timeout=0)
        if not ready:
            return None
        self.tasks.look(at_once=True)  # no report may come later than the result
        try:
            result, records = ray.get(self.task)
        except ray.exceptions.RayError as error:
            result, records = _result_of_error(error), {}
            if result is _NODE_FAILED:
                self.tasks.hold()
        self._write_records(job, records)
        return result

    def stop(self) -> None:
        """Called by a signal's handler: the work is left to the next look."""
        self.tasks.stopped = True

    def kill(self) -> None:
        self.tasks.killed = True

    def _write_records(self, job: Job, records: dict[str, str]) -> None:
        """Write a run's records into its folder here, where the node's disk is another one."""
        folder = self.tasks.folder / job.folder
        for name, text in records.items():
            if name in self.tasks.records and not (folder / name).exists():
                folder.mkdir(parents=True, exist_ok=True)
                write_atomic(folder / name, text)


def _result_of_error(error: Exception) -> JobResult:
    """What it means that a task gave no result."""
    from ray import exceptions

    if isinstance(error, exceptions.TaskCancelledError):
        return _CANCELLED
    if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError | exceptions.OwnerDiedError):
        return _NODE_FAILED
    if isinstance(error, exceptions.OutOfMemoryError):
        return JobResult(JobState.FAILED, error="Ray ended the job, its node ran out of memory")
    if isinstance(error, exceptions.WorkerCrashedError):
        return JobResult(JobState.LOST, error=f"the worker died ({_LOGS})")
    reason = last_line(str(error))[:300] or type(error).__name__
    return JobResult(JobState.FAILED, error=f"{reason} ({_LOGS})")
