"""From Hydra's sweeper interface to a session."""

import logging
import warnings
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lightsweep.sweeper import optuna_access, session
from lightsweep.sweeper.plan import make_plan


def run(
    settings: dict[str, Any],
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    arguments: list[str],
) -> float:
    """Run a sweep; returns the best value."""
    optuna.logging.set_verbosity(logging.WARNING)
    optuna_access.restrict_cmaes()
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # chosen on purpose
    return session.run(make_plan(settings, config, hydra_context, task_function, arguments))
