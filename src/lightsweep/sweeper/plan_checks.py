from collections.abc import Iterator, Sequence
from dataclasses import replace

import optuna
from hydra.errors import HydraException, MissingConfigException

from lightsweep.app import starting, validation
from lightsweep.config import build, processes
from lightsweep.core import checks, memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.overrides import format_override
from lightsweep.sweeper import comparable, executors, fixed_lists, journal, points, samplers
from lightsweep.sweeper.opening import _storage_key
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.samplers import make_sampler
from lightsweep.sweeper.space import ends


def check_plan(plan: Plan) -> None:
    """See that a trial can be composed: at the baseline, at a point inside, and under each condition.

    Raises:
        HydraException: a key or a choice does not exist.
        ConfigError: a fixed value, the metric, the storage, the sampler or the pruner makes no sense.
    """
    _check_storage(plan)
    _check_jobs(plan)
    comparable.check(plan.space, plan.metric)
    fixed_lists.check(plan)
    _check_composes(plan, plan.space.fixed)
    for condition in plan.space.conditions():
        _check_composes(plan, (*plan.space.fixed, condition))
    _check_direction(plan)
    _check_processes(plan)
    points.enqueued_points(plan)
    _check_sampler(plan)
    samplers.check_pruner(plan)
    starting.check(plan)


def _check_storage(plan: Plan) -> None:
    journal.check_study_file(
        _storage_key(plan), plan.address.url, workers=executors.executor_kind(plan) in ("workers", "launcher")
    )


def _check_jobs(plan: Plan) -> None:
    """Those of a cluster have memory elsewhere."""
    executors.check_executor(plan)
    if executors.executor_kind(plan) == "workers":
        memory.check_processes("hydra.sweeper.n_jobs", min(plan.settings.n_jobs, plan.settings.n_trials))


def _check_sampler(plan: Plan) -> None:
    """Let the sampler draw made-up trials, and the user's own function suggest once."""
    settings = replace(plan.settings, sampler=samplers.hurried(plan.settings.sampler))
    with samplers.without_optuna_messages():
        sampler, _ = make_sampler(replace(plan, settings=settings), shift=0)
    samplers.check_sampler(plan, sampler)
    samplers.check_extension(plan)


def _check_direction(plan: Plan) -> None:
    """The best trials would be given up, and the worst be confirmed, where it is not the metric's own."""
    monitor = plan.compose(plan.space.fixed).monitor
    right = "maximize" if monitor.mode == "max" else "minimize"
    named = plan.settings.direction
    checks.require(named in (None, right), "hydra.sweeper.direction", f"be {right} for {monitor.metric}", named)


def _check_composes(plan: Plan, overrides: Sequence[str]) -> None:
    """Every key that applies under these overrides exists, and what is fixed makes sense."""
    config = plan.compose(overrides)
    validation.check_config(config, list(overrides))
    processes.check_single(config.trainer, lambda: _gpus_of_a_job(plan))
    point = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    # A choice of a group that is drawn may not go with a condition's keys: only the condition itself is composed.
    groups = plan.config.hydra.runtime.choices
    drawn = [
        format_override(parameter.key, point._suggest(parameter.name, parameter.distribution))
        for parameter in plan.space.parameters
        if parameter.key not in groups and (parameter.condition is None or parameter.condition in overrides)
    ]
    drawn_config = plan.compose((*overrides, *drawn))
    if any(parameter.key.startswith("+") for parameter in plan.space.parameters):
        build.check_arguments(drawn_config)


def _check_processes(plan: Plan) -> None:
    """Every trial trains in one process, whatever is drawn for it."""
    for overrides in _trainers(plan):
        try:
            config = plan.compose(overrides)
        except MissingConfigException:  # there is no such choice
            raise
        except (HydraException, ConfigError):  # a choice that does not go with what is fixed costs its own trials
            continue
        processes.check_single(config.trainer, lambda: _gpus_of_a_job(plan))


def _trainers(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Overrides under which trials have different trainers: a config group that is drawn can bring another one."""
    groups = plan.config.hydra.runtime.choices
    for parameter in plan.space.parameters:
        key = parameter.key.lstrip("+")
        if key not in groups and not key.startswith("trainer."):
            continue
        under = plan.space.fixed if parameter.condition is None else (*plan.space.fixed, parameter.condition)
        for value in ends(parameter.distribution):
            yield (*under, format_override(parameter.key, value))


def _gpus_of_a_job(plan: Plan) -> int:
    """How many GPUs a job can see. A worker is given one; what a cluster's job has is known only there."""
    if executors.executor_kind(plan) != "inline":
        return 1
    from torch.cuda import device_count  # this process trains, and imports torch anyway

    return device_count()
