"""Jobs through a launcher of Hydra that this program has no executor of its own for: joblib's."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from lightsweep.sweeper.executors.slot import Executor, KeptOutcome
from lightsweep.sweeper.job import Job, JobFunction, JobResult, JobState, last_line
from lightsweep.sweeper.worker import JobSetup, redirect_output

_LOG = "launcher.log"


@dataclass(frozen=True)
class _Quiet:
    """A job's function that prints into a file, where it runs in a process of its own.

    Args:
        sweeper: the sweeper's process number.
    """

    function: Callable[[DictConfig], Any]
    sweeper: int
    output: Path

    def __call__(self, cfg: DictConfig) -> Any:
        if os.getpid() != self.sweeper:
            redirect_output(self.output)
        return self.function(cfg)


def make(place: JobSetup, function: Any, n_jobs: int) -> Executor:
    """An executor with `n_jobs` jobs in flight."""
    slots = [LauncherSlot(place, function, n_jobs) for _ in range(n_jobs)]
    return Executor(slots, close=lambda: _end_processes(at_once=any(slot.is_running() for slot in slots)))


def _end_processes(*, at_once: bool) -> None:
    """End joblib's processes. Python would wait at its end for the jobs that they still run."""
    if (loky := sys.modules.get("joblib.externals.loky")) is not None:
        loky.get_reusable_executor(reuse=True).shutdown(wait=not at_once, kill_workers=at_once)


class LauncherSlot(KeptOutcome):
    """A job through a launcher: its `launch` blocks, so each slot waits in a thread.

    Args:
        function: the job's.
        n_jobs: how many jobs there are at once.
    """

    def __init__(self, place: JobSetup, function: Any, n_jobs: int) -> None:
        self.place, self.n_jobs = place, n_jobs
        output = Path(place.config.hydra.sweep.dir).absolute() / _LOG
        self.function = _Quiet(function, os.getpid(), output)
        self.thread: threading.Thread | None = None
        logging.getLogger("hydra_plugins").setLevel(logging.WARNING)  # the launcher's lines about each job

    def start(self, job: Job) -> None:
        self.thread = threading.Thread(target=self._launch, args=(job,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """The job goes on where it is; its trial is marked as interrupted all the same."""
        if self.is_running():
            self.outcome = JobResult(JobState.INTERRUPTED, error="the sweep was interrupted")

    def is_running(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def kill(self) -> None:
        self.stop()

    def close(self) -> None:
        """The launcher's jobs are its own."""

    def _launch(self, job: Job) -> None:
        overrides = [*job.overrides, f"hydra.sweep.subdir='{job.folder}'"]
        try:
            launcher: Any = Plugins.instance().instantiate_launcher(
                config=self.place.config,
                hydra_context=self.place.hydra_context,
                task_function=JobFunction(self.function, job),
            )
            if hasattr(launcher, "joblib"):
                # A process for each job: Hydra's state is one a process, and joblib would run a single job in ours.
                own = {"n_jobs": max(2, self.n_jobs), "prefer": "processes", "require": None}
                launcher.joblib = {**launcher.joblib, **own}
            returned = launcher.launch([overrides], initial_job_idx=job.number)
            self.outcome = returned[0].return_value
        except Exception as error:  # the launcher's own, such as a process that was killed
            said = f"{type(error).__name__}: {last_line(str(error))[:300]}"
            self.outcome = JobResult(JobState.FAILED, error=f"{said} (log: {_LOG})")
