"""The ablation's arithmetic, on made-up runs with known effects: nothing is biased, intervals cover what they say."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from lightsweep.sweeper import ablation
from lightsweep.sweeper.ablation import LEAVE_ONE_OUT, PATH, Configuration, count_trainings, find_path, list_points
from lightsweep.sweeper.ablation_results import Ablation, Point, format_effect

NOISE = 0.005
CHOOSING, MEASURING = (201, 202, 203), (401, 402, 403)


class Runs:
    """Made-up runs: a value for each configuration and seed, the same whenever it is asked for."""

    def __init__(self, effects: Sequence[float], number: int = 0, fails: Callable[[Configuration], bool] | None = None):
        self.effects, self.number, self.fails = effects, number, fails or (lambda configuration: False)
        self.known: dict[tuple[Configuration, int], float] = {}
        self.random = np.random.default_rng(number)

    def value(self, configuration: Configuration, seed: int) -> float:
        key = configuration, seed
        if key not in self.known:
            self.known[key] = 0.5 + sum(self.effects[each] for each in configuration) + self.random.normal(0, NOISE)
        return self.known[key]

    def measure(
        self, configurations: Sequence[Configuration], seeds: Sequence[int]
    ) -> Mapping[Configuration, Sequence[float]]:
        return {each: [] if self.fails(each) else [self.value(each, seed) for seed in seeds] for each in configurations}

    def path(self, *, maximises: bool = True) -> list[Configuration]:
        return find_path(len(self.effects), CHOOSING, self.measure, maximises=maximises)


def result(runs: Runs, points: Sequence[Configuration], seeds: Sequence[int], method: str = PATH) -> Ablation:
    values = runs.measure(points, seeds)
    made = tuple(Point(str(sorted(each)), "0", "1", tuple(values[each])) for each in points)
    return Ablation("val/acc", True, method, "start", "end", tuple(seeds), made)


def true_steps(runs: Runs, points: Sequence[Configuration]) -> list[float]:
    pairs = pairwise(points)
    return [sum(runs.effects[each] for each in after - before) for before, after in pairs]


def within_binomial(hits: int, trials: int, share: float) -> bool:
    """Whether so many hits are likely at this share, in 999 of 1000 experiments."""
    low, high = stats.binom.interval(0.999, trials, share)
    return low <= hits <= high


def test_steps_measured_again_are_unbiased_and_those_of_the_choosing_runs_are_not() -> None:
    naive, measured = [], []
    for number in range(300):
        runs = Runs([0.0] * 5, number)
        points = runs.path()
        first = runs.measure(points[:2], CHOOSING)
        naive.append(fmean(first[points[1]]) - fmean(first[points[0]]))
        effect = result(runs, points[:2], MEASURING).effects[0]
        assert effect.test is not None
        measured.append(effect.test.difference)

    error = np.std(measured) / np.sqrt(len(measured))
    assert np.mean(naive) > 0.003  # a gain of half a standard deviation, from nothing
    assert np.mean(naive) > 8 * error
    assert abs(np.mean(measured)) < 3.5 * error


@pytest.mark.parametrize("effects", [(0.0,) * 4, (0.02, 0.004, 0.0, -0.003)], ids=["none", "some"])
def test_intervals_hold_the_true_effect_as_often_as_they_say(effects: Sequence[float]) -> None:
    held = found = tested = nothing = 0
    for number in range(100):
        runs = Runs(effects, number)
        points = runs.path()
        for effect, true in zip(result(runs, points, MEASURING).effects, true_steps(runs, points), strict=True):
            assert effect.test is not None
            assert effect.test.interval is not None
            tested += 1
            held += effect.test.interval[0] <= true <= effect.test.interval[1]
            if true == 0.0:
                nothing += 1
                found += effect.is_more_than_noise

    # Steps that share a point, and all steps of an ablation their spread, are not independent: hence 0.97 above.
    assert held >= stats.binom.ppf(0.0005, tested, 0.95)
    assert held <= stats.binom.ppf(0.9995, tested, 0.97)
    assert found <= stats.binom.ppf(0.9995, nothing, 0.05)
    assert found > 0  # at this level some are: a test that never finds any would show nothing


def test_leave_one_out_finds_what_each_change_is_worth_at_the_end() -> None:
    held = tested = 0
    effects = (0.02, 0.0, -0.01)
    for number in range(80):
        runs = Runs(effects, number)
        for effect, true in zip(result(runs, list_points(3), MEASURING, LEAVE_ONE_OUT).effects, effects, strict=True):
            assert effect.test is not None
            assert effect.test.interval is not None
            tested, held = tested + 1, held + (effect.test.interval[0] <= true <= effect.test.interval[1])

    assert within_binomial(held, tested, 0.96)


def test_the_path_takes_the_change_that_helps_most_first() -> None:
    effects = (0.01, 0.3, -0.1, 0.1)

    rising = Runs(effects).path()
    falling = Runs(effects).path(maximises=False)

    assert [sorted(after - before) for before, after in pairwise(rising)] == [[1], [3], [0], [2]]
    assert [sorted(after - before) for before, after in pairwise(falling)] == [[2], [0], [3], [1]]


def test_changes_that_help_only_together_are_measured_on_the_way() -> None:
    """An interaction: 0 helps where 1 is there, and not alone."""
    runs = Runs([0.0, 0.0, 0.05])
    plain = runs.value
    runs.value = lambda configuration, seed: plain(configuration, seed) + 0.1 * ({0, 1} <= configuration)  # type: ignore[method-assign]

    points = runs.path()

    assert points[1] == {2}
    steps = [effect.test.difference for effect in result(runs, points, MEASURING).effects if effect.test]
    assert steps[2] == pytest.approx(0.1, abs=0.03)


def test_a_candidate_without_a_completed_run_is_not_chosen() -> None:
    runs = Runs((0.3, 0.2, 0.1), fails=lambda configuration: configuration == {0})

    assert runs.path()[:2] == [frozenset(), {1}]


def test_where_no_candidate_was_completed_the_rest_is_one_step() -> None:
    runs = Runs((0.3, 0.2, 0.1), fails=lambda configuration: len(configuration) == 2)

    assert runs.path() == [frozenset(), {0}, {0, 1, 2}]


def test_a_point_without_runs_costs_its_own_steps_only() -> None:
    runs = Runs((0.3, 0.2, 0.1), fails=lambda configuration: configuration == {0, 1})

    measured = result(runs, [frozenset(), frozenset({0}), frozenset({0, 1}), frozenset({0, 1, 2})], MEASURING)

    assert [effect.test is None for effect in measured.effects] == [False, True, True]
    assert measured.effects[1].judgement == "not measured: no run was completed"
    assert measured.whole is not None
    assert measured.whole.is_more_than_noise


@pytest.mark.parametrize("changes", range(1, 9))
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_count_that_is_said_is_the_count_that_is_run(changes: int, seeds: int) -> None:
    runs = Runs([0.01 * each for each in range(changes)])
    path = find_path(changes, CHOOSING[:seeds], runs.measure, maximises=True)
    runs.measure(path, MEASURING[:seeds])

    assert len(runs.known) == count_trainings(changes, seeds, PATH)
    assert count_trainings(changes, seeds, PATH) == seeds * (changes * (changes + 1) // 2 + changes)
    assert count_trainings(changes, seeds, LEAVE_ONE_OUT) == seeds * (changes + 1)


def test_above_sixty_trainings_each_change_is_undone_alone() -> None:
    assert ablation.choose_method(5, 3) == PATH  # 60
    assert ablation.choose_method(6, 3) == LEAVE_ONE_OUT  # 81
    assert ablation.choose_method(6, 2) == PATH


def test_in_words() -> None:
    measured = Ablation(
        "val/acc",
        True,
        PATH,
        "baseline",
        "trial 5",
        MEASURING,
        (
            Point("", "", "", (0.500, 0.502, 0.498)),
            Point("dropout", "0", "0.29", (0.520, 0.524, 0.521)),
            Point("weight_decay", "0.01", "0.003", (0.521, 0.526, 0.520)),
        ),
    )

    assert measured.lines[1] == "dropout 0 → 0.29: +0.0217 ± 0.0050 (n = 3), more than noise"
    assert measured.lines[2] == "weight_decay 0.01 → 0.003: +0.0007 ± 0.0050 (n = 3), not distinguishable from noise"
    assert measured.lines[3].startswith("all changes: +0.0223 ± ")


def test_one_seed_has_differences_without_intervals() -> None:
    measured = result(Runs((0.02, 0.01)), [frozenset(), frozenset({0}), frozenset({0, 1})], MEASURING[:1])

    assert [effect.half_width for effect in measured.effects] == [None, None]
    assert not any(effect.is_more_than_noise for effect in measured.effects)
    assert "(n = 1), of single runs: no interval" in measured.lines[1]
    assert measured.lines[-1] == "One seed gives no interval, three do."


@pytest.mark.parametrize(
    ("difference", "half_width", "text"),
    [
        (0.021, 0.006, "+0.0210 ± 0.0060"),
        (0.5, 1.2, "+0.500 ± 1.200"),
        (-1234.5, 250.0, "-1234 ± 250"),
        (3e-7, 1e-7, "+0.00000030 ± 0.00000010"),
        (-0.0, None, "+0.0000"),
        (0.25, None, "+0.250"),
    ],
)
def test_digits_follow_the_interval(difference: float, half_width: float | None, text: str) -> None:
    assert format_effect(difference, half_width) == text
