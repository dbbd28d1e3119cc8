"""The study of a sweep: its plan is checked before anything is written, then it is opened or started."""

import platform
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ValidationError
from optuna.trial import TrialState

from lightsweep.core import files, memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import create_folder, remove_leftovers
from lightsweep.core.overrides import format_override
from lightsweep.core.text import first_line
from lightsweep.sweeper import executors, places, storage, warm_start
from lightsweep.sweeper.ablation_session import check_ablation
from lightsweep.sweeper.config_differences import CONFIG, check_unchanged, fixed_settings, keep_settings
from lightsweep.sweeper.confirmation import FIRST_SEED
from lightsweep.sweeper.constraints import check_constraints
from lightsweep.sweeper.endings import Endings
from lightsweep.sweeper.leases import FileLock, Lease, Owner, is_alive, renewing, shared_path
from lightsweep.sweeper.objectives import check_objectives, check_same_objectives
from lightsweep.sweeper.optuna_access import RetryingStorage, set_system_attribute, system_attributes
from lightsweep.sweeper.plan import Plan, check_fixed_lists, enqueue_first, enqueued_points
from lightsweep.sweeper.samplers import check_pruner, check_sampler, make_sampler
from lightsweep.sweeper.space import Space, ends
from lightsweep.sweeper.storage import connect, is_missing, is_server
from lightsweep.sweeper.trials import OPENINGS, OWNER, PREFIX, check_attributes, number_of
from lightsweep.sweeper.warm_start import Earlier


def open_study(plan: Plan, earlier: Sequence[Earlier] = ()) -> tuple[Plan, optuna.Study, int]:
    """Open or start the study; one sweeper at a time.

    Args:
        earlier: what the sampler is to know beside.

    Returns:
        The plan, whose parameters may have other names, with remarks on `earlier`; the study; and its total of trials.

    Raises:
        ConfigError: the study was started with other settings, or cannot be reached.
    """
    files.check_links(plan.folder, within=plan.folder, deep=False)
    files.check_links(plan.folder / "confirm", within=plan.folder, deep=False)
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
        remove_leftovers(plan.folder)  # also of lost trials, whose folders nobody writes again
        kept = plan.application.kept_overrides(study.user_attrs.get(CONFIG) or {}, plan.config, plan.space.fixed)
        plan = plan.in_space(replace(plan.space, fixed=(*plan.space.fixed, *kept)))
        now = fixed_settings(plan)
        check_unchanged(study, now, plan)  # before anything is written
        _check_hosts(plan, study)
        with _opening_lease(study):
            check_unchanged(study, now, plan)  # another sweeper may have started it meanwhile
            keep_settings(study, now, plan.application)
            if study.metric_names is None:
                study.set_metric_names(list(plan.objectives.names))  # for optuna-dashboard
            openings = system_attributes(study).get(OPENINGS, 0)  # before this one
            set_system_attribute(study, OPENINGS, openings + 1)
            plan = plan.in_space(plan.space.renamed_for(study.get_trials(deepcopy=False)))
            study.sampler, n_trials = make_sampler(plan, trials + openings)
            enqueue_first(plan, study)
            lines = warm_start.begin(plan, study, earlier, now[CONFIG])
            plan = replace(plan, remarks=(*plan.remarks, *lines))
    return plan, study, n_trials


@contextmanager
def _opening_lease(study: optuna.Study) -> Iterator[None]:
    """One sweeper at a time, of all machines: what a study is started with is written once."""
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
    """Check that no other machine uses a study that is a file: on most network disks locks hold on one machine only.

    Raises:
        ConfigError: a sweeper of another machine does.
    """
    if is_server(plan.address):
        return
    marks = [mark for name, mark in system_attributes(study).items() if name.startswith(PREFIX)]
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for mark in (*marks, *(trial.user_attrs.get(OWNER) for trial in running)):
        if isinstance(mark, dict) and mark["host"] != platform.node() and is_alive(mark):
            raise ConfigError(
                f"{plan.storage_key}: the study {study.study_name!r} is used by a sweep on {mark['host']}; several"
                " machines need a database server, hydra.sweeper.storage=postgresql://…"
            )


@contextmanager
def _folder(plan: Plan) -> Iterator[None]:
    """The sweep's folder, removed again where the sweep is refused before anything is in it."""
    with ExitStack() as stack:
        with _naming_key("hydra.sweep.dir", plan.folder):
            stack.enter_context(create_folder(plan.folder))
        yield


@contextmanager
def _naming_key(key: str, path: str | Path) -> Iterator[None]:
    """Name the key of a path that cannot be written."""
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
            study_name=name,
            storage=storage,
            pruner=plan.pruner,
            directions=plan.objectives.directions,
            load_if_exists=True,
        )
    check_same_objectives(study, plan)
    return study


def _count(plan: Plan) -> int:
    if is_missing(plan.address):
        return 0
    studies = optuna.get_all_study_summaries(_connected(plan), include_best_trial=False)
    return next((study.n_trials for study in studies if study.study_name == plan.address.study), 0)


def _connected(plan: Plan) -> RetryingStorage:
    with _naming_key(plan.storage_key, plan.settings.storage or plan.folder):
        return connect(plan.address.url)


def check_plan(plan: Plan) -> None:
    """Check that a trial can be composed: at the baseline, at a point inside, and under each condition.

    Raises:
        HydraException: a key or a choice does not exist.
        ConfigError: a fixed value, the metric, the storage, the seed's key, the sampler or the pruner makes no sense.
    """
    kind = executors.executor_kind(plan)
    storage.check_study_file(plan.storage_key, plan.address.url, workers=kind in ("workers", "launcher"))
    executors.check_executor(plan)
    places.check_places(plan, kind)
    if kind == "workers":  # jobs of a cluster have memory elsewhere
        memory.check_processes("hydra.sweeper.n_jobs", min(plan.settings.n_jobs, plan.settings.n_trials))
    for name in plan.objectives.names:
        plan.application.check_space(plan.space, name)
    check_fixed_lists(plan)
    in_this_process = kind == "inline"
    for condition in ([], *([each] for each in plan.space.conditions())):
        _check_composes(plan, (*plan.space.fixed, *plan.settings.trial_overrides, *condition), in_this_process)
    if plan.settings.confirm:
        plan.compose((*plan.space.fixed, *plan.settings.confirm_overrides))
    check_objectives(plan)
    check_ablation(plan)
    enqueued_points(plan)
    check_sampler(plan)
    check_pruner(plan)
    check_constraints(plan)
    Endings.of(plan)
    plan.application.check_plan(plan, in_this_process=in_this_process)
    _check_seed_key(plan)


def _check_composes(plan: Plan, overrides: Sequence[str], in_this_process: bool) -> None:
    """Check that every key that applies under these overrides exists, and that fixed values are valid."""
    config = plan.compose(overrides)
    plan.application.check_config(config, overrides, in_this_process=in_this_process)
    _check_types(plan.space, config, config.hydra.runtime.choices)
    point = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    # A drawn choice of a group may lack a condition's keys: only the condition itself is composed.
    drawn = [
        format_override(parameter.key, parameter.suggest(point))
        for parameter in plan.space.parameters
        if parameter.key not in plan.config.hydra.runtime.choices
        and not any(line.startswith(f"{parameter.key}=") for line in overrides)  # the condition's own key
        and (parameter.condition is None or parameter.condition in overrides)
    ]
    config = plan.compose((*overrides, *drawn))
    plan.application.check_drawn(config, (*overrides, *drawn))
    if name := plan.settings.validate:
        plan.check_with(name, config)


def _check_types(space: Space, config: DictConfig, groups: Container[str]) -> None:
    """Check that a typed config allows what is searched: all choices, and the ends of ranges.

    Raises:
        ConfigError: it allows one not; names the key.
    """
    tried = config.copy()
    for parameter in [each for each in space.parameters if each.key not in groups]:
        for value in ends(parameter.distribution):
            written = OverridesParser.create().parse_override(format_override(parameter.key, value)).value()
            try:
                with suppress(ConfigKeyError, ConfigAttributeError):  # of another choice
                    OmegaConf.update(tried, parameter.key, written, merge=True)
            except ValidationError as error:
                rule = "must have values that the config's type allows"
                raise ConfigError(f"{parameter.key} {rule}: {first_line(str(error))}") from error


def _check_seed_key(plan: Plan) -> None:
    """Check that a run with another seed can be composed.

    Raises:
        ConfigError: there is no such key.
    """
    key, settings = plan.settings.seed_key, plan.settings
    if key is None or not (settings.seeds or settings.confirm or settings.ablate):
        return
    try:
        plan.compose((*plan.space.fixed, f"{key}={FIRST_SEED}"))
    except HydraException as error:
        raise ConfigError(f"hydra.sweeper.seed_key={key}: no config has this key") from error
