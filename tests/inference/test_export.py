"""export.py: an ONNX file that gives what PyTorch gives, or none."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import export
from lightsweep.data.datasets import DigitsDataModule
from lightsweep.inference import predictor
from lightsweep.training import checkpoints

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")),
    reason="needs onnx, onnxruntime and onnxscript: pip install -e '.[onnx]'",
)


@needs_onnx
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_classifies_like_training(finished, tmp_path: Path, call) -> None:
    import onnxruntime

    path = tmp_path / "digits.onnx"
    done = call(export.main, finished.folder, "--output", path)
    assert done.code == 0
    assert f"{path}: " in done.out
    assert "on 42 images (32 real)" in done.out

    session = onnxruntime.InferenceSession(path)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list("0123456789")
    assert metadata["input"].startswith("uint8 [batch, 1, 8, 8]")
    arrays = DigitsDataModule.read(None)
    logits, probabilities = session.run(["logits", "probabilities"], {"images": arrays.test_images})
    assert (logits.argmax(1) == arrays.test_labels).mean() == finished.result["test/acc"]
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@needs_onnx
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_graph_that_differs_is_not_written(finished, tmp_path: Path, call, monkeypatch) -> None:
    monkeypatch.setattr(predictor, "TOLERANCE", -1.0)
    done = call(export.main, finished.folder, "--output", tmp_path / "digits.onnx")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("the ONNX graph differs from PyTorch by ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_what_installs_it(finished, call, monkeypatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for other in {"onnx", "onnxruntime", "onnxscript"} - {package}:
        monkeypatch.setitem(sys.modules, other, sys)
    done = call(export.main, finished.folder)
    assert done.code == 1
    assert done.err == (
        f"--format onnx needs the package {package}: pip install onnx onnxruntime onnxscript,"
        " or pip install -e '.[onnx]' in lightsweep's folder\n"
    )


def test_a_folder_that_is_not_there_is_refused_at_once(finished, tmp_path: Path, call) -> None:
    done = call(export.main, finished.folder, "--output", tmp_path / "no" / "x.onnx")
    assert done.code == 2
    assert done.err.startswith("export.py: argument --output: must be a file in a folder that exists, got ")


def test_the_graph_is_the_network_with_its_normalisation(finished) -> None:
    trained = checkpoints.load(finished.folder / "checkpoints" / "best.ckpt")
    images = predictor.random_images(trained.description.input_shape)[-1]
    with torch.inference_mode():
        logits, probabilities = predictor.Pipeline(trained)(torch.from_numpy(images))
        expected = trained.net(trained.description.normalization(torch.from_numpy(images)))
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(probabilities, expected.softmax(1))
