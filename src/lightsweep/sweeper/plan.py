"""A sweep as it is meant: settings, search space, folder and study, before anything is opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.trial import Trial

from lightsweep.config import table
from lightsweep.config.build import build, explain
from lightsweep.core.errors import ConfigError
from lightsweep.runs.run_folder import JOURNAL
from lightsweep.sweeper.settings import Settings
from lightsweep.sweeper.space import Space, values_of
from lightsweep.sweeper.space_text import parse
from lightsweep.sweeper.storage import Address


@dataclass(frozen=True)
class Plan:
    """Everything that a sweep follows from.

    Args:
        config: composed, with its ``hydra`` node.
        context: of Hydra, with the config loader.
        function: the job's.
    """

    settings: Settings
    config: DictConfig
    context: HydraContext
    function: TaskFunction
    space: Space
    pruner: BasePruner

    @property
    def folder(self) -> Path:
        return Path(self.config.hydra.sweep.dir)

    @property
    def address(self) -> Address:
        return Address(self.settings.storage or str(self.folder.absolute() / JOURNAL), self.settings.study_name)

    @property
    def metric(self) -> str:
        return str(self.config.monitor.metric)

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """The one that was set, else that of the monitor."""
        named = self.settings.direction or {"max": "maximize"}.get(self.config.monitor.mode, "minimize")
        return "maximize" if named == "maximize" else "minimize"

    @property
    def seeds(self) -> list[int]:
        """Those that each trial trains with; none for the config's own."""
        return self.settings.seeds or []

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a job.

        Raises:
            HydraException: a key or a choice does not exist.
            ConfigError: a value cannot be where it is put.
        """
        try:
            return self.context.config_loader.load_sweep_config(self.config, list(overrides))
        except OmegaConfBaseException as error:
            raise explain(error, "hydra.sweeper.params") from error

    def in_space(self, space: Space) -> "Plan":
        return replace(self, space=space)


def make(
    settings: Settings, config: DictConfig, context: HydraContext, function: TaskFunction, arguments: Sequence[str]
) -> Plan:
    """Read the search space and the pruner.

    Args:
        arguments: the command line's overrides of the job.

    Raises:
        ConfigError: either makes no sense.
    """
    extend = _extension(settings.custom_search_space, config)
    space = parse(settings.params or {}, settings.when or {}, arguments, extend)
    plan = Plan(settings, config, context, function, space, _pruner(settings))
    while conditions := plan.space.undecided():  # deciding one may take away what another is about
        plan = plan.in_space(plan.space.settled({condition: _holds(condition, plan) for condition in conditions}))
    return plan


def _holds(condition: str, plan: Plan) -> bool:
    """Does a condition hold in every trial? With ``sweep=optimizers optimizer=sgd`` only ``optimizer=sgd`` does."""
    key = condition.partition("=")[0]
    fixed, under = (plan.compose(overrides) for overrides in (plan.space.fixed, (*plan.space.fixed, condition)))
    stands, wanted = (values_of(config, [key], config.hydra.runtime.choices) for config in (fixed, under))
    return stands == wanted


def _pruner(settings: Settings) -> BasePruner:
    pruner = build(settings.pruner, "hydra.sweeper.pruner")
    if isinstance(pruner, WilcoxonPruner) and len(settings.seeds or []) < 2:
        raise ConfigError("hydra/sweeper/pruner=wilcoxon needs hydra.sweeper.seeds with at least two seeds")
    return pruner


def _extension(target: str | None, config: DictConfig) -> Callable[[Trial], None] | None:
    """The user's ``custom_search_space``, called as the official sweeper calls it."""
    if target is None:
        return None
    try:
        function = instantiate({"_target_": target, "_partial_": True}, _execution_whitelist_=list(table.TRUSTED))
    except HydraException as error:
        raise explain(error, "hydra.sweeper.custom_search_space") from error
    return lambda trial: function(config, trial)
