"""A sweep as planned: settings, search space, folder, study, pruner, sampler and first points."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.samplers import GridSampler

from lightsweep.core import overrides
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.core.overrides import format_override
from lightsweep.core.text import first_line
from lightsweep.sweeper.application import Application, application_of, without_hydra
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.objectives import Objectives, choose_objectives
from lightsweep.sweeper.samplers import without_pinned
from lightsweep.sweeper.settings import Settings, read_settings
from lightsweep.sweeper.space import Space, point_key, values_of
from lightsweep.sweeper.storage import Address, with_full_path

_DEFAULT_FOLDER = "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"  # of Hydra


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

    @cached_property
    def folder(self) -> Path:
        return Path(self.config.hydra.sweep.dir)

    @cached_property
    def address(self) -> Address:
        location = self.settings.storage or str(self.folder / JOURNAL)
        return Address(with_full_path(location), self.settings.study_name)

    @property
    def storage_key(self) -> str:
        """The key that says where the study is kept."""
        return "hydra.sweeper.storage" if self.settings.storage else "hydra.sweep.dir"

    @cached_property
    def objectives(self) -> Objectives:
        """What is optimised."""
        return choose_objectives(self.settings, self.application.objective(self.config))

    @property
    def metric(self) -> str:
        """The name of the objective, of several the first one."""
        return self.objectives.names[0]

    @cached_property
    def named_results(self) -> tuple[tuple[str, ...], str]:
        """The names of what a job's result is made of: its objectives, and what the app returns."""
        return self.objectives.names, self.application.objective(self.config)[0]

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

    def check_with(self, name: str, config: DictConfig) -> None:
        """Call ``hydra.sweeper.validate`` with a job's config, as the job's function gets it.

        Raises:
            ConfigError: the function raised ValueError, or cannot be called.
        """
        key = "hydra.sweeper.validate"
        function = self.application.find_function(name, key)
        try:
            function(without_hydra(config))
        except Exception as error:  # whatever the user's own function raises
            raise ConfigError(
                f"{key}: {name} refuses a trial ({first_line(str(error)) or type(error).__name__})"
            ) from error

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
    sampler = without_pinned(values.get("sampler"), config.hydra)
    settings, remarks = read_settings({**values, "sampler": sampler})
    config, changing = _with_fixed_folder(config, settings.study_name)
    application = application_of(function)
    extend = None
    if name := settings.custom_search_space:  # the user's own, called as the official sweeper calls it
        extension = application.find_function(name, "hydra.sweeper.custom_search_space")
        extend = partial(extension, config)
    is_alone = settings.is_ablation_alone  # which searches nothing
    space = parse(settings.params or {}, settings.when or {}, arguments, extend, may_be_empty=is_alone)
    pruner = application.build(settings.pruner, "hydra.sweeper.pruner")
    if isinstance(pruner, WilcoxonPruner) and len(settings.seeds or []) < 2:
        raise ConfigError("hydra.sweeper.pruner: WilcoxonPruner needs hydra.sweeper.seeds with at least two seeds")
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
    if is_timed:  # jobs compose it again
        config.hydra.overrides.hydra.append(format_override("hydra.sweep.dir", config.hydra.sweep.dir))
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


def check_fixed_lists(plan: Plan) -> None:
    """Check that a fixed list is the value of a list: elsewhere it was meant as values to search."""
    for each in OverridesParser.create().parse_overrides(list(plan.space.fixed)):
        value = each.value()
        is_group = plan.context.config_loader.get_group_options(each.key_or_group)  # callbacks=[default,ema]
        if not isinstance(value, list) or not value or each.is_delete() or is_group or _takes_list(each, value, plan):
            continue
        key, ours = each.key_or_group, overrides.format_choice(value)
        typed = shlex.quote(f"{each.get_key_element()}={ours}")
        raise ConfigError(
            f"{key} must be one value in each trial, got the list {value}: {typed} searches these"
            f" (in a file, hydra.sweeper.params.{key}: {ours})"
        )


def _takes_list(fixed: Override, value: list[Any], plan: Plan) -> bool:
    others = plan.compose([line for line in plan.space.fixed if line != fixed.input_line])
    config: Any = OmegaConf.to_container(others, resolve=False)
    before = _value_at(config, fixed.key_or_group)
    if isinstance(before, list):
        return isinstance(value[0], list) == bool(before and isinstance(before[0], list))
    return not isinstance(value[0], list) and plan.application.takes_list(config, fixed.key_or_group)


def _value_at(node: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(node, dict):
            node = node.get(part)
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node
