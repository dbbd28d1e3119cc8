"""What a sweep found: numbers against scipy or by hand, and the sentence of each case."""

from collections.abc import Sequence
from math import sqrt

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy import stats

from lightsweep.sweeper import statistics, verdict
from lightsweep.sweeper.statistics import Confirmed, Entry, Search
from lightsweep.sweeper.trials import summarise_trials

BEST, BASE = (0.92, 0.93, 0.94), (0.80, 0.82, 0.81)


def found(*values: float, metric: str = "val/acc", maximises: bool = True, **rest) -> Search:
    """Trials of these values, trial 0 the baseline."""
    entries = tuple(Entry(number, value) for number, value in enumerate(values))
    best = (max if maximises else min)(entries, key=lambda entry: entry.value)
    known = {"baseline": entries[0], "baseline_state": "complete", **rest}
    return Search(metric, maximises, best, entries, **known)


def confirmed(
    best: Sequence[float], baseline: Sequence[float], *, trial: int = 1, metric: str = "val/acc", shift: float = 0.0
) -> Confirmed:
    """Test scores are those of validation, and `shift`."""
    test = f"test/{metric.partition('/')[2]}"
    groups = {"best": best, "baseline": baseline}
    scores = {name: {metric: tuple(v), test: tuple(x + shift for x in v)} for name, v in groups.items() if v}
    return Confirmed(trial, tuple(range(101, 101 + len(best))), scores, compared_by=test)


def test_a_best_that_is_better_comes_with_its_difference_interval_and_seeds() -> None:
    judged = verdict.judge(found(0.81, 0.95, 0.9), confirmed(BEST, BASE, shift=0.01))
    result = stats.ttest_ind(BEST, BASE, equal_var=False)
    low, high = result.confidence_interval()
    assert judged.outcome == "better"
    assert judged.numbers["score"] == "test/acc"
    assert judged.numbers["interval"] == pytest.approx([low, high])
    assert judged.lines[0] == (
        f"Trial 1 is better than the baseline: test/acc +12.00 points from the baseline (95 % interval {100 * low:+.2f}"
        f" to {100 * high:+.2f}, 3 fresh seeds each, Welch p = {result.pvalue:.2g})."
    )


@pytest.mark.parametrize(
    ("maximises", "best", "outcome"),
    [
        (True, BEST, "better"),
        (True, (0.6, 0.61, 0.62), "worse"),
        (False, BEST, "worse"),
        (False, (0.6, 0.61), "better"),
    ],
)
def test_better_is_what_the_sweep_searches_for(maximises: bool, best: tuple, outcome: str) -> None:
    metric = "val/acc" if maximises else "val/loss"
    values = (0.5, 0.9) if maximises else (0.9, 0.5)
    judged = verdict.judge(found(*values, metric=metric, maximises=maximises), confirmed(best, BASE, metric=metric))
    assert judged.outcome == outcome
    assert f"is {outcome} than the baseline: test/{metric[4:]} " in judged.lines[0]
    assert ("points" in judged.lines[0]) == maximises  # a loss has none


def test_what_noise_may_give_is_not_known_and_it_is_said_what_it_takes() -> None:
    """The issue's sweep: 0.427 ± 0.013 and 0.438 ± 0.006, of two seeds each."""
    judged = verdict.judge(found(0.43, 0.4467), confirmed((0.418, 0.436), (0.434, 0.442)))
    assert judged.outcome == "unclear"
    assert judged.lines[0].startswith("Whether trial 1 is better than the baseline is not known: test/acc -1.10 points")
    needed = judged.numbers["seeds_needed"]
    assert f"about {needed} seeds each" in judged.lines[1]
    assert f"hydra.sweeper.confirm={needed}," in judged.lines[1]
    assert judged.numbers["confirm_with"] == needed


def test_how_optimistic_selection_was() -> None:
    judged = verdict.judge(found(0.81, 0.95), confirmed(BEST, BASE, shift=0.2))
    assert judged.numbers["optimism"] == pytest.approx(0.95 - 0.93)  # of what was searched for, not of test
    assert any("had val/acc 0.9500, with fresh seeds 0.9300 ± 0.0100" in line for line in judged.lines)
    assert any("made it look 2.00 points better than it is" in line for line in judged.lines)
    loss = found(0.9, 0.2, metric="val/loss", maximises=False)
    judged = verdict.judge(loss, confirmed((0.25, 0.35), (0.9, 0.8), metric="val/loss"))
    assert judged.numbers["optimism"] == pytest.approx(0.1)
    assert any("look 0.1000 better" in line for line in judged.lines)
    modest = verdict.judge(found(0.81, 0.92), confirmed(BEST, BASE))
    assert any("did not make it look better" in line for line in modest.lines)


def test_a_best_that_is_the_baseline_is_said_to_be_it() -> None:
    trials = found(0.9, 0.8, 0.9, is_baseline=True)
    judged = verdict.judge(trials, None)
    assert judged.outcome == "baseline"
    assert "is the baseline (trial 0, val/acc 0.9000): the search found nothing better" in judged.lines[0]
    assert "Trial 2 has the same value as trial 0." in judged.lines
    judged = verdict.judge(trials, confirmed((), (0.85, 0.87), trial=0))
    assert judged.outcome == "baseline"
    assert judged.numbers["optimism"] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (found(0.8, 0.9), "+10.00 points from the baseline (trial 0, 0.8000)"),
        (found(0.8, 0.9, seeds=3), "each value is of the mean of 3 runs"),
        (found(0.8, 0.9, baseline=None, baseline_state="failed"), "the baseline failed"),
        (found(0.8, 0.9, baseline=None, baseline_state="pruned"), "the baseline is pruned"),
        (found(0.8, 0.9, baseline=None, baseline_state=None), "no trial is the baseline"),
        (found(0.9, 0.8), "nearest to the baseline"),
    ],
)
def test_without_a_confirmation_nothing_is_known_and_it_is_said_how_to_know(trials: Search, said: str) -> None:
    judged = verdict.judge(trials, None)
    assert judged.outcome == "unconfirmed"
    assert any(said in line for line in judged.lines)
    assert any("the same command with hydra.sweeper.confirm=3, which" in line for line in judged.lines)


def test_a_sweep_that_does_not_know_the_seeds_key_is_told_to_name_it() -> None:
    judged = verdict.judge(found(0.8, 0.9, has_seed_key=False), None)
    assert "hydra.sweeper.confirm=3 and hydra.sweeper.seed_key=KEY, the config's key of the seed," in judged.lines[-1]


@pytest.mark.parametrize(
    ("best", "baseline", "said"),
    [
        ((0.9,), (0.8,), "a single run cannot tell a difference from noise"),
        ((0.9, 0.91), (0.8,), "2 and 1 fresh seeds"),
        ((), (0.8, 0.9), "has no score of best"),
        ((), (), "has no score of best and baseline"),
        ((0.9, 0.9), (0.9, 0.9), "the same score in every run, 2 fresh seeds each"),
        ((0.9, 0.9), (0.8, 0.8), "nothing shows how large the noise is"),
    ],
)
def test_a_confirmation_that_cannot_tell_says_why(best: tuple, baseline: tuple, said: str) -> None:
    judged = verdict.judge(found(0.8, 0.9), confirmed(best, baseline))
    assert judged.outcome == "unclear"
    assert said in judged.lines[0]


def test_a_confirmation_of_an_earlier_best_is_none_of_this_one() -> None:
    judged = verdict.judge(found(0.8, 0.9, 0.95), confirmed(BEST, BASE, trial=1))
    assert judged.outcome == "unconfirmed"
    assert any("is of trial 1, the best trial of that time" in line for line in judged.lines)
    assert "optimism" not in judged.numbers


def test_the_noise_between_two_trials_is_that_of_their_seeds() -> None:
    """By hand: variances 2 (n = 2) and 1 (n = 3) are pooled to 4/3 with three degrees of freedom."""
    samples = [(0.0, 2.0), (1.0, 2.0, 3.0)]
    expected = stats.t.ppf(0.975, 3) * sqrt(2 * 4 / 3)
    assert statistics.noise_of_trials(samples, seeds=1) == pytest.approx(expected)
    assert statistics.noise_of_trials(samples, seeds=4) == pytest.approx(expected / 2)
    assert statistics.noise_of_trials([(1.0,), (2.0,)], seeds=1) is None
    assert statistics.noise_of_trials([(), (2.0, 2.0)], seeds=1) is None


def test_trials_that_are_not_told_from_the_best_are_named_the_nearest_first() -> None:
    noise = statistics.noise_of_trials([BEST, BASE], seeds=1)
    assert noise is not None
    values = (0.5, 0.95, 0.95 - 0.5 * noise, 0.95, 0.95 - 1.01 * noise, 0.95 - 0.1 * noise)
    judged = verdict.judge(found(*values), confirmed(BEST, BASE))
    assert judged.numbers["tied"] == [3]
    assert judged.numbers["not_told_apart"] == [5, 2]
    assert any(line.startswith("Trials 5 and 2 cannot be told from trial 1: ") for line in judged.lines)
    many = verdict.judge(found(0.5, *[0.9] * 8), None)
    assert any("Trials 2, 3, 4, 5, 6 and 2 more have the same value as trial 1." in line for line in many.lines)


def test_the_baseline_is_not_named_again_as_not_told_apart() -> None:
    """Over fresh seeds the two are compared with more runs than one each: one sentence must not take back the other."""
    noise = statistics.noise_of_trials([BEST, BASE], seeds=1)
    assert noise is not None
    judged = verdict.judge(found(0.95 - 0.5 * noise, 0.95, 0.95 - 0.6 * noise), confirmed(BEST, BASE))
    assert judged.outcome == "better"
    assert judged.numbers["not_told_apart"] == [2]


def test_trials_of_other_data_or_settings_are_said_to_be_no_comparison() -> None:
    assert "Data or settings changed" not in " ".join(verdict.judge(found(0.5, 0.6), None).lines)
    line = verdict.judge(found(0.5, 0.6, 0.7, changed_at=2), None).lines[-1]
    assert line.startswith("Data or settings changed before trial 2: values of earlier trials do not compare")


def trial(value: float | None, *, state: TrialState = TrialState.COMPLETE, **marks) -> FrozenTrial:
    return create_trial(state=state, value=value, user_attrs=marks)


def numbered(*trials: FrozenTrial) -> list[FrozenTrial]:
    for number, each in enumerate(trials):
        each.number = number
    return list(trials)


def test_the_baseline_is_found_where_it_was_asked_for_twice() -> None:
    cut_off = trial(None, state=TrialState.FAIL, baseline=True, interrupted=True)
    trials = numbered(cut_off, trial(0.7), trial(0.9, baseline=True))
    read = summarise_trials(trials, metric="val/acc", maximises=True, seeds=1, changed_at=0)
    assert read is not None
    assert (read.best.number, read.baseline, read.is_baseline) == (2, Entry(2, 0.9), True)
    near = summarise_trials(
        numbered(trial(0.9, baseline=True, note="lies outside")),
        metric="val/acc",
        maximises=True,
        seeds=1,
        changed_at=0,
    )
    assert near is not None
    assert not near.is_baseline
    failed = summarise_trials(
        numbered(trial(None, state=TrialState.FAIL, baseline=True), trial(0.2)),
        metric="m",
        maximises=False,
        seeds=1,
        changed_at=0,
    )
    assert failed is not None
    assert (failed.baseline, failed.baseline_state) == (None, "failed")
    assert summarise_trials([], metric="m", maximises=True, seeds=1, changed_at=0) is None
