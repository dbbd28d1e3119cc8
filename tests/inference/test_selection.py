"""Which networks form an ensemble, on made-up probabilities, and whether what it gains is more than noise."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from lightsweep.inference import selection

K = 4


def probabilities(seed: int, labels: np.ndarray, skill: float = 1.0) -> np.ndarray:
    """A network's ``float32 [N, K]``, right the more often the larger its skill."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), K))
    logits[np.arange(len(labels)), labels] += skill
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)


def classes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(K, size=count)


@pytest.mark.parametrize("labels", [classes(101), np.repeat([0, 1], [1, 40]), np.arange(7), np.array([3, 3])])
def test_halves_are_disjoint_and_stratified(labels: np.ndarray) -> None:
    one, other = selection.halves(labels)
    assert sorted([*one, *other]) == list(range(len(labels)))
    counts = [np.bincount(labels[half], minlength=8) for half in (one, other)]
    assert abs(counts[0] - counts[1]).max() <= 1
    assert abs(len(one) - len(other)) <= 1
    assert all(np.array_equal(*pair) for pair in zip((one, other), selection.halves(labels), strict=True))
    assert list(one) == sorted(one)


@pytest.mark.parametrize("metric", ["acc", "f1", "balanced_acc", "loss"])
def test_scores_are_those_of_scikit_learn(metric: str) -> None:
    labels = classes(60)
    given = probabilities(1, labels)
    seen = given.argmax(1)
    theirs = {
        "acc": metrics.accuracy_score(labels, seen),
        "f1": metrics.f1_score(labels, seen, average="macro"),
        "balanced_acc": metrics.balanced_accuracy_score(labels, seen),
        "loss": metrics.log_loss(labels, given / given.sum(1, keepdims=True, dtype=float)),
    }
    assert selection.measure(metric, labels, given) == pytest.approx(theirs[metric], rel=1e-5)


@pytest.mark.parametrize("metric", ["acc", "f1", "loss"])
@pytest.mark.parametrize("seed", range(5))
def test_each_pick_is_the_best_there_is(metric: str, seed: int) -> None:
    """Each step is compared with a search over all that it could have picked, on sums made anew."""
    labels = classes(40, seed)
    given = [probabilities(10 * seed + number, labels, 0.6) for number in range(5)]
    sign = -1 if metric == "loss" else 1

    def score(picks: list[int]) -> tuple[float, float]:
        mean = np.mean([given[pick].astype(float) for pick in picks], axis=0)
        return sign * selection.measure(metric, labels, mean), -selection.measure("loss", labels, mean)

    picks = selection.select(given, labels, metric, 4)
    for count in range(1, 5):
        best = max(score([*picks[: count - 1], other]) for other in range(5))
        assert score(picks[:count]) == pytest.approx(best, abs=1e-12)
    pairs = [score(list(pair)) for pair in combinations_with_replacement(range(5), 2) if picks[0] in pair]
    assert score(picks[:2]) == pytest.approx(max(pairs), abs=1e-12)


def test_a_network_that_is_far_better_is_picked_again_and_again() -> None:
    labels = classes(200)
    given = [probabilities(1, labels, 0.0), probabilities(2, labels, 9.0), probabilities(3, labels, 0.0)]
    assert selection.select(given, labels, "loss", 4) == [1, 1, 1, 1]


def test_networks_that_fail_on_different_images_are_combined() -> None:
    labels = np.zeros(40, dtype=np.int64)
    one = np.tile([0.9, 0.1, 0.0, 0.0], (40, 1))
    other = one.copy()
    one[:15], other[25:] = [0.4, 0.6, 0.0, 0.0], [0.4, 0.6, 0.0, 0.0]
    weak = np.tile([0.3, 0.7, 0.0, 0.0], (40, 1))
    picks = selection.select([weak, one, other], labels, "acc", 2)
    assert sorted(picks) == [1, 2]


def test_of_equal_scores_the_smaller_loss_decides_and_then_the_first() -> None:
    labels = np.array([0, 1])
    unsure, sure = np.array([[0.6, 0.4], [0.4, 0.6]]), np.array([[0.9, 0.1], [0.1, 0.9]])
    assert selection.select([unsure, sure, sure], labels, "acc", 3) == [1, 1, 1]


def simulated(seed: int, count: int, only_one: float, only_other: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and probabilities ``[N, 2]`` of two networks, of which one alone is right with these probabilities."""
    draw = np.random.default_rng(seed).random(count)
    right = draw >= only_one + only_other  # both
    one, other = right | (draw < only_one), right | ((draw >= only_one) & (draw < only_one + only_other))
    labels = np.zeros(count, dtype=np.int64)
    return labels, *(np.stack([each, ~each], 1).astype(float) for each in (one, other))


def within(hits: int, tries: int, expected: float) -> bool:
    """Whether so many hits go with this rate: no more surprising than 1 in 1,000."""
    return stats.binomtest(hits, tries, expected).pvalue > 1e-3


@pytest.mark.parametrize(("only_one", "only_other"), [(0.10, 0.10), (0.16, 0.08)])
def test_intervals_hold_the_true_gain_as_often_as_they_say(only_one: float, only_other: float) -> None:
    found = [selection.gain("acc", *simulated(seed, 200, only_one, only_other), resamples=200) for seed in range(300)]
    truth = only_one - only_other
    assert within(sum(each.low <= truth <= each.high for each in found), len(found), 0.95)
    assert np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.006)


def test_where_there_is_no_gain_it_is_called_noise_at_the_level() -> None:
    found = [selection.gain("acc", *simulated(seed, 150, 0.04, 0.04), resamples=200) for seed in range(300)]
    assert sum(each.is_more_than_noise for each in found) / len(found) <= 0.05


def test_few_images_prove_nothing() -> None:
    """Four against none: the resampled interval excludes 0, McNemar's test does not reject."""
    labels, one, other = simulated(0, 40, 0.0, 0.0)
    other[:4] = 1 - other[:4]
    found = selection.gain("acc", labels, one, other)
    assert found.value == pytest.approx(0.1)
    assert found.p == pytest.approx(0.125)
    assert not found.is_more_than_noise
    assert found.describe().endswith("McNemar p = 0.12, n = 40): not distinguishable from noise")


def test_a_large_gain_is_more_than_noise_and_a_loss_is_called_so() -> None:
    labels, one, other = simulated(0, 500, 0.2, 0.05)
    better, worse = selection.gain("acc", labels, one, other), selection.gain("acc", labels, other, one)
    assert better.describe().endswith(": more than noise")
    assert worse.describe().endswith(": worse, by more than noise")
    assert better.p == pytest.approx(
        stats.binomtest(int((one > other)[:, 0].sum()), int((one != other)[:, 0].sum())).pvalue
    )
    assert (better.low, better.high) == pytest.approx((-worse.high, -worse.low), abs=0.005)
    same = selection.gain("acc", labels, one, one)
    assert (same.value, same.low, same.high, same.p, same.is_more_than_noise) == (0.0, 0.0, 0.0, 1.0, False)


@pytest.mark.parametrize("metric", ["loss", "f1", "balanced_acc"])
def test_other_metrics_have_intervals_too(metric: str) -> None:
    labels = classes(300)
    good, bad = probabilities(1, labels, 2.5), probabilities(2, labels, 0.5)
    found = selection.gain(metric, labels, good, bad, resamples=200)
    assert found.value == pytest.approx(
        selection.measure(metric, labels, good) - selection.measure(metric, labels, bad), abs=1e-6
    )
    assert found.low < found.value < found.high
    assert (found.is_more_than_noise, found.is_better, found.p) == (True, True, None)


def test_a_gain_is_written_as_plain_values() -> None:
    written = selection.gain("acc", *simulated(0, 50, 0.2, 0.1)).as_json()
    assert list(written) == ["metric", "images", "value", "low", "high", "p", "more_than_noise"]
