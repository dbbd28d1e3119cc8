"""A sweep as it is meant: settings, search space, folder and study, before anything is opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.trial import Trial

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.application import Application, application_of
from lightsweep.sweeper.space import Space, values_of
from lightsweep.sweeper.space_text import parse
from lightsweep.sweeper.storage import Address

_MOST_JOBS = 1000  # each has a process or a thread of the sweeper's
_MOST_CONFIRMED = 1000  # fresh seeds; the means of 1000 runs differ by a thirtieth of the runs' spread


@dataclass(frozen=True)
class Settings:
    """``hydra.sweeper.*``, explained in conf/hydra/sweeper/lightsweep.yaml."""

    sampler: DictConfig
    pruner: DictConfig
    direction: str | None
    storage: str | None
    study_name: str
    n_trials: int
    n_jobs: int
    executor: str | None
    ray: dict[str, Any]
    batch: int
    on_interrupt: str
    timeout: float | None
    retries: int
    max_failures: int
    seeds: list[int] | None
    confirm: int
    enqueue: list[dict[str, Any]] | None
    allow_changed_space: bool
    custom_search_space: str | None
    preload: list[str]
    params: dict[str, Any] | None
    when: dict[str, dict[str, Any]] | None

    def __post_init__(self) -> None:
        checks.integer("hydra.sweeper.n_trials", self.n_trials, "[1, inf)")
        checks.integer("hydra.sweeper.n_jobs", self.n_jobs, f"[0, {_MOST_JOBS}]")
        checks.require(self.executor in (None, "ray"), "hydra.sweeper.executor", "be null or ray", self.executor)
        checks.integer("hydra.sweeper.batch", self.batch, f"[1, {_MOST_JOBS}]")
        checks.choice("hydra.sweeper.on_interrupt", self.on_interrupt, ("cancel", "leave"))
        _check_resources(self.ray)
        checks.integer("hydra.sweeper.retries", self.retries, "[0, inf)")
        checks.integer("hydra.sweeper.max_failures", self.max_failures, "[1, inf)")
        checks.integer("hydra.sweeper.confirm", self.confirm, f"[0, {_MOST_CONFIRMED}]")
        checks.flag("hydra.sweeper.allow_changed_space", self.allow_changed_space)
        if self.timeout is not None:
            checks.number("hydra.sweeper.timeout", self.timeout, "(0, inf)")
        if self.direction is not None:
            checks.choice("hydra.sweeper.direction", self.direction, ("minimize", "maximize"))
        name = self.study_name
        checks.require(isinstance(name, str) and bool(name), "hydra.sweeper.study_name", "be a name", name)
        seeds = [] if self.seeds is None else self.seeds
        whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        unique = whole and len(set(seeds)) == len(seeds) and (self.seeds is None or len(seeds) > 0)
        checks.require(unique, "hydra.sweeper.seeds", "be a list of different integers >= 0", self.seeds)
        _check_chosen("sampler", self.sampler)
        _check_chosen("pruner", self.pruner)
        _check_text("storage", self.storage, "be null, a path or an Optuna URL")
        _check_text("custom_search_space", self.custom_search_space, "be null or a function's name")
        _check_preload(self.preload)
        _check_enqueue(self.enqueue)
        _check_params(self.params)
        _check_when(self.when)


def _check_chosen(name: str, node: Any) -> None:
    chosen = isinstance(node, DictConfig) and "_target_" in node
    checks.require(chosen, f"hydra.sweeper.{name}", f"be chosen by hydra/sweeper/{name}=NAME", node)


def _check_text(name: str, value: Any, rule: str) -> None:
    checks.require(value is None or (isinstance(value, str) and value != ""), f"hydra.sweeper.{name}", rule, value)


def _check_resources(resources: Any) -> None:
    names = ("num_cpus", "num_gpus")
    known = isinstance(resources, dict) and sorted(resources) == sorted(names)
    checks.require(known, "hydra.sweeper.ray", f"have the keys {' and '.join(names)}", resources)
    for name in names:
        checks.number(f"hydra.sweeper.ray.{name}", resources[name], "[0, inf)")


def _check_preload(modules: Any) -> None:
    key = "hydra.sweeper.preload"
    named = isinstance(modules, list) and all(isinstance(name, str) and name.strip(".") == name for name in modules)
    checks.require(named and all(modules), key, "be a list of modules, [] for none", modules)
    for name in modules:  # only the outermost package is looked for: the search would import the outer ones
        checks.require(find_spec(name.partition(".")[0]) is not None, key, "name modules that can be imported", name)


def _check_enqueue(points: Any) -> None:
    listed = points is None or (isinstance(points, list) and all(_by_key(point) for point in points))
    checks.require(listed, "hydra.sweeper.enqueue", "be a list of points, [{optimizer.lr: 0.01}, …]", points)


def _check_params(params: Any) -> None:
    checks.require(params is None or _by_key(params), "hydra.sweeper.params", "be a mapping of keys to values", params)


def _check_when(when: Any) -> None:
    key = "hydra.sweeper.when"
    checks.require(when is None or _by_key(when), key, "be a mapping of conditions to params", when)
    for condition, params in (when or {}).items():
        chosen, _, choice = condition.partition("=")
        checks.require(bool(chosen and choice), key, "have conditions KEY=CHOICE", condition)
        checks.require(_by_key(params), f"{key}.{condition}", "be a mapping of keys to ranges or choices", params)


def _by_key(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


@dataclass(frozen=True)
class Plan:
    """Everything that a sweep follows from.

    Args:
        config: composed, with its ``hydra`` node.
        context: of Hydra, with the config loader.
        function: the job's.
        application: that the function belongs to.
    """

    settings: Settings
    config: DictConfig
    context: HydraContext
    function: TaskFunction
    application: Application
    space: Space
    pruner: BasePruner

    @property
    def folder(self) -> Path:
        return Path(self.config.hydra.sweep.dir)

    @property
    def address(self) -> Address:
        return Address(self.settings.storage or str(self.folder.absolute() / JOURNAL), self.settings.study_name)

    @property
    def storage_key(self) -> str:
        """The key that says where the study is kept."""
        return "hydra.sweeper.storage" if self.settings.storage else "hydra.sweep.dir"

    @property
    def metric(self) -> str:
        return self.application.objective(self.config)[0]

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """The one that was set, else that of the monitor."""
        named = self.settings.direction or self.application.objective(self.config)[1]
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
            said = " ".join(str(error).partition("\nfull_key:")[0].split())
            raise ConfigError(f"hydra.sweeper.params: {said}") from error

    def in_space(self, space: Space) -> "Plan":
        return replace(self, space=space)


def make_plan(
    settings: Settings, config: DictConfig, context: HydraContext, function: TaskFunction, arguments: Sequence[str]
) -> Plan:
    """Read the search space and the pruner.

    Args:
        arguments: the command line's overrides of the job.

    Raises:
        ConfigError: either makes no sense.
    """
    application = application_of(function)
    extend = _extension(settings.custom_search_space, config, application)
    space = parse(settings.params or {}, settings.when or {}, arguments, extend)
    plan = Plan(settings, config, context, function, application, space, _pruner(settings, application))
    while conditions := plan.space.undecided():  # deciding one may take away what another is about
        plan = plan.in_space(plan.space.settled({condition: _holds(condition, plan) for condition in conditions}))
    return plan


def _holds(condition: str, plan: Plan) -> bool:
    """Does a condition hold in every trial? With ``sweep=optimizers optimizer=sgd`` only ``optimizer=sgd`` does."""
    key = condition.partition("=")[0]
    fixed, under = (plan.compose(overrides) for overrides in (plan.space.fixed, (*plan.space.fixed, condition)))
    stands, wanted = (values_of(config, [key], config.hydra.runtime.choices) for config in (fixed, under))
    return stands == wanted


def _pruner(settings: Settings, application: Application) -> BasePruner:
    pruner = application.build(settings.pruner, "hydra.sweeper.pruner")
    if isinstance(pruner, WilcoxonPruner) and len(settings.seeds or []) < 2:
        raise ConfigError("hydra/sweeper/pruner=wilcoxon needs hydra.sweeper.seeds with at least two seeds")
    return pruner


def _extension(name: str | None, config: DictConfig, application: Application) -> Callable[[Trial], None] | None:
    """The user's ``custom_search_space``, called as the official sweeper calls it."""
    if name is None:
        return None
    function = application.find_function(name, "hydra.sweeper.custom_search_space")
    return lambda trial: function(config, trial)
