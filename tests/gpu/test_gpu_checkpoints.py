"""A checkpoint made on a GPU works on a CPU, and the other way round."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

import evaluate
import export
import predict
from lightsweep.data.datasets import DigitsDataModule
from lightsweep.training import checkpoints

from .conftest import DEVICE, ON

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]

AVERAGED = ("callbacks=[default,ema]", "model.bn=true", "optimizer=adamw", "model.dropout=0.1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on the device. Tests only read it."""
    from digits_runs import trained

    return trained(tmp_path_factory.mktemp("made"), *ON, *AVERAGED, "trainer.max_epochs=3")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """The test images of digits as PNG files."""
    root = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(DigitsDataModule.read(None).test_images):
        Image.fromarray(image[0]).save(root / f"{number:03d}.png")
    return root


def scored(folder: Path) -> dict:
    return json.loads((folder / "test" / "evaluation.json").read_text())


def test_is_scored_on_its_own_device_to_the_last_digit(made, call, tmp_path: Path) -> None:
    ended = call(
        evaluate.main, made.folder, "--device", DEVICE, "--split", "train", "val", "test", "--output", tmp_path
    )
    assert ended.code == 0, ended.err
    assert "equal to result.json, digit for digit" in ended.out


@pytest.mark.parametrize("trained_on", ["device", "cpu"])
def test_scores_on_another_device_are_close(made, on_cpu, call, tmp_path: Path, trained_on: str) -> None:
    run = made if trained_on == "device" else on_cpu(*AVERAGED)
    device = "cpu" if trained_on == "device" else DEVICE
    ended = call(evaluate.main, run.folder, "--device", device, "--output", tmp_path / "other")
    assert ended.code == 0, ended.err
    other = scored(tmp_path / "other")
    assert other["acc"] == pytest.approx(run.result["test/acc"], abs=0.02)
    assert other["loss"] == pytest.approx(run.result["test/loss"], rel=0.02)


def test_predictions_on_both_devices_agree(made, call, pictures: Path, tmp_path: Path) -> None:
    classes = []
    for device in (DEVICE, "cpu"):
        file = tmp_path / f"{device}-{len(classes)}.csv"
        ended = call(predict.main, made.folder, pictures, "--device", device, "--csv", file, "--tta", "flip")
        assert ended.code == 0, ended.err
        with file.open(newline="") as rows:
            classes.append([row["class"] for row in csv.DictReader(rows)])
    alike = sum(one == other for one, other in zip(*classes, strict=True))
    assert len(classes[0]) == 359
    assert alike >= 350


def test_is_exported(made, call, tmp_path: Path) -> None:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    done = call(export.main, made.folder, "--output", tmp_path / "digits.onnx")
    assert (done.code, (tmp_path / "digits.onnx").exists()) == ((1, False) if missing else (0, True)), done.err


@pytest.mark.parametrize("first", ["device", "cpu"])
def test_a_run_resumes_on_another_device(on, on_cpu, first: str) -> None:
    begin, go_on = (on, on_cpu) if first == "device" else (on_cpu, on)
    begun = begin(*AVERAGED, "trainer.max_epochs=2")
    rows, rate = begun.measured, begun.result["best_value"]
    gone_on = go_on(*AVERAGED, "trainer.max_epochs=4")
    assert gone_on.measured[:2] == rows
    assert [row["epoch"] for row in gone_on.rows] == ["1", "2", "3", "4"]
    assert float(gone_on.rows[2]["train/loss"]) < float(gone_on.rows[0]["train/loss"])
    assert gone_on.result["best_value"] >= rate


def test_weights_are_loaded_to_the_cpu(made) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        net = checkpoints.load(made.folder / "checkpoints" / name).net
        assert {weight.device.type for weight in net.parameters()} == {"cpu"}


def test_another_run_starts_from_the_weights(made, on, on_cpu) -> None:
    for train, name in ((on, "device"), (on_cpu, "cpu")):
        start = f"init_from='{made.folder}'"
        warm = train(*AVERAGED, start, "trainer.max_epochs=1", name=f"warm-{name}")
        assert float(warm.rows[0]["val/loss"]) < float(made.rows[0]["val/loss"])
