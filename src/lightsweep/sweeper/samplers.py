"""The sampler of a study, and sampler and pruner tried with made-up trials: some check their settings only at work."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from math import prod

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler, GridSampler

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.optuna_private import grid_choices
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import grid_of


def make_sampler(plan: Plan, shift: int) -> tuple[BaseSampler, int]:
    """The sampler, and the number of trials: a grid has no more than its points.

    Args:
        shift: of its seed, if it has one. A study that is gone on with, or that several sweepers begin together, must
            not draw its first points again. A grid's points are known by their order, which the seed shuffles: it keeps
            its seed.
    """
    node = plan.settings.sampler.copy()
    OmegaConf.set_readonly(node, False)
    if node._target_.endswith("CmaEsSampler") and importlib.util.find_spec("cmaes") is None:
        raise ConfigError("hydra/sweeper/sampler=cmaes needs the package cmaes (pip install cmaes)")
    if node.get("seed") is not None and not node._target_.endswith("GridSampler"):
        node.seed += shift
    sampler = plan.application.build(node, "hydra.sweeper.sampler")
    if not (isinstance(sampler, partial) and sampler.func is GridSampler):
        return sampler, plan.settings.n_trials
    grid = grid_of(plan.space, grid_choices)
    return sampler(grid), min(plan.settings.n_trials, prod(len(values) for values in grid.values()))


_FIRST = 4  # trials after which a sampler begins to learn from them here
_WAITS = ("n_startup_trials", "population_size")  # what says how many it would let pass


def hurried(sampler: DictConfig) -> DictConfig:
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
