"""CIFAR-100 from files in the official format; what it shares with CIFAR-10 is tested there."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR100

from cifar10_files import cifar10_batch, write_cifar100, write_python2
from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.data.datasets import CIFAR100DataModule


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_cifar100(tmp_path / "data")


@pytest.fixture
def open_data(compose, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(CIFAR100, "url", "http://127.0.0.1:9/cifar-100-python.tar.gz")  # nobody listens there

    def opened(setup: bool = True) -> CIFAR100DataModule:
        data = build(compose("data=cifar100", f"data_dir='{tmp_path}/data'", "data.batch_size=8").data, "data")
        if setup:
            data.setup()
        return data

    return opened


def test_reads_images_and_fine_labels(open_data, folder: Path) -> None:
    data = open_data()
    assert (data.input_shape, data.num_classes) == ((3, 32, 32), 100)
    assert data.class_names == tuple(f"fine {label}" for label in range(100))
    assert data.arrays.train_labels.tolist() == [i % 100 for i in range(200)]
    np.testing.assert_array_equal(data.arrays.test_images.reshape(100, -1), cifar10_batch(2, 100)["data"])


def test_a_second_start_reads_the_parsed_copy(open_data, folder: Path, monkeypatch) -> None:
    open_data()
    monkeypatch.setattr(CIFAR100DataModule, "_parse", lambda self: pytest.fail("parsed again"))
    assert isinstance(open_data().arrays.train_images, np.memmap)


def test_warns_of_checksums_that_are_not_the_official_ones(open_data, folder: Path, caplog) -> None:
    open_data()
    assert "not the official md5 of train, test, meta" in caplog.text


def test_says_nothing_of_official_checksums(open_data, folder: Path, monkeypatch, caplog) -> None:
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]})
    open_data()
    assert "md5" not in caplog.text


def test_missing_data_have_a_preview_and_a_clear_refusal(open_data, tmp_path: Path) -> None:
    traits = open_data(setup=False).preview()
    assert (traits.input_shape, len(traits.class_names), len(traits.class_weights)) == ((3, 32, 32), 100, 100)
    with pytest.raises(ConfigError) as refusal:
        open_data()
    assert str(refusal.value).startswith(
        f"data_dir={tmp_path}/data lacks CIFAR-100 (train, test, meta of cifar-100-python/) and it cannot be fetched ("
    )


def test_a_meta_file_without_a_hundred_names_is_refused(open_data, folder: Path) -> None:
    write_python2(folder / "meta", {"fine_label_names": ["cat"]})
    with pytest.raises(ConfigError, match=r"meta is damaged.*'fine_label_names' must list 100 classes"):
        open_data()
