"""An ablation at a sweep's end, or alone between two configurations that were named."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.errors import HydraException
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from lightsweep.core import memory
from lightsweep.core.errors import ConfigError, Interrupted, RunFailed
from lightsweep.core.files import check_links, create_folder
from lightsweep.core.overrides import key_of_override
from lightsweep.sweeper import executors, view
from lightsweep.sweeper.ablation import Configuration
from lightsweep.sweeper.ablation_results import Ablation
from lightsweep.sweeper.ablation_runs import FOLDER, MEASURING, AblationRuns
from lightsweep.sweeper.config_changes import Division, divide
from lightsweep.sweeper.controller import Controller, Limits
from lightsweep.sweeper.leases import FileLock, shared_path
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.space import Parameter, Space
from lightsweep.sweeper.status import mean_seconds

_KEY = "hydra.sweeper.ablation"


def check_ablation(plan: Plan) -> None:
    """Check the settings of an ablation before anything is run.

    Raises:
        ConfigError: there are several objectives, or `score_test` would change more than what is scored.
    """
    if not plan.settings.ablate:
        return
    if plan.objectives.several:
        raise ConfigError(f"hydra.sweeper.ablate needs one objective, got {' and '.join(plan.objectives.names)}")
    if plan.settings.ablation["score_test"]:
        scoring, usual = (_keys(lines) for lines in (plan.settings.confirm_overrides, plan.settings.trial_overrides))
        if not scoring or not scoring <= usual:
            raise ConfigError(
                f"{_KEY}.score_test needs hydra.sweeper.confirm_overrides that only switch on what trial_overrides"
                f" switch off, [test=true] and [test=false]; got {plan.settings.confirm_overrides} and"
                f" {plan.settings.trial_overrides}"
            )


def _keys(lines: Sequence[str]) -> set[str]:
    return set(map(key_of_override, lines))


def find_end(plan: Plan, wanted: Any, name: str, complete: Sequence[FrozenTrial]) -> tuple[str, list[str]]:
    """A configuration that a setting names: its name in words, and its overrides beside the fixed ones.

    Args:
        wanted: baseline, best, a trial's number, or overrides.
        name: of the setting.
        complete: trials that may be the best, best first.

    Raises:
        ConfigError: there is no such trial.
    """
    if isinstance(wanted, list):
        names = plan.settings.ablation["names"] or ("the start", "the end")
        return str(names[name == "to"]), wanted
    if wanted == "baseline":
        return wanted, []
    numbers = {trial.number: trial for trial in complete}
    if wanted != "best" and wanted not in numbers:
        raise ConfigError(f"{_KEY}.{name} must be a completed trial of this study, got {wanted}")
    trial = complete[0] if wanted == "best" else numbers[wanted]
    return f"trial {trial.number}", list(plan.space.overrides(trial))


def measure_at_end(
    plan: Plan,
    complete: Sequence[FrozenTrial],
    controller: Controller,
    has_job: Callable[..., bool],
    data: tuple[str, str] | None,
    say: Callable[[str], Any],
) -> None:
    """Measure what ``hydra.sweeper.ablate`` asks for, when the trials of a sweep have ended. What cannot be divided
    costs a line, and not the sweep.

    Args:
        complete: trials that may be the best, best first.
        data: as of `Job`.
    """
    chosen = plan.settings.ablation
    try:
        ends = [find_end(plan, chosen[name], name, complete) for name in ("from", "to")]
        depends = {each.key: str(each.condition).partition("=")[0] for each in plan.space.parameters if each.condition}
        division = _divide(plan, ends, {**depends, **chosen["depends"]})
    except (ConfigError, HydraException) as error:
        say(f"no ablation: {' '.join(str(error).split())}")
        return
    mean = mean_seconds(complete, len(plan.seeds))
    seconds = chosen["seconds"] if mean is None else mean
    try:
        _measure(AblationRuns(plan, division, ends[0][0], ends[1][0], controller, has_job, data, say), seconds)
    except RunFailed as error:
        say(str(error))


def _divide(plan: Plan, ends: Sequence[tuple[str, list[str]]], depends: Mapping[str, str]) -> Division:
    (start, one), (end, other) = ends
    if one == other:
        raise ConfigError(f"both ends of the ablation are {start}: there is nothing to measure")
    division = divide(plan, one, other, depends)
    if len(division.changes) == 1 and not plan.settings.is_ablation_alone:
        raise ConfigError(
            f"{start} and {end} differ in {division.changes[0].name} alone: there is nothing to divide, and"
            " hydra.sweeper.confirm=3 measures the whole difference"
        )
    return division


def _measure(runs: AblationRuns, seconds: float | None) -> Ablation | None:
    """Measure it in this process alone; None where another process of this machine does."""
    lock = FileLock(shared_path(f"ablation {runs.plan.folder.absolute()}"))
    if not lock.acquire(wait=False):
        runs.say(f"another process measures an ablation in {runs.plan.folder}")
        return None
    try:
        check_links(runs.plan.folder / FOLDER, within=runs.plan.folder, deep=False)
        return runs.run(seconds)
    finally:
        lock.release()


class _NoTrials:
    """What the controller asks of a study's queue, where there is no study."""

    def has_completed(self) -> bool:
        return False


def run_alone(plan: Plan) -> float:
    """Measure an ablation between two configurations that were named, without a study; returns what lies between them,
    of leave-one-out the end's mean.

    Raises:
        ConfigError: something is wrong that can be seen before the first run.
        RunFailed: no run was completed.
    """
    check_ablation(plan)
    executors.check_executor(plan)
    if (kind := executors.executor_kind(plan)) == "workers":
        memory.check_processes("hydra.sweeper.n_jobs", plan.settings.n_jobs)
    chosen, shown = plan.settings.ablation, view.View()
    ends = [find_end(plan, chosen[name], name, ()) for name in ("from", "to")]
    division = _divide(plan, ends, chosen["depends"])
    for end in (Configuration(), Configuration(range(len(division.changes)))):
        overrides = (*division.overrides(end), *plan.settings.trial_overrides)
        config = plan.compose((*overrides, f"{plan.settings.seed_key}={MEASURING}"))
        plan.application.check_config(config, overrides, in_this_process=kind == "inline")
        plan.application.check_drawn(config, overrides)
        if name := plan.settings.validate:
            plan.check_with(name, config)
    digest = plan.application.data_digest(plan.folder)
    keys = {key for each in division.changes for key in _keys((*each.start, *each.end))}
    varied = Space(tuple(Parameter(key, key, CategoricalDistribution([0])) for key in sorted(keys)), ())
    is_same = digest is not None and plan.application.reads_same_data(varied, plan.config)
    data = (str(digest), str(plan.folder.absolute())) if is_same else None
    with create_folder(plan.folder):
        executor = executors.open_executor(plan, plan.settings.n_jobs)
    try:
        limits = Limits(None, plan.settings.max_failures)
        queue: Any = _NoTrials()
        controller = Controller(
            queue,
            executor.slots,
            limits,
            start=lambda trial: None,
            ended=lambda number: None,
            show=lambda running: None,
            warn=shown.print,
        )
        runs = AblationRuns(plan, division, ends[0][0], ends[1][0], controller, executor.has_job, data, shown.print)
        result = _measure(runs, chosen["seconds"])
    except Interrupted as error:
        print("interrupted: the same command goes on with the ablation", file=sys.stderr, flush=True)
        error.is_printed = True
        raise
    finally:
        for slot in executor.slots:
            slot.close()
        executor.close()
    whole = result.whole if result else None
    return math.nan if whole is None or whole.test is None else whole.test.difference
