"""From Hydra's sweeper interface to a session."""

import logging
import warnings
from dataclasses import fields
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import did_you_mean
from lightsweep.sweeper import optuna_access, plan, session
from lightsweep.sweeper.settings import Settings


def run(
    settings: dict[str, Any],
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    arguments: list[str],
) -> float:
    """Run a sweep; returns the best value."""
    _check_keys(settings)
    optuna.logging.set_verbosity(logging.WARNING)
    optuna_access.restrict_cmaes()
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # chosen on purpose
    plain: dict[str, Any] = {
        name: OmegaConf.to_container(value, resolve=True)
        if OmegaConf.is_config(value) and name not in ("sampler", "pruner")
        else value
        for name, value in settings.items()
    }
    return session.run(plan.make_plan(Settings(**plain), config, hydra_context, task_function, arguments))


def _check_keys(settings: dict[str, Any]) -> None:
    """Refuse a key of ``hydra.sweeper`` that is none: config files are merged whatever they say."""
    known = [field.name for field in fields(Settings)]
    for name in sorted(settings.keys() - set(known)):
        key = f"hydra.sweeper.{name}"
        raise ConfigError(
            f"{key}: no config has this key{did_you_mean(key, [f'hydra.sweeper.{each}' for each in known])}"
        )
