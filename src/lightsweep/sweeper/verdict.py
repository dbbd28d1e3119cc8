"""What a sweep has found, in words: whether the best trial is better than the baseline; of several objectives, what is
on the Pareto front.

Best and baseline are compared over their confirmations, runs with fresh seeds: the best of many trials is also the
luckiest one, so its own value says too much. Welch's t-test takes the two as independent. They share their seeds:
where a seed's luck carries over from one configuration to the other, the interval is wider than it need be, and never
too narrow. A paired interval would have half the degrees of freedom, which are few.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.metrics import format_difference
from lightsweep.sweeper import statistics
from lightsweep.sweeper.objectives import Objectives, format_gap
from lightsweep.sweeper.statistics import Confirmed, Search, noise_of_trials
from lightsweep.sweeper.trials import baseline_of, is_feasible

MOST_CONFIRMED = 5  # points of the front, where none is named
_POINT_FILE = re.compile(r"best-(\d+)\.yaml")
_NAMED = 5  # trials that a sentence names; the others are counted
_NAMED_OF_FRONT = 10
_FIRST_SEEDS = 3  # seeds to confirm with, where nothing shows how many it takes
_Numbers = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Args:
        outcome: better, worse or unclear, after a confirmation; unconfirmed; or baseline, where that is the best.
        lines: a sentence or two each, the answer first.
        numbers: those in the sentences; confirm_with: how many seeds to confirm with, where that would tell more.
    """

    outcome: str
    lines: tuple[str, ...]
    numbers: Mapping[str, Any]

    @property
    def content(self) -> dict[str, Any]:
        return {"outcome": self.outcome, **self.numbers, "lines": list(self.lines)}


def judge(found: Search, confirmed: Confirmed | None) -> Verdict:
    """The answer, from the trials and, where there is one, a confirmation of the best of them."""
    valid = confirmed if confirmed is not None and confirmed.trial == found.best.number else None
    outcome, lines, numbers = _answer(found, valid)
    numbers = {"trial": found.best.number, **numbers}
    if valid is not None:
        lines += _optimism(found, valid, numbers)
    elif confirmed is not None:
        lines.append(f"The confirmation that is there is of trial {confirmed.trial}, the best trial of that time.")
    lines += _ties(found, valid, numbers)
    if any(each.number < found.changed_at for each in found.completed):
        lines.append(
            f"Data or settings changed before trial {found.changed_at}: values of earlier trials do not compare with"
            " those of later ones, nor with a confirmation since."
        )
    return Verdict(outcome, tuple(lines), numbers)


def _answer(found: Search, confirmed: Confirmed | None) -> tuple[str, list[str], _Numbers]:
    if found.is_baseline:
        best, count = found.best, len(found.completed)
        among = f"The best of {count} completed trials" if count > 1 else "The only completed trial"
        trial = f"(trial {best.number}, {found.metric} {best.value:.4f})"
        return "baseline", [f"{among} is the baseline {trial}: the search found nothing better."], {}
    if confirmed is None:
        how = _to_know(_FIRST_SEEDS, has_seed_key=found.has_seed_key)
        return "unconfirmed", [*_unconfirmed(found), how], {"confirm_with": _FIRST_SEEDS}
    score = confirmed.score(found.metric)
    if score is None:
        lost = " and ".join(each for each in ("best", "baseline") if not any(confirmed.scores.get(each, {}).values()))
        return "unclear", [f"{_not_known(found)}: its confirmation has no score of {lost or 'both'}."], {}
    return _compared(found, score, confirmed.values("best", score), confirmed.values("baseline", score))


def _unconfirmed(found: Search) -> list[str]:
    best, baseline, state = found.best, found.baseline, found.baseline_state
    line = f"Trial {best.number} is the best, {found.metric} {best.value:.4f}"
    if baseline is None:
        why = f"the baseline {state if state == 'failed' else f'is {state}'}" if state else "no trial is the baseline"
        return [f"{line}; {why}, so nothing shows whether the search helped."]
    if baseline == best:
        return [f"{line}; it is the point of the space that is nearest to the baseline."]
    gap = format_difference(found.metric, best.value - baseline.value)
    each = "a single run" if found.seeds == 1 else f"the mean of {found.seeds} runs"
    why = f"each value is of {each}, and the best of {len(found.completed)} trials looks better than it is"
    compared = f"{line}, {gap} from the baseline (trial {baseline.number}, {baseline.value:.4f})."
    return [compared, f"{_not_known(found)}: {why}."]


def _not_known(found: Search) -> str:
    return f"Whether trial {found.best.number} is better than the baseline is not known"


def _to_know(seeds: int, why: str = "", *, has_seed_key: bool = True) -> str:
    key = "" if has_seed_key else " and hydra.sweeper.seed_key=KEY, the config's key of the seed"
    return f"To know{why}: the same command with hydra.sweeper.confirm={seeds}{key}, which runs both with fresh seeds."


def _compared(
    found: Search, score: str, best: Sequence[float], baseline: Sequence[float]
) -> tuple[str, list[str], _Numbers]:
    result = statistics.welch_test(best, baseline)
    numbers = {
        "score": score,
        "difference": result.difference,
        "interval": result.interval and list(result.interval),
        "p": result.p,
        "seeds_needed": result.seeds,
    }
    trial, unknown = f"Trial {found.best.number}", _not_known(found)
    gap = f"{score} {format_difference(score, result.difference)} from the baseline"
    n, m = len(best), len(baseline)
    seeds = f"{n} fresh seed{'s' * (n > 1)} each" if n == m else f"{n} and {m} fresh seeds"
    if min(n, m) < 2:
        line = f"{unknown}: {gap}, {seeds}, and a single run cannot tell a difference from noise."
        return "unclear", [line, _to_know(_FIRST_SEEDS)], {**numbers, "confirm_with": _FIRST_SEEDS}
    if result.interval is None:
        why = "the runs of each all have one score, so that nothing shows how large the noise is"
        same = f"{trial} and the baseline have the same score in every run"
        line = f"{same}, {seeds}." if result.difference == 0.0 else f"{unknown}: {gap}, {seeds}, but {why}."
        return "unclear", [line], numbers
    low, high = (format_difference(score, end).removesuffix(" points") for end in result.interval)
    measured = f"{gap} (95 % interval {low} to {high}, {seeds}, Welch p {statistics.format_p(result.p)})"
    if not result.interval[0] <= 0.0 <= result.interval[1]:
        outcome = "better" if (result.difference > 0) == found.maximises else "worse"
        return outcome, [f"{trial} is {outcome} than the baseline: {measured}."], numbers
    line = f"{unknown}: {measured}, which noise alone may give."
    if result.seeds is None:
        return "unclear", [line, "No number of seeds up to 1,000 would tell a difference so small."], numbers
    count = max(result.seeds, n + 1, m + 1)
    why = f" (a difference of this size takes about {count} seeds each, for 80 % power at 5 %)"
    return "unclear", [line, _to_know(count, why)], {**numbers, "confirm_with": count}


def _optimism(found: Search, confirmed: Confirmed, numbers: _Numbers) -> list[str]:
    """The winner's curse: the best trial's value less what its configuration reaches with fresh seeds."""
    fresh = confirmed.values("baseline" if found.is_baseline else "best", found.metric)
    if not fresh:
        return []
    numbers["optimism"] = gain = (found.best.value - fmean(fresh)) * (1 if found.maximises else -1)
    size = format_difference(found.metric, abs(gain)).removeprefix("+")
    return [
        f"As a trial it had {found.metric} {found.best.value:.4f}, with fresh seeds {statistics.format_mean(fresh)}:"
        f" choosing the best of {len(found.completed)} "
        + (f"made it look {size} better than it is." if gain > 0 else "did not make it look better than it is.")
    ]


def _ties(found: Search, confirmed: Confirmed | None, numbers: _Numbers) -> list[str]:
    """Trials of the same value, and those that noise alone may have put behind the best."""
    numbers["tied"], best = found.tied, f"trial {found.best.number}"
    lines = [f"{_trials(found.tied, 'have')} the same value as {best}."] if found.tied else []
    if confirmed is None:
        return lines
    samples = [confirmed.values(each, found.metric) for each in ("best", "baseline")]
    noise = noise_of_trials(samples, seeds=found.seeds)
    compared = {found.baseline and found.baseline.number}  # over fresh seeds, in a sentence of its own
    near = [] if noise is None else [number for number in found.within(noise) if number not in compared]
    numbers["not_told_apart"] = near
    if near and noise is not None:
        size = format_difference(found.metric, noise).removeprefix("+")
        why = f"two runs of one configuration differ by up to {size}"
        lines.append(f"{_trials(near, 'cannot be told')} from {best}: {why}.")
    return lines


def _trials(numbers: Sequence[int], verb: str) -> str:
    """``Trials 3 and 5 have``"""
    if len(numbers) == 1:
        return f"Trial {numbers[0]} {'has' if verb == 'have' else verb}"
    return f"Trials {_list(numbers, _NAMED)} {verb}"


def _list(numbers: Sequence[int], most: int) -> str:
    """``3, 5 and 8``, or the first ones and how many there are beside."""
    named = [str(number) for number in numbers[:most]]
    if len(numbers) > most:
        named.append(f"{len(numbers) - most} more")
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def point_file(number: int) -> str:
    """The config of a trial on the front."""
    return f"best-{number}.yaml"


def remove_points(folder: Path, front: Sequence[int]) -> None:
    """Remove the configs of trials that are on the front no more."""
    for file in folder.glob("best-*.yaml"):
        if (found := _POINT_FILE.fullmatch(file.name)) and int(found[1]) not in front:
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
    lines = [f"The Pareto front has {len(front)} of {of}: {_list(numbers, _NAMED_OF_FRONT)}."]
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


def _place_baseline(front: Sequence[FrozenTrial], baseline: FrozenTrial, objectives: Objectives) -> str:
    name = f"The baseline (trial {baseline.number}, {objectives.format_values(baseline.values)})"
    if baseline.number in [trial.number for trial in front]:
        return f"{name} is on it."
    own = objectives.losses(baseline)
    better = [trial.number for trial in front if (objectives.losses(trial) <= own).all()]
    which = f"trial {better[0]} is" if len(better) == 1 else f"trials {_list(better, _NAMED_OF_FRONT)} are"
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
