"""Where a sweep's jobs run: warm workers on this machine, jobs of Slurm, tasks of Ray, or another launcher of Hydra;
and how they are stopped."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from lightsweep.core import checks, signals
from lightsweep.core.errors import ConfigError
from lightsweep.core.memory import available_cores
from lightsweep.sweeper import places
from lightsweep.sweeper.config_differences import REPEAT_FILE
from lightsweep.sweeper.job import Job, JobResult
from lightsweep.sweeper.job_running import JobSetup
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.references import FunctionHere, check_pickles, reference, registered

if TYPE_CHECKING:
    from lightsweep.sweeper.executors.populations import PopulationWorker
    from lightsweep.sweeper.executors.schedulers import Scheduler


_SUBMITIT = {"submitit_slurm": "slurm", "submitit_local": "local"}


class Slot:
    """One job at a time: `start`, then `poll` until a result comes."""

    is_inline = False  # jobs run in the sweeper's own process, and `start` returns when they have ended

    def start(self, job: Job) -> None:
        raise NotImplementedError

    def poll(self) -> JobResult | None:
        """The job's result, once; None while it runs and when there is no job."""
        raise NotImplementedError

    def is_starting(self) -> bool:
        """Whether what jobs run in is not ready yet: a job that is started now would wait for that."""
        return False

    def has_room(self) -> bool:
        """Whether a job may be started now."""
        return not self.is_starting()

    def waitables(self) -> list[Any]:
        """Objects for `multiprocessing.connection.wait` that become ready when there may be a result, or the slot is no
        longer starting; none where the slot has to be polled."""
        return []

    def stop(self) -> None:
        """Ask the running job to end in order. Called by a signal's handler."""

    def kill(self) -> None:
        """Wait no longer for the running job."""

    def end_process(self) -> None:
        """Kill the process of the running job, where it is the slot's own: it does not end itself in time."""

    def close(self) -> None:
        """Release what the slot alone uses."""


@dataclass(frozen=True)
class Executor:
    """Where a sweep's jobs run.

    Args:
        slots: one job each at a time.
        has_job: whether an earlier sweeper started a job of this folder, with these overrides if any are given, which
            still runs or has ended meanwhile.
        close: releases what the slots share.
        workers: those with several places, which are slots.
    """

    slots: Sequence[Slot]
    has_job: Callable[..., bool] = lambda folder, overrides=None: False
    close: Callable[[], None] = lambda: None
    workers: Sequence["PopulationWorker"] = ()

    @property
    def places(self) -> int:
        """Of each worker."""
        return len(self.slots) // len(self.workers) if self.workers else 1

    def count_starting(self) -> int:
        """Workers that are not ready yet."""
        return sum(each.is_starting() for each in self.workers or self.slots)


class Stop:
    """Counts Ctrl-C and SIGTERM: the first ends running jobs in order, the second at once, the third the loop."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots
        self.signum: int | None = None
        self.since = 0.0
        self.killed = False

    def __bool__(self) -> bool:
        return self.signum is not None

    def request(self, signum: int, frame: FrameType | None = None) -> None:
        if self.killed:
            signals.raise_unless_handled(signum)  # the loop itself hangs, as on a lock or a database
        if self:
            self.kill()
            return
        self.signum, self.since = signum, time.monotonic()
        for slot in self.slots:
            slot.stop()

    def kill(self) -> None:
        self.killed = True
        for slot in self.slots:
            slot.kill()

    @property
    def seconds(self) -> float:
        """Since the first signal."""
        return time.monotonic() - self.since

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive the signals."""
        with signals.keeping_handlers():
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, self.request)
            if (lost := signals.received()) is not None:  # earlier, where a library did not pass it on
                self.request(lost)
            yield


def executor_kind(plan: Plan) -> str:
    """What the jobs run on: workers, inline, ray, slurm, local (submitit's jobs on this machine) or launcher."""
    launcher = plan.config.hydra.runtime.choices.get("hydra/launcher", "basic")
    executor = plan.settings.executor
    if executor is not None and launcher not in ("basic", executor):
        raise ConfigError(f"hydra.sweeper.executor={executor} does not go with hydra/launcher={launcher}")
    if executor == "ray" or launcher == "ray":
        return "ray"
    if launcher in _SUBMITIT:
        return _SUBMITIT[launcher]
    if launcher != "basic":
        return "launcher"
    return "inline" if plan.settings.n_jobs == 0 else "workers"


def check_executor(plan: Plan) -> None:
    """See that the executor can run a trial, before the study is opened.

    Raises:
        ConfigError: a package is missing, there is no such cluster, or it would refuse the jobs as they are set.
    """
    kind = executor_kind(plan)
    if plan.settings.on_interrupt == "leave" and kind not in ("slurm", "local"):
        raise ConfigError("hydra.sweeper.on_interrupt=leave needs hydra/launcher=submitit_slurm: other jobs end")
    if kind == "workers":
        reference(plan.function)
        callbacks = {f"hydra.callbacks: {type(each).__name__}": each for each in plan.context.callbacks.callbacks}
        check_pickles({**callbacks, "the config": plan.config, "Hydra's context": plan.context})
    elif kind in ("slurm", "local"):
        _scheduler(plan, kind).check()
    elif kind == "ray":
        from lightsweep.sweeper.executors.ray_tasks import check_ray

        check_ray(plan)
    elif kind == "launcher":
        backend = plan.config.hydra.launcher.get("backend") or "loky"  # null in joblib's launcher 1.2
        checks.choice("hydra.launcher.backend", backend, ("loky", "multiprocessing"))


def open_executor(plan: Plan, n_trials: int) -> Executor:
    """The executor of a sweep."""
    kind, n_jobs = executor_kind(plan), max(1, plan.settings.n_jobs)
    setup = _setup(plan, kind)
    if kind in ("slurm", "local"):
        from lightsweep.sweeper.executors.job_queue import JobQueue, QueueSlot

        queue = JobQueue(_scheduler(plan, kind), setup, leave=plan.settings.on_interrupt == "leave")
        return Executor([QueueSlot(queue) for _ in range(n_jobs)], has_job=queue.has_job)
    if kind == "ray":
        from lightsweep.sweeper.executors.ray_tasks import open_ray

        return open_ray(plan, setup)
    from lightsweep.sweeper.executors.local_jobs import InlineSlot, WorkerSlot, open_launcher

    if kind == "launcher":
        return open_launcher(setup, plan.function, n_jobs)
    if kind == "inline":
        return Executor([InlineSlot(setup)])
    threads = max(1, available_cores() // n_jobs)
    workers = min(n_jobs, n_trials)  # more would only wait
    if (count := places.count_places(plan, kind, n_trials)) > 1:
        from lightsweep.sweeper.executors.populations import open_populations

        return open_populations(plan, setup, workers=workers, places=count, threads=threads)
    return Executor([WorkerSlot(setup, index=index, threads=threads) for index in range(workers)])


def _setup(plan: Plan, kind: str) -> JobSetup:
    return JobSetup(
        plan.config,
        plan.context,
        FunctionHere(plan.function) if kind in ("inline", "launcher") else reference(plan.function),
        tuple(plan.settings.preload),
        (plan.application.result_file, *plan.application.records, REPEAT_FILE),
        registered(plan.config),
    )


def _scheduler(plan: Plan, kind: str) -> "Scheduler":
    from lightsweep.sweeper.executors.schedulers import LocalProcesses, Slurm

    scheduler = Slurm if kind == "slurm" else LocalProcesses
    return scheduler(plan.config.hydra.launcher, plan.folder.absolute())
