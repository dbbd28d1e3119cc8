"""The study of a sweep: checked before it is opened, opened or begun, and with its first trials in the queue."""

import importlib.util
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path

import optuna
from omegaconf import OmegaConf
from optuna.samplers import BaseSampler, GridSampler
from optuna.trial import TrialState

from lightsweep.core import paths
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import create_folder, remove_leftovers
from lightsweep.sweeper import fixed, points
from lightsweep.sweeper.leases import FileLock, Lease, Owner, is_alive, renewing, shared_path
from lightsweep.sweeper.optuna_private import grid_choices, set_system_attribute, system_attributes
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import grid_of
from lightsweep.sweeper.storage import RetryingStorage, connect, is_missing, is_server
from lightsweep.sweeper.trials import check_attributes, number_of


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


def open_study(plan: Plan) -> tuple[Plan, optuna.Study, int]:
    """Open or begin the study; one sweeper at a time.

    Returns:
        The plan, whose space may have got other names; the study; and how many trials shall end in it.

    Raises:
        ConfigError: the study was begun with other settings, or cannot be reached.
    """
    paths.check_links(plan.folder, within=plan.folder, deep=False)
    paths.check_links(plan.folder / "confirm", within=plan.folder, deep=False)
    with FileLock(shared_path(f"create {plan.address.url} {plan.address.study}")), _folder(plan):
        last = max((number_of(folder) for folder in plan.folder.glob("trial-*")), default=-1)
        trials = _count(plan)  # after the folders: a trial is in the study before it has its own
        if last >= trials:
            raise ConfigError(
                f"hydra.sweep.dir={plan.folder} holds trials that the study {plan.address.study!r} does not know;"
                " take another hydra.sweeper.study_name, or move them away"
            )
        study = _load(plan)
        check_attributes(study)
        remove_leftovers(plan.folder)  # also in the folders of trials that were cut off, which nobody starts again
        kept = fixed.kept_overrides(study, plan)
        plan = plan.in_space(replace(plan.space, fixed=(*plan.space.fixed, *kept)))
        now = fixed.fixed_settings(plan)
        fixed.check_unchanged(study, now, plan)  # before anything is written: what is refused changes nothing
        _check_hosts(plan, study)
        with _alone(study):
            fixed.check_unchanged(study, now, plan)  # another may have begun it meanwhile
            fixed.keep_settings(study, now)
            if study.metric_names is None:
                study.set_metric_names([plan.metric])  # for optuna-dashboard
            study.sampler, n_trials = make_sampler(plan, trials + _openings(study))
            plan = plan.in_space(plan.space.beside(study.get_trials(deepcopy=False)))
            points.enqueue_first(plan, study)
    return plan, study, n_trials


@contextmanager
def _alone(study: optuna.Study) -> Iterator[None]:
    """One sweeper at a time, of all machines: what a study is begun with is written once."""
    owner = Owner()
    lease = Lease(study, "opening", owner)
    try:
        lease.wait()
        with renewing(lease.renew):
            yield
    finally:
        lease.leave()
        owner.resign(trials_left=False)


def _check_hosts(plan: Plan, study: optuna.Study) -> None:
    """See that no other machine uses a study that is a file: on most network disks its locks hold on one machine only.

    Raises:
        ConfigError: a sweeper of another machine does.
    """
    if is_server(plan.address):
        return
    marks = [
        mark for name, mark in system_attributes(study).items() if name.startswith("lightsweep:")
    ]  # samplers keep things there too
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for mark in (*marks, *(trial.user_attrs.get("lightsweep") for trial in running)):
        if isinstance(mark, dict) and mark["host"] != platform.node() and is_alive(mark):
            raise ConfigError(
                f"{plan.storage_key}: the study {study.study_name!r} is used by a sweep on {mark['host']}; several"
                " machines need a database server, hydra.sweeper.storage=postgresql://…"
            )


@contextmanager
def _folder(plan: Plan) -> Iterator[None]:
    """The sweep's folder, which goes again where the sweep is refused before anything is in it."""
    with ExitStack() as stack:
        with _writing("hydra.sweep.dir", plan.folder):
            stack.enter_context(create_folder(plan.folder))
        yield


@contextmanager
def _writing(key: str, path: str | Path) -> Iterator[None]:
    """Name the key that the path came from where it cannot be written."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be written ({error.strerror or error})") from error


def _load(plan: Plan) -> optuna.Study:
    """The study as it is in the storage, or a new one. Optuna's own `load_if_exists` writes into a journal first."""
    storage, name = _connected(plan), plan.address.study
    if name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage, pruner=plan.pruner)
    else:
        study = optuna.create_study(
            study_name=name, storage=storage, pruner=plan.pruner, direction=plan.direction, load_if_exists=True
        )
    several = len(study.directions)
    if several > 1:
        raise ConfigError(f"hydra.sweeper.study_name: the study {study.study_name!r} has {several} objectives, not one")
    begun = study.direction.name.lower()
    if begun != plan.direction:
        raise ConfigError(
            f"hydra.sweeper.direction must be {begun}, as the study {study.study_name!r} was begun,"
            f" got {plan.direction!r}"
        )
    return study


def _openings(study: optuna.Study) -> int:
    """How often the study was opened before; this time counts from now on."""
    before = system_attributes(study).get("lightsweep:openings", 0)
    set_system_attribute(study, "lightsweep:openings", before + 1)
    return before


def _count(plan: Plan) -> int:
    if is_missing(plan.address):
        return 0
    studies = optuna.get_all_study_summaries(_connected(plan), include_best_trial=False)
    return next((study.n_trials for study in studies if study.study_name == plan.address.study), 0)


def _connected(plan: Plan) -> RetryingStorage:
    with _writing(plan.storage_key, plan.settings.storage or plan.folder):
        return connect(plan.address.url)
