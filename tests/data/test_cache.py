"""The parsed copy: read back unchanged, or not at all when anything about it is wrong."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lightsweep.data import cache

ARRAYS = {"images": np.arange(999, dtype=np.uint8).reshape(3, 333), "labels": np.array([3, 1, 2], dtype=np.int64)}
SOURCE = [["file", 12, 345]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert cache.save(tmp_path / "cache", SOURCE, ARRAYS)
    return tmp_path / "cache"


def test_gives_back_what_was_stored_through_a_memory_map(folder: Path) -> None:
    loaded = cache.load(folder, SOURCE)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert isinstance(loaded[name], np.memmap)
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


def test_writing_to_the_arrays_leaves_the_file_alone(folder: Path) -> None:
    cache.load(folder, SOURCE)["images"][:] = 0
    np.testing.assert_array_equal(np.load(folder / "images.npy"), ARRAYS["images"])


def test_a_process_that_asks_again_gets_the_same_map(folder: Path) -> None:
    first = cache.load(folder, SOURCE)["images"]
    assert cache.load(folder, SOURCE)["images"] is first
    cache.save(folder, SOURCE, ARRAYS)
    assert cache.load(folder, SOURCE)["images"] is not first


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "meta.json").write_text('{"version": 1, "sou'),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").write_text(json.dumps({"version": 1, "source": SOURCE})),
        lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "images.npy").unlink(),
        lambda folder: (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:-1]),
        lambda folder: (folder / "images.npy").write_bytes(b""),
        lambda folder: flip_a_bit(folder / "images.npy"),
        lambda folder: flip_a_bit(folder / "labels.npy"),
        lambda folder: np.save(folder / "images.npy", np.array([{"an": "object"}]), allow_pickle=True),
    ],
    ids=["no meta", "half meta", "list", "no sums", "binary", "gone", "cut", "empty", "bit", "label", "pickle"],
)
def test_a_damaged_copy_is_as_if_it_were_not_there(folder: Path, harm) -> None:
    harm(folder)
    assert cache.load(folder, SOURCE) is None


def test_another_source_finds_nothing(folder: Path) -> None:
    assert cache.load(folder, [["file", 12, 346]]) is None


def test_saving_again_mends_it(folder: Path) -> None:
    flip_a_bit(folder / "images.npy")
    assert cache.save(folder, SOURCE, ARRAYS)
    assert cache.load(folder, SOURCE) is not None
    assert sorted(file.name for file in folder.iterdir()) == ["images.npy", "labels.npy", "meta.json"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not cache.save(tmp_path / "file" / "cache", SOURCE, ARRAYS)


def test_a_full_disk_is_no_error_and_leaves_nothing_to_trust(tmp_path: Path, monkeypatch) -> None:
    def full(file, array) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert not cache.save(tmp_path, SOURCE, ARRAYS)
    assert cache.load(tmp_path, SOURCE) is None
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_sees_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12")
    first = cache.fingerprint([file])
    assert cache.fingerprint([file]) == first
    os.utime(file, ns=(1, 1))
    assert cache.fingerprint([file]) != first
    assert json.loads(json.dumps(first)) == first
