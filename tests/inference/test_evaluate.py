"""evaluate.py: a run's scores again, on its own data to the last digit, and on other data with the same classes."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import evaluate
from lightsweep.config.build import build
from lightsweep.core.metrics import FINAL
from lightsweep.inference import evaluation as evaluation_folder
from lightsweep.inference.evaluation import Part

OTHER = ("--data", "data=digits", "data.split_seed=3")


@pytest.fixture
def copied(finished, tmp_path: Path) -> Path:
    """The finished run in a folder that a test may write to."""
    return Path(shutil.copytree(finished.folder, tmp_path / "a run"))


@pytest.fixture
def evaluated(call, monkeypatch) -> Callable[..., Any]:
    """Runs evaluate.py without the second that pictures take."""
    monkeypatch.setattr(evaluation_folder, "draw_figures", lambda *_: {})
    return partial(call, evaluate.main)


def evaluation(folder: Path, part: str = "test") -> dict:
    return json.loads((folder / part / "evaluation.json").read_text())


def test_equals_result_json_to_the_last_digit_and_leaves_it_alone(finished, copied: Path, call) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}

    done = call(evaluate.main, copied, "--split", "test", "val", "train")

    assert done.code == 0
    assert "equal to result.json, digit for digit" in done.out
    for part in ("train", "val", "test"):
        content = evaluation(copied / "evaluation", part)
        assert {f"{part}/{metric.name}": content[metric.name] for metric in FINAL}.items() <= finished.result.items()
        written = {path.name for path in (copied / "evaluation" / part).iterdir()}
        assert written == {
            *("evaluation.json", "report.txt", "report.json", "confusion.csv"),
            *("confusion.png", "confusion_normalised.png", "most_wrong.png"),
        }
    assert (copied / "evaluation/test/confusion.csv").read_text() == (copied / "confusion_test.csv").read_text()
    assert {path: path.read_bytes() for path in before} == before


def test_different_scores_are_reported_with_other_differences(copied: Path, evaluated) -> None:
    result = json.loads((copied / "result.json").read_text())
    result["test/loss"] += 1e-9
    result["versions"]["torch"] = "1.0"
    (copied / "result.json").write_text(json.dumps(result))

    done = evaluated(copied)

    assert done.code == 0
    assert f"and {result['test/loss']!r} in result.json" in done.out
    assert "torch was 1.0, is " in done.out
    assert "test/acc is" not in done.out


def test_a_run_of_an_earlier_version_lacks_keys_that_came_later(copied: Path, evaluated) -> None:
    config = OmegaConf.load(copied / "config.yaml")
    for node, key in ((config.data, "sampler"), (config.data.augment, "mixup")):
        del node[key]
    OmegaConf.save(config, copied / "config.yaml")
    assert "equal to result.json, digit for digit" in evaluated(copied).out


def test_last_weights_are_not_compared_with_scores_of_the_best(copied: Path, evaluated) -> None:
    done = evaluated(copied, "--checkpoint", "last")
    assert done.code == 0
    assert "last.ckpt of epoch 3" in done.err
    assert "result.json" not in done.out
    assert evaluation(copied / "evaluation")["noted_in_training"] == {}


def test_other_data_get_the_networks_normalisation_and_a_folder_of_their_own(finished, copied: Path, evaluated) -> None:
    done = evaluated(copied, *OTHER)
    assert done.code == 0
    assert "result.json" not in done.out
    content = evaluation(copied / "evaluation/digits")
    assert content["acc"] == finished.result["test/acc"]
    assert content["loss"] == pytest.approx(finished.result["test/loss"], abs=1e-6)  # in batches as in training or not


def test_a_changed_key_of_its_own_data(copied: Path, evaluated) -> None:
    done = evaluated(copied, "--split", "val", "--data", "data.val_fraction=0.5")
    assert done.code == 0
    assert evaluation(copied / "evaluation/changed", "val")["images"] == 150


def test_all_parts_as_one(finished, copied: Path, evaluated) -> None:
    assert evaluated(copied, "--split", "all").code == 0
    all_parts, right = evaluation(copied / "evaluation", "all"), 0
    for part, images in (("train", 270), ("val", 30), ("test", 359)):
        right += finished.result[f"{part}/acc"] * images
    assert (all_parts["images"], all_parts["acc"]) == (659, pytest.approx(right / 659))


def test_a_part_of_several_finds_its_images_and_labels(compose) -> None:
    data = build(compose("data.limit=300").data, "data")
    data.setup()
    part = Part("all", data)
    chosen = np.array([658, 0, 300, 299, 5])
    images, labels = zip(*part.batches(torch.device("cpu")), strict=True)
    seen = data.normalization.undo(torch.cat(images))[chosen]
    np.testing.assert_array_equal(part.images(chosen), seen)
    np.testing.assert_array_equal(part.labels, torch.cat(labels))


def test_a_part_without_images_is_refused(finished, tmp_path: Path, evaluated) -> None:
    for name in "0123456789":
        (tmp_path / "root" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (3, 5), 20 * number).save(tmp_path / "root" / name / f"{number}.png")
    folder = ("--data", "data=image_folder", f"data.root={tmp_path}/root", "data.test_fraction=0")
    done = evaluated(finished.folder, *folder, "--output", tmp_path / "out")
    assert (done.code, done.err.splitlines()[-1]) == (1, "--split test: the data have no such images, only train, val")
    assert evaluated(finished.folder, *folder, "--output", tmp_path / "out", "--split", "all").code == 0
    assert evaluation(tmp_path / "out", "all")["images"] == 40


def test_a_checkpoint_by_itself_needs_data_and_takes_the_defaults(finished, tmp_path: Path, evaluated) -> None:
    alone = tmp_path / "alone.ckpt"
    shutil.copy(finished.folder / "checkpoints" / "best.ckpt", alone)
    refused = evaluated(alone)
    assert refused.code == 1
    assert refused.err.splitlines()[-1].startswith(f"{alone} is in no run's folder, which would name the data")

    assert evaluated(alone, *OTHER, "--output", tmp_path / "out").code == 0
    assert evaluation(tmp_path / "out")["acc"] == finished.result["test/acc"]


def test_other_classes_are_refused_with_the_difference(finished, cifar10: Path, tmp_path: Path, evaluated) -> None:
    given = ("--data", "data=cifar10", f"data_dir={cifar10}", "--output", tmp_path / "out")
    done = evaluated(finished.folder, *given)
    assert done.code == 1
    line = done.err.splitlines()[-1]
    assert line.startswith("the data must have the classes of the network: the network knows 0, 1, 2, 3,")
    assert "the data have airplane, " in line


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["model.width=3"], ["--data takes data=NAME, data.KEY=VALUE and data_dir=PATH, got model.width=3"]),
        (["data=foo"], ["--data: data=foo: there is no such choice; there is cifar10, "]),
        (["data.limmit=3"], ["--data: ", "data.limmit", "limmit"]),
        (["digits"], ["--data: ", "digits"]),
        (["data.limit=3"], ["data.limit must be at least 20"]),
    ],
    ids=str,
)
def test_bad_overrides_are_one_line(finished, tmp_path: Path, evaluated, typed: list[str], words: list[str]) -> None:
    done = evaluated(finished.folder, "--output", tmp_path / "out", "--data", *typed)
    assert (done.code, done.out) == (1, "")
    lines = done.err.splitlines()[1:]  # after the line that names the weights
    assert len(lines) == 1, done.err
    assert [word for word in words if word not in lines[0]] == []


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_scored(copied: Path, evaluated) -> None:
    (copied / "evaluation").write_text("in the way")
    done = evaluated(copied)
    assert (done.code, done.out) == (1, "")
    line = done.err.splitlines()[-1]
    assert line.startswith(f"{copied}/evaluation/test cannot be written (")
    assert line.endswith("--output FOLDER chooses another")
