"""A sweep's trials as one ensemble, and what the other commands make of it."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ensemble
import evaluate
import export
import predict
from lightsweep.data.datasets import DigitsDataModule
from lightsweep.inference import evaluation, trained_runs
from lightsweep.reports.finding import find_runs

NEEDED = ("onnx", "onnxruntime", "onnxscript")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_ensemble_of_a_sweep(tiny_sweep, call, monkeypatch, tmp_path: Path) -> None:
    """Trials with different networks and normalizations; made, scored again, used on files, exported."""
    monkeypatch.setattr(evaluation, "draw_figures", lambda *_: {})
    points = "[{data.normalize:channel,model.width:16},{data.normalize:symmetric,model.width:8}]"
    space = ("data.normalize=choice(symmetric,channel)", "data.val_fraction=0.3")
    done = tiny_sweep("hydra.sweeper.n_trials=3", f"hydra.sweeper.enqueue={points}", *space)
    assert done.code == 0, done.err
    folder = tmp_path / "study" / "ensemble"

    done = call(ensemble.main, tmp_path / "study", "--members", 4)
    assert done.code == 0, done.err
    record = json.loads((folder / "ensemble.json").read_text())
    assert record["candidates"] == 3
    assert sorted(member["run"].rpartition("/")[2] for member in record["members"]) == sorted(
        {pick["run"] for pick in record["picks"]}
    )
    assert {member["file"] for member in record["members"]} == {
        f"members/{path.name}" for path in (folder / "members").iterdir()
    }
    assert record["gains"]["test"]["value"] == pytest.approx(record["test/acc"] - record["best_single"]["test"])
    assert "ensemble" not in {run.folder.name for run in find_runs([tmp_path / "study"]).runs}

    assert "equal to ensemble.json, digit for digit" in call(evaluate.main, folder, "--split", "test", "val").out

    arrays = DigitsDataModule.read(None)
    photos = tmp_path / "photos"
    for number, (image, label) in enumerate(zip(arrays.test_images, arrays.test_labels, strict=True)):
        (photos / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(photos / str(label) / f"{number:03}.png")
    done = call(predict.main, folder, photos, "--json", tmp_path / "all.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "all.json").read_text())["accuracy"] == record["test/acc"]

    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        pytest.skip("needs onnx, onnxruntime and onnxscript: pip install -e '.[onnx]'")
    done = call(export.main, folder)
    assert done.code == 0, done.err
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "ensemble.onnx")
    logits, probabilities = session.run(["logits", "probabilities"], {"images": arrays.test_images})
    made = trained_runs.find_weights(str(folder), None).load()
    with torch.inference_mode():
        ours = made.net(made.description.normalization(torch.from_numpy(arrays.test_images)))
    np.testing.assert_allclose(logits, ours.numpy(), atol=1e-4)
    np.testing.assert_allclose(probabilities, ours.exp().numpy(), atol=1e-5)
