"""Image files found and decoded: in order, a batch ahead, whatever is among them."""

import os
from pathlib import Path

import numpy as np
import pytest

from lightsweep.data.decode import BadImage
from lightsweep.inference.image_files import ImageFile, decoded, listed


def found(*places: Path) -> tuple[list[tuple[str, str]], list[str]]:
    skipped: list[Path] = []
    files = [(file.path.name, file.label) for file in listed(places, skipped.append)]
    return files, [path.name for path in skipped]


def test_lists_images_below_folders_in_order_with_the_first_folder_as_label(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/deep/1.jpeg", "a/3.png", "0.webp", "readme.md", ".x.png", ".git/4.png", "a/thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files, skipped = found(tmp_path)
    assert files == [("0.webp", ""), ("3.png", "a"), ("2.JPG", "b"), ("1.jpeg", "b")]
    assert skipped == ["readme.md", "thumbs.db"]


def test_what_is_named_is_tried_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "photo").touch()
    assert list(listed([tmp_path / "photo", tmp_path / "gone"], pytest.fail)) == [
        ImageFile(tmp_path / "photo", named=True),
        ImageFile(tmp_path / "gone", named=True),
    ]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch) -> None:
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        found(tmp_path)


def test_decodes_in_order_and_no_more_than_two_batches_ahead() -> None:
    asked: list[str] = []

    def files():
        for number in range(100):
            asked.append(str(number))
            yield ImageFile(Path(str(number)), named=False)

    def decode(path: Path) -> np.ndarray:
        if path.name == "13":
            raise BadImage("it is unlucky")
        if path.name == "14":
            raise MemoryError
        return np.full((1, 2, 2), int(path.name), np.uint8)

    seen = []
    for count, batch in enumerate(decoded(files(), decode, batch_size=8), start=1):
        seen += [(each.file.path.name, each.problem or int(each.pixels.max())) for each in batch]
        assert len(asked) <= 8 * (count + 1)
    expected = {13: "it is unlucky", 14: "it is too large for the memory"}
    assert seen == [(str(number), expected.get(number, number)) for number in range(100)]
