"""CIFAR-10 from files in the official format: downloaded from a server on this machine, read, kept, mended."""

import functools
import hashlib
import http.server
import logging
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from cifar10_files import CLASSES, cifar10_batch, write_cifar10, write_python2
from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.data.datasets import CIFAR10DataModule


class Unreachable(CIFAR10):
    url = "http://127.0.0.1:9/cifar-10-python.tar.gz"  # nobody listens there


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def open_data(compose):
    def opened(data_dir: Path, official: type[CIFAR10] = Unreachable) -> CIFAR10DataModule:
        data = build(compose("data=cifar10", f"data_dir='{data_dir}'", "data.batch_size=8").data, "data")
        data.official = official
        data.setup()
        return data

    return opened


@pytest.fixture
def served(tmp_path: Path) -> Iterator[type[CIFAR10]]:
    """The set as a server on this machine has it."""
    site = tmp_path / "site"
    folder = write_cifar10(site)
    archive = site / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        yield type("Served", (CIFAR10,), {"url": url, "tgz_md5": hashlib.md5(archive.read_bytes()).hexdigest()})
        server.shutdown()


def test_reads_all_batches_in_their_order(open_data, cifar10: Path) -> None:
    data = open_data(cifar10)
    assert data.input_shape == (3, 32, 32)
    assert data.class_names == CLASSES
    assert data.arrays.train_images[:, 0, 0, 0].tolist() == np.repeat([1, 2, 3, 4, 5], 20).tolist()
    assert data.arrays.train_images[:, 1, 0, 0].tolist() == list(range(20)) * 5
    assert data.arrays.train_labels.tolist() == list(range(10)) * 10
    np.testing.assert_array_equal(data.arrays.test_images.reshape(20, -1), cifar10_batch(6)["data"])


def test_the_first_tenth_validates_as_in_the_reference_reports(open_data, cifar10: Path) -> None:
    assert open_data(cifar10).indices["val"].tolist() == list(range(10))


def test_a_second_start_reads_the_parsed_copy_through_a_memory_map(open_data, cifar10: Path) -> None:
    first, second = open_data(cifar10), open_data(cifar10)
    assert isinstance(second.arrays.train_images, np.memmap)
    np.testing.assert_array_equal(second.arrays.train_images, first.arrays.train_images)


@pytest.mark.parametrize("cut", [1, 5000])
def test_a_damaged_copy_is_noticed_and_rebuilt(open_data, cifar10: Path, cut: int) -> None:
    expected = open_data(cifar10).arrays.train_images.copy()
    copy = next(cifar10.rglob("train_images.npy"))
    content = copy.read_bytes()
    copy.write_bytes(content[:-cut])
    np.testing.assert_array_equal(open_data(cifar10).arrays.train_images, expected)
    assert copy.read_bytes() == content


def test_a_changed_file_is_read_again(open_data, cifar10: Path) -> None:
    open_data(cifar10)
    batch = cifar10 / "cifar-10-batches-py" / "test_batch"
    write_python2(batch, cifar10_batch(9))
    os.utime(batch, ns=(10**18, 10**18))
    assert open_data(cifar10).arrays.test_images[0, :, 0, 0].tolist() == [9, 0, 0]


def test_a_folder_that_cannot_be_written_is_read_without_a_copy(open_data, cifar10: Path) -> None:
    (cifar10 / "cifar-10-batches-py" / "lightsweep-cache").write_text("in the way")
    assert len(open_data(cifar10).arrays.train_labels) == 100


def test_warns_of_unofficial_checksums_at_the_first_start_only(open_data, cifar10: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        open_data(cifar10)
        open_data(cifar10)
    warnings = [record.getMessage() for record in caplog.records if "md5" in record.getMessage()]
    assert len(warnings) == 1
    assert "data_batch_1" in warnings[0]
    assert "test_batch" in warnings[0]


def test_does_not_warn_of_official_checksums(open_data, cifar10: Path, caplog) -> None:
    folder = cifar10 / "cifar-10-batches-py"
    meta, *batches = [[file.name, hashlib.md5(file.read_bytes()).hexdigest()] for file in sorted(folder.iterdir())]
    lists = {"train_list": batches, "test_list": [], "meta": CIFAR10.meta | {"md5": meta[1]}}
    with caplog.at_level(logging.WARNING):
        open_data(cifar10, type("Official", (Unreachable,), lists))
    assert "md5" not in caplog.text


def test_missing_files_are_downloaded_and_unpacked(open_data, served: type[CIFAR10], tmp_path: Path) -> None:
    data = open_data(tmp_path / "new" / "data", served)
    assert len(data.arrays.train_labels) == 100
    assert (tmp_path / "new" / "data" / "cifar-10-batches-py" / "data_batch_5").is_file()


def test_one_missing_file_is_enough_to_download(open_data, served: type[CIFAR10], cifar10: Path) -> None:
    (cifar10 / "cifar-10-batches-py" / "data_batch_3").unlink()
    assert len(open_data(cifar10, served).arrays.train_labels) == 100


def test_a_download_with_another_md5_is_refused(open_data, served: type[CIFAR10], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be downloaded"):
        open_data(tmp_path / "data", type("Changed", (served,), {"tgz_md5": "0" * 32}))
    assert not (tmp_path / "data" / "cifar-10-batches-py").exists()


def test_a_folder_that_cannot_be_read_is_named(open_data, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data_dir: .*xxx/cifar-10-.* cannot be read \(File name too long"):
        open_data(tmp_path / ("x" * 300))


def test_missing_data_without_network_name_the_three_solutions(open_data, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_data(tmp_path / "nowhere")
    message = str(refusal.value)
    assert message.startswith(f"data_dir={tmp_path / 'nowhere'} lacks CIFAR-10 (data_batch_1, ")
    assert "put the files there" in message
    assert "LIGHTSWEEP_DATA" in message
    assert "data=digits" in message
    assert "\n" not in message


def test_a_corrupt_batch_file_is_named(open_data, cifar10: Path) -> None:
    batch = cifar10 / "cifar-10-batches-py" / "data_batch_4"
    batch.write_bytes(batch.read_bytes()[:3000])
    with pytest.raises(ConfigError, match=r"data_batch_4 is damaged or no batch file"):
        open_data(cifar10)


@pytest.mark.parametrize("meta", [{}, {"label_names": ["cat"]}, {"label_names": "abcdefghij"}])
def test_a_meta_file_without_ten_names_is_refused(open_data, cifar10: Path, meta: dict) -> None:
    write_python2(cifar10 / "cifar-10-batches-py" / "batches.meta", meta)
    with pytest.raises(ConfigError, match=r"batches.meta is damaged.*'label_names' must list 10 classes"):
        open_data(cifar10)


def test_the_folder_comes_from_the_environment(compose, cifar10: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIGHTSWEEP_DATA", str(cifar10))
    assert compose("data=cifar10").data.data_dir == str(cifar10)
    monkeypatch.delenv("LIGHTSWEEP_DATA")
    assert compose("data=cifar10").data.data_dir == str(Path(__file__).resolve().parents[2] / "data")
