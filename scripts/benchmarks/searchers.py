"""What `benchmark.py search` compares: samplers and pruners, as the official sweeper and ours have them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler

from benchmarks.simulation import Contender
from lightsweep.core.files import ROOT
from lightsweep.sweeper.samplers import pruner_node
from lightsweep.sweeper.space import Space

EPOCHS = 20  # of a recorded run


def _official(space: Space, seed: int) -> BaseSampler:
    """As the official plugin's dataclass sets it."""
    return TPESampler(seed=seed, multivariate=False, constant_liar=False)


def _optuna(space: Space, seed: int) -> BaseSampler:
    return TPESampler(seed=seed)
