"""Trials as tasks of Ray (``hydra.sweeper.executor=ray`` or ``hydra/launcher=ray``): on this machine, or on the cluster
that RAY_ADDRESS names.

Results come back as values, and reports through an actor on the cluster's head: the nodes need no shared disk and no
database. Ray ends a driver's tasks with it.
"""

import importlib.util
import logging
import os
import signal
import socket
import time
import uuid
import warnings
from collections.abc import Sequence
from contextlib import chdir, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightsweep.core import checks, files, secrets, signals
from lightsweep.core.errors import ConfigError, StorageLost
from lightsweep.core.files import write_atomic
from lightsweep.core.text import Wait
from lightsweep.sweeper.application import search_path
from lightsweep.sweeper.executors import Executor, Slot, deliver_report
from lightsweep.sweeper.job import Job, JobResult, JobSetup, JobState, Reports, last_line, prepare_process, run_job
from lightsweep.sweeper.plan import Plan

_LOOK_EVERY = 0.5  # seconds between two looks at what was reported
_SWEEPER_SECONDS = 60.0  # that a job waits for its sweeper
_CLUSTER_SECONDS = 10.0  # that a head of a cluster may take to answer
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
            return ray.get(self.buffer.report.remote(self.key, step, value), timeout=_SWEEPER_SECONDS)
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

        connect_to_ray(plan)
        self.options = wanted(plan)
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
            begun, reports = ray.get(self.buffer.take.remote(), timeout=_SWEEPER_SECONDS)
            self._nodes |= begun
            for key, step, value in reports:
                if key in self._reports and deliver_report(self._reports[key], step, value):
                    self.buffer.prune.remote(key)
            nodes = [node for node in ray.nodes() if node["Alive"]]
            self._alive = {node["NodeID"] for node in nodes}
            if has_room(self.options, nodes):
                self._room.end()
            else:
                needs = describe_resources(self.options)
                self._room.update(f"a node of Ray with {needs}: none has as much")

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


def check_ray(plan: Plan) -> None:
    """Connect to Ray.

    Raises:
        ConfigError: it is not installed, cannot be reached, or has no room for a trial.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("hydra.sweeper.executor=ray needs the package ray (pip install -e '.[ray]')")
    import ray

    _check_wanted(plan)
    connect_to_ray(plan)
    if _address(plan) is None and not has_room(wanted(plan), ray.nodes()):
        needs, there = describe_resources(wanted(plan)), describe_resources(ray.cluster_resources())
        raise ConfigError(
            f"{_key(plan)}: a trial takes {needs}, and this machine has {there} for Ray (RAY_ADDRESS names a cluster)"
        )


def connect_to_ray(plan: Plan) -> None:
    """Connect to Ray, or start one here; once a process, in its main thread.

    Raises:
        ConfigError: it cannot be reached, or its keys make no sense.
    """
    import ray

    if ray.is_initialized():
        return
    _check_answers(_address(plan))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"log_to_driver": False, "logging_level": logging.ERROR, **_launcher(plan, "init")}
    runtime = settings.get("runtime_env") or {}
    settings["runtime_env"] = {**runtime, "env_vars": {**_variables(), **runtime.get("env_vars", {})}}
    if _address(plan) is None:
        settings.setdefault("include_dashboard", False)
    try:
        # Ray lets its workers find modules in the working directory, which may be somebody else's: this is src.
        with signals.keeping_handlers(), chdir(Path(__file__).parents[3]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(**settings)
    except Exception as error:  # a cluster that does not answer, a version of Ray or Python that is another there
        where = _address(plan) or "this machine"
        raise ConfigError(f"Ray cannot be used on {where}: {' '.join(str(error).split())[:300]}") from error


def _check_answers(address: str | None) -> None:
    """See that a cluster answers: Ray would try for minutes.

    Raises:
        ConfigError: none does, or it is no head's address.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise ConfigError(f"RAY_ADDRESS must be HOST:PORT of a cluster's head, seen from a node of it, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _CLUSTER_SECONDS).close()
    except (OSError, OverflowError, ValueError) as error:
        raise ConfigError(f"RAY_ADDRESS={address}: no cluster of Ray answers ({error})") from error


def _address(plan: Plan) -> str | None:
    """Of the cluster; None for one that is started here."""
    return _launcher(plan, "init").get("address") or os.environ.get("RAY_ADDRESS") or None


def _variables() -> dict[str, str]:
    """The environment that tasks get from here: a node has only its own. No address with a password is among it."""
    ours = {
        name: value for name, value in os.environ.items() if name.startswith("LIGHTSWEEP_") and name != secrets.VARIABLE
    }
    return {**ours, "PYTHONPATH": os.pathsep.join(search_path()), "PYTHONSAFEPATH": "1"}


def _launcher(plan: Plan, node: str) -> dict[str, Any]:
    """``hydra.launcher.ray.NODE``, with the launcher of Ray."""
    if plan.config.hydra.runtime.choices.get("hydra/launcher") != "ray":
        return {}
    settings: Any = OmegaConf.to_container(plan.config.hydra.launcher.ray[node], resolve=True)
    return settings or {}


def wanted(plan: Plan) -> dict[str, Any]:
    """What a trial takes of a node, as Ray's options."""
    if plan.settings.executor == "ray":
        return dict(plan.settings.ray)
    return _launcher(plan, "remote")


def _check_wanted(plan: Plan) -> None:
    """See that Ray takes its options.

    Raises:
        ConfigError: it does not.
    """
    import ray

    for name in ("num_cpus", "num_gpus"):
        checks.number(f"{_key(plan)}.{name}", wanted(plan).get(name) or 0, "[0, inf)")
    try:
        ray.remote(**{"max_retries": 0, **wanted(plan)})(connect_to_ray)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{_key(plan)} cannot be used: {' '.join(str(error).split())[:300]}") from error


def _key(plan: Plan) -> str:
    return "hydra.sweeper.ray" if plan.settings.executor == "ray" else "hydra.launcher.ray.remote"


def has_room(options: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> bool:
    """Whether one of the nodes is large enough for a task with these options."""
    needs = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0)}
    return any(all(node["Resources"].get(name, 0.0) >= amount for name, amount in needs.items()) for node in nodes)


def describe_resources(resources: dict[str, Any]) -> str:
    cpus = resources.get("num_cpus", resources.get("CPU", 0))
    gpus = resources.get("num_gpus", resources.get("GPU", 0))
    return f"{cpus:g} CPUs and {gpus:g} GPUs"
