"""The study of a sweep: checked before it is opened, opened or begun, and with its first trials in the queue."""

import importlib.util
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path

import optuna
from hydra.errors import HydraException, MissingConfigException
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import OmegaConf
from optuna.samplers import BaseSampler, GridSampler
from optuna.trial import TrialState

from lightsweep.app import preflight, starting
from lightsweep.config import class_arguments, processes
from lightsweep.config.build import build
from lightsweep.core import checks, links, memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import making, sweep
from lightsweep.core.overrides import override
from lightsweep.sweeper import attributes, comparable, executors, first_trials, fixed, fixed_lists, places, rehearsal
from lightsweep.sweeper.leaderboard import number_of
from lightsweep.sweeper.liveness import Owner, is_alive, renewing
from lightsweep.sweeper.locks import FileLock, shared_path
from lightsweep.sweeper.office import Office
from lightsweep.sweeper.patience import PatientStorage
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import ends, grid_of
from lightsweep.sweeper.storage import connect, is_missing, is_server


def check(plan: Plan) -> None:
    """See that a trial can be composed: at the baseline, at a point inside, and under each condition.

    Raises:
        HydraException: a key or a choice does not exist.
        ConfigError: a fixed value, the metric, the storage, the sampler or the pruner makes no sense.
    """
    _check_storage(plan)
    _check_jobs(plan)
    comparable.check(plan.space, plan.metric)
    fixed_lists.check(plan)
    _check_composes(plan, plan.space.fixed)
    for condition in plan.space.conditions():
        _check_composes(plan, (*plan.space.fixed, condition))
    _check_direction(plan)
    _check_processes(plan)
    first_trials.named(plan)
    _check_sampler(plan)
    rehearsal.check_pruner(plan)
    starting.check(plan)


def open_study(plan: Plan) -> tuple[Plan, optuna.Study, int]:
    """Open or begin the study; one sweeper at a time.

    Returns:
        The plan, whose space may have got other names; the study; and how many trials shall end in it.

    Raises:
        ConfigError: the study was begun with other settings, or cannot be reached.
    """
    links.check(plan.folder, within=plan.folder, deep=False)
    links.check(plan.folder / "confirm", within=plan.folder, deep=False)
    with FileLock(shared_path(f"create {plan.address.url} {plan.address.study}")), _folder(plan):
        last = max((number_of(folder) for folder in plan.folder.glob("trial-*")), default=-1)
        trials = _count(plan)  # after the folders: a trial is in the study before it has its own
        if last >= trials:
            raise ConfigError(
                f"hydra.sweep.dir={plan.folder} holds trials that the study {plan.address.study!r} does not know;"
                " take another hydra.sweeper.study_name, or move them away"
            )
        study = _load(plan)
        attributes.check(study)
        sweep(plan.folder)  # also in the folders of trials that were cut off, which nobody starts again
        kept = fixed.earlier_split(study, plan.config, plan.space.fixed)
        plan = plan.in_space(replace(plan.space, fixed=(*plan.space.fixed, *kept)))
        now = fixed.of(plan.space, plan.compose(plan.space.fixed), plan.settings.seeds)
        allow = plan.settings.allow_changed_space
        fixed.compare(study, now, allow_change=allow)  # before a word is written: what is refused changes nothing
        _check_hosts(plan, study)
        with _alone(study):
            fixed.compare(study, now, allow_change=allow)  # another may have begun it meanwhile
            fixed.remember(study, now)
            if study.metric_names is None:
                study.set_metric_names([plan.metric])  # for optuna-dashboard
            study.sampler, n_trials = _sampler(plan, trials + _openings(study))
            plan = plan.in_space(plan.space.beside(study.get_trials(deepcopy=False)))
            first_trials.enqueue(plan, study)
    return plan, study, n_trials


@contextmanager
def _alone(study: optuna.Study) -> Iterator[None]:
    """One sweeper at a time, of all machines: what a study is begun with is written once."""
    owner = Owner()
    office = Office(study, "opening", owner)
    try:
        office.wait()
        with renewing(office.renew):
            yield
    finally:
        office.leave()
        owner.resign(trials_left=False)


def _check_hosts(plan: Plan, study: optuna.Study) -> None:
    """See that no other machine uses a study that is a file: on most network disks its locks hold on one machine only.

    Raises:
        ConfigError: a sweeper of another machine does.
    """
    if is_server(plan.address):
        return
    system = study._storage.get_study_system_attrs(study._study_id)
    marks = [mark for name, mark in system.items() if name.startswith("lightsweep:")]  # samplers keep things there too
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for mark in (*marks, *(trial.user_attrs.get("lightsweep") for trial in running)):
        if isinstance(mark, dict) and mark["host"] != platform.node() and is_alive(mark):
            raise ConfigError(
                f"{_storage_key(plan)}: the study {study.study_name!r} is used by a sweep on {mark['host']}; several"
                " machines need a database server, hydra.sweeper.storage=postgresql://…"
            )


@contextmanager
def _folder(plan: Plan) -> Iterator[None]:
    """The sweep's folder, which goes again where the sweep is refused before anything is in it."""
    with ExitStack() as stack:
        with _writing("hydra.sweep.dir", plan.folder):
            stack.enter_context(making(plan.folder))
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
    if name in {study.study_name for study in storage.get_all_studies()}:
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
    before = study._storage.get_study_system_attrs(study._study_id).get("lightsweep:openings", 0)
    study._storage.set_study_system_attr(study._study_id, "lightsweep:openings", before + 1)
    return before


def _storage_key(plan: Plan) -> str:
    """The key that the study's place comes from."""
    return "hydra.sweeper.storage" if plan.settings.storage else "hydra.sweep.dir"


def _count(plan: Plan) -> int:
    if is_missing(plan.address):
        return 0
    storage = _connected(plan)
    ids = {study.study_name: study._study_id for study in storage.get_all_studies()}
    return storage.get_n_trials(ids[plan.address.study]) if plan.address.study in ids else 0


def _connected(plan: Plan) -> PatientStorage:
    with _writing(_storage_key(plan), plan.settings.storage or plan.folder):
        return connect(plan.address.url)


def _sampler(plan: Plan, shift: int) -> tuple[BaseSampler, int]:
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
    sampler = build(node, "hydra.sweeper.sampler")
    if not (isinstance(sampler, partial) and sampler.func is GridSampler):
        return sampler, plan.settings.n_trials
    grid = grid_of(plan.space, OptunaSweeperImpl._to_grid_sampler_choices)
    return sampler(grid), min(plan.settings.n_trials, prod(len(values) for values in grid.values()))


def _check_storage(plan: Plan) -> None:
    places.check(_storage_key(plan), plan.address.url, workers=executors.kind(plan) in ("workers", "launcher"))


def _check_jobs(plan: Plan) -> None:
    """Those of a cluster have memory elsewhere."""
    executors.check(plan)
    if executors.kind(plan) == "workers":
        memory.processes("hydra.sweeper.n_jobs", min(plan.settings.n_jobs, plan.settings.n_trials))


def _check_sampler(plan: Plan) -> None:
    """Let the sampler draw made-up trials, and the user's own function suggest once."""
    settings = replace(plan.settings, sampler=rehearsal.hurried(plan.settings.sampler))
    with rehearsal.in_silence():
        sampler, _ = _sampler(replace(plan, settings=settings), shift=0)
    rehearsal.check_sampler(plan, sampler)
    rehearsal.check_extension(plan)


def _check_direction(plan: Plan) -> None:
    """The best trials would be given up, and the worst be confirmed, where it is not the metric's own."""
    monitor = plan.compose(plan.space.fixed).monitor
    right = "maximize" if monitor.mode == "max" else "minimize"
    named = plan.settings.direction
    checks.require(named in (None, right), "hydra.sweeper.direction", f"be {right} for {monitor.metric}", named)


def _check_composes(plan: Plan, overrides: Sequence[str]) -> None:
    """Every key that applies under these overrides exists, and what is fixed makes sense."""
    config = plan.compose(overrides)
    preflight.check(config, list(overrides))
    processes.check_single(config.trainer, lambda: _gpus_of_a_job(plan))
    point = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    # A choice of a group that is drawn may not go with a condition's keys: only the condition itself is composed.
    groups = plan.config.hydra.runtime.choices
    drawn = [
        override(parameter.key, point._suggest(parameter.name, parameter.distribution))
        for parameter in plan.space.parameters
        if parameter.key not in groups and (parameter.condition is None or parameter.condition in overrides)
    ]
    drawn_config = plan.compose((*overrides, *drawn))
    if any(parameter.key.startswith("+") for parameter in plan.space.parameters):
        class_arguments.check(drawn_config)


def _check_processes(plan: Plan) -> None:
    """Every trial trains in one process, whatever is drawn for it."""
    for overrides in _trainers(plan):
        try:
            config = plan.compose(overrides)
        except MissingConfigException:  # there is no such choice
            raise
        except (HydraException, ConfigError):  # a choice that does not go with what is fixed costs its own trials
            continue
        processes.check_single(config.trainer, lambda: _gpus_of_a_job(plan))


def _trainers(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Overrides under which trials have different trainers: a config group that is drawn can bring another one."""
    groups = plan.config.hydra.runtime.choices
    for parameter in plan.space.parameters:
        key = parameter.key.lstrip("+")
        if key not in groups and not key.startswith("trainer."):
            continue
        under = plan.space.fixed if parameter.condition is None else (*plan.space.fixed, parameter.condition)
        for value in ends(parameter.distribution):
            yield (*under, override(parameter.key, value))


def _gpus_of_a_job(plan: Plan) -> int:
    """How many GPUs a job can see. A worker is given one; what a cluster's job has is known only there."""
    if executors.kind(plan) != "inline":
        return 1
    from torch.cuda import device_count  # this process trains, and imports torch anyway

    return device_count()
