"""Samplers and pruners: by their names, from their nodes, and tried out before a study is opened."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from inspect import signature
from math import prod
from typing import TYPE_CHECKING, Any

import optuna
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler, GPSampler, GridSampler, TPESampler

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import did_you_mean
from lightsweep.sweeper.application import targets_of
from lightsweep.sweeper.auto import GROUPED, AutoSampler
from lightsweep.sweeper.space import Params, Space, grid_of
from lightsweep.sweeper.study_view import ViewSampler

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan

_MADE_UP = 4  # trials, after which a sampler that is checked learns from them

_AUTO = "lightsweep.sweeper.auto.AutoSampler"
SAMPLERS: Mapping[str, Mapping[str, Any]] = {  # by the name that is typed; with Optuna's own defaults
    "auto": {"_target_": _AUTO},
    "tpe": {"_target_": "optuna.samplers.TPESampler"},
    "gp": {"_target_": "optuna.samplers.GPSampler"},
    "cmaes": {"_target_": "optuna.samplers.CmaEsSampler"},
    "qmc": {"_target_": "optuna.samplers.QMCSampler"},
    "random": {"_target_": "optuna.samplers.RandomSampler"},
    "grid": {"_target_": "optuna.samplers.GridSampler", "_partial_": True},  # it needs the points of the space
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler"},
    "nsgaiii": {"_target_": "optuna.samplers.NSGAIIISampler"},
}
_MEDIAN = {"_target_": "optuna.pruners.MedianPruner"}
PRUNERS: Mapping[str, Mapping[str, Any]] = {
    "auto": {"_target_": "lightsweep.sweeper.auto.AutoPruner"},
    "median": _MEDIAN,
    "percentile": {"_target_": "optuna.pruners.PercentilePruner", "percentile": 25.0},
    "successive_halving": {"_target_": "optuna.pruners.SuccessiveHalvingPruner"},
    "hyperband": {"_target_": "optuna.pruners.HyperbandPruner"},
    "patient": {"_target_": "optuna.pruners.PatientPruner", "wrapped_pruner": _MEDIAN, "patience": 3},
    "wilcoxon": {"_target_": "optuna.pruners.WilcoxonPruner"},
    "none": {"_target_": "optuna.pruners.NopPruner"},
}
_PACKAGES = {  # what a sampler or a pruner needs beside Optuna, and the extra that installs it
    "GPSampler": (("torch", "scipy"), "gp"),
    "CmaEsSampler": (("cmaes",), "cmaes"),
    "QMCSampler": (("scipy",), "scipy"),
    "WilcoxonPruner": (("scipy",), "scipy"),
}


def named_node(kind: str, value: Any, known: Mapping[str, Mapping[str, Any]]) -> DictConfig:
    """The node of a sampler or a pruner, which may be named, also with arguments: ``{name: gp, seed: 1}``.

    Args:
        known: by name; the first one is meant where arguments have no name.
    """
    key = f"hydra.sweeper.{kind}"
    rule = f"be one of {', '.join(known)}, {{name: …, ARGUMENT: VALUE}}, or a node with a _target_"
    arguments: Any = {"name": value} if isinstance(value, str) else {}
    if isinstance(value, DictConfig) and "_target_" not in value:
        arguments = OmegaConf.to_container(value, resolve=True)
    if arguments:
        name = arguments.pop("name", next(iter(known)))
        if name not in known:
            raise ConfigError(f"{key} must {rule}, got {name!r}{did_you_mean(str(name), list(known))}")
        value = OmegaConf.create({**known[name], **arguments})
    checks.require(isinstance(value, DictConfig) and "_target_" in value, key, rule, value)
    for target in targets_of(OmegaConf.to_container(value, resolve=False)):
        name = target.rpartition(".")[2]
        check_packages(key, name, *_PACKAGES.get(name, ((), "")))
    return value


def without_pinned(value: Any, hydra: DictConfig) -> Any:
    """``hydra.sweeper.sampler`` without what a group of the official plugin sets and nobody typed.

    Those groups, ``hydra/sweeper/sampler=tpe``, restate defaults of an earlier Optuna. An app's own group of that name
    is left as it is.

    Args:
        hydra: the composed node.
    """
    name = hydra.runtime.choices.get("hydra/sweeper/sampler")
    if name not in SAMPLERS or not isinstance(value, DictConfig):
        return value
    try:
        loaded = ConfigStore.instance().load(f"hydra/sweeper/sampler/{name}.yaml").node
    except HydraException:
        return value
    pinned: Any = OmegaConf.to_container(loaded, resolve=False)
    if not pinned.keys() <= value.keys():
        return value
    typed = [
        line.lstrip("+").partition("=")[0].removeprefix("hydra.sweeper.sampler.") for line in hydra.overrides.hydra
    ]
    kept: dict[Any, Any] = {
        key: each for key, each in value.items() if key not in pinned or key in typed or each != pinned[key]
    }
    makes_array = "reference_points" in kept  # the official plugin's function does
    target = pinned["_target_"] if makes_array else SAMPLERS[name]["_target_"]
    return OmegaConf.create({**SAMPLERS[name], "_target_": target, **kept})


def pruner_node(value: Any, max_steps: Any) -> DictConfig:
    """The node of ``hydra.sweeper.pruner``.

    Args:
        max_steps: ``hydra.sweeper.max_steps``: where Hyperband is named, it need not wait for a whole trial to know.
    """
    node = named_node("pruner", value, PRUNERS)
    is_named = value == "hyperband" or (isinstance(value, DictConfig) and value.get("name") == "hyperband")
    if is_named and max_steps is not None and "max_resource" not in node:
        node.max_resource = max_steps
    return node


def check_packages(key: str, what: str, packages: Sequence[str], extra: str) -> None:
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ConfigError(f"{key}: {what} needs {' and '.join(missing)}: pip install 'lightsweep[{extra}]'")


def make_sampler(plan: "Plan", shift: int) -> tuple[BaseSampler, int]:
    """The sampler, and the number of trials: a grid has no more than its points.

    TPE and GP draw from a view of the study. The others need the study itself: some keep there what they have learned.

    Args:
        shift: of its seed, if it has one: a study that is resumed, or that several sweepers start together, must not
            draw its first points again. A grid keeps its seed, which decides the order that its points are known by.
    """
    node = _writable(plan.settings.sampler)
    if node.get("seed") is not None and not node._target_.endswith("GridSampler"):
        node.seed += shift
    if plan.space.conditions() or plan.space.extend is not None:
        if node._target_ == _AUTO:
            node.conditional = True
        elif node._target_ == SAMPLERS["tpe"]["_target_"] and not GROUPED.keys() & node.keys():
            node.update(GROUPED)
    sampler = plan.application.build(node, "hydra.sweeper.sampler")
    if isinstance(sampler, AutoSampler | TPESampler | GPSampler):
        return ViewSampler(plan.space, sampler), plan.settings.n_trials
    if not (isinstance(sampler, partial) and sampler.func is GridSampler):
        return sampler, plan.settings.n_trials
    grid = grid_of(plan.space)
    return sampler(grid), min(plan.settings.n_trials, prod(len(values) for values in grid.values()))


def _writable(node: DictConfig) -> DictConfig:
    """A copy that may be changed and may get keys: an app's config, from which it is cut off, allows neither."""
    return OmegaConf.create(OmegaConf.to_container(node, resolve=True))  # type: ignore[return-value]  # of a mapping


def check_sampler(plan: "Plan") -> None:
    """Let the sampler draw made-up trials, and the user's own function suggest once.

    Raises:
        HydraException: the function suggests a key that does not exist.
        ConfigError: the sampler cannot draw, or the function fails, or suggests what is searched already.
    """
    node = _writable(plan.settings.sampler)
    for name, default in _defaults(str(node._target_)).items():
        value = node.get(name, default)
        if isinstance(value, int) and value > _MADE_UP:
            node[name] = _MADE_UP  # with this it learns from the first trials
    if node._target_ == _AUTO:
        node.most_trials = 0  # TPE: the GP would import torch
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


def _defaults(target: str) -> dict[str, Any]:
    """Of the arguments of a sampler that say when it begins to learn; None where it has no such argument."""
    sampler = getattr(optuna.samplers, target.rpartition(".")[2], None)
    parameters = signature(sampler).parameters if sampler else {}
    names = ("n_startup_trials", "population_size")
    return {name: parameters[name].default if name in parameters else None for name in names}


def random_point(space: Space, seed: int) -> Params:
    """A point of a space, as Optuna's parameters, without what the user's own function suggests."""
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    replace(space, extend=None).suggest(trial)
    return trial.params


def _draw(plan: "Plan", sampler: BaseSampler) -> None:
    study = optuna.create_study(sampler=sampler, directions=plan.objectives.directions)
    space = replace(plan.space, extend=None)  # the user's own function is for real trials
    for number in range(_MADE_UP + 2):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, [float(number)] * len(study.directions))


def check_pruner(plan: "Plan") -> None:
    """Let the pruner judge a made-up trial.

    Raises:
        ConfigError: it cannot.
    """
    reported = plan.objectives.reported
    if reported is None:  # nothing is pruned
        return
    study = optuna.create_study(direction=plan.objectives.directions[reported])
    study.ask().report(0.5, step=1)
    try:
        deepcopy(plan.pruner).prune(study, study.trials[0])  # a copy: pruners keep what they have seen
    except Exception as error:  # any that its arithmetic may raise
        pruner = type(plan.pruner).__name__
        raise ConfigError(f"hydra.sweeper.pruner: {pruner} cannot judge a trial as it is set ({error})") from error


def _made_up_study(plan: "Plan") -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), directions=plan.objectives.directions)


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
