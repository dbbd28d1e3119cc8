"""Which images validate."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from lightsweep.data.splits import SPLITS, split

LABELS = np.repeat(np.arange(5), [40, 30, 20, 8, 2])[np.random.default_rng(0).permutation(100)]


@pytest.mark.parametrize("method", SPLITS)
def test_every_image_is_in_one_part_and_indices_ascend(method: str) -> None:
    train, val = split(method, LABELS, 0.25, seed=1)
    assert sorted([*train, *val]) == list(range(100))
    assert (len(train), len(val)) == (75, 25)
    assert all((np.diff(part) > 0).all() for part in (train, val))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("first", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("random", [10, 16, 20, 24, 53, 63, 96, 97]),
        ("stratified", [2, 13, 20, 26, 43, 47, 53, 93]),
    ],
)
def test_numbered_images_are_split_as_ever(method: str, expected: list[int]) -> None:
    """Recorded results rely on it."""
    assert split(method, LABELS, 0.08, 4)[1].tolist() == expected


def test_drawn_splits_are_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    for seed in range(50):
        labels = draw.integers(0, 5, int(draw.integers(40, 90)))
        held_out = round(len(labels) * (fraction := draw.uniform(0.2, 0.8)))
        for method, by in (("random", None), ("stratified", labels)):
            parts = train_test_split(np.arange(len(labels)), test_size=held_out, random_state=seed, stratify=by)
            for expected, found in zip(parts, split(method, labels, fraction, seed), strict=True):
                assert np.array_equal(np.sort(expected), found)


def test_first_takes_the_first_ones() -> None:
    train, val = split("first", LABELS, 0.1, seed=1)
    assert val.tolist() == list(range(10))
    assert train.tolist() == list(range(10, 100))


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_drawn_splits_follow_from_their_seed(method: str) -> None:
    first, again, other = (split(method, LABELS, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_stratified_gives_each_class_its_share() -> None:
    _, val = split("stratified", LABELS, 0.5, seed=3)
    assert np.bincount(LABELS[val]).tolist() == [20, 15, 10, 4, 1]


def test_stratified_refuses_a_class_with_one_image() -> None:
    with pytest.raises(ValueError, match="least populated class"):
        split("stratified", np.array([0] * 9 + [1]), 0.3, seed=0)


@pytest.mark.parametrize(("fraction", "sizes"), [(0.1, "1 and 11"), (0.9, "11 and 1")])
def test_stratified_says_where_a_part_is_smaller_than_there_are_classes(fraction: float, sizes: str) -> None:
    with pytest.raises(ValueError, match=f"^{sizes} images cannot both have one of each of 3 classes$"):
        split("stratified", np.arange(12) % 3, fraction, 0)
