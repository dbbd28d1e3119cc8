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
def open_data(compose, tmp_path: Path):
    def opened(setup: bool = True, **members) -> CIFAR100DataModule:
        data = build(compose("data=cifar100", f"data_dir='{tmp_path}/data'", "data.batch_size=8").data, "data")
        unreachable = {"url": "http://127.0.0.1:9/cifar-100-python.tar.gz"}  # nobody listens there
        data.official = type("Official", (CIFAR100,), unreachable | members)
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


def test_a_second_start_reads_the_parsed_copy(open_data, folder: Path) -> None:
    open_data()
    assert isinstance(open_data().arrays.train_images, np.memmap)


def test_warns_of_checksums_that_are_not_the_official_ones(open_data, folder: Path, caplog) -> None:
    open_data()
    assert "not the official md5 of train, test, meta" in caplog.text


def test_does_not_warn_of_official_checksums(open_data, folder: Path, caplog) -> None:
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    lists = {f"{part}_list": [[part, sums[part]]] for part in ("train", "test")}
    open_data(meta=CIFAR100.meta | {"md5": sums["meta"]}, **lists)
    assert "md5" not in caplog.text


def test_missing_data_have_a_preview_and_a_clear_refusal(open_data, tmp_path: Path) -> None:
    traits = open_data(setup=False).preview()
    assert (traits.input_shape, len(traits.class_names), len(traits.class_weights)) == ((3, 32, 32), 100, 100)
    with pytest.raises(ConfigError, match=rf"^data_dir={tmp_path}/data lacks CIFAR-100 \(train, test, meta of"):
        open_data()


def test_a_meta_file_without_a_hundred_names_is_refused(open_data, folder: Path) -> None:
    write_python2(folder / "meta", {"fine_label_names": ["cat"]})
    with pytest.raises(ConfigError, match=r"meta is damaged.*'fine_label_names' must list 100 classes"):
        open_data()
