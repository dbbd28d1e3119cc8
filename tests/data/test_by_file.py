"""Parts that follow from each file's name: what is added, removed or damaged moves no other image."""

import logging
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from image_files import CLASSES, picture, write_folder
from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.data import image_folder
from lightsweep.data.image_folder import ImageFolderDataModule, describe_counts

NAMES = [f"{number}.png" for number in range(40)]


@pytest.fixture
def members(compose, tmp_path: Path) -> Callable[..., dict[str, set[str]]]:
    """The files of each part, as paths below the root."""

    def opened(root: Path, *overrides: str) -> dict[str, set[str]]:
        options = [f"data.root='{root}'", f"data_dir={tmp_path}/kept", "data.image_size=4", "data.batch_size=4"]
        data: ImageFolderDataModule = build(compose("data=image_folder", *options, *overrides).data, "data")
        data.setup()
        files = [str(Path(file).relative_to(root)) for file in data.listing.files]
        return {part: {files[index] for index in indices} for part, indices in data.indices.items()}

    return opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images", count=40)


def test_draws_stay_what_they_are() -> None:
    """Runs and studies that were started rely on them."""
    parts, order = image_folder.draw_by_file(
        ["a/1.png", "2.png", "caf\u00e9.jpg", "x\udcff", "y", "z"], 7, test=0.3, val=0.4
    )
    assert parts.tolist() == [0, 1, 0, 1, 0, 2]
    assert order.tolist() == [2, 3, 4, 5, 1, 0]


def test_shares_are_those_that_were_asked_for() -> None:
    parts, order = image_folder.draw_by_file([f"{number}" for number in range(20_000)], 0, test=0.2, val=0.1)
    assert np.bincount(parts) / 20_000 == pytest.approx([0.72, 0.08, 0.2], abs=0.01)
    assert sorted(order) == list(range(20_000))
    for seed in (1, 2):
        others, _ = image_folder.draw_by_file([f"{number}" for number in range(20_000)], seed, test=0.2, val=0.1)
        assert (parts == others).mean() == pytest.approx(0.72**2 + 0.08**2 + 0.2**2, abs=0.02)


def test_a_letter_may_be_composed_or_not() -> None:
    names = [unicodedata.normalize(form, "\u00e9t\u00e9.png") for form in ("NFC", "NFD")]
    parts, _ = image_folder.draw_by_file(names * 50, 0, test=0.5, val=0.5)
    assert names[0] != names[1]
    assert len(set(parts.tolist())) == 1


def test_a_fraction_of_zero_draws_none_and_a_larger_one_only_adds() -> None:
    drawn = [image_folder.draw_by_file(NAMES, 3, test=share, val=0.1)[0] == 2 for share in (0, 0.1, 0.4)]
    assert not drawn[0].any()
    assert not (drawn[1] & ~drawn[2]).any()


CHANGES: dict[str, Callable[[Path], object]] = {
    "an image more": lambda root: picture(3).save(root / "ant" / "000.png"),
    "many images more": lambda root: [picture(n).save(root / "bee" / f"0{n}.png") for n in range(30)],
    "notes": lambda root: (root / "ant" / "notes.txt").touch(),
    "an image less": lambda root: (root / "cat" / "13.png").unlink(),
    "a damaged image": lambda root: (root / "bee" / "21.png").write_bytes(b"x"),
    "a class more": lambda root: shutil.copytree(root / "ant", root / "aardvark"),
    "another root": lambda root: None,
}


@pytest.mark.parametrize("overrides", [[], ["data.val_fraction=0.3", "data.split_seed=5"]])
@pytest.mark.parametrize("change", CHANGES)
def test_no_other_image_moves(members, root: Path, change: str, overrides: list[str]) -> None:
    before = members(root, *overrides)
    CHANGES[change](root)
    after = members(shutil.copytree(root, root.parent / "elsewhere"), *overrides)
    stayed = set().union(*before.values()) & set().union(*after.values())
    assert len(stayed) >= 119
    for part in before:
        assert before[part] & stayed == after[part] & stayed


def test_a_relabelled_image_stays_in_its_part(members, root: Path) -> None:
    before = members(root)
    number = next(name for name in before["test"] if name.startswith("ant/"))
    (root / number).rename(root / "bee" / "below.tmp")
    (root / "bee" / number.removeprefix("ant/")).unlink()
    (root / "bee" / "below.tmp").rename(root / "bee" / number.removeprefix("ant/"))
    assert number.replace("ant", "bee") in members(root)["test"]


@pytest.mark.parametrize("part", ["train", "val"])
def test_parts_that_are_folders_stay_and_the_rest_of_train_is_drawn_by_file(members, root: Path, part: str) -> None:
    divided = root.parent / "divided"
    shutil.copytree(root, divided / "Train")
    write_folder(divided / "testing", count=5)
    if part == "val":
        write_folder(divided / "valid", count=5)
    before = members(divided)
    picture(3).save(divided / "Train" / "ant" / "000.png")
    after = members(divided)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} in (
        {"train": {"Train/ant/000.png"}},
        {"val": {"Train/ant/000.png"}},
    )
    assert all(name.startswith("testing/") for name in after["test"])
    assert all(name.startswith("valid/" if part == "val" else "Train/") for name in after["val"])


@pytest.mark.parametrize("cut", ["data.limit=60", "data.max_per_class=7"])
def test_a_part_of_the_training_images_loses_at_most_one_for_each_that_comes(members, root: Path, cut: str) -> None:
    before = members(root, cut)
    for number in range(3):
        picture(number).save(root / "ant" / f"000{number}.png")
    after = members(root, cut)
    assert len(before["train"] - after["train"]) <= 3
    assert not before["train"] & (after["val"] | after["test"])
    every = members(root)
    assert all(after[part] <= every[part] for part in after)
    counts = [sum(name.startswith(f"{label}/") for name in after["train"]) for label in CLASSES]
    assert min(counts) > 4


@pytest.mark.parametrize(("share", "part"), [("test_fraction", "test"), ("val_fraction", "val")])
def test_a_part_without_a_class_is_refused_and_a_seed_named_that_draws_one(
    members, tmp_path: Path, share: str, part: str
) -> None:
    root = write_folder(tmp_path / "few", ["x", "y"], count=9)
    shares = ["data.test_fraction=0.3", "data.val_fraction=0.3", "data.drop_last=false"]
    shares = [f"data.{share}=0.01" if share in each else each for each in shares]
    with pytest.raises(
        ConfigError, match=rf"^data.root: the class 'x' has no image in {part}: data.split_seed=\d+ "
    ) as no:
        members(root, *shares)
    seed = str(no.value).partition("data.split_seed=")[2].split()[0]
    assert all(
        {name[0] for name in files} == {"x", "y"}
        for files in members(root, *shares, f"data.split_seed={seed}").values()
    )


def test_where_no_seed_helps_none_is_named(members, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "few", ["x", "y"], count=2)
    with pytest.raises(ConfigError, match=r"another data.split_seed draws other parts.*, or it has too few images$"):
        members(root, "data.test_fraction=0.3", "data.drop_last=false")


def test_images_of_each_class_are_said_once(members, root: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    members(root)
    (line,) = [message for message in caplog.messages if message.startswith("images of each class")]
    assert line.startswith("images of each class in train, val, test: ant ")
    assert line.count(";") == 2


def test_of_many_classes_the_smallest_are_named() -> None:
    counts = {"train": np.arange(2000)[::-1] + 3, "val": np.full(2000, 2), "test": np.zeros(2000, int)}
    line = describe_counts([f"c{number}" for number in range(2000)], counts)
    assert line == (
        "images of each of 2,000 classes: 3 to 2,002 in train, 2 to 2 in val;"
        " fewest c1999 3, 2; c1998 4, 2; c1997 5, 2; c1996 6, 2; c1995 7, 2"
    )


@pytest.mark.parametrize("data", ["digits", "fake"])
def test_only_folders_of_files_are_split_by_file(compose, data: str) -> None:
    with pytest.raises(ConfigError, match=r"^data.split must be one of first, random, stratified, got 'by_file'$"):
        build(compose(f"data={data}", "data.split=by_file").data, "data")
