"""The study of a sweep: checked, opened or begun, and given its first trials: the config as it stands, named points."""

import importlib.util
import platform
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GridSampler
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core import files
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import create_folder, remove_leftovers
from lightsweep.sweeper import fixed
from lightsweep.sweeper.leases import FileLock, Lease, Owner, is_alive, renewing, shared_path
from lightsweep.sweeper.optuna_private import grid_choices, set_system_attribute, system_attributes
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Space, applies, grid_of, key_of, values_of
from lightsweep.sweeper.storage import RetryingStorage, connect, is_missing, is_server
from lightsweep.sweeper.trials import check_attributes, is_repeat, number_of, without_repeats


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


MOST_REPEATS = 20  # repeats in a row
_SAMPLERS_OWN = 5  # repeats in a row after which an untried point is drawn
_MOST_POINTS = 10_000  # of a space that is listed
_BEST_KNOWN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)

Params = dict[str, Any]


class Repeats:
    """Finds repeats, and says when there is nothing more to ask for.

    Args:
        points: all points of the space, as Optuna's parameters; None where it cannot be listed.
        since: the first trial whose value holds for the settings of now.
    """

    def __init__(self, points: Sequence[Params] | None, since: int) -> None:
        self.points, self.since = points, since
        self.in_a_row = self._ended = 0

    def earlier(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The trial whose point this one repeats, that which says most; counts the repeats in a row."""
        here = _point(trial.params)
        others = [each for each in self._tried(trials) if each.number != trial.number and _point(each.params) == here]
        # Of two that run at once the first goes on.
        others = [each for each in others if each.state.is_finished() or each.number < trial.number]
        self.in_a_row = self.in_a_row + 1 if others else 0
        return min(others, key=lambda each: _BEST_KNOWN.index(each.state), default=None)

    def proposal(self, trials: Sequence[FrozenTrial]) -> Params | None:
        """An untried point, where the sampler repeats itself; None where it shall suggest one."""
        if self.in_a_row < _SAMPLERS_OWN or self.points is None or _is_queued(trials):
            return None
        untried = self._untried(trials)
        return random.Random(len(trials)).choice(untried) if untried else None  # the same in the same sweep again

    def why_over(self, trials: Sequence[FrozenTrial]) -> str | None:
        """Why no further point is asked for, in words; None where one is. A trial that ends may change the answer."""
        ended = sum(trial.state.is_finished() for trial in without_repeats(trials))
        if ended != self._ended:
            self.in_a_row, self._ended = 0, ended
        if _is_queued(trials):
            return None
        if self.points is not None and not self._untried(trials):
            return f"all {len({_point(point) for point in self.points})} points of the space were tried"
        return (
            f"{MOST_REPEATS} suggestions in a row were points that had been tried"
            if self.in_a_row >= MOST_REPEATS
            else None
        )

    def _tried(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        return [
            trial
            for trial in trials
            if trial.number >= self.since
            and trial.state != TrialState.WAITING
            and not trial.user_attrs.get("interrupted")
            and not is_repeat(trial)
        ]

    def _untried(self, trials: Sequence[FrozenTrial]) -> list[Params]:
        tried = {_point(trial.params) for trial in self._tried(trials)}
        return [point for point in self.points or () if _point(point) not in tried]


def list_points(space: Space) -> list[Params] | None:
    """All points of a discrete space, as Optuna's parameters; None where there are more than can be listed."""
    if space.extend is not None:
        return None
    found: list[tuple[Params, Params]] = [({}, {})]  # by name, and by key
    for parameter in space.parameters:
        values = _values(parameter.distribution)
        if values is None or len(found) * len(values) > _MOST_POINTS:
            return None
        found = [
            (point | {parameter.name: value}, chosen | {parameter.key: value}) if value is not ... else (point, chosen)
            for point, chosen in found
            for value in (values if applies(parameter, chosen) else (...,))
        ]
    return [point for point, _ in found]


def _values(distribution: BaseDistribution) -> Sequence[Any] | None:
    """All values of a dimension; None where they are too many."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if not isinstance(distribution, IntDistribution | FloatDistribution) or distribution.step is None:
        return None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    if count > _MOST_POINTS:
        return None
    return [distribution.low + place * distribution.step for place in range(count)]


def same_point(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _point(one) == _point(other)


def _point(params: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """What is typed for these parameters; of floats as many digits as a step keeps."""
    texts = {name: f"{value:.12g}" if isinstance(value, float) else str(value) for name, value in params.items()}
    return frozenset((key_of(name), text) for name, text in texts.items())


def _is_queued(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state == TrialState.WAITING for trial in trials)


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
            enqueue_first(plan, study)
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
