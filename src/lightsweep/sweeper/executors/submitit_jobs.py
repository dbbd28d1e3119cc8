"""Jobs of Slurm, or processes of submitit's on this machine, by the launcher's own keys (``hydra.launcher.*``)."""

from typing import Any

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.executors.job_queue import JobSlot, Queue
from lightsweep.sweeper.executors.slot import Executor
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.worker import JobSetup


def check(plan: Plan, which: str) -> None:
    """See that the cluster would take a trial's job.

    Raises:
        ConfigError: it would not.
    """
    keys = plan.config.hydra.launcher
    for name in ("nodes", "tasks_per_node"):
        if keys.get(name) not in (None, 1):
            raise ConfigError(f"hydra.launcher.{name} must be 1, a trial trains in one process, got {keys[name]!r}")
    _cluster(plan, which).check()


def make(plan: Plan, which: str, place: JobSetup) -> Executor:
    """An executor with `n_jobs` jobs in flight."""
    queue = Queue(_cluster(plan, which), place, plan.folder.absolute(), leave=plan.settings.on_interrupt == "leave")
    return Executor([JobSlot(queue) for _ in range(max(1, plan.settings.n_jobs))], has_job=queue.has_job)


def _cluster(plan: Plan, which: str) -> Any:
    if which == "slurm":
        from lightsweep.sweeper.executors.slurm import Slurm

        return Slurm(plan.config.hydra.launcher, plan.folder.absolute())
    from lightsweep.sweeper.executors.local import Local

    return Local(plan.config.hydra.launcher, plan.folder.absolute())
