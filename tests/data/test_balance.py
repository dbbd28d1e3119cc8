"""Unequal classes: loss weights as scikit-learn's, and a sampler that shows each class as often as the others."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from lightsweep.core.errors import ConfigError
from lightsweep.data.balance import build_sampler, class_weights

LABELS = np.repeat([0, 1, 2], [2, 5, 16])


def order(name: str, seed: int = 0, labels: np.ndarray = LABELS) -> torch.Tensor:
    return build_sampler(name, torch.from_numpy(labels))(generator=torch.Generator().manual_seed(seed))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(class_weights("balanced", LABELS, 3), expected, rtol=1e-6)


def test_no_weights_are_ones_and_given_ones_are_taken() -> None:
    assert class_weights(None, LABELS, 3).tolist() == [1, 1, 1]
    assert class_weights([1, 0.5, 2], LABELS, 3).tolist() == [1, 0.5, 2]


def test_a_class_without_images_has_a_finite_weight() -> None:
    assert class_weights("balanced", LABELS, 4).isfinite().all()


@pytest.mark.parametrize("name", ["shuffle", "balanced"])
def test_an_epoch_has_as_many_images_as_there_are_and_follows_from_the_seed(name: str) -> None:
    assert len(order(name)) == len(LABELS)
    assert torch.equal(order(name), order(name))
    assert not torch.equal(order(name), order(name, seed=1))


def test_balanced_shows_each_class_as_often_and_its_images_in_turn() -> None:
    chosen = order("balanced").numpy()
    assert sorted(np.bincount(LABELS[chosen])) == [7, 8, 8]  # 23 images
    times = np.bincount(chosen, minlength=len(LABELS))
    for label in range(3):
        assert np.ptp(times[label == LABELS]) <= 1
    assert (np.diff(LABELS[chosen]) < 0).any()  # mixed


def test_who_gets_the_odd_images_is_drawn() -> None:
    largest = {int(np.bincount(LABELS[order("balanced", seed).numpy()]).argmin()) for seed in range(20)}
    assert largest == {0, 1, 2}


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigError) as refusal:
        class_weights([1, 2], LABELS, 3)
    assert str(refusal.value) == "data.class_weights must have 3 numbers, one a class, got [1, 2]"
