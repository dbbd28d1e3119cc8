"""Sampler and pruner with made-up trials, before the study is begun: some look at their settings only at work."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler, GridSampler

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.plan import Plan

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
        with in_silence():
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
    with in_silence():
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
def in_silence() -> Iterator[None]:
    """Without what Optuna says of trials: these are made up."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
