"""CIFAR's pickled batch files: read exactly, and never trusted."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from cifar10_files import cifar10_batch, write_python2
from lightsweep.core.errors import ConfigError
from lightsweep.data.datasets import read_batch, read_pickle


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return read_batch(path, "labels", classes=10, side=32)


def python3_pickle(protocol: int):
    return lambda path, content: path.write_bytes(pickle.dumps(content, protocol=protocol))


@pytest.mark.parametrize(
    "write", [write_python2, python3_pickle(2), python3_pickle(4)], ids=["official", "protocol 2", "protocol 4"]
)
def test_reads_images_and_labels(tmp_path: Path, write) -> None:
    write(tmp_path / "batch", cifar10_batch(3))
    images, labels = read(tmp_path / "batch")
    assert (images.shape, images.dtype, labels.dtype) == ((20, 3, 32, 32), np.uint8, np.int64)
    assert images[7, :, 0, 0].tolist() == [3, 7, 0]  # red, green, blue
    np.testing.assert_array_equal(images.reshape(20, -1), cifar10_batch(3)["data"])
    assert labels.tolist() == cifar10_batch(3)["labels"]


def test_official_files_are_what_the_writer_writes(tmp_path: Path) -> None:
    write_python2(tmp_path / "batch", cifar10_batch(3))
    content = (tmp_path / "batch").read_bytes()
    assert content.startswith(b"\x80\x02}q")
    assert b"U\x0bbatch_label" in content
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments) -> None:
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "argument"),
    [(os.system, "touch {}"), (eval, "open('{}', 'w')"), (exec, "open('{}', 'w')"), (open, "{}")],
    ids=["os.system", "eval", "exec", "open"],
)
def test_a_file_that_would_run_code_is_refused_and_nothing_runs(
    tmp_path: Path, protocol: int, function, argument: str
) -> None:
    witness, batch = tmp_path / "witness", tmp_path / "data_batch_1"
    harm = Call(function, argument.format(witness), *(["w"] if function is open else []))
    batch.write_bytes(pickle.dumps({**cifar10_batch(1), "labels": harm}, protocol=protocol))
    with pytest.raises(ConfigError, match=r"data_batch_1 is damaged or no batch file.*it asks for") as refusal:
        read(batch)
    assert not witness.exists()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["numpy.load", "numpy.core.multiarray.fromfile", "_codecs.lookup", "numpy.f2py.os.system", "numpy.nothing"]
)
def test_only_what_an_array_needs_is_looked_up(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    (tmp_path / "batch").write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(ConfigError, match=rf"it asks for {name}"):
        read_pickle(tmp_path / "batch")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "data_batch_2"
    write_python2(path, cifar10_batch(2))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ConfigError, match="data_batch_2 is damaged or no batch file"):
        read(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": None}, r"'data' must be uint8 \[N, 3072\]"),
        ({"data": np.zeros((20, 3072))}, r"'data' must be uint8 \[N, 3072\]"),
        ({"data": np.zeros((20, 3071), np.uint8)}, r"'data' must be uint8 \[N, 3072\]"),
        ({"data": np.zeros((20, 3, 32, 32), np.uint8)}, r"'data' must be uint8 \[N, 3072\]"),
        ({"data": np.zeros((19, 3072), np.uint8)}, "19 images but 20 labels"),
        ({"labels": [10] * 20}, "'labels' must be a list of integers below 10"),
        ({"labels": [-1] * 20}, "'labels' must be a list of integers below 10"),
        ({"labels": ["cat"] * 20}, "'labels' must be a list of integers below 10"),
        ({"labels": [0.5] * 20}, "'labels' must be a list of integers below 10"),
        ({"labels": None}, "'labels' must be a list of integers below 10"),
    ],
)
def test_wrong_structure_is_named(tmp_path: Path, changes: dict, reason: str) -> None:
    write_python2(tmp_path / "test_batch", cifar10_batch(1) | changes)
    with pytest.raises(ConfigError, match=rf"test_batch is damaged or no batch file \({reason}\)"):
        read(tmp_path / "test_batch")


def test_what_is_no_dict_is_refused(tmp_path: Path) -> None:
    write_python2(tmp_path / "batch", [1, 2])
    with pytest.raises(ConfigError, match="a list where a dict should be"):
        read(tmp_path / "batch")
