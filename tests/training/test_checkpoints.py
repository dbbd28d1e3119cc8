"""Checkpoints: data only, enough in them to rebuild the network, replaced in one step."""

import os
from pathlib import Path

import pytest
import torch

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.runs import run_folder
from lightsweep.training import checkpoints
from lightsweep.training.checkpoints import AtomicCheckpointIO, BestCheckpoint

PLAIN = (int, float, str, bool, bytes, type(None), torch.Tensor)


def leaves(node: object) -> list[object]:
    if isinstance(node, dict):
        return [leaf for key, item in node.items() for leaf in (key, *leaves(item))]
    return [leaf for item in node for leaf in leaves(item)] if isinstance(node, list | tuple) else [node]


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_holds_tensors_and_plain_containers_only(finished, name: str) -> None:
    assert {type(leaf) for leaf in leaves(finished.checkpoint(name)) if not isinstance(leaf, PLAIN)} == set()


def test_network_and_normalisation_are_rebuilt_from_the_file_alone(finished, compose, tmp_path: Path) -> None:
    alone = tmp_path / "moved.ckpt"
    alone.write_bytes((finished.folder / "checkpoints" / "best.ckpt").read_bytes())
    trained = checkpoints.load(alone)
    data = build(compose().data, "data")
    data.setup()
    correct = 0
    for start in range(0, len(data.labels("test")), 100):
        images = torch.from_numpy(data.arrays.test_images[start : start + 100])
        logits = trained.net(trained.description.normalization(images))
        correct += int((logits.argmax(1).numpy() == data.labels("test")[start : start + 100]).sum())
    assert correct / len(data.labels("test")) == finished.result["test/acc"]
    assert trained.description.class_names == tuple("0123456789")
    assert trained.description.input_shape == (1, 8, 8)
    assert trained.description.resize == "squash"
    assert not trained.net.training


def test_an_older_checkpoint_without_resize_means_squash(finished, tmp_path: Path) -> None:
    content = finished.checkpoint("best.ckpt")
    assert content["lightsweep"].pop("resize") == "squash"
    torch.save(content, tmp_path / "older.ckpt")
    assert checkpoints.load(tmp_path / "older.ckpt").description.resize == "squash"


def test_an_older_checkpoint_without_newer_keys_is_loaded(finished, tmp_path: Path) -> None:
    content = finished.checkpoint("best.ckpt")
    del content["lightsweep"]["model"]["dct"]
    torch.save(content, tmp_path / "older.ckpt")
    assert checkpoints.load(tmp_path / "older.ckpt").description.model["dct"] is None


def test_best_is_the_best_epoch_and_last_the_last(finished) -> None:
    folder = finished.folder / "checkpoints"
    best = max(finished.rows, key=lambda row: float(row["val/acc"]))
    assert checkpoints.load(folder / "best.ckpt").epoch == int(best["epoch"]) == finished.result["best_epoch"]
    assert checkpoints.load(folder / "last.ckpt").epoch == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x02]q\x00."], ids=["empty", "zip", "list"])
def test_the_error_names_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x.ckpt is no checkpoint of lightsweep") as refusal:
        checkpoints.load(tmp_path / "x.ckpt")
    assert "\n" not in str(refusal.value)


def test_the_error_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.ckpt"):
        checkpoints.load(tmp_path / "gone.ckpt")


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"x.ckpt is no checkpoint of lightsweep"):
        checkpoints.load(tmp_path / "x.ckpt")


def test_weights_of_another_network_are_refused(finished, tmp_path: Path) -> None:
    content = finished.checkpoint("best.ckpt")
    content["lightsweep"]["model"]["width"] = 17
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"x.ckpt has weights of another network"):
        checkpoints.load(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("files", "score_with", "chosen"),
    [
        (["best.ckpt", "last.ckpt"], "best", "best.ckpt"),
        (["best.ckpt", "last.ckpt"], "last", "last.ckpt"),
        (["last.ckpt"], "best", "last.ckpt"),
    ],
)
def test_chooses_what_is_scored(tmp_path: Path, files: list[str], score_with: str, chosen: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert run_folder.choose_checkpoint(tmp_path, score_with).name == chosen


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO([]).save_checkpoint({"epoch": 1}, path)

    def full(self: Path, content: bytes) -> int:
        os.close(os.open(self, os.O_WRONLY))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        AtomicCheckpointIO([]).save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_best_restores_its_score_in_a_folder_that_was_moved(tmp_path: Path) -> None:
    best = BestCheckpoint(dirpath=str(tmp_path / "new"), monitor="val/acc", mode="max", keep_last=False)
    best.load_state_dict({"best_model_score": torch.tensor(0.5), "dirpath": "/old", "monitor": "val/acc"})
    assert best.best_k_models == {str(tmp_path / "new" / "best.ckpt"): torch.tensor(0.5)}
    assert (best.best_model_path, best.best_model_score) == (str(tmp_path / "new" / "best.ckpt"), 0.5)


def test_a_score_of_another_metric_is_not_the_one_to_beat(tmp_path: Path) -> None:
    best = BestCheckpoint(dirpath=str(tmp_path), monitor="val/loss", mode="min", keep_last=False)
    best.load_state_dict({"best_model_score": torch.tensor(0.5), "dirpath": str(tmp_path), "monitor": "val/acc"})
    assert best.best_model_score is None
