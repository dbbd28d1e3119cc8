"""The Pareto front of a sweep with several objectives: its files and its verdict."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lightsweep.sweeper import statistics
from lightsweep.sweeper.objectives import Objectives, format_gap
from lightsweep.sweeper.statistics import Confirmed
from lightsweep.sweeper.trials import baseline_of, is_feasible
from lightsweep.sweeper.verdict import Verdict

PARETO = "pareto"  # the column of the rank
_NAMED = 10  # trials that a sentence names
_FIRST_SEEDS = 3
MOST_CONFIRMED = 5  # points of the front, where none is named
_FILE = re.compile(r"best-(\d+)\.yaml")


def point_file(number: int) -> str:
    """The config of a trial on the front."""
    return f"best-{number}.yaml"


def remove_points(folder: Path, front: Sequence[int]) -> None:
    """Remove the configs of trials that are on the front no more."""
    for file in folder.glob("best-*.yaml"):
        if (found := _FILE.fullmatch(file.name)) and int(found[1]) not in front:
            file.unlink(missing_ok=True)


def judge_front(
    trials: Sequence[FrozenTrial], objectives: Objectives, confirmed: Confirmed | None, attributes: Mapping[str, Any]
) -> Verdict | None:
    """What a sweep with several objectives has found; None where no trial was completed.

    Args:
        attributes: of the study.
    """
    ranks, front = objectives.pareto_ranks(trials), objectives.front(trials)
    if not front:
        return None
    numbers, baseline = [trial.number for trial in front], baseline_of(trials)
    is_alone = baseline is not None and numbers == [baseline.number]
    infeasible = sum(trial.state == TrialState.COMPLETE and not is_feasible(trial) for trial in trials)
    of = f"{len(ranks)} completed trials" + " that violate no constraint" * bool(infeasible)
    lines = [f"The Pareto front has {len(front)} of {of}: {_list(numbers)}."]
    if is_alone:
        count = len(ranks) - 1
        others = f"none of {count} others is better in anything" if count else "no other was completed"
        lines = [f"The Pareto front is the baseline alone (trial {numbers[0]}): {others}."]
    elif baseline is not None and baseline.number in ranks:
        lines.append(_place_baseline(front, baseline, objectives))
    outcome, content = "baseline" if is_alone else "front", dict[str, Any](front=numbers)
    if confirmed is not None and confirmed.trial is None:
        outcome = "confirmed"
        lines += [_compare(name, confirmed, objectives) for name in confirmed.scores if name != "baseline"]
    elif not is_alone:
        content["confirm_with"] = _FIRST_SEEDS
        lines.append(
            "The best of many trials look better than they are. To know how good they are: the same command with"
            f" hydra.sweeper.confirm={_FIRST_SEEDS}, which runs the baseline and at most"
            f" {MOST_CONFIRMED} points of the front with fresh seeds."
        )
    changed = attributes.get("changed_at", 0)
    if type(changed) is int and any(number < changed for number in ranks):
        lines.append(f"Data or settings changed before trial {changed}: values of earlier trials do not compare.")
    return Verdict(outcome, tuple(lines), content)


def _list(numbers: Sequence[int]) -> str:
    named = [str(number) for number in numbers[:_NAMED]]
    if len(numbers) > _NAMED:
        named.append(f"{len(numbers) - _NAMED} more")
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _place_baseline(front: Sequence[FrozenTrial], baseline: FrozenTrial, objectives: Objectives) -> str:
    name = f"The baseline (trial {baseline.number}, {objectives.format_values(baseline.values)})"
    if baseline.number in [trial.number for trial in front]:
        return f"{name} is on it."
    own = objectives.losses(baseline)
    better = [trial.number for trial in front if (objectives.losses(trial) <= own).all()]
    which = f"trial {better[0]} is" if len(better) == 1 else f"trials {_list(better)} are"
    return f"{name} is not on it: {which} as good in every objective, and better in one."


def _compare(name: str, confirmed: Confirmed, objectives: Objectives) -> str:
    """A point against the baseline, objective by objective."""
    parts = []
    for objective, direction in zip(objectives.names, objectives.directions, strict=True):
        score = confirmed.score(objective)
        best, baseline = (confirmed.values(each, score or "") for each in (name, "baseline"))
        if score is None or not best or not baseline:
            parts.append(f"{objective} is not known")
            continue
        gap = fmean(best) - fmean(baseline)
        better = "better" if (gap > 0) == (direction == "maximize") else "worse"
        result = statistics.welch_test(best, baseline)
        size = f"{score} {format_gap(score, gap)}"
        if gap == 0.0 and result.interval is None:
            parts.append(f"{score} is the same")
        elif min(len(best), len(baseline)) > 1 and result.interval is None:  # as a count of parameters has it
            parts.append(f"{size}, {better}, the same in every run")
        elif result.interval is None:
            parts.append(f"{size}, of single runs")
        else:
            low, high = (format_gap(score, end).removesuffix(" points") for end in result.interval)
            is_known = not result.interval[0] <= 0.0 <= result.interval[1]
            known = better if is_known else "which noise alone may give"
            parts.append(f"{size}, {known} (95 % interval {low} to {high})")
    runs = max((len(values) for values in confirmed.scores[name].values()), default=0)
    seeds = f"{runs} fresh seed{'s' * (runs != 1)}"
    return f"Trial {name.removeprefix('best-')} against the baseline, {seeds}: {'; '.join(parts)}."
