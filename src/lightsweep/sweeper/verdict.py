"""Whether the best trial of a sweep is better than the baseline, in words.

Best and baseline are compared over their confirmations, runs with fresh seeds: the best of many trials is also the
luckiest one, so its own value says too much. Welch's t-test takes the two as independent. They share their seeds:
where a seed's luck carries over from one configuration to the other, the interval is wider than it need be, and never
too narrow. A paired interval would have half the degrees of freedom, which are few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lightsweep.core.metrics import format_difference
from lightsweep.sweeper import statistics
from lightsweep.sweeper.statistics import Confirmed, Search, noise_of_trials

_NAMED = 5  # trials that a sentence names; the others are counted
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
    named = [str(number) for number in numbers[:_NAMED]]
    if len(numbers) > _NAMED:
        named.append(f"{len(numbers) - _NAMED} more")
    return f"Trials {', '.join(named[:-1])} and {named[-1]} {verb}"
