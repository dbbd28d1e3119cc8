"""A user data module: trained on, scored and evaluated like any other, or refused in one line."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split

import evaluate
import export
import predict
from lightsweep.core.errors import ConfigError
from lightsweep.data import user_data


class Pairs(Dataset):
    """Images whose class is their brightest third; ``float`` or ``uint8 [1, 6, 6]``."""

    classes = ("low", "middle", "high")

    def __init__(self, count: int, *, pixels: bool) -> None:
        draw = torch.Generator().manual_seed(count)
        self.labels = torch.arange(count) % 3
        self.images = torch.randint(0, 100, (count, 1, 6, 6), generator=draw, dtype=torch.uint8)
        for number, label in enumerate(self.labels.tolist()):
            self.images[number, :, 2 * label : 2 * label + 2] += 150
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        image = self.images[index]
        return image if self.pixels else image / 127.5 - 1, int(self.labels[index])


class Own(pl.LightningDataModule):
    """What a person would write."""

    def __init__(self, batch_size: int = 12, pixels: bool = False) -> None:
        super().__init__()
        self.batch_size, self.pixels = batch_size, pixels

    def setup(self, stage: str) -> None:
        self.sets = [Pairs(count, pixels=self.pixels) for count in (60, 31, 30)]

    def train_dataloader(self):
        return DataLoader(self.sets[0], self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.sets[1], 7)

    def test_dataloader(self):
        return DataLoader(self.sets[2], 7)


class WithMeanAndStd(Own):
    mean, std = 0.5, 0.5  # as x / 127.5 - 1


class WithoutTest(Own):
    test_dataloader = pl.LightningDataModule.test_dataloader


class Gone(Own):
    val_dataloader = pl.LightningDataModule.val_dataloader


class Failing(Own):
    def setup(self, stage: str) -> None:
        raise FileNotFoundError("no\nsuch file")


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


@pytest.fixture(autouse=True)
def _trusted(trust) -> None:
    trust(f"{__name__}.*")


@pytest.fixture
def own_run(run):
    """Train on a data module of this file, its node in place of that of digits."""

    def trained(kind: type, *overrides: str, name: str = "run", **arguments: Any):
        node = {"_target_": f"{__name__}.{kind.__name__}", **arguments}
        return run(*overrides, name=name, edit=lambda cfg: cfg.update(data=node))

    return trained


@pytest.mark.parametrize(
    ("kind", "pixels"), [(Own, False), (Own, True), (WithMeanAndStd, False), (WithoutTest, True)], ids=str
)
def test_is_trained_on_scored_and_shown(own_run, call, kind: type, pixels: bool) -> None:
    done = own_run(
        kind, "callbacks=default", "model.bn=true", "trainer.max_epochs=6", "optimizer.lr=0.01", pixels=pixels
    )
    assert done.result["status"] == "completed"
    assert done.result["val/acc"] > 0.5  # a third by chance
    assert ("test/acc" in done.result) == (kind is not WithoutTest)
    saved = done.checkpoint("best.ckpt")["lightsweep"]
    assert (saved["input_shape"], saved["class_names"]) == ([1, 6, 6], list(Pairs.classes))
    evaluated = call(evaluate.main, done.folder, "--split", "val", "--device", "cpu")
    assert (evaluated.code, "equal to result.json, digit for digit" in evaluated.out) == (0, True), evaluated.err


def test_float_and_pixels_are_the_same_to_the_network(own_run) -> None:
    first, second = (own_run(Own, name=str(pixels), pixels=pixels) for pixels in (False, True))
    assert float(first.rows[-1]["val/loss"]) == pytest.approx(float(second.rows[-1]["val/loss"]), abs=1e-5)


def test_a_run_is_resumed_exactly(own_run) -> None:
    at_once = own_run(Own, "trainer.max_epochs=3", name="at-once")
    own_run(Own, "trainer.max_epochs=1", name="parts")
    assert own_run(Own, "trainer.max_epochs=3", name="parts").measured == at_once.measured


def test_a_resumed_run_says_what_changed_in_its_data(own_run, monkeypatch) -> None:
    own_run(Own, "trainer.max_epochs=1")
    monkeypatch.setattr(Own, "val_dataloader", lambda self: DataLoader(Pairs(40, pixels=self.pixels), 7))
    with pytest.raises(ConfigError, match="the data changed since this run started: val has 40 images, had 31"):
        own_run(Own, "trainer.max_epochs=2")


class Drawn(Own):
    """Its split is drawn from torch's generator, as many do."""

    def setup(self, stage: str) -> None:
        self.sets = [*random_split(Pairs(90, pixels=False), [60, 30]), Pairs(30, pixels=False)]


def test_a_split_that_is_drawn_is_the_same_when_a_run_is_resumed(own_run) -> None:
    at_once = own_run(Drawn, "trainer.max_epochs=3", name="at-once")
    own_run(Drawn, "trainer.max_epochs=1", name="parts")
    torch.rand(7)
    assert own_run(Drawn, "trainer.max_epochs=3", name="parts").measured == at_once.measured


@pytest.mark.parametrize(("kind", "pixels"), [(WithMeanAndStd, False), (Own, True)])
def test_image_files_are_classified_where_it_is_known_how_pixels_become_inputs(
    own_run, call, tmp_path: Path, kind: type, pixels: bool
) -> None:
    done = own_run(kind, "trainer.max_epochs=20", "optimizer.lr=0.01", "callbacks=checkpoint", pixels=pixels)
    images = Pairs(30, pixels=True)
    for number, (image, label) in enumerate(images):
        (tmp_path / "files" / images.classes[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / "files" / images.classes[label] / f"{number}.png")
    ended = call(predict.main, done.folder, tmp_path / "files", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert f"accuracy {done.result['test/acc']:.4f}" in ended.out


def test_image_files_are_refused_where_nobody_can_know(own_run, call, tmp_path: Path) -> None:
    done = own_run(Own, "callbacks=checkpoint")
    for main, more in ((predict.main, [tmp_path]), (export.main, [])):
        ended = call(main, done.folder, *more)
        assert (ended.code, ended.out) == (1, "")
        assert "without mean and std" in ended.err.splitlines()[-1]
    ended = call(evaluate.main, done.folder, "--data", "data=digits", "--device", "cpu")
    assert "weights are scored on the run's own data only" in ended.err


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


IMAGES, CLASSES = torch.zeros(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])


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


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Gone,
            "data must be a LightningDataModule with train_dataloader and val_dataloader: .*Gone lacks val_",
        ),
        (Pairs, "Pairs lacks train_dataloader and val_dataloader"),
        (Failing, "data: .*Failing.setup failed: FileNotFoundError: no such file$"),
    ],
)
def test_what_is_no_data_module_leaves_no_record(own_run, tmp_path: Path, kind: type, message: str) -> None:
    arguments = {"count": 3, "pixels": True} if kind is Pairs else {}
    with pytest.raises(ConfigError, match=message):
        own_run(kind, **arguments)
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_wrong_mean_is_refused() -> None:
    with pytest.raises(ConfigError, match="must have a mean and a std of pixels in .*, one number or 1 each"):
        user_data.UserData(type("Other", (Own,), {"mean": [0.1, 0.2], "std": 0.0})()).setup()


def test_batchnorm_gets_no_single_image(own_run) -> None:
    with pytest.raises(ConfigError, match="train_dataloader gives a batch of one image, .*: drop_last=True"):
        own_run(Own, "model.bn=true", batch_size=59)


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="trainer.devices must be 1 with the data module .*Own, whose loaders do not"):
        user_data.UserData(Own()).check_shares(2)
