"""Names of parts: recognised as other programs write them, or refused with what was found."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.data.folders import PARTS, list_images, part_of_name


def made(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def of_classes(*folders: str, classes: Sequence[str] = ("cat", "dog")) -> list[str]:
    return [f"{folder}/{name}/1.png" for folder in folders for name in classes]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *[
            (name, "train")
            for name in ("train", "TRAIN", "Training", "training_set", "train-set", "trainset", "Train Data")
        ],
        *[
            (name, "val")
            for name in ("val", "Valid", "validation", "Validation_Set", "dev", "DevSet", "eval", "val_images")
        ],
        *[(name, "test") for name in ("test", "Testing", "test_set", "testset", "test.split")],
        *[
            (name, None)
            for name in ("trains", "trainer", "value", "devil", "set", "images", "contest", "train2", "détest")
        ],
    ],
)
def test_a_name_means_a_part_in_any_case_and_with_what_is_often_behind_it(name: str, part: str | None) -> None:
    assert part_of_name(name) == part


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "valid", "test"), PARTS),
        (("TRAIN", "Validation"), ("train", "val")),
        (("training_set", "test_set"), ("train", "test")),
        (("Training", "DEV", "Testing"), PARTS),
        (("train", "eval"), ("train", "val")),
    ],
)
def test_parts_are_found_under_their_usual_names(tmp_path: Path, names: Sequence[str], parts: Sequence[str]) -> None:
    listing = list_images(made(tmp_path, *of_classes(*names), "README.txt", ".git/config", "__MACOSX/train/x"))
    assert listing.divided
    assert listing.class_names == ("cat", "dog")
    assert tuple(part for part in PARTS if listing.has(part)) == parts


@pytest.mark.parametrize(
    "classes", [("car", "train"), ("dev", "prod", "test"), ("boat", "Testing"), ("eval", "grade"), ("images", "labels")]
)
def test_a_class_may_be_called_as_a_part(tmp_path: Path, classes: Sequence[str]) -> None:
    listing = list_images(made(tmp_path, *(f"{name}/1.png" for name in classes)))
    assert (listing.class_names, listing.divided) == (tuple(sorted(classes)), False)
    inside = list_images(made(tmp_path / "divided", *of_classes("train", "val", classes=classes)))
    assert (inside.class_names, inside.divided) == (tuple(sorted(classes)), True)


@pytest.mark.parametrize(
    "files",
    [
        ["cat/images/1.png", "dog/images/1.png"],  # as Tiny ImageNet
        ["cat/2023/1.png", "cat/2024/1.png", "dog/2024/1.png"],
        ["cat/a/1.png", "cat/b/2.png", "dog/1.png"],
        ["cat/1.png", "dog/train/1.png", "dog/val/1.png"],
    ],
)
def test_folders_below_a_class_may_be_as_they_are(tmp_path: Path, files: list[str]) -> None:
    assert list_images(made(tmp_path, *files)).class_names == ("cat", "dog")


REFUSED = {
    "two of one part": (
        of_classes("train", "val", "Validation_set"),
        "Validation_set and val in ROOT both mean val: rename one, put their images together, or move one elsewhere",
    ),
    "train twice": (of_classes("Train", "train_set"), "Train and train_set in ROOT both mean train: rename one"),
    "parts without classes": (
        ["training/1.png", "testing/2.png"],
        "ROOT has testing, training without class folders in them: put the images of each class into testing/CLASS",
    ),
    "and another folder": (
        ["train/1.png", "valid/2.png", "labels/1.txt"],
        "ROOT has train, valid without class folders in them",
    ),
    "one part without classes": (["Train/1.png"], "ROOT has Train without class folders in it: put"),
    "no train": (["valid/1.png", "test/2.png"], "ROOT has test, valid without class folders in them"),
    "flat test": (
        [*of_classes("train"), "test1/x", "test/1.png"],
        "ROOT/test has no class folders: put the images of each class into test/CLASS, or move the folder elsewhere",
    ),
    "empty val": ([*of_classes("train"), "valid/.keep"], "ROOT/valid has no class folders"),
    "an unknown part": (
        of_classes("train", "holdout"),
        "holdout holds classes of train: rename it to val or test, or move it elsewhere",
    ),
    "a fourth part": (of_classes("train", "valid", "test", "extra"), "rename it to one of the parts, or move it"),
    "train by another name": (
        of_classes("learn", "test"),
        "ROOT has test, but no train with class folders next to it: rename learn to train, or the class test",
    ),
    "all by other names": (
        of_classes("learn", "check"),
        "the class folders 'check' and 'learn' both hold the folders cat, dog: if these are the classes, rename",
    ),
    "classes above parts": (
        of_classes("cat", "dog", classes=["train", "test"]),
        "the class folders 'cat' and 'dog' both hold the folders test, train: a part holds the classes, test/dog",
    ),
    "some parts in classes": (
        ["cat/train/1.png", "cat/valid/1.png", "dog/train/1.png"],
        "the class folders 'cat' and 'dog' both hold the folders train",
    ),
    "kinds of files": (
        of_classes("images", "labels", classes=["train", "val"]),
        "the class folders 'images' and 'labels' both hold the folders train, val",
    ),
    "a class called train that holds folders": (
        ["train/steam/1.png", "train/diesel/2.png", "car/3.jpg"],
        "ROOT/train holds folders, as train does, but car next to it holds images, as a class does",
    ),
    "a folder around": (
        of_classes("photos"),
        "must have at least two classes, ROOT has only 'photos', a folder that holds cat, dog: name that folder, or",
    ),
    "a folder around in a part": (
        of_classes("training_set/training_set", "test_set/test_set"),
        "ROOT/training_set has only 'training_set', a folder that holds cat, dog: name that folder, or move them up",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_neither_parts_nor_classes_is_refused_with_what_was_found(tmp_path: Path, name: str) -> None:
    files, message = REFUSED[name]
    root = made(tmp_path / "root", *files)
    with pytest.raises(ConfigError) as refusal:
        list_images(root)
    text = str(refusal.value)
    assert text.startswith("data.root")
    assert message in text.replace(str(root), "ROOT")
    assert "\n" not in text


def test_another_folder_next_to_the_parts_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    root = made(tmp_path / "root", *of_classes("train", "valid"), "annota\ntions/1.json", "__MACOSX/1", ".x/1.png")
    assert len(list_images(root).files) == 4
    (warning,) = caplog.messages
    assert warning == rf"data.root: {root}/annota\ntions is neither train, val nor test: what is in it is left out"
