"""The checks of a sweep's plan before its study is opened: what is refused here has written nothing."""

import logging
import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler, GridSampler

from lightsweep.core import checks, memory, overrides
from lightsweep.core.errors import ConfigError
from lightsweep.core.overrides import format_override
from lightsweep.sweeper import executors, journal, opening
from lightsweep.sweeper.plan import Plan

_FIRST = 4  # trials after which a sampler begins to learn from them here
_WAITS = ("n_startup_trials", "population_size")  # what says how many it would let pass


def with_quick_start(sampler: DictConfig) -> DictConfig:
    """A sampler's settings, with which it learns from the first trials already."""
    node = sampler.copy()
    OmegaConf.set_readonly(node, False)
    for name in _WAITS:
        if isinstance(node.get(name), int):
            node[name] = min(node[name], _FIRST)
    return node


def check_sampler(plan: Plan, sampler: BaseSampler) -> None:
    """Let the sampler draw.

    Raises:
        ConfigError: it cannot.
    """
    if isinstance(sampler, GridSampler):  # it was made of its points
        return
    try:
        with without_optuna_messages():
            _draw(plan, sampler)
    except Exception as error:  # whatever its arithmetic comes to
        name = type(sampler).__name__
        raise ConfigError(f"hydra.sweeper.sampler: {name} cannot draw a trial as it is set ({error})") from error


def _draw(plan: Plan, sampler: BaseSampler) -> None:
    study = optuna.create_study(sampler=sampler, direction=plan.direction)
    space = replace(plan.space, extend=None)  # the user's own function is for real trials
    for number in range(_FIRST + 2):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, float(number))


def check_extension(plan: Plan) -> None:
    """Let the user's own function suggest values for one trial.

    Raises:
        HydraException: it suggests a key that does not exist.
        ConfigError: it fails, or suggests what is searched already.
    """
    if plan.space.extend is None:
        return
    with without_optuna_messages():
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction=plan.direction).ask()
        drawn = plan.space.suggest(trial)
    searched = {parameter.key for parameter in plan.space.parameters}
    plan.compose((*plan.space.fixed, *(each for each in drawn if each.partition("=")[0] not in searched)))


def check_pruner(plan: Plan) -> None:
    """Let the pruner judge.

    Raises:
        ConfigError: it cannot.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction=plan.direction)
    trial = study.ask()
    trial.report(0.5, step=1)
    try:
        deepcopy(plan.pruner).prune(study, study.trials[0])  # a copy: pruners keep what they have seen
    except Exception as error:  # whatever its arithmetic comes to
        pruner = type(plan.pruner).__name__
        raise ConfigError(f"hydra.sweeper.pruner: {pruner} cannot judge a trial as it is set ({error})") from error


@contextmanager
def without_optuna_messages() -> Iterator[None]:
    """Without what Optuna says of trials: these are made up."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def check_plan(plan: Plan) -> None:
    """See that a trial can be composed: at the baseline, at a point inside, and under each condition.

    Raises:
        HydraException: a key or a choice does not exist.
        ConfigError: a fixed value, the metric, the storage, the sampler or the pruner makes no sense.
    """
    kind = executors.executor_kind(plan)
    journal.check_study_file(plan.storage_key, plan.address.url, workers=kind in ("workers", "launcher"))
    executors.check_executor(plan)
    if kind == "workers":  # jobs of a cluster have memory elsewhere
        memory.check_processes("hydra.sweeper.n_jobs", min(plan.settings.n_jobs, plan.settings.n_trials))
    plan.application.check_space(plan.space, plan.metric)
    _check_fixed_lists(plan)
    in_this_process = kind == "inline"
    _check_composes(plan, plan.space.fixed, in_this_process)
    for condition in plan.space.conditions():
        _check_composes(plan, (*plan.space.fixed, condition), in_this_process)
    _check_direction(plan)
    opening.enqueued_points(plan)
    _check_sampler(plan)
    check_pruner(plan)
    plan.application.check_plan(plan, in_this_process=in_this_process)


def _check_fixed_lists(plan: Plan) -> None:
    """See that a fixed list stands where a list is taken: elsewhere it was meant as values to search."""
    for each in OverridesParser.create().parse_overrides(list(plan.space.fixed)):
        value = each.value()
        is_group = plan.context.config_loader.get_group_options(each.key_or_group)  # callbacks=[default,ema]
        if not isinstance(value, list) or not value or each.is_delete() or is_group or _takes_list(each, value, plan):
            continue
        key, ours = each.key_or_group, overrides.format_choice(value)
        typed = shlex.quote(f"{each.get_key_element()}={ours}")
        raise ConfigError(
            f"{key} must be one value in each trial, got the list {value}: {typed} searches these"
            f" (in a file, hydra.sweeper.params.{key}: {ours})"
        )


def _takes_list(fixed: Override, value: list[Any], plan: Plan) -> bool:
    others = [line for line in plan.space.fixed if line != fixed.input_line]
    config: Any = OmegaConf.to_container(plan.compose(others), resolve=False)
    before = _value_at(config, fixed.key_or_group)
    if isinstance(before, list):
        return isinstance(value[0], list) == bool(before and isinstance(before[0], list))
    return not isinstance(value[0], list) and plan.application.takes_list(config, fixed.key_or_group)


def _value_at(node: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(node, dict):
            node = node.get(part)
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node


def _check_composes(plan: Plan, overrides: Sequence[str], in_this_process: bool) -> None:
    """Every key that applies under these overrides exists, and what is fixed makes sense."""
    plan.application.check_config(plan.compose(overrides), overrides, in_this_process=in_this_process)
    point = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    # A choice of a group that is drawn may not go with a condition's keys: only the condition itself is composed.
    groups = plan.config.hydra.runtime.choices
    drawn = [
        format_override(parameter.key, parameter.suggest(point))
        for parameter in plan.space.parameters
        if parameter.key not in groups and (parameter.condition is None or parameter.condition in overrides)
    ]
    config = plan.compose((*overrides, *drawn))
    if any(parameter.key.startswith("+") for parameter in plan.space.parameters):
        plan.application.check_drawn(config)


def _check_direction(plan: Plan) -> None:
    """The best trials would be pruned, and the worst be confirmed, where it is not the metric's own."""
    metric, right = plan.application.objective(plan.compose(plan.space.fixed))
    named = plan.settings.direction
    checks.require(
        named is None or right in (None, named), "hydra.sweeper.direction", f"be {right} for {metric}", named
    )


def _check_sampler(plan: Plan) -> None:
    """Let the sampler draw made-up trials, and the user's own function suggest once."""
    settings = replace(plan.settings, sampler=with_quick_start(plan.settings.sampler))
    with without_optuna_messages():
        sampler, _ = opening.make_sampler(replace(plan, settings=settings), shift=0)
    check_sampler(plan, sampler)
    check_extension(plan)
