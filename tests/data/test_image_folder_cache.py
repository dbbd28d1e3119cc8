"""The decoded images of class folders on disk: when they are read, written anew, or kept elsewhere."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from image_files import picture, write_folder
from lightsweep.core.errors import ConfigError
from lightsweep.data import cache, decode
from lightsweep.data.decode import decode_image


@pytest.fixture
def free_disk(monkeypatch) -> Callable[[int], None]:
    """Make that many bytes of the disk free."""
    return lambda free: monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - free, free)
    )


def test_a_second_start_maps_what_the_first_decoded(open_folder, root: Path, count_decodings) -> None:
    first = open_folder(root)
    cache.load_once.cache_clear()
    second = open_folder(root)
    assert count_decodings() == 1
    assert isinstance(second.arrays.train_images, np.memmap)
    np.testing.assert_array_equal(second.arrays.train_images, first.arrays.train_images)
    loaded = second.train_loader(torch.device("cpu")).store.images
    assert loaded.data_ptr() == second.arrays.train_images.ctypes.data  # no copy
    assert open_folder(root, setup=False).preview() is None


CHANGES: dict[str, Callable[[Path], object]] = {
    "new": lambda root: picture(50).save(root / "ant" / "new.png"),
    "gone": lambda root: (root / "ant" / "3.png").unlink(),
    "renamed": lambda root: (root / "ant" / "3.png").rename(root / "ant" / "33.png"),
    "moved": lambda root: (root / "ant" / "3.png").rename(root / "bee" / "x.png"),
    "touched": lambda root: os.utime(root / "ant" / "3.png", (1, 1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_decoded_again(open_folder, root: Path, change: str) -> None:
    before = open_folder(root).listing.fingerprint
    CHANGES[change](root)
    data = open_folder(root)
    assert data.listing.fingerprint != before
    assert len(data.arrays.train_images) == len(list(root.glob("*/*.png")))


def test_other_options_have_another_cache(open_folder, root: Path, count_decodings) -> None:
    open_folder(root)
    open_folder(root, "data.image_size=4")
    assert sorted(folder.name for folder in (root / ".lightsweep-cache").iterdir()) == ["4-squash-rgb", "8-squash-rgb"]
    assert open_folder(root).input_shape == (3, 8, 8)
    assert count_decodings() == 2


def test_a_root_that_cannot_be_written_has_its_cache_in_data_dir(
    open_folder, root: Path, tmp_path: Path, count_decodings
) -> None:
    (root / ".lightsweep-cache").touch()  # in the way
    open_folder(root)
    assert list((tmp_path / "data_dir").rglob("images.npy"))
    open_folder(root)
    assert count_decodings() == 1


def test_without_a_folder_for_a_cache_images_are_kept_in_memory(
    open_folder, root: Path, tmp_path: Path, caplog
) -> None:
    expected = open_folder(root).arrays.train_images.copy()
    shutil.rmtree(root / ".lightsweep-cache")
    for path in (root / ".lightsweep-cache", tmp_path / "data_dir"):
        path.touch()
    data = open_folder(root)
    np.testing.assert_array_equal(data.arrays.train_images, expected)
    assert "decoded images cannot be kept, so every start decodes them" in caplog.text
    assert "Not a directory" in caplog.text


def test_a_file_that_cannot_be_completed_leaves_nothing_behind(open_folder, root: Path, caplog, file_limit) -> None:
    with file_limit(5000):
        data = open_folder(root)
    assert len(data.arrays.train_images) == 30
    assert "File too large" in caplog.text
    assert [file.name for file in (root / ".lightsweep-cache" / "8-squash-rgb").iterdir()] == ["lock"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
def test_a_full_disk_is_an_error_of_the_process_that_writes(root: Path) -> None:
    files = [str(file) for file in (root / "ant").iterdir()]
    with pytest.raises(OSError, match="No space left on device"):
        decode.decode_chunk(0, files, decode.Form(8, "squash", False), decode.Target(Path("/dev/full"), 0))


def test_a_start_removes_what_a_killed_one_left(open_folder, root: Path) -> None:
    folder = root / ".lightsweep-cache" / "8-squash-rgb"
    folder.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), cache.filling(folder, "images", (2, 3)):
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []
    (folder / ".images.npy.abc.lightsweep-part").touch()
    open_folder(root)
    assert sorted(file.name for file in folder.iterdir()) == [
        "bad.npy",
        "bad_files.npy",
        "images.npy",
        "lock",
        "meta.json",
    ]


def test_who_waited_for_another_process_finds_what_it_decoded(open_folder, root: Path, count_decodings) -> None:
    waiting = open_folder(root, setup=False)
    listing = waiting.listing
    open_folder(root)  # meanwhile
    assert len(waiting.cache.build(listing)["images"]) == 30
    assert count_decodings() == 1


def test_many_files_are_decoded_by_processes_to_the_same_pixels(tmp_path: Path) -> None:
    (file,) = [Path(write_folder(tmp_path, ["one"], count=1), "one", "0.png")]
    form, count = decode.Form(8, "squash", False), decode.FEW + 1
    chunks = decode.decode_all([str(file)] * count, form, None, lambda done: None)
    expected = decode_image(file, **vars(form))
    assert (np.concatenate([chunk.pixels for chunk in chunks]) == expected).all()
    assert sum(chunk.files for chunk in chunks) == count


def test_a_terminal_has_a_bar_and_anything_else_a_line(monkeypatch, caplog, capsys) -> None:
    caplog.set_level(logging.INFO)
    with cache._progress(5, Path("/x")) as report:
        report(5)
    assert caplog.messages == ["decoding 5 files of /x, once"]
    caplog.clear()
    monkeypatch.setenv("FORCE_COLOR", "1")
    with cache._progress(5, Path("/x")) as report:
        report(5)
    assert caplog.messages == []
    assert "decoding images" in capsys.readouterr().err


def test_a_disk_without_room_is_not_filled(open_folder, root: Path, tmp_path: Path, free_disk, caplog) -> None:
    free_disk(1000)
    assert len(open_folder(root).arrays.train_images)
    assert "1.0 kB of " in caplog.text
    assert not list(tmp_path.rglob("*.npy"))


def test_decoded_images_that_fit_nowhere_are_refused(open_folder, root: Path, free_disk, memory_left) -> None:
    free_disk(0)
    memory_left(1000)
    with pytest.raises(ConfigError) as refusal:
        open_folder(root)
    line = str(refusal.value)
    assert line.startswith("data.image_size must fit into memory: ")
    assert "images [3, 8, 8] cannot be kept (" in line
    assert line.endswith(", 1.0 kB are available")
