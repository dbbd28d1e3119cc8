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
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightsweep.core import checks, files, secrets, signals
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import Executor, Slot
from lightsweep.sweeper.executors.reporting import ActorReports, ReportBuffer, deliver_report
from lightsweep.sweeper.job import Job, JobResult, JobState, Reports
from lightsweep.sweeper.job_running import JobSetup, last_line, prepare_process, run_job
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.references import search_path

_LOOK_EVERY = 0.5  # seconds between two looks at what was reported
_ANSWER_SECONDS = 60.0  # that an actor may take to answer
_CLUSTER_SECONDS = 10.0  # that a cluster's head may take to answer
_NOTICED = 30.0  # seconds after which Ray has noticed that a node has failed, and sends no more tasks to it
_HEAD = "node:__internal_head__"  # a resource of the node without which there is no cluster
_CANCELLED = JobResult(JobState.INTERRUPTED, error="cancelled")
_NODE_FAILED = JobResult(JobState.INTERRUPTED, error="the node failed")
_LOGS = "log: on its node, /tmp/ray/session_latest/logs"


def check_ray(plan: Plan) -> None:
    """Connect to Ray, or start it on this machine, and see that it takes a trial's task.

    Raises:
        ConfigError: it is not installed, cannot be reached, refuses the options, or has no room for a trial.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("hydra.sweeper.executor=ray needs the package ray (pip install 'lightsweep[ray]')")
    import ray

    key = "hydra.sweeper.ray" if plan.settings.executor == "ray" else "hydra.launcher.ray.remote"
    options = _task_options(plan)
    for name in ("num_cpus", "num_gpus"):
        checks.number(f"{key}.{name}", options.get(name) or 0, "[0, inf)")
    try:
        ray.remote(**options)(run_task)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key} cannot be used: {' '.join(str(error).split())[:300]}") from error
    address = _launcher_settings(plan, "init").get("address") or os.environ.get("RAY_ADDRESS") or None
    if not ray.is_initialized():
        _connect(plan, address)
    if address is None and not _has_room(options, ray.nodes()):
        needs, resources = _describe_needs(options), ray.cluster_resources()
        offers = f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"
        raise ConfigError(
            f"{key}: a trial takes {needs}, and this machine has {offers} for Ray (RAY_ADDRESS names a cluster)"
        )


def _connect(plan: Plan, address: str | None) -> None:
    """Connect to the cluster of this address, or start Ray on this machine; in the process's main thread."""
    import ray

    _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"log_to_driver": False, "logging_level": logging.ERROR, **_launcher_settings(plan, "init")}
    runtime = settings.get("runtime_env") or {}
    settings["runtime_env"] = {**runtime, "env_vars": {**_task_environment(), **runtime.get("env_vars", {})}}
    if address is None:
        settings.setdefault("include_dashboard", False)
    try:
        # Ray lets its workers find modules in the working directory, which may be somebody else's: this is src.
        with signals.keeping_handlers(), chdir(Path(__file__).parents[3]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(**settings)
    except Exception as error:  # a cluster that does not answer, another version of Ray or Python there
        where, reason = address or "this machine", " ".join(str(error).split())[:300]
        raise ConfigError(f"Ray cannot be used on {where}: {reason}") from error


def _check_address(address: str | None) -> None:
    """See that a cluster answers at this address: Ray would try for minutes."""
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise ConfigError(f"RAY_ADDRESS must be HOST:PORT of a cluster's head, seen from a node of it, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _CLUSTER_SECONDS).close()
    except (OSError, OverflowError, ValueError) as error:
        raise ConfigError(f"RAY_ADDRESS={address}: no cluster of Ray answers ({error})") from error


def _task_environment() -> dict[str, str]:
    """Variables that tasks get from here: a node has only its own. No address with a password is among them."""
    ours = {
        name: os.environ[name] for name in os.environ if name.startswith("LIGHTSWEEP_") and name != secrets.VARIABLE
    }
    return {**ours, "PYTHONPATH": os.pathsep.join(search_path()), "PYTHONSAFEPATH": "1"}


def _launcher_settings(plan: Plan, node: str) -> dict[str, Any]:
    """``hydra.launcher.ray.NODE``; empty without the launcher of Ray."""
    if plan.config.hydra.runtime.choices.get("hydra/launcher") != "ray":
        return {}
    settings: Any = OmegaConf.to_container(plan.config.hydra.launcher.ray[node], resolve=True)
    return settings or {}


def _task_options(plan: Plan) -> dict[str, Any]:
    """What a trial takes of a node, as Ray's options."""
    options = plan.settings.ray if plan.settings.executor == "ray" else _launcher_settings(plan, "remote")
    return {"max_retries": 0, **options}


def _has_room(options: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> bool:
    """Whether one of the nodes is large enough for a task with these options."""
    needs = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0)}
    return any(all(node["Resources"].get(name, 0.0) >= amount for name, amount in needs.items()) for node in nodes)


def _describe_needs(options: dict[str, Any]) -> str:
    return f"{options.get('num_cpus', 1):g} CPUs and {options.get('num_gpus', 0):g} GPUs"


def run_task(setup: JobSetup, job: Job, buffer: Any, key: str) -> tuple[JobResult, dict[str, str]]:
    """What a node runs: a job. Returns its result, and the records in its folder by name."""
    import ray

    buffer.start.remote(key, ray.get_runtime_context().get_node_id())
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


def open_ray(plan: Plan, setup: JobSetup) -> Executor:
    """An executor with `n_jobs` tasks in flight, after `check_ray`."""
    import ray

    tasks = RayTasks(plan, setup)
    return Executor([RaySlot(tasks) for _ in range(max(1, plan.settings.n_jobs))], close=ray.shutdown)


class RayTasks:
    """The tasks of a sweep's slots."""

    def __init__(self, plan: Plan, setup: JobSetup) -> None:
        import ray

        self.folder, self.options = setup.folder, _task_options(plan)
        self.buffer: Any = ray.remote(ReportBuffer).options(num_cpus=0, resources={_HEAD: 0.001}).remote()
        self.setup, self.remote = ray.put(setup), ray.remote(**self.options)(run_task)
        self.stopped = self.killed = False
        self._reports: dict[str, Reports] = {}  # the study's, by job
        self._nodes: dict[str, str] = {}  # where a job runs
        self._alive: set[str] | None = None  # nodes
        self._next_look = self._held_until = 0.0
        self._room = Wait()

    def hold(self) -> None:
        """Submit nothing until the nodes change, or for a while: Ray would still send tasks to one that has failed."""
        self._held_until = time.monotonic() + _NOTICED

    def submit(self, job: Job, key: str) -> Any:
        """A task that runs the job; None while none is to be submitted."""
        if self.stopped or time.monotonic() < self._held_until:
            return None
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
        with suppress(ray.exceptions.RayError):  # what becomes of the jobs shows what is wrong
            self._nodes, reports = ray.get(self.buffer.take.remote(), timeout=_ANSWER_SECONDS)
            for key, step, value in reports:
                if key in self._reports and deliver_report(self._reports[key], step, value):
                    self.buffer.prune.remote(key)
            nodes = [node for node in ray.nodes() if node["Alive"]]
            before, self._alive = self._alive, {node["NodeID"] for node in nodes}
            if self._alive != before:
                self._held_until = 0.0
            if _has_room(self.options, nodes):
                self._room.end()
            else:
                self._room.update(f"a node of Ray with {_describe_needs(self.options)}: none has as much")

    def is_node_lost(self, key: str) -> bool:
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
        if self.task is None:
            self.task = self.tasks.submit(self.job, self._key)
        result = self._result(self.job)
        if result is not None:
            self.task = self.job = None
        return result

    def _result(self, job: Job) -> JobResult | None:
        import ray

        if self.task is None:
            return JobResult(JobState.INTERRUPTED, error="it had not started") if self.tasks.stopped else None
        if self.tasks.stopped and not self._cancelled:
            self._cancelled = True
            ray.cancel(self.task)
        if self.tasks.killed or self.tasks.is_node_lost(self._key):
            ray.cancel(self.task, force=True)  # it may come back
            return _CANCELLED if self.tasks.killed else _NODE_FAILED
        ready, _ = ray.wait([self.task], timeout=0)
        if not ready:
            return None
        self.tasks.look(at_once=True)  # no report may come later than the result
        try:
            result, records = ray.get(self.task)
        except ray.exceptions.RayError as error:
            result = _result_of_error(error)
            if result is _NODE_FAILED:
                self.tasks.hold()
            return result
        folder = self.tasks.folder / job.folder
        for name, text in records.items():
            if not (folder / name).exists():  # the node's disk is another one
                folder.mkdir(parents=True, exist_ok=True)
                files.write_atomic(folder / name, text)
        return result

    def stop(self) -> None:
        """Called by a signal's handler: the work is left to the next look."""
        self.tasks.stopped = True

    def kill(self) -> None:
        self.tasks.killed = True


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
