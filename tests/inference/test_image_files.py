"""Image files found and decoded: in order, a batch ahead, whatever is among them."""

import os
from pathlib import Path

import numpy as np
import pytest

from image_files import write_junk, write_oddities
from lightsweep.data.decode import BadImage
from lightsweep.data.folders import list_images
from lightsweep.inference.predictions import ImageFile, decode_files, list_files


def found(*paths: Path) -> list[tuple[str, str]]:
    return [(file.path.name, file.label) for file in list_files(paths)]


def test_lists_files_below_folders_in_order_with_the_first_folder_as_label(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/deep/1.jpeg", "a/3.png", "0.webp", "readme.md", ".x.png", ".git/4.png", "a/thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(tmp_path) == [("0.webp", ""), ("3.png", "a"), ("2.JPG", "b"), ("1.jpeg", "b"), ("readme.md", "")]
    assert [file.path.name for file in list_files([tmp_path]) if not file.is_called_image] == ["readme.md"]


def test_takes_the_files_that_training_takes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_oddities(tmp_path / name)
        write_junk(tmp_path / name)
    (tmp_path / "one" / "elsewhere").symlink_to(tmp_path / "other")
    assert [str(file.path) for file in list_files([tmp_path])] == list_images(tmp_path).files


def test_a_named_file_is_tried_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "photo").touch()
    files = list(list_files([tmp_path / "photo", tmp_path / "gone"]))
    assert files == [ImageFile(tmp_path / "photo", named=True), ImageFile(tmp_path / "gone", named=True)]
    assert all(file.is_called_image for file in files)


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
    for count, batch in enumerate(decode_files(files(), decode, batch_size=8), start=1):
        seen += [(each.file.path.name, each.problem or int(each.pixels.max())) for each in batch]
        assert len(asked) <= 8 * (count + 1)
    expected = {13: "it is unlucky", 14: "it is too large for the memory"}
    assert seen == [(str(number), expected.get(number, number)) for number in range(100)]
