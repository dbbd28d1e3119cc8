"""Jobs on this machine: in warm worker processes, in this process, or through a launcher of Hydra such as joblib's."""

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.core import utils as hydra_utils
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from lightsweep.core import memory
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.application import application_of
from lightsweep.sweeper.executors import Executor, Slot
from lightsweep.sweeper.executors.worker_process import WorkerProcess, redirect_output
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.job_copies import Jobs
from lightsweep.sweeper.job_running import JobFunction, JobSetup, find_function, last_line, run_job

_LAUNCHER_LOG = "launcher.log"


def serve_jobs(setup: JobSetup, connection: Connection) -> None:
    """A worker's loop: jobs come through the connection, results go back."""
    run, is_first = _runner(setup), True
    while True:
        connection.send(run(connection.recv()))
        memory.release()
        if is_first:  # what is kept from now on: imports of the first job, the study's earlier trials
            gc.freeze()
            is_first = False


def _runner(setup: JobSetup) -> Callable[[Job], JobResult]:
    """What runs each job of a worker: Hydra, or for an app that allows it `Jobs`."""
    hydra_utils.setup_globals()
    with suppress(ConfigError):  # each job is refused with it
        if application_of(function := find_function(setup)).copies_jobs:
            return Jobs(setup, function).run
    return partial(run_job, setup)


class WorkerSlot(Slot):
    """A worker process for this slot alone, so that one that is killed takes no other's trial with it.

    Args:
        index: of the worker, from 0.
        threads: for torch in it.
    """

    def __init__(self, setup: JobSetup, *, index: int, threads: int) -> None:
        self.worker = WorkerProcess(setup, index=index, threads=threads, serve=serve_jobs)
        self.is_busy = False

    def start(self, job: Job) -> None:
        if not self.worker.is_alive() and not self.worker.refuses():
            self.worker.start()
        self.is_busy = True
        self.worker.send(job)

    def poll(self) -> JobResult | None:
        if not self.is_busy:
            return None
        result = self.worker.receive() or self.worker.refusal
        if result is None and not self.worker.is_alive():
            result = JobResult(JobState.LOST, error=self.worker.describe_end())
        self.is_busy = result is None
        return result

    def is_starting(self) -> bool:
        return self.worker.is_starting()

    def waitables(self) -> list[Any]:
        return self.worker.waitables() if self.is_busy or self.is_starting() else []

    def stop(self) -> None:
        if self.is_busy or not self.worker.is_ready:
            self.worker.stop()

    def kill(self) -> None:
        self.worker.kill()

    end_process = kill

    def close(self) -> None:
        self.worker.close()


class InlineSlot(Slot):
    """This process, one job after another: for a debugger."""

    is_inline = True
    result: JobResult | None = None

    def __init__(self, setup: JobSetup) -> None:
        self.setup = setup

    def start(self, job: Job) -> None:
        self.result = run_job(self.setup, job)

    def poll(self) -> JobResult | None:
        result, self.result = self.result, None
        return result


@dataclass(frozen=True)
class _Quiet:
    """A job's function that prints into a file, where it runs in another process than the sweeper's."""

    function: Callable[[DictConfig], Any]
    sweeper: int  # its process id
    output: Path
    __wrapped__ = property(lambda self: self.function)

    def __call__(self, cfg: DictConfig) -> Any:
        if os.getpid() != self.sweeper:
            redirect_output(self.output)
        return self.function(cfg)


class LauncherSlot(InlineSlot):
    """A job through a launcher of Hydra: its `launch` blocks, so each slot waits in a thread.

    Args:
        function: the job's.
        n_jobs: how many jobs there are at once.
    """

    is_inline = False

    def __init__(self, setup: JobSetup, function: Any, n_jobs: int) -> None:
        super().__init__(setup)
        self.n_jobs = n_jobs
        self.function = _Quiet(function, os.getpid(), setup.folder / _LAUNCHER_LOG)
        self.thread: threading.Thread | None = None
        logging.getLogger("hydra_plugins").setLevel(logging.WARNING)  # the launcher's lines about each job

    def start(self, job: Job) -> None:
        self.thread = threading.Thread(target=self._launch, args=(job,), daemon=True)
        self.thread.start()

    def is_running(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def stop(self) -> None:
        """The job runs on where it is, but its trial is marked as interrupted."""
        if self.is_running():
            self.result = JobResult(JobState.INTERRUPTED, error="the sweep was interrupted")

    kill = stop

    def _launch(self, job: Job) -> None:
        try:
            launcher: Any = Plugins.instance().instantiate_launcher(
                config=self.setup.config,
                hydra_context=self.setup.hydra_context,
                task_function=JobFunction(self.function, job),
            )
            if hasattr(launcher, "joblib"):
                # A process for each job: Hydra's state is one a process, and joblib would run a single job in ours.
                own = {"n_jobs": max(2, self.n_jobs), "prefer": "processes", "require": None}
                launcher.joblib = {**launcher.joblib, **own}
            returned = launcher.launch([job.hydra_overrides], initial_job_idx=job.number)
            self.result = returned[0].return_value
        except Exception as error:  # the launcher's own, such as a process that was killed
            reason = f"{type(error).__name__}: {last_line(str(error))[:300]}"
            self.result = JobResult(JobState.FAILED, error=f"{reason} (log: {_LAUNCHER_LOG})")


def open_launcher(setup: JobSetup, function: Any, n_jobs: int) -> Executor:
    """An executor that runs `n_jobs` jobs at once through the launcher of the config."""
    slots = [LauncherSlot(setup, function, n_jobs) for _ in range(n_jobs)]
    return Executor(slots, close=lambda: _end_processes(at_once=any(slot.is_running() for slot in slots)))


def _end_processes(*, at_once: bool) -> None:
    """End joblib's processes. Python would wait at its end for the jobs that they still run."""
    if (loky := sys.modules.get("joblib.externals.loky")) is not None:
        loky.get_reusable_executor(reuse=True).shutdown(wait=not at_once, kill_workers=at_once)
