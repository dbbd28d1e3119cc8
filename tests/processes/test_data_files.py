"""CIFAR-10's files: small ones in the real format, whole, damaged, evil; and as large as the real ones, for memory."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from .conftest import epochs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RUN = ("data=cifar10", "data_dir=..", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "model.width=16")
SMALL = ("data.batch_size=16",)

IMPORTS = """
import resource
import hydra, torch, torchvision, pytorch_lightning, sklearn.model_selection, torch.utils.tensorboard, rich.progress
from torchmetrics.functional.classification import multiclass_confusion_matrix
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_files(folder, images_a_batch: int) -> None:
    random = np.random.default_rng(0)
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        pixels = random.integers(256, size=(images_a_batch, 3072), dtype=np.uint8)
        labels = [number % 10 for number in range(images_a_batch)]
        with (folder / name).open("wb") as file:
            pickle.dump({"data": pixels, "labels": labels}, file, protocol=2)
    with (folder / "batches.meta").open("wb") as file:
        pickle.dump({"label_names": [f"class {number}" for number in range(10)]}, file, protocol=2)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_files(folder, 40)
    return folder


def test_other_checksums_are_accepted_with_one_warning(train, tmp_path, files):
    first = train(*RUN, *SMALL, f"hydra.run.dir={tmp_path / 'first'}")
    second = train(*RUN, *SMALL, f"hydra.run.dir={tmp_path / 'second'}")

    assert (first.code, second.code) == (0, 0)
    assert (first.out + first.err).count("not the official md5") == 1
    assert "md5" not in second.out + second.err  # it reads the parsed copy
    assert epochs(tmp_path / "first") == epochs(tmp_path / "second")


@pytest.mark.parametrize("damage", ["cut off", "other bytes", "meta cut off"])
def test_a_damaged_copy_is_rebuilt(train, tmp_path, files, damage):
    assert train(*RUN, *SMALL, f"hydra.run.dir={tmp_path / 'first'}").code == 0
    copy = files / "lightsweep-cache"
    images, meta = copy / "train_images.npy", copy / "meta.json"
    whole = images.read_bytes()
    match damage:
        case "cut off":
            images.write_bytes(whole[:-1000])
        case "other bytes":
            images.write_bytes(whole[:5000] + bytes(100) + whole[5100:])
        case "meta cut off":
            meta.write_text(meta.read_text()[:20])

    ended = train(*RUN, *SMALL)

    assert ended.code == 0
    assert epochs(tmp_path / "run") == epochs(tmp_path / "first")
    assert images.read_bytes() == whole


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_cut_off_file_is_named(train, tmp_path, files, name):
    content = (files / name).read_bytes()
    (files / name).write_bytes(content[: len(content) // 2])

    ended = train(*RUN, *SMALL)

    assert ended.code == 1
    assert len(ended.lines) == 1, ended.err
    assert f"cifar-10-batches-py/{name} is damaged" in ended.err
    assert not (tmp_path / "run").exists()


def test_an_evil_file_runs_nothing(train, tmp_path, files):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'touched'}",)

    with (files / "data_batch_1").open("wb") as file:
        pickle.dump({"data": Evil(), "labels": []}, file, protocol=2)

    ended = train(*RUN, *SMALL)

    assert (ended.code, len(ended.lines)) == (1, 1)
    assert "data_batch_1" in ended.err
    assert not (tmp_path / "touched").exists()


def test_missing_files_name_three_ways_out(train, tmp_path):
    ended = train("data=cifar10", "data_dir=nodata", HTTPS_PROXY="http://127.0.0.1:9")  # no network, for sure

    assert ended.code == 1
    assert len(ended.lines) == 1
    for way in ("put the files there", "LIGHTSWEEP_DATA", "data=digits"):
        assert way in ended.err
    assert not (tmp_path / "run").exists()


def test_memory(python, tmp_path):
    """At most 400 MB above a process that has only imported the same libraries."""
    imported = subprocess.run([sys.executable, "-c", IMPORTS], check=True, capture_output=True, text=True)
    write_files(tmp_path / "cifar-10-batches-py", 10_000)

    ended = python("trainer.max_epochs=1", "trainer.limit_train_batches=50", LIGHTSWEEP_DATA=str(tmp_path))

    assert ended.returncode == 0, ended.stderr
    peak = json.loads((tmp_path / "run" / "result.json").read_text())["peak_memory"] / 2**20
    print(f"{peak:.0f} MB, of which imports {float(imported.stdout):.0f} MB")
    assert peak <= float(imported.stdout) + 400
