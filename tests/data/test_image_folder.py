"""Class folders: every kind of file and layout, decoded once; mistakes are errors of one line."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from image_files import CLASSES, write_folder, write_junk, write_oddities
from lightsweep.core.errors import ConfigError
from lightsweep.data.decode import decode_image
from lightsweep.data.image_folder import ImageFolderDataModule


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    for part, count in (("train", 10), ("val", 4), ("test", 3)):
        write_folder(tmp_path / "divided" / part, count=count)
    return tmp_path / "divided"


def counts(data: ImageFolderDataModule) -> dict[str, list[int]]:
    return {part: np.bincount(data.labels(part), minlength=data.num_classes).tolist() for part in data.indices}


def pixels(data: ImageFolderDataModule, part: str) -> set[bytes]:
    images, _ = data.arrays.of(part)
    return {images[index].tobytes() for index in data.indices[part]}


def test_shape_and_classes_follow_from_the_folder(open_folder, root: Path) -> None:
    data = open_folder(root)
    assert (data.input_shape, data.class_names, data.num_classes) == ((3, 8, 8), CLASSES, 3)
    gray = open_folder(root, "data.grayscale=true", "data.image_size=5", "data.resize=pad")
    assert (gray.input_shape, gray.resize) == ((1, 5, 5), "pad")


def test_one_folder_is_split_by_file_and_always_the_same_way(open_folder, root: Path) -> None:
    data = open_folder(root)
    assert counts(data) == {"train": [5, 5, 5], "val": [4, 4, 4], "test": [1, 1, 1]}
    test = pixels(data, "test")
    assert not test & (pixels(data, "train") | pixels(data, "val"))
    assert pixels(open_folder(root, "seed=3"), "test") == test
    assert pixels(open_folder(root, "data.split_seed=3"), "test") != test


def test_the_split_of_earlier_runs_is_as_it_was_and_warns(open_folder, root: Path, caplog) -> None:
    data = open_folder(root, "data.split=stratified")
    assert counts(data) == {"train": [6, 6, 6], "val": [2, 2, 2], "test": [2, 2, 2]}
    assert "data.split=stratified: parts are drawn from the positions of all files" in caplog.text
    test = pixels(data, "test")
    assert pixels(open_folder(root, "data.split=stratified", "data.split_seed=5", "seed=3"), "test") == test


def test_no_test_fraction_is_no_test_part(open_folder, root: Path) -> None:
    assert counts(open_folder(root, "data.test_fraction=0"))["test"] == [0, 0, 0]


def test_parts_with_folders_of_their_own_are_those_parts(open_folder, divided: Path) -> None:
    data = open_folder(divided)
    assert counts(data) == {"train": [10] * 3, "val": [4] * 3, "test": [3] * 3}
    expected = decode_image(divided / "test" / "bee" / "1.png", image_size=8, resize="squash", grayscale=False)
    assert expected.tobytes() in pixels(data, "test")


def test_without_val_train_is_split_and_without_test_there_is_none(open_folder, divided: Path) -> None:
    shutil.rmtree(divided / "val")
    half = ["data.val_fraction=0.5", "data.split=stratified"]
    assert counts(open_folder(divided, *half)) == {"train": [5] * 3, "val": [5] * 3, "test": [3] * 3}
    shutil.rmtree(divided / "test")
    assert counts(open_folder(divided, *half)) == {"train": [5] * 3, "val": [5] * 3, "test": [0] * 3}
    assert counts(open_folder(divided)) == {"train": [6] * 3, "val": [4] * 3, "test": [0] * 3}


def test_a_class_may_be_called_train(open_folder, tmp_path: Path) -> None:
    assert open_folder(write_folder(tmp_path / "x", ["car", "train"])).class_names == ("car", "train")


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("grayscale", ["true", "false"])
def test_images_of_every_kind_are_those_that_decode_gives(open_folder, root: Path, resize: str, grayscale: str) -> None:
    expected = write_oddities(root / "bee")
    options = [f"data.resize={resize}", f"data.grayscale={grayscale}", "data.test_fraction=0", "data.on_bad_file=error"]
    data = open_folder(root, *options)
    everything = np.concatenate([data.labels("train"), data.labels("val")])
    assert np.bincount(everything).tolist() == [10, 10 + expected, 10]
    how = {"image_size": 8, "resize": resize, "grayscale": grayscale == "true"}
    photo = decode_image(root / "bee" / "photo.JPG", **how)
    assert photo.tobytes() in pixels(data, "train") | pixels(data, "val")


def test_what_is_no_image_is_named_counted_and_left_out_at_every_start(open_folder, root: Path, caplog) -> None:
    names = write_junk(root / "ant")
    for _ in range(2):
        caplog.clear()
        data = open_folder(root, "data.test_fraction=0")
        assert sum(counts(data)["train"] + counts(data)["val"]) == 30
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        first, *lines = warning.split("\n")
        assert first == "5 of 35 files are left out:"
        assert [line.split(": ")[0].rpartition("/")[2] for line in lines] == names


def test_of_many_bad_files_the_first_are_named(open_folder, root: Path, caplog) -> None:
    for number in range(25):
        (root / "ant" / f"x{number:02}.jpg").touch()
    open_folder(root)
    assert caplog.text.count(".jpg: it is no image") == 10
    assert "and 15 more" in caplog.text


def test_bad_files_can_be_an_error_also_after_a_start_that_skipped_them(open_folder, root: Path) -> None:
    (root / "ant" / "x.jpg").touch()
    open_folder(root)
    with pytest.raises(ConfigError, match=r"^data.on_bad_file=error: .*x.jpg: it is no image.*\(1 of 31 files\)$"):
        open_folder(root, "data.on_bad_file=error")


def test_the_first_images_are_of_any_class(open_folder, root: Path) -> None:
    assert min(counts(open_folder(root, "data.limit=24", "data.test_fraction=0", "data.split=first"))["train"]) > 0


def test_few_images_per_class(open_folder, divided: Path) -> None:
    data = open_folder(divided, "data.max_per_class=5", "data.batch_size=64", "data.drop_last=false")
    assert counts(data) == {"train": [5] * 3, "val": [4] * 3, "test": [3] * 3}
    assert [len(targets) for _, targets in data.train_loader(torch.device("cpu"))] == [15]


def replaced(path: str, content: bytes = b"junk") -> Callable[[Path], object]:
    return lambda root: [file.write_bytes(content) for file in sorted((root / path).iterdir())]


MISTAKES = {
    "no folder": (
        shutil.rmtree,
        "data.root must be a folder with a folder of images for each class, got",
    ),
    "no class": (lambda root: [shutil.rmtree(root / part) for part in os.listdir(root)], "has none"),
    "no train": (lambda root: shutil.rmtree(root / "train"), "has val, but no train with class folders next to it"),
    "one class": (lambda root: [shutil.rmtree(root / "train" / name) for name in CLASSES[1:]], "has only 'ant'"),
    "empty class": (lambda root: [file.unlink() for file in (root / "val/cat").iterdir()], "val/cat is empty"),
    "not in val": (
        lambda root: shutil.rmtree(root / "val/cat"),
        "data.root: val lacks the class 'cat', which train has",
    ),
    "not in train": (
        lambda root: shutil.rmtree(root / "train/cat"),
        "data.root: val has the class 'cat', which train lacks",
    ),
    "case": (
        lambda root: (root / "train/bee").rename(root / "train/Ant"),
        "data.root: the class folders 'Ant' and 'ant' in ",
    ),
    "no image": (replaced("val/bee"), "data.root: the class 'bee' has files in val, but none is an image"),
    "same look": (
        lambda root: [(root / "train" / name).mkdir() for name in ("\u00e9", "e\u0301")],
        "have names that look the same",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_folder_that_is_no_data_set_is_refused(open_folder, divided: Path, mistake: str) -> None:
    harm, message = MISTAKES[mistake]
    harm(divided)
    with pytest.raises(ConfigError) as refusal:
        open_folder(divided)
    assert str(refusal.value).startswith("data.root")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.root=null"], "data.root must be a folder with a folder of images for each class, got None"),
        (["data.image_size=0"], "data.image_size must be an integer >= 1, got 0"),
        (["data.resize=fit"], "data.resize must be one of squash, crop, pad, got 'fit'"),
        (["data.grayscale=1"], "data.grayscale must be true or false, got 1"),
        (["data.test_fraction=1"], "data.test_fraction must be in [0, 1), got 1"),
        (["data.on_bad_file=ignore"], "data.on_bad_file must be one of skip, error, got 'ignore'"),
        (["data.test_fraction=0.05", "data.split=random"], "data.test_fraction=0.05: "),
        (["data.augment.crop=8"], "data.augment.crop must be smaller than the image's side, 8, got 8"),
        (["data.augment.cutout=9"], "data.augment.cutout must be at most the image's side, 8, got 9"),
        (["data.split=first", "data.val_fraction=0.05"], "data.root: the class 'ant' has no image in val"),
    ],
)
def test_refuses_what_cannot_be(open_folder, root: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_folder(root, *overrides)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_what_a_network_follows_from_is_known_before_decoding(open_folder, root: Path, count_decodings) -> None:
    traits = open_folder(root, "data.grayscale=true", setup=False).preview()
    assert (traits.input_shape, traits.class_names, traits.resize) == ((1, 8, 8), CLASSES, "squash")
    assert count_decodings() == 0


def test_a_run_leaves_the_class_names_and_the_shape_in_its_checkpoint(run, tmp_path: Path, monkeypatch) -> None:
    odd = ("a,b", "\u00e9", os.fsdecode(b"c\xff[red]"))
    write_folder(tmp_path / "divided" / "train", odd)
    write_folder(tmp_path / "divided" / "val", odd, count=3)
    monkeypatch.chdir(tmp_path)
    options = ["data.root=divided", "data.image_size=6", "data.resize=crop", "data.batch_size=8"]
    extras = ["data.class_weights=balanced", "data.sampler=balanced", "data.augment.mixup=0.4", "data.limit=null"]
    done = run("data=image_folder", "logger=tensorboard", *options, *extras)
    saved = done.checkpoint("best.ckpt")["lightsweep"]
    assert saved["class_names"] == ["a,b", r"c\udcff[red]", "\u00e9"]
    assert (saved["input_shape"], saved["resize"]) == ([3, 6, 6], "crop")
    assert "val/acc" in done.result
    assert "test/acc" not in done.result  # there is no test part
    assert done.result["config"]["data"]["root"] == str(tmp_path / "divided")
    assert not (done.folder / "confusion_test.csv").exists()


def test_pixels_of_a_png_of_the_right_size_are_kept(open_folder, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    for number, image in enumerate(noise):
        folder = tmp_path / "x" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number}.png")
    data = open_folder(tmp_path / "x")
    assert pixels(data, "train") | pixels(data, "val") | pixels(data, "test") == {image.tobytes() for image in noise}


def test_a_folder_that_cannot_be_looked_at_is_named(open_folder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data.root: .*xxx cannot be read: File name too long$"):
        open_folder(tmp_path / ("x" * 300))


def test_a_link_to_itself_is_a_bad_file(open_folder, divided: Path, caplog: pytest.LogCaptureFixture) -> None:
    (divided / "train" / "ant" / "circle").symlink_to("circle")
    open_folder(divided)
    assert "train/ant/circle: there is no such file" in caplog.text


@pytest.mark.parametrize("size", [10**6, 10**30])
def test_an_image_must_fit_into_memory(open_folder, root: Path, size: int) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_folder(root, f"data.image_size={size}", setup=False)
    assert str(refusal.value).startswith(f"data.image_size must fit into memory: an image [3, {size}, {size}] needs ")
