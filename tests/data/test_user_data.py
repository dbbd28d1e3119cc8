"""A user data module: what its loaders give, or a refusal in one line."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightsweep.core.errors import ConfigError
from lightsweep.data import user_data
from own_data import Own, Pairs

IMAGES, CLASSES = torch.zeros(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(IMAGES[0], 1)])


class Loader:
    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def giving(loader: Any, part: str = "train", **attributes: Any) -> user_data.UserData:
    """A module one of whose loaders is another."""
    members = {f"{part}_dataloader": lambda self: loader, **attributes}
    return user_data.UserData(type("Other", (Own,), members)())


def test_labels_and_images_are_those_of_the_loaders() -> None:
    data = user_data.UserData(Own())
    data.setup()
    pairs = Pairs(31, pixels=True)
    np.testing.assert_array_equal(data.labels("val"), pairs.labels)
    assert sorted(data.labels("train")) == sorted(Pairs(60, pixels=True).labels.tolist())
    places = np.array([30, 0, 17])
    shown = data.images("val", places)
    assert (shown.shape, shown.dtype) == ((3, 1, 6, 6), np.uint8)
    order = np.argsort(pairs.images[places].numpy(), axis=None, kind="stable")
    assert (np.diff(shown.reshape(-1)[order].astype(int)) >= 0).all()  # as bright as they are, whatever the scale


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        ({}, ("low", "middle", "high")),
        ({"class_names": ["a", "b", "c\x1b[1m"]}, ("a", "b", "c\\x1b[1m")),
        ({"classes": ["a", "b", "c", "d"]}, ("a", "b", "c", "d")),
    ],
)
def test_classes_are_named_by_the_module_or_its_data_set(attributes: dict, names: tuple[str, ...]) -> None:
    data = user_data.UserData(type("Other", (Own,), attributes)())
    data.setup()
    assert data.class_names == names


@pytest.mark.parametrize(("attributes", "count"), [({}, 3), ({"num_classes": 5}, 5)])
def test_classes_without_names_are_counted(attributes: dict, count: int) -> None:
    images = torch.zeros(6, 1, 4, 4)
    data = giving(DataLoader(TensorDataset(images, torch.arange(6) % 3), 2), **attributes)
    data.setup()
    assert data.class_names == tuple(map(str, range(count)))


def test_an_image_with_shares_is_scored_as_its_largest() -> None:
    shares = torch.tensor([[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.0, 0.3, 0.7], [1.0, 0.0, 0.0]])
    data = giving(Loader((IMAGES, shares)))
    data.setup()
    ((_, scored),) = data.eval_loader("train", torch.device("cpu"))
    ((_, trained),) = data.train_dataloader()
    assert scored.tolist() == [0, 1, 2, 0]
    assert trained.tolist() == shares.tolist()


def test_shares_are_refused_where_images_are_scored() -> None:
    shares = torch.nn.functional.one_hot(CLASSES).float()
    data = giving(Loader((IMAGES, shares)), "val")
    with pytest.raises(
        ConfigError, match=r"val_dataloader must yield class numbers int64 \[B\] from 0: shares are for"
    ):
        data.setup()


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (Loader({"image": IMAGES, "label": CLASSES}), "must yield pairs (images, targets), got a dict of 2"),
        (Loader((IMAGES, CLASSES, CLASSES)), "must yield pairs (images, targets), got a tuple of 3"),
        (Loader(IMAGES), "must yield pairs (images, targets), got a Tensor of 4"),
        (Loader((IMAGES[:, 0], CLASSES)), "must yield images float or uint8 [B, C, H, W], got float32 [4, 6, 6]"),
        (Loader((IMAGES.long(), CLASSES)), "must yield images float or uint8 [B, C, H, W], got int64 [4, 1, 6, 6]"),
        (Loader((IMAGES.numpy(), CLASSES)), "must yield images float or uint8 [B, C, H, W], got 'ndarray'"),
        (
            Loader((IMAGES, CLASSES[:, None])),
            "must yield class numbers int64 [B] from 0, or shares float [B, K], got i",
        ),
        (Loader((IMAGES, CLASSES.float())), "must yield class numbers int64 [B] from 0, or shares float [B, K], got f"),
        (Loader((IMAGES, CLASSES[:2])), "must yield class numbers int64 [B] from 0"),
        (Loader((IMAGES, CLASSES - 1)), "must yield class numbers from 0 to 2, got -1 to 1"),
        (Loader(), "gives no batch"),
        ([DataLoader(TensorDataset(IMAGES, CLASSES))], "must give one loader, got a list"),
        (DataLoader(Stream()), "must give a loader that has a length, got DataLoader"),
        (None, "must give a loader that has a length, got NoneType"),
    ],
)
def test_what_a_loader_gives_is_refused_in_a_line(loader: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        giving(loader).setup()
    assert re.match(rf"data: {__name__}.Other.train_dataloader ", str(refused.value))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_single_class_is_refused() -> None:
    data = user_data.UserData(type("Other", (Own,), {"class_names": ["all"]})())
    with pytest.raises(ConfigError, match="must have images of two classes at least, got 1"):
        data.setup()


def test_images_that_are_scored_must_keep_their_order() -> None:
    shuffled = DataLoader(TensorDataset(IMAGES, CLASSES), shuffle=True)
    for part in ("val", "test"):
        with pytest.raises(ConfigError, match=f"{part}_dataloader must not shuffle"):
            giving(shuffled, part).setup()


def test_a_wrong_mean_is_refused() -> None:
    with pytest.raises(ConfigError, match="must have a mean and a std of pixels in .*, one number or 1 each"):
        user_data.UserData(type("Other", (Own,), {"mean": [0.1, 0.2], "std": 0.0})()).setup()


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="trainer.devices must be 1 with the data module .*Own, whose loaders do not"):
        user_data.UserData(Own()).check_shares(2)
