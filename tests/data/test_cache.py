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
        lambda folder: (folder / "meta.json").write_text('{"version": 2, "sou'),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").write_text(json.dumps({"version": 2, "source": SOURCE})),
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
def test_a_damaged_copy_counts_as_missing(folder: Path, harm) -> None:
    harm(folder)
    assert cache.load(folder, SOURCE) is None


def flip_keeping_the_time(file: Path, position: int) -> None:
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    with file.open("r+b") as opened:
        opened.seek(position, os.SEEK_END if position < 0 else os.SEEK_SET)
        value = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([value ^ 1]))
    os.utime(file, ns=times)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of 33 blocks of a MiB, of which the checksum covers all but the last but one."""
    assert cache.save(tmp_path / "large", SOURCE, {"images": np.zeros((33, 2**20), dtype=np.uint8)})
    return tmp_path / "large" / "images.npy"


def test_a_change_between_the_samples_of_a_large_array_shows_in_the_files_time(large: Path) -> None:
    flip_keeping_the_time(large, 128 + 31 * 2**20 + 7)
    assert cache.load(large.parent, SOURCE) is not None  # the checksum does not cover it
    os.utime(large, ns=(1, 1))
    assert cache.load(large.parent, SOURCE) is None


def test_samples_are_of_the_beginning_and_the_end(large: Path) -> None:
    for position in (200, -1):
        flip_keeping_the_time(large, position)
        cache.load_once.cache_clear()
        assert cache.load(large.parent, SOURCE) is None
        flip_keeping_the_time(large, position)


def test_a_file_can_be_filled_by_others_and_counts_once_sealed(tmp_path: Path) -> None:
    with cache.filling(tmp_path, "images", (2, 3)) as (file, offset), file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(bytes(range(6)))
    assert cache.load(tmp_path, SOURCE) is None
    cache.seal(tmp_path, SOURCE, ["images"])
    assert cache.load(tmp_path, SOURCE)["images"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_another_source_finds_nothing(folder: Path) -> None:
    assert cache.load(folder, [["file", 12, 346]]) is None


def test_saving_again_repairs_it(folder: Path) -> None:
    flip_a_bit(folder / "images.npy")
    assert cache.save(folder, SOURCE, ARRAYS)
    assert cache.load(folder, SOURCE) is not None
    assert sorted(file.name for file in folder.iterdir()) == ["images.npy", "labels.npy", "meta.json"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not cache.save(tmp_path / "file" / "cache", SOURCE, ARRAYS)


def test_a_file_that_cannot_be_completed_is_no_error_and_leaves_nothing_to_trust(tmp_path: Path, file_limit) -> None:
    with file_limit(500):
        assert not cache.save(tmp_path, SOURCE, ARRAYS)
    assert cache.load(tmp_path, SOURCE) is None
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_sees_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12")
    first = cache.file_states([file])
    assert cache.file_states([file]) == first
    os.utime(file, ns=(1, 1))
    assert cache.file_states([file]) != first
    assert json.loads(json.dumps(first)) == first
