"""One call of the sweeper: read the settings, open the study, run its trials, publish, confirm."""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import optuna
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GridSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from lightsweep import checks, preflight
from lightsweep.build import build, explain
from lightsweep.errors import ConfigError, RunFailed
from lightsweep.files import write_whole
from lightsweep.sweep import best_config, confirmation, fixed, leaderboard, space, view
from lightsweep.sweep.controller import Controller, Limits
from lightsweep.sweep.ledger import Ledger
from lightsweep.sweep.locks import FileLock, shared_path
from lightsweep.sweep.slots import InlineSlot, LauncherSlot, Slot, WorkerSlot
from lightsweep.sweep.space import Space
from lightsweep.sweep.storage import JOURNAL, Address, connect
from lightsweep.sweep.trial_run import TrialRun
from lightsweep.sweep.worker import Workplace, reference


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
        checks.whole("hydra.sweeper.n_trials", self.n_trials, "[1, inf)")
        checks.whole("hydra.sweeper.n_jobs", self.n_jobs, "[0, inf)")
        checks.whole("hydra.sweeper.retries", self.retries, "[0, inf)")
        checks.whole("hydra.sweeper.max_failures", self.max_failures, "[1, inf)")
        checks.whole("hydra.sweeper.confirm", self.confirm, "[0, inf)")
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
        checks.require(unique, "hydra.sweeper.seeds", "be a list of different whole numbers >= 0", self.seeds)


class Session:
    """A sweep from the first check to the last line.

    Args:
        config: the composed config, with its ``hydra`` node.
        arguments: the command line's overrides of the job.
    """

    def __init__(
        self,
        settings: Settings,
        config: DictConfig,
        hydra_context: HydraContext,
        function: TaskFunction,
        arguments: Sequence[str],
    ) -> None:
        self.settings, self.config, self.context, self.function = settings, config, hydra_context, function
        self.loader = hydra_context.config_loader
        self.folder = Path(config.hydra.sweep.dir)
        self.metric = str(config.monitor.metric)
        self.direction = settings.direction or ("maximize" if config.monitor.mode == "max" else "minimize")
        self.seeds: list[int] = settings.seeds or []
        extend = _extension(settings.custom_search_space, config)
        self.space: Space = space.parse(settings.params or {}, settings.when or {}, arguments, extend)
        self.base = (*self.space.fixed, "test=false")
        self.pruner = _pruner(settings.pruner, self.seeds)
        place = settings.storage or str(self.folder.absolute() / JOURNAL)
        self.address = Address(place, settings.study_name)
        self.best: int | None = None

    def run(self) -> float:
        """Run what is missing of the study; returns the best value.

        Raises:
            ConfigError: something is wrong that can be seen before the first trial.
            RunFailed: trials failed, too many in a row or all.
            Interrupted: a signal came.
        """
        baseline = self._check()
        self._sampler(0)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(shared_path(f"create {self.address.place} {self.address.study}")):
            study, n_trials = self._open_study()
            self._enqueue_first(study, baseline)
        self.ledger = Ledger(study, self.address, n_trials=n_trials, retries=self.settings.retries)
        slots = self._slots()
        self.view = view.View(workers=len(slots))
        controller = Controller(
            self.ledger,
            slots,
            begin=self._begin,
            limits=Limits(self.settings.timeout, self.settings.max_failures),
            changed=self._trial_ended,
            look=lambda running: self.view.update(self._progress(running)),
            say=self.view.say,
        )
        try:
            self.view.say(f"study {study.study_name} in {self.folder}")
            self.view.open()
            try:
                controller.run_trials()
            finally:
                self.view.close()
                self._publish()
            complete = self._complete()
            if not complete:
                raise RunFailed(self._all_failed())
            self.view.console.print(view.ten_best(self._progress({})))
            if self.settings.confirm:
                self._confirm(controller)
            self._tell_command()
        finally:
            for slot in slots:
                slot.close()
            self.ledger.close()
        return cast(float, complete[0].value)

    # --- before the first trial

    def _check(self) -> dict[str, Any]:
        """Compose the baseline and one point under each condition; returns the baseline's values by key."""
        self._check_composes(self.space.fixed)
        for condition in self.space.conditions():
            self._check_composes((*self.space.fixed, condition))
        baseline = self._compose(self.space.fixed)
        keys = list(dict.fromkeys(parameter.key for parameter in self.space.parameters))
        return space.values_of(baseline, keys, baseline.hydra.runtime.choices)

    def _check_composes(self, overrides: Sequence[str]) -> None:
        """Every key that applies under these overrides exists, and what is fixed makes sense."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        point = study.ask()
        chosen = [override for override in overrides if "=" in override]
        drawn = [
            f"{parameter.key}={point._suggest(parameter.name, parameter.distribution)}"
            for parameter in self.space.parameters
            if (parameter.condition is None and not any(c.startswith(f"{parameter.key}=") for c in chosen))
            or parameter.condition in chosen
        ]
        preflight.check(self._compose(overrides), list(overrides))
        # A drawn choice may not go with a condition's keys, so those are composed with the condition alone.
        self._compose((*overrides, *[line for line in drawn if not _is_group(line, self.config)]))

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        try:
            return self.loader.load_sweep_config(self.config, list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            if isinstance(error, HydraException):
                raise  # says which key, and what was meant
            raise explain(error, "hydra.sweeper.params") from error

    def _open_study(self) -> tuple[optuna.Study, int]:
        storage = connect(self.address.place)
        names = {summary.study_name for summary in storage.get_all_studies()}
        trials = (
            len(storage.get_all_trials(storage.get_study_id_from_name(self.address.study), deepcopy=False))
            if (self.address.study in names)
            else 0
        )
        if trials == 0 and any(self.folder.glob("trial-*")):
            raise ConfigError(
                f"hydra.sweep.dir={self.folder} holds trials that the study {self.address.study!r} does not know;"
                " take another hydra.sweeper.study_name, or move them away"
            )
        sampler, n_trials = self._sampler(trials)
        study = optuna.create_study(
            study_name=self.address.study,
            storage=storage,
            sampler=sampler,
            pruner=self.pruner,
            direction=cast(Literal["minimize", "maximize"], self.direction),
            load_if_exists=True,
        )
        if study.direction.name.lower() != self.direction:
            raise ConfigError(
                f"hydra.sweeper.direction must be {study.direction.name.lower()}, as the study"
                f" {study.study_name!r} was begun, got {self.direction!r}"
            )
        fixed.remember(
            study,
            self.space,
            self._compose(self.space.fixed),
            self.settings.seeds,
            allow_change=self.settings.allow_changed_space,
        )
        self.space = self.space.beside(study.get_trials(deepcopy=False))
        return study, n_trials

    def _sampler(self, trials: int) -> tuple[BaseSampler, int]:
        """The sampler, and the number of trials: a grid has no more than its points."""
        node = self.settings.sampler.copy()
        OmegaConf.set_readonly(node, False)
        if node._target_.endswith("CmaEsSampler") and importlib.util.find_spec("cmaes") is None:
            raise ConfigError("hydra/sweeper/sampler=cmaes needs the package cmaes (pip install cmaes)")
        if node.get("seed") is not None:
            node.seed += trials  # a study that is gone on with must not draw its first points again
        sampler = build(node, "hydra.sweeper.sampler", ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*"))
        if not (isinstance(sampler, partial) and sampler.func is GridSampler):
            return sampler, self.settings.n_trials
        grid = space.grid_of(self.space, OptunaSweeperImpl._to_grid_sampler_choices)
        points = 1
        for values in grid.values():
            points *= len(values)
        return sampler(grid), min(self.settings.n_trials, points)

    def _enqueue_first(self, study: optuna.Study, baseline: Mapping[str, Any]) -> None:
        """The config as it stands is the first trial, then come the points that the user named."""
        if study.user_attrs.get("enqueued"):
            return
        if not isinstance(study.sampler, GridSampler):  # which visits its own points and no others
            point, remarks = self.space.point(baseline)
            note = {"note": "; ".join(remarks)} if remarks else {}
            study.enqueue_trial(point, user_attrs={"baseline": True, **note}, skip_if_exists=True)
        for wanted in self.settings.enqueue or []:
            study.enqueue_trial(self._wanted(wanted), user_attrs={"note": "enqueued"}, skip_if_exists=True)
        study.set_user_attr("enqueued", True)

    def _wanted(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        unknown = set(wanted) - {parameter.key for parameter in self.space.parameters}
        if unknown:
            raise ConfigError(f"hydra.sweeper.enqueue must name searched keys, got {', '.join(sorted(unknown))}")
        point, remarks = self.space.point(wanted)
        if remarks:
            raise ConfigError(f"hydra.sweeper.enqueue must lie inside the space: {'; '.join(remarks)}")
        return point

    def _slots(self) -> list[Slot]:
        n_jobs = self.settings.n_jobs
        place = Workplace(self.config, self.context, reference(self.function), tuple(self.settings.preload))
        if self.config.hydra.runtime.choices.get("hydra/launcher", "basic") != "basic":
            return [LauncherSlot(place, self.function) for _ in range(max(1, n_jobs))]
        if n_jobs == 0:
            return [InlineSlot(place)]
        threads = max(1, len(os.sched_getaffinity(0)) // n_jobs)
        # No more workers than trials: they would import torch for nothing.
        return [WorkerSlot(place, index=index, threads=threads) for index in range(min(n_jobs, self.ledger.n_trials))]

    # --- while it runs

    def _begin(self, trial: Trial) -> TrialRun:
        overrides = (*self.base, *self.space.suggest(trial))
        return TrialRun(trial, overrides, self.seeds, self.address, self.pruner, self.folder)

    def _trial_ended(self, number: int) -> None:
        self._publish()
        self.view.trial_ended(self.ledger.trials()[number], self._progress({}))

    def _progress(self, running: Mapping[int, float]) -> view.Progress:
        trials = self.ledger.trials()
        direction = self.ledger.study.direction
        return view.Progress(trials, running, self.ledger.n_trials, direction, self.space, self.metric)

    def _complete(self) -> list[FrozenTrial]:
        complete = [trial for trial in self.ledger.trials() if trial.state == TrialState.COMPLETE]
        return leaderboard.ranked(complete, self.ledger.study.direction)

    def _publish(self) -> None:
        """Write what the study knows: leaderboard, best parameters, best config."""
        with self.ledger.writing():
            trials = self.ledger.trials()
            table = leaderboard.rows(trials, self.space, self.ledger.study.direction)
            leaderboard.write(self.folder, table, title=f"{self.address.study}: {self.metric}")
            complete = self._complete()
            if not complete or complete[0].number == self.best:
                return
            best = complete[0]
            found = {space.key_of(name): value for name, value in best.params.items()}
            write_whole(
                self.folder / "optimization_results.yaml",
                OmegaConf.to_yaml({"name": "optuna", "best_params": found, "best_value": best.value}),
            )
            comment = f"trial {best.number} of the sweep {self.address.study}: {self.metric} {best.value:.4f}"
            overrides = (*self.space.fixed, *self.space.overrides(best))
            best_config.write(self.folder, self.loader, self.config, overrides, comment=comment)
            self.best = best.number

    # --- when it is over

    def _confirm(self, controller: Controller) -> None:
        if not self.ledger.may_confirm():
            self.view.say("the confirmation is run by another sweeper of this study")
            return
        best = self._complete()[0]
        configurations = {
            "best": (*self.space.fixed, *self.space.overrides(best)),
            "baseline": self.space.fixed,
        }
        used = [*self.seeds, int(self.config.seed)]
        seeds = confirmation.fresh_seeds(self.settings.confirm, used)
        finished, missing = confirmation.jobs(self.folder, configurations, seeds)
        self.view.say(f"confirmation: {len(missing)} runs with fresh seeds ({len(finished)} are there already)")
        for job in missing:
            confirmation.set_aside(self.folder / job.folder)
        controller.run_jobs(
            missing, lambda job, outcome: self.view.say(f"{job.folder} {outcome.state} {outcome.error or ''}".strip())
        )
        summary = confirmation.summarise(self.folder, configurations, seeds, best.number)
        for line in confirmation.lines(summary, configurations):
            self.view.say(line)
        with (self.folder / "leaderboard.md").open("a", encoding="utf-8") as file:
            file.write("\n" + "\n\n".join(confirmation.lines(summary, configurations)) + "\n")

    def _tell_command(self) -> None:
        self.view.say(f"train the best one: python src/train.py --config-dir {self.folder} --config-name best")

    def _all_failed(self) -> str:
        trials = [trial for trial in self.ledger.trials() if trial.state.is_finished()]
        errors = [f"trial {trial.number}: {trial.user_attrs.get('error', trial.state.name)}" for trial in trials[-3:]]
        return f"none of {len(trials)} trials was completed: {'; '.join(errors) or 'nothing was run'}"


def _is_group(override: str, config: DictConfig) -> bool:
    return override.partition("=")[0] in config.hydra.runtime.choices


def _pruner(node: DictConfig, seeds: Sequence[int]) -> BasePruner:
    pruner = build(node, "hydra.sweeper.pruner", ("optuna.pruners.*",))
    if isinstance(pruner, WilcoxonPruner) and len(seeds) < 2:
        raise ConfigError("hydra/sweeper/pruner=wilcoxon needs hydra.sweeper.seeds with at least two seeds")
    return pruner


def _extension(target: str | None, config: DictConfig) -> Callable[[Trial], None] | None:
    """The user's ``custom_search_space``, called as the official sweeper calls it."""
    if target is None:
        return None
    try:
        function = instantiate({"_target_": target, "_partial_": True})
    except HydraException as error:
        raise explain(error, "hydra.sweeper.custom_search_space") from error
    return lambda trial: function(config, trial)
