"""A sweep as planned: settings, search space, folder, study, sampler and the first points."""

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GridSampler
from optuna.trial import Trial

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.application import Application, application_of
from lightsweep.sweeper.optuna_access import grid_choices
from lightsweep.sweeper.settings import Settings, parse
from lightsweep.sweeper.space import Space, grid_of, same_point, values_of
from lightsweep.sweeper.storage import Address


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


def enqueue_first(plan: Plan, study: optuna.Study) -> None:
    """The config as it stands is the first trial, then come the points that the user named, also for a study that is
    gone on with. None that is there already, in whatever state, is asked for again."""
    points = enqueued_points(plan)  # before a word is written: a point that does not exist is refused
    # The baseline comes once, and to a grid never, which visits its own points and no others.
    if not study.user_attrs.get("enqueued") and not isinstance(study.sampler, GridSampler):
        point, remarks = baseline_point(plan)
        note = {"note": "; ".join(remarks)} if remarks else {}
        study.enqueue_trial(point, user_attrs={"baseline": True, **note}, skip_if_exists=True)
        study.set_user_attr("enqueued", True)
    for point in points:
        study.enqueue_trial(point, user_attrs={"note": "enqueued"}, skip_if_exists=True)


def enqueued_points(plan: Plan) -> list[dict[str, Any]]:
    """``hydra.sweeper.enqueue`` as Optuna's parameters."""
    return [_wanted(plan.space, wanted) for wanted in plan.settings.enqueue or []]


def baseline_point(plan: Plan) -> tuple[dict[str, Any], list[str]]:
    """The point of the config as it stands, and what keeps it from being quite that."""
    config = plan.compose(plan.space.fixed)
    keys = list(dict.fromkeys(parameter.key for parameter in plan.space.parameters))
    values = values_of(config, keys, config.hydra.runtime.choices)
    point, remarks = plan.space.point(values)
    always = [parameter.key for parameter in plan.space.parameters if parameter.condition is None]
    return point, [*remarks, *(f"{key} is drawn, as the config has none" for key in always if key not in values)]


def _wanted(space: Space, wanted: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(wanted) - {parameter.key for parameter in space.parameters}
    if unknown:
        raise ConfigError(f"hydra.sweeper.enqueue must name searched keys, got {', '.join(sorted(unknown))}")
    point, remarks = space.point(wanted)
    if remarks:
        raise ConfigError(f"hydra.sweeper.enqueue must lie inside the space: {'; '.join(remarks)}")
    return point


def mark_baseline(trial: optuna.Trial, point: Mapping[str, Any], remarks: Sequence[str]) -> None:
    """Mark a trial as the baseline where its sampler has met that point, as a grid does."""
    if not remarks and same_point(trial.params, point):
        trial.set_user_attr("baseline", True)


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


def _check_sampler(plan: Plan) -> None:
    """Let the sampler draw made-up trials, and the user's own function suggest once."""
    settings = replace(plan.settings, sampler=with_quick_start(plan.settings.sampler))
    with without_optuna_messages():
        sampler, _ = make_sampler(replace(plan, settings=settings), shift=0)
    check_sampler(plan, sampler)
    check_extension(plan)
