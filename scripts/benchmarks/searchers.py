"""What `benchmark.py search` compares: samplers and pruners of the official sweeper, of Optuna, and of our configs."""

from collections.abc import Callable
from functools import partial
from typing import Any

from omegaconf import OmegaConf
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler

from benchmarks import common
from benchmarks.simulation import Contender
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.samplers import SAMPLERS
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.study_view import ViewSampler

EPOCHS = 20  # of a recorded run
_PINNED: dict[str, Any] = {"multivariate": False, "constant_liar": False}  # by the official plugin's dataclass
OFFICIAL, OPTUNA, OURS = "official sweeper", "Optuna's TPE and median", "lightsweep"


def _optuna(_: Space, seed: int, **arguments: Any) -> BaseSampler:
    return TPESampler(seed=seed, **arguments)


def _ours(name: str, space: Space, seed: int) -> BaseSampler:
    return ViewSampler(
        space, Application().build(OmegaConf.create({**SAMPLERS[name], "seed": seed}), "hydra.sweeper.sampler")
    )


def our_pruner(name: str | None = None) -> BasePruner:
    """As our configs have it for a training run; the default where none is named."""
    config = common.compose(
        ["sweep=mlp", f"trainer.max_epochs={EPOCHS}", *([f"hydra/sweeper/pruner={name}"] if name else [])],
        return_hydra_config=True,
    )
    return Application().build(config.hydra.sweeper.pruner, "hydra.sweeper.pruner")


def _with(sampler: Callable[[Space, int], BaseSampler], pruner: str | None = None) -> Contender:
    return Contender(sampler, partial(our_pruner, pruner))


_auto = partial(_ours, "auto")
_PRUNERS = ("none", "auto", "median", "percentile", "patient", "successive_halving", "hyperband")
_HARD = ("successive_halving", "hyperband")  # with which a sampler sees few whole trials
COMPARED = {
    OFFICIAL: Contender(partial(_optuna, **_PINNED), NopPruner, in_batches=True),
    OPTUNA: Contender(_optuna, MedianPruner),
    OURS: _with(_auto),
}
OTHERS = {
    **{f"lightsweep, {name}": _with(_auto, name) for name in _PRUNERS},
    **{f"lightsweep, tpe, {name}": _with(partial(_ours, "tpe"), name) for name in ("none", *_HARD)},
    **{f"Optuna's TPE, {name}": _with(_optuna, name) for name in ("none", *_HARD)},
}
CONTENDERS: dict[str, Any] = {**COMPARED, **OTHERS}
