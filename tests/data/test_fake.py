"""Generated data: of the shape and number that was asked for, the same each time, and its classes can be learned."""

import numpy as np
import pytest

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError


@pytest.fixture
def fake(compose):
    def made(*overrides: str):
        data = build(compose("data=fake", *overrides).data, "data")
        data.setup()
        return data

    return made


def test_shape_counts_and_classes_are_those_asked_for(fake) -> None:
    data = fake("data.shape=[1,5,7]", "data.classes=3", "data.train_images=5000", "data.test_images=0")
    assert (data.input_shape, data.class_names) == ((1, 5, 7), ("class 0", "class 1", "class 2"))
    assert {part: len(data.indices[part]) for part in data.indices} == {"train": 4500, "val": 500, "test": 0}
    assert data.indices["val"].tolist() == list(range(500))
    assert data.scored_parts(test=True) == ("train", "val")


def test_follows_from_its_own_seed(fake) -> None:
    first, again, other = (fake(*each) for each in ([], ["seed=3"], ["data.data_seed=1"]))
    np.testing.assert_array_equal(again.arrays.train_images, first.arrays.train_images)
    assert (other.arrays.train_images != first.arrays.train_images).mean() > 0.9


def test_the_nearest_class_mean_of_train_tells_the_classes_of_test_better_than_chance(fake) -> None:
    arrays = fake("data.train_images=2000").arrays
    train = arrays.train_images.reshape(2000, -1).astype(float)
    means = np.stack([train[arrays.train_labels == label].mean(0) for label in range(10)])
    test = arrays.test_images.reshape(200, -1).astype(float)
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == arrays.test_labels).mean() > 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.shape=[3,32]", "data.shape must be three integers >= 1: channels, height, width, got [3, 32]"),
        ("data.shape=32", "data.shape must be three integers >= 1: channels, height, width, got 32"),
        ("data.classes=1", "data.classes must be an integer >= 2, got 1"),
        ("data.train_images=19", "data.train_images must be an integer >= 20, got 19"),
        ("data.test_images=-1", "data.test_images must be an integer >= 0, got -1"),
        ("data.data_seed=x", "data.data_seed must be an integer >= 0, got 'x'"),
    ],
)
def test_refuses_what_cannot_be(fake, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        fake(override)
    assert str(refusal.value) == message


def test_many_images_are_the_same_as_if_they_were_drawn_at_once(fake) -> None:
    images = fake("data.shape=[1,7,1]", "data.train_images=5001", "data.data_seed=3").arrays.train_images
    draw = np.random.default_rng(3)
    patterns, noise = (draw.integers(0, 256, (count, 1, 7, 1), dtype=np.uint8) for count in (10, 5001))
    np.testing.assert_array_equal(images, noise - (noise >> 3) + (patterns[np.arange(5001) % 10] >> 3))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.shape=[3,100000,100000]"], "1,200 images [3, 100000, 100000] in 10 classes need 36.3 TB, "),
        (["data.shape=[1,1,10000000000000]"], "1,200 images [1, 1, 10000000000000] in 10 classes need 12.1 PB, "),
        (["data.train_images=1000000000000"], "1,000,000,000,200 images [3, 32, 32] in 10 classes need 3.1 PB, "),
        (["data.test_images=1000000000000"], "1,000,000,001,000 images [3, 32, 32] in 10 classes need 3.1 PB, "),
        (["data.classes=100000000", "data.train_images=200000000"], "200,000,200 images [3, 32, 32] in 100,000,000 "),
    ],
)
def test_what_cannot_fit_into_memory_is_refused(compose, overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(compose("data=fake", *overrides).data, "data")
    keys = "data.shape, data.train_images, data.test_images and data.classes"
    assert str(refusal.value).startswith(f"{keys} must fit into memory: {line}")
