"""A sweep as planned: settings, search space, folder, study, pruner, sampler and first points."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
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

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.core.overrides import format_override
from lightsweep.sweeper.application import Application, application_of
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.settings import Settings, read_settings
from lightsweep.sweeper.space import Space, grid_of, point_key, values_of
from lightsweep.sweeper.storage import Address

_DEFAULT_FOLDER = "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"  # of Hydra
_MADE_UP = 4  # trials, after which a sampler that is checked learns from them


@dataclass(frozen=True)
class Plan:
    """Everything that a sweep follows from.

    Args:
        config: composed, with its ``hydra`` node.
        context: of Hydra, with the config loader.
        function: that a job calls.
        application: to which the function belongs.
        remarks: on settings, for the user.
    """

    settings: Settings
    config: DictConfig
    context: HydraContext
    function: TaskFunction
    application: Application
    space: Space
    pruner: BasePruner
    remarks: tuple[str, ...] = ()

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
        """The name of the value that is optimised."""
        return self.settings.metric or self.application.objective(self.config)[0]

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """The one that was set, else that of the metric."""
        direction = self.settings.direction or self.application.objective(self.config)[1]
        return "maximize" if direction == "maximize" else "minimize"

    @property
    def seeds(self) -> list[int]:
        """Those that each trial is run with; none for the config's own."""
        return self.settings.seeds or []

    @property
    def own_seed(self) -> Any:
        """The seed that the config has; None where it has none."""
        key = self.settings.seed_key
        return None if key is None else OmegaConf.select(self.config, key)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a job.

        Raises:
            HydraException: a key or a choice does not exist.
            ConfigError: a value does not fit its key.
        """
        try:
            return self.context.config_loader.load_sweep_config(self.config, list(overrides))
        except OmegaConfBaseException as error:
            reason = " ".join(str(error).partition("\nfull_key:")[0].split())
            raise ConfigError(f"hydra.sweeper.params: {reason}") from error

    def in_space(self, space: Space) -> "Plan":
        return replace(self, space=space)


def make_plan(
    values: Mapping[str, Any],
    config: DictConfig,
    context: HydraContext,
    function: TaskFunction,
    arguments: Sequence[str],
) -> Plan:
    """Read the settings, the search space and the pruner.

    Args:
        values: of the node ``hydra.sweeper``.
        arguments: the command line's overrides of the job.

    Raises:
        ConfigError: one of them is invalid.
    """
    settings, remarks = read_settings(values)
    config, changing = _with_fixed_folder(config, settings.study_name)
    application = application_of(function)
    extend = None
    if name := settings.custom_search_space:  # the user's own, called as the official sweeper calls it
        extension = application.find_function(name, "hydra.sweeper.custom_search_space")
        extend = partial(extension, config)
    space = parse(settings.params or {}, settings.when or {}, arguments, extend)
    pruner = application.build(settings.pruner, "hydra.sweeper.pruner")
    if isinstance(pruner, WilcoxonPruner) and len(settings.seeds or []) < 2:
        raise ConfigError("hydra/sweeper/pruner=wilcoxon needs hydra.sweeper.seeds with at least two seeds")
    plan = Plan(settings, config, context, function, application, space, pruner, (*remarks, *changing))
    while conditions := plan.space.undecided():  # one may decide another's key
        plan = plan.in_space(plan.space.settled({condition: _holds(condition, plan) for condition in conditions}))
    return plan


def _with_fixed_folder(config: DictConfig, study: str) -> tuple[DictConfig, list[str]]:
    """The config with the study's folder as an absolute path: jobs run in other processes, at other times.

    Hydra's default holds the time, so that no command could resume its study: it becomes ``multirun/STUDY``. Returns
    also a remark on an app's own folder that holds the time.
    """
    config = config.copy()
    OmegaConf.set_readonly(config.hydra, False)
    written: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    text = str(written["dir"])
    is_timed = "${now:" in text
    folder = Path("multirun", study) if text == _DEFAULT_FOLDER else Path(config.hydra.sweep.dir)
    if is_timed or not folder.is_absolute():
        config.hydra.sweep.dir = str(folder.absolute())
        config.hydra.overrides.hydra.append(format_override("hydra.sweep.dir", config.hydra.sweep.dir))  # for jobs
    OmegaConf.set_readonly(config.hydra, True)
    if not is_timed or text == _DEFAULT_FOLDER:
        return config, []
    return config, [f"hydra.sweep.dir={text} holds the time: the same command starts a new study; a fixed one resumes"]


def _holds(condition: str, plan: Plan) -> bool:
    """Whether a condition holds in every trial: with ``sweep=optimizers optimizer=sgd`` only ``optimizer=sgd`` does."""
    key = condition.partition("=")[0]
    configs = (plan.compose(overrides) for overrides in (plan.space.fixed, (*plan.space.fixed, condition)))
    value, wanted = (values_of(config, [key], config.hydra.runtime.choices) for config in configs)
    return value == wanted


def enqueue_first(plan: Plan, study: optuna.Study) -> None:
    """Queue the baseline, then the points that the user named; a resumed study gets those that it has no trial of."""
    points = enqueued_points(plan)  # before anything is written: a point outside the space is refused
    # The baseline is queued once, and never in a grid, which visits its own points and no others.
    if not study.user_attrs.get("enqueued") and not isinstance(study.sampler, GridSampler):
        point, remarks = baseline_point(plan)
        note = {"note": "; ".join(remarks)} if remarks else {}
        study.enqueue_trial(point, user_attrs={"baseline": True, **note}, skip_if_exists=True)
        study.set_user_attr("enqueued", True)
    for point in points:
        study.enqueue_trial(point, user_attrs={"note": "enqueued"}, skip_if_exists=True)


def enqueued_points(plan: Plan) -> list[dict[str, Any]]:
    """``hydra.sweeper.enqueue`` as Optuna's parameters."""
    return [_enqueued_point(plan.space, wanted) for wanted in plan.settings.enqueue or []]


def baseline_point(plan: Plan) -> tuple[dict[str, Any], list[str]]:
    """The point of the config as it stands, and remarks on what differs from the config."""
    config = plan.compose(plan.space.fixed)
    keys = list(dict.fromkeys(parameter.key for parameter in plan.space.parameters))
    values = values_of(config, keys, config.hydra.runtime.choices)
    point, remarks = plan.space.point(values)
    always = [parameter.key for parameter in plan.space.parameters if parameter.condition is None]
    return point, [*remarks, *(f"{key} is drawn, as the config has none" for key in always if key not in values)]


def _enqueued_point(space: Space, wanted: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(wanted) - {parameter.key for parameter in space.parameters}
    if unknown:
        raise ConfigError(f"hydra.sweeper.enqueue must name searched keys, got {', '.join(sorted(unknown))}")
    point, remarks = space.point(wanted)
    if remarks:
        raise ConfigError(f"hydra.sweeper.enqueue must lie inside the space: {'; '.join(remarks)}")
    return point


def mark_baseline(trial: optuna.Trial, point: Mapping[str, Any], remarks: Sequence[str]) -> None:
    """Mark a trial as the baseline if its sampler has drawn that point, as a grid does."""
    if not remarks and point_key(trial.params) == point_key(point):
        trial.set_user_attr("baseline", True)


def make_sampler(plan: Plan, shift: int) -> tuple[BaseSampler, int]:
    """The sampler, and the number of trials: a grid has no more than its points.

    Args:
        shift: of its seed, if it has one: a study that is resumed, or that several sweepers start together, must not
            draw its first points again. A grid keeps its seed, which decides the order that its points are known by.
    """
    node = _writable(plan.settings.sampler)
    if node._target_.endswith("CmaEsSampler") and importlib.util.find_spec("cmaes") is None:
        raise ConfigError("hydra/sweeper/sampler=cmaes needs the package cmaes (pip install cmaes)")
    if node.get("seed") is not None and not node._target_.endswith("GridSampler"):
        node.seed += shift
    sampler = plan.application.build(node, "hydra.sweeper.sampler")
    if not (isinstance(sampler, partial) and sampler.func is GridSampler):
        return sampler, plan.settings.n_trials
    grid = grid_of(plan.space)
    return sampler(grid), min(plan.settings.n_trials, prod(len(values) for values in grid.values()))


def _writable(node: DictConfig) -> DictConfig:
    """A copy that may be changed."""
    copy = node.copy()
    OmegaConf.set_readonly(copy, False)
    return copy


def check_sampler(plan: Plan) -> None:
    """Let the sampler draw made-up trials, and the user's own function suggest once.

    Raises:
        HydraException: the function suggests a key that does not exist.
        ConfigError: the sampler cannot draw, or the function fails, or suggests what is searched already.
    """
    node = _writable(plan.settings.sampler)
    for name in ("n_startup_trials", "population_size"):  # with these it learns from the first trials
        if isinstance(node.get(name), int):
            node[name] = min(node[name], _MADE_UP)
    with _without_optuna_messages():
        sampler, _ = make_sampler(replace(plan, settings=replace(plan.settings, sampler=node)), shift=0)
        if not isinstance(sampler, GridSampler):  # its points were listed as it was made
            try:
                _draw(plan, sampler)
            except Exception as error:  # any that its arithmetic may raise
                name = type(sampler).__name__
                raise ConfigError(
                    f"hydra.sweeper.sampler: {name} cannot draw a trial as it is set ({error})"
                ) from error
        if plan.space.extend is None:
            return
        drawn = plan.space.suggest(_made_up_study(plan).ask())
    searched = {parameter.key for parameter in plan.space.parameters}
    plan.compose((*plan.space.fixed, *(each for each in drawn if each.partition("=")[0] not in searched)))


def _draw(plan: Plan, sampler: BaseSampler) -> None:
    study = optuna.create_study(sampler=sampler, direction=plan.direction)
    space = replace(plan.space, extend=None)  # the user's own function is for real trials
    for number in range(_MADE_UP + 2):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, float(number))


def check_pruner(plan: Plan) -> None:
    """Let the pruner judge a made-up trial.

    Raises:
        ConfigError: it cannot.
    """
    study = _made_up_study(plan)
    study.ask().report(0.5, step=1)
    try:
        deepcopy(plan.pruner).prune(study, study.trials[0])  # a copy: pruners keep what they have seen
    except Exception as error:  # any that its arithmetic may raise
        pruner = type(plan.pruner).__name__
        raise ConfigError(f"hydra.sweeper.pruner: {pruner} cannot judge a trial as it is set ({error})") from error


def _made_up_study(plan: Plan) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction=plan.direction)


@contextmanager
def _without_optuna_messages() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
