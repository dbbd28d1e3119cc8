"""Where a sweep's jobs run: warm workers on this machine, jobs of Slurm, tasks of Ray, or another launcher of Hydra."""

import os

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper import best_config
from lightsweep.sweeper.executors.slot import Executor
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.portable import reference
from lightsweep.sweeper.worker import JobSetup

_SUBMITIT = {"submitit_slurm": "slurm", "submitit_local": "local"}


def kind(plan: Plan) -> str:
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


def check(plan: Plan) -> None:
    """See that the executor can run a trial, before the study is begun.

    Raises:
        ConfigError: a package is missing, there is no such cluster, or it would refuse the jobs as they are set.
    """
    which = kind(plan)
    if plan.settings.on_interrupt == "leave" and which not in ("slurm", "local"):
        raise ConfigError("hydra.sweeper.on_interrupt=leave needs hydra/launcher=submitit_slurm: other jobs end")
    if which in ("slurm", "local"):
        from lightsweep.sweeper.executors import submitit_jobs

        submitit_jobs.check(plan, which)
    elif which == "ray":
        from lightsweep.sweeper.executors import ray_connection

        ray_connection.check(plan)
    elif which == "launcher":
        backend = plan.config.hydra.launcher.get("backend", "loky")
        checks.choice("hydra.launcher.backend", backend, ("loky", "multiprocessing"))


def make(plan: Plan, n_trials: int) -> Executor:
    """The executor of a sweep."""
    which, n_jobs = kind(plan), max(1, plan.settings.n_jobs)
    setup = JobSetup(
        plan.config,
        plan.context,
        reference(plan.function),
        tuple(plan.settings.preload),
        (*plan.application.records, best_config.REPEAT),
    )
    if which in ("slurm", "local"):
        from lightsweep.sweeper.executors import submitit_jobs

        return submitit_jobs.make(plan, which, setup)
    if which == "ray":
        from lightsweep.sweeper.executors import ray_tasks

        return ray_tasks.make(plan, setup)
    if which == "launcher":
        from lightsweep.sweeper.executors import launcher

        return launcher.make(setup, plan.function, n_jobs)
    from lightsweep.sweeper.executors.workers import InlineSlot, WorkerSlot

    if which == "inline":
        return Executor([InlineSlot(setup)])
    threads = max(1, len(os.sched_getaffinity(0)) // n_jobs)
    workers = min(n_jobs, n_trials)  # more would import torch for nothing
    return Executor([WorkerSlot(setup, index=index, threads=threads) for index in range(workers)])
