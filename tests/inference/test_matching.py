"""Data brought to what a network was trained on."""

import numpy as np
import pytest
import torch

from lightsweep.core.errors import ConfigError
from lightsweep.data.arrays import ImageArrays
from lightsweep.data.datasets import DigitsDataModule
from lightsweep.data.normalization import symmetric_normalization
from lightsweep.inference import run_data
from lightsweep.training.checkpoints import Description


@pytest.fixture
def digits(compose):
    from lightsweep.config.build import build

    data = build(compose("data.normalize=channel").data, "data")
    assert isinstance(data, DigitsDataModule)
    data.setup()
    return data


def description(shape: tuple[int, int, int], names: tuple[str, ...]) -> Description:
    return Description({}, shape, names, symmetric_normalization(), "squash")


def test_classes_follow_by_name_and_the_normalisation_is_the_networks(digits) -> None:
    before = digits.labels("test")
    run_data.match_data(digits, description((1, 8, 8), tuple("9876543210")))
    np.testing.assert_array_equal(digits.labels("test"), 9 - before)
    images, labels = next(iter(digits.eval_loader("test", torch.device("cpu"))))
    np.testing.assert_array_equal(labels.numpy(), 9 - before[: len(labels)])
    np.testing.assert_allclose(images, digits.arrays.test_images[: len(labels)] / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 16, 16), (1, 4, 6)])
def test_images_get_the_shape_of_the_input(digits, shape: tuple[int, int, int]) -> None:
    before = digits.arrays.test_images
    run_data.match_data(digits, description(shape, tuple("0123456789")))
    after = digits.arrays.test_images
    assert after.shape == (len(before), *shape)
    assert after.dtype == np.uint8
    if shape[1:] == (8, 8):
        np.testing.assert_array_equal(after, before.repeat(3, axis=1))
    assert abs(float(after.mean()) - float(before.mean())) < 2


def test_colour_becomes_gray(digits) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    labels = np.zeros(4, dtype=np.int64)
    digits.arrays = ImageArrays(images, labels, images, labels, tuple("0123456789"))
    run_data.match_data(digits, description((1, 8, 8), tuple("0123456789")))
    luma = np.tensordot(images, [0.299, 0.587, 0.114], axes=(1, 0))
    np.testing.assert_allclose(digits.arrays.test_images[:, 0], luma, atol=1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("0123456789a", "the network knows a, which the data lack"),
        ("012345678", "the data have 9, which it does not know"),
        ("012345678a", "the network knows a, which the data lack; the data have 9, which it does not know"),
    ],
)
def test_other_classes_are_refused_with_the_difference(digits, names: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        run_data.match_data(digits, description((1, 8, 8), tuple(names)))
    assert str(refusal.value) == f"the data must have the classes of the network: {message}"
