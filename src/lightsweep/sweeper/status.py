"""What a study tells those who look at it from outside: its sweep, and how far it is.

A sweep writes what it is as one attribute of its study, so that a report needs no folder and no app. A study may be
somebody else's, or none of this program's: what is missing or of another kind is unknown.
"""

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.leases import LOST_AFTER, is_alive
from lightsweep.sweeper.objectives import Objectives, objectives_of, values_by_name
from lightsweep.sweeper.optuna_access import system_attributes
from lightsweep.sweeper.trials import (
    OVER,
    OWNER,
    PREFIX,
    SWEEP,
    count_ended,
    is_interrupted,
    is_untried,
    params_of,
    value_of,
    without_repeats,
)
from lightsweep.sweeper.view import seconds_left

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan

_CONFIG_NAME = ("--config-name", "-cn")


def mean_seconds(trials: Sequence[FrozenTrial], seeds: int) -> float | None:
    """How long one training took; None where no trial says so.

    Args:
        seeds: runs of a trial, one after the other; 0 and 1 are one run.
    """
    seconds = [trial.duration.total_seconds() for trial in trials if trial.duration]
    return fmean(seconds) / max(1, seeds) if seconds else None


@dataclass(frozen=True)
class Sweep:
    """What a study says of the sweep that wrote it.

    Args:
        metric: the name of the value that is optimised.
        program: the command that runs the app, without overrides; empty where it is unknown.
        n_trials: how many are to end; None where it is unknown.
        overrides: that all trials share.
        search: sampler, pruner and other settings, by name.
    """

    metric: str = "value"
    program: str = ""
    n_trials: int | None = None
    overrides: tuple[str, ...] = ()
    search: Mapping[str, Any] = field(default_factory=dict)


def keep_sweep(study: optuna.Study, plan: "Plan", n_trials: int) -> None:
    """Write the attribute, where it is not so already."""
    settings = plan.settings
    search = {"sampler": _describe_node(settings.sampler), "pruner": _describe_node(settings.pruner)}
    kept = ("seed_key", "seeds", "confirm", "timeout", "trial_timeout", "target", "patience", "constraints")
    limits = {"n_trials": n_trials} | {name: getattr(settings, name) for name in kept}
    program = shlex.join([*shlex.split(plan.application.program), *_config_name(sys.argv[1:])])
    metric, pruned = plan.objectives.prune_on or plan.metric, {"prune_on": plan.objectives.prune_on}
    pruned = pruned if plan.objectives.several else {}
    described = asdict(Sweep(metric, program, n_trials, plan.space.fixed, search | limits | pruned))
    described["overrides"] = list(plan.space.fixed)  # as JSON gives it back
    if study.user_attrs.get(SWEEP) != described:
        study.set_user_attr(SWEEP, described)


def _describe_node(node: DictConfig) -> str:
    """``TPESampler (seed=1)``."""
    contents: Any = OmegaConf.to_container(node, resolve=True)
    arguments = [f"{key}={value}" for key, value in contents.items() if key[0] != "_" and value is not None]
    name = str(contents.get("_target_")).rpartition(".")[2]
    return f"{name} ({', '.join(arguments)})" if arguments else name


def _config_name(typed: Sequence[str]) -> list[str]:
    """The option of Hydra that chose another primary config."""
    for index, part in enumerate(typed):
        name, sign, value = part.partition("=")
        if name in _CONFIG_NAME:
            return [_CONFIG_NAME[0], value if sign else next(iter(typed[index + 1 :]), "")]
    return []


def read_sweep(study: optuna.Study) -> Sweep:
    """What a study says of its sweep.

    Raises:
        ConfigError: it says what no sweep has written.
    """
    kept = study.user_attrs.get(SWEEP, {})
    names = study.metric_names or []
    try:
        program = _checked_program(kept.get("program", ""))
        overrides, search = kept.get("overrides", []), kept.get("search", {})
        metric, n_trials = kept.get("metric", names[0] if len(names) == 1 else "value"), kept.get("n_trials")
        if not (
            (isinstance(metric, str) and metric)
            and (n_trials is None or (type(n_trials) is int and n_trials > 0))
            and (isinstance(overrides, list) and all(isinstance(each, str) for each in overrides))
            and isinstance(search, dict)
        ):
            raise ValueError("values of another kind")
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"the study {study.study_name!r} has an attribute {SWEEP} that this program did not write ({error})"
        ) from error
    return Sweep(metric, program, n_trials, tuple(overrides), search)


def _checked_program(command: Any) -> str:
    """The command where it runs one script, one module or one program, and does no more.

    People copy it to a shell from the report of a study that may be somebody else's.
    """
    words = shlex.split(command) if isinstance(command, str) else []
    rest = words[: words.index(_CONFIG_NAME[0])] if _CONFIG_NAME[0] in words else words
    if rest[:2] == ["python", "-m"]:
        rest = rest[2:]
    elif rest[:1] == ["python"]:
        rest = rest[1:]
    is_one = len(rest) == 1 and not rest[0].startswith("-") and len(words) - len(rest) <= 4 and command.isprintable()
    if command != "" and not is_one:
        raise ValueError("the command of an app is `python FILE`, `python -m MODULE` or `PROGRAM`")
    return shlex.join(words)


@dataclass(frozen=True)
class Status:
    """How far a sweep is.

    Args:
        state: running; where no sweeper is: finished, failed (the sweep ended with an error), stopped (trials are
            missing) or empty.
        why: the reason of a sweep that failed, or ended before its total; empty elsewhere.
        counts: trials by state; repeats of a point are left out.
        ended: trials that count towards n_trials.
        objectives: minimize or maximize, by name.
        best: number, value and params of the best complete trial that violates no constraint; None where there
            is none, or several objectives.
        front: number, values by objective and params of each trial on the Pareto front; None of one objective.
        running: number, seconds, step and value of each trial that runs.
        seconds_left: about; None where it is unknown.
    """

    study: str
    state: str
    why: str
    counts: Mapping[str, int]
    ended: int
    n_trials: int | None
    metric: str
    direction: str
    objectives: Mapping[str, str]
    best: Mapping[str, Any] | None
    front: Sequence[Mapping[str, Any]] | None
    running: Sequence[Mapping[str, Any]]
    seconds_left: float | None


def read_status(study: optuna.Study) -> Status:
    """The state of a study now; nothing is written.

    Raises:
        ConfigError: an attribute is not what this program writes.
    """
    sweep, trials = read_sweep(study), without_repeats(study.get_trials(deepcopy=False))
    is_ours, now = SWEEP in study.user_attrs, datetime.now()
    alive = [trial for trial in trials if trial.state == TrialState.RUNNING and _is_running(trial, is_ours, now)]
    ended, over = count_ended(trials), study.user_attrs.get(OVER, {})
    is_over = over.get("ended") == ended
    if alive or _is_held(study):
        state = "running"
    elif is_over and over.get("failed") is True:
        state = "failed"
    elif not trials:
        state = "empty"
    else:
        enough = sweep.n_trials is not None and ended >= sweep.n_trials
        state = "finished" if enough or is_over else "stopped"
    left = None
    if state == "running" and sweep.n_trials is not None:
        others = [trial for trial in trials if trial.state != TrialState.RUNNING]
        left = seconds_left([*others, *alive], sweep.n_trials, now)
    objectives = objectives_of(study)
    best = None if objectives.several else next(iter(objectives.ranked_complete(trials)), None)
    front = [_describe_point(trial, objectives) for trial in objectives.front(trials)]
    return Status(
        study.study_name,
        state,
        str(over.get("why", "")) if state in ("finished", "failed") and is_over else "",
        _count(trials, alive),
        ended,
        sweep.n_trials,
        sweep.metric,
        objectives.directions[0],
        dict(zip(objectives.names, objectives.directions, strict=True)),
        None if best is None else {"trial": best.number, "value": best.value, "params": params_of(best)},
        front if objectives.several else None,
        [_describe_running(trial, now) for trial in alive],
        left,
    )


def _is_running(trial: FrozenTrial, is_ours: bool, now: datetime) -> bool:
    """Whether the sweeper of a trial lives. Of another program's trial nobody can tell."""
    if mark := trial.user_attrs.get(OWNER):
        return is_alive(mark)
    started = trial.datetime_start or now
    return not is_ours or (now - started).total_seconds() < LOST_AFTER  # it is marked as soon as it is claimed


def _is_held(study: optuna.Study) -> bool:
    """Whether a live sweeper holds a lease of the study, such as that of its presence."""
    marks = [mark for name, mark in system_attributes(study).items() if name.startswith(PREFIX)]
    return any(isinstance(mark, dict) and mark["held"] and is_alive(mark) for mark in marks)


def _count(trials: Sequence[FrozenTrial], alive: Sequence[FrozenTrial]) -> dict[str, int]:
    states = [trial.state for trial in trials if not (is_interrupted(trial) or is_untried(trial))]
    return {
        "completed": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
        "running": len(alive),
        "waiting": states.count(TrialState.WAITING),
        "infeasible": sum(map(is_untried, trials)),
        "interrupted": sum(map(is_interrupted, trials)) + states.count(TrialState.RUNNING) - len(alive),
    }


def _describe_point(trial: FrozenTrial, objectives: Objectives) -> dict[str, Any]:
    return {"trial": trial.number, "values": values_by_name(objectives, trial), "params": params_of(trial)}


def _describe_running(trial: FrozenTrial, now: datetime) -> dict[str, Any]:
    seconds = (now - trial.datetime_start).total_seconds() if trial.datetime_start else math.nan
    return {
        "trial": trial.number,
        "seconds": max(0.0, round(seconds, 1)) if math.isfinite(seconds) else None,
        "step": trial.last_step,
        "value": value_of(trial),
        "params": params_of(trial),
    }
