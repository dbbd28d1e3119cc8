"""What all data sets share: limit, split, sizes, and where the tensors lie."""

import numpy as np
import pytest
import torch

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.data import loader

CPU = torch.device("cpu")


@pytest.fixture
def digits(compose):
    def made(*overrides: str):
        data = build(compose(*overrides).data, "data")
        data.setup()
        return data

    return made


def test_train_and_val_share_the_training_images_out(digits) -> None:
    data = digits("data.val_fraction=0.25")
    train, val = data.indices["train"], data.indices["val"]
    assert len(val) == round(0.25 * len(data.arrays.train_labels))
    assert sorted([*train, *val]) == list(range(len(data.arrays.train_labels)))


def test_limit_cuts_the_training_images_before_the_split_and_leaves_test_alone(digits) -> None:
    every, cut = digits(), digits("data.limit=100", "data.split=first")
    assert cut.indices["val"].tolist() == list(range(10))
    assert cut.indices["train"].tolist() == list(range(10, 100))
    np.testing.assert_array_equal(cut.indices["test"], every.indices["test"])


def test_a_limit_beyond_the_set_is_the_whole_set(digits) -> None:
    assert len(digits("data.limit=1000000").indices["train"]) == len(digits().indices["train"])


@pytest.mark.parametrize("split", ["random", "stratified"])
def test_the_split_has_a_seed_of_its_own(digits, split: str) -> None:
    base = f"data.split={split}"
    val = digits(base).indices["val"].tolist()
    assert digits(base, "seed=7").indices["val"].tolist() == val
    assert digits(base, "data.split_seed=7").indices["val"].tolist() != val


def test_normalisation_is_measured_on_the_training_part(digits) -> None:
    data = digits("data.normalize=channel", "data.limit=200")
    train = torch.cat([images for images, _ in data.eval_loader("train", CPU)])
    assert len(train) == 180
    assert train.mean().item() == pytest.approx(0, abs=1e-5)
    assert train.std(unbiased=False).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_labels_are_those_of_the_loader(digits, part: str) -> None:
    data = digits()
    assert torch.cat([targets for _, targets in data.eval_loader(part, CPU)]).tolist() == data.labels(part).tolist()


def test_setup_twice_reads_once(digits) -> None:
    data = digits()
    arrays = data.arrays
    data.setup()
    assert data.arrays is arrays


def test_loaders_share_one_tensor_on_the_device(digits) -> None:
    data = digits()
    loaders = [data.train_loader(CPU), data.eval_loader("train", CPU), data.eval_loader("val", CPU)]
    assert len({loader.store.images.data_ptr() for loader in loaders}) == 1


def test_without_drop_last_a_large_batch_has_all_images(digits) -> None:
    data = digits("data.batch_size=100000", "data.drop_last=false")
    assert [len(targets) for _, targets in data.train_loader(CPU)] == [len(data.indices["train"])]


def test_few_images_per_class_leave_val_and_test_as_they_are(digits) -> None:
    every, few = digits(), digits("data.max_per_class=5", "data.batch_size=64", "data.drop_last=false")
    assert np.bincount(few.labels("train")).tolist() == [5] * 10
    assert set(few.indices["train"]) < set(every.indices["train"])
    for part in ("val", "test"):
        np.testing.assert_array_equal(few.indices[part], every.indices[part])
    assert [len(targets) for _, targets in few.train_loader(CPU)] == [50]


def test_class_weights_are_measured_on_the_training_part(digits) -> None:
    assert digits().class_weights.tolist() == [1] * 10
    data = digits("data.class_weights=balanced")
    counts = np.bincount(data.labels("train"))
    np.testing.assert_allclose(data.class_weights, counts.sum() / (10 * counts), rtol=1e-6)


@pytest.mark.parametrize(("share", "device"), [(2, "meta"), (1.9, "cpu")])
def test_images_that_do_not_fit_into_half_of_the_devices_memory_stay_on_the_cpu(share: float, device: str) -> None:
    images, labels = np.zeros((5, 1, 8, 8), np.uint8), np.zeros(5, np.int64)
    store = loader.build_store(images, labels, torch.device("meta"), free=share * images.nbytes)
    assert (store.images.device.type, store.targets.device.type) == (device, "meta")


def test_without_test_images_there_is_no_test_to_score(digits, caplog) -> None:
    caplog.set_level("INFO")
    data = digits()
    assert data.scored_parts(test=True) == ("train", "val", "test")
    assert data.scored_parts(test=False) == ("train", "val")
    data.indices["test"] = data.indices["test"][:0]
    assert data.scored_parts(test=True) == ("train", "val")
    assert caplog.messages == ["there is no test part, so there will be no test score"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.batch_size=0"], "data.batch_size must be an integer >= 1, got 0"),
        (["data.batch_size=1.5"], "data.batch_size must be an integer >= 1, got 1.5"),
        (["data.eval_batch_size=0"], "data.eval_batch_size must be an integer >= 1, got 0"),
        (["data.drop_last=1"], "data.drop_last must be true or false, got 1"),
        (["data.val_fraction=1"], "data.val_fraction must be in (0, 1), got 1"),
        (["data.val_fraction=0"], "data.val_fraction must be in (0, 1), got 0"),
        (["data.val_fraction=1e-6", "data.split=first"], "data.val_fraction must leave at least one of"),
        (["data.val_fraction=1e-6"], "data.val_fraction must leave at least one of"),
        (["data.val_fraction=0.9999", "data.split=first"], "data.val_fraction must leave at least one of"),
        (["data.val_fraction=0.9999"], "data.val_fraction must leave at least one of"),
        (["data.seed=-1"], "data.seed must be an integer >= 0, got -1"),
        (["data.augment=null"], "data.augment must be a mapping, got None"),
        (["data.split=last"], "data.split must be one of first, random, stratified, got 'last'"),
        (["data.split_seed=-1"], "data.split_seed must be an integer in [0, 4294967295], got -1"),
        (["data.normalize=foo"], "data.normalize must be one of symmetric, channel, feature, got 'foo'"),
        (["data.max_per_class=0"], "data.max_per_class must be an integer >= 1, got 0"),
        (["data.sampler=fair"], "data.sampler must be one of shuffle, balanced, got 'fair'"),
        (
            ["data.class_weights=fair"],
            "data.class_weights must be null, balanced, or a list with a number > 0 for each",
        ),
        (["data.class_weights=[1,0]"], "data.class_weights must be in (0, 1e6], got 0"),
        (["data.class_weights=[1,2]"], "data.class_weights must have 10 numbers, one a class, got [1, 2]"),
        (["data.augment.crop=8"], "data.augment.crop must be smaller than the image's side, 8, got 8"),
        (["data.limit=0"], "data.limit must be an integer >= 1, got 0"),
        (["data.limit=3"], "data.limit must be at least 20, two images a class, got 3"),
        (
            ["data.limit=25", "data.batch_size=1"],
            "data.split=stratified with data.val_fraction=0.1 and data.limit=25: ",
        ),
        (
            ["data.limit=100", "data.batch_size=91"],
            "data.batch_size must be at most 90, the number of training images, got 91 (data.drop_last=false makes ",
        ),
    ],
)
def test_refuses_what_cannot_be(digits, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        digits(*overrides)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_batches_are_at_most_what_there_is(digits) -> None:
    assert digits("data.batch_size=32", "data.eval_batch_size=50").batches == (32, 50)
    data = digits("data.batch_size=100000", "data.drop_last=false", "data.eval_batch_size=100000")
    assert data.batches == (len(data.indices["train"]),) * 2


def test_noise_that_is_kept_must_fit_into_memory(digits, memory_left) -> None:
    noisy = ("data.augment.noise=0.1", "data.augment.noise_redraw=false")
    images = digits(*noisy).arrays.train_images
    memory_left(2 * images.size - 1)
    with pytest.raises(ConfigError) as refusal:
        digits(*noisy)
    assert str(refusal.value).startswith("data.augment.noise_redraw=false must fit into memory: the noise of 1,438 ")
    digits("data.augment.noise=0.1")
