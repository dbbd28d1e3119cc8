"""A checkpoint from somebody else: it is refused in one line, and names no file to delete."""

from pathlib import Path
from typing import Any

import pytest
import torch

import evaluate
import export
import predict
from lightsweep.training.checkpoints import AtomicCheckpointIO
from saved_runs import change, one_line


def hostile(run: Path, name: str, **changes: Any) -> None:
    path = run / "checkpoints" / name
    content = torch.load(path, weights_only=True)
    torch.save(content | changes, path)


CONTENTS: dict[str, dict[str, Any]] = {
    "no state of the loops": {"loops": {}},
    "loops of text": {"loops": "x"},
    "no optimizer": {"optimizer_states": []},
    "an optimizer of text": {"optimizer_states": ["x"]},
    "no weights": {"state_dict": {}},
    "weights of text": {"state_dict": {"net.head.weight": "x"}},
    "callbacks of text": {"callbacks": "x"},
    "nothing of ours": {"lightsweep": {}},
    "ours as a list": {"lightsweep": []},
    "schedules of numbers": {"lr_schedulers": [1]},
}


@pytest.mark.parametrize("changes", CONTENTS.values(), ids=CONTENTS)
def test_a_hostile_checkpoint_is_one_line(scene, foreign, launch, changes: dict[str, Any]) -> None:
    hostile(foreign, "last.ckpt", **changes)
    one_line(launch(f"resume={foreign}", "trainer.max_epochs=2"), "")
    scene.assert_untouched()


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_a_damaged_checkpoint_is_one_line(scene, foreign, launch, call, size: int) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        path = foreign / "checkpoints" / name
        path.write_bytes(path.read_bytes()[:size])
    one_line(launch(f"resume={foreign}", "trainer.max_epochs=2"), "last.ckpt")
    for main in (evaluate.main, export.main):
        one_line(call(main, foreign), "best.ckpt is no checkpoint of lightsweep")
    one_line(call(predict.main, foreign, scene.victim), "best.ckpt is no checkpoint of lightsweep")


@pytest.mark.parametrize("path", ["{home}/notes.txt", "{run}/checkpoints/../../home/notes.txt", "ftp://127.0.0.1:9/x"])
def test_a_checkpoint_names_no_file_to_delete(scene, foreign, launch, path: str) -> None:
    callback = {
        "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
        "dirpath": "{run}/checkpoints",
        "filename": "more",
    }
    change(foreign, "callbacks.more", scene.filled(callback | {"monitor": "val/acc", "mode": "max"}))
    path = scene.filled(path)
    key = torch.load(foreign / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    from pytorch_lightning.callbacks import ModelCheckpoint

    state_key = ModelCheckpoint(monitor="val/acc", mode="max").state_key
    state = {
        "dirpath": str(foreign / "checkpoints"),
        "best_model_score": torch.tensor(-1.0),
        "best_model_path": path,
        "last_model_path": path,
        "kth_best_model_path": path,
        "kth_value": torch.tensor(-1.0),
        "best_k_models": {path: torch.tensor(-1.0)},
    }
    hostile(foreign, "last.ckpt", callbacks=key | {state_key: state})
    done = launch(f"resume={foreign}", "trainer.max_epochs=2")
    assert done.code == 0, done.err
    scene.assert_untouched()


OLD_LOOPS = {
    "epoch_loop.batch_loop.optimizer_loop.optim_progress": "epoch_loop.automatic_optimization.optim_progress",
    "epoch_loop.batch_loop.optimizer_loop.state_dict": "epoch_loop.automatic_optimization.state_dict",
    "epoch_loop.batch_loop.manual_loop.optim_step_progress": "epoch_loop.manual_optimization.optim_step_progress",
    "epoch_loop.batch_loop.manual_loop.state_dict": "epoch_loop.manual_optimization.state_dict",
}


@pytest.mark.parametrize("path", ["{run}/mc/../../home/notes.txt", "{run}/mc/../../home", "ftp://127.0.0.1:9/x"])
def test_nor_does_one_that_says_it_is_old(scene, foreign, launch, path: str) -> None:
    """Lightning moves the state of an early version to where no check by today's names would find it."""
    callback = {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "dirpath": "{run}/mc", "monitor": "val/acc"}
    change(foreign, "callbacks.more", scene.filled(callback | {"mode": "max"}))
    content = torch.load(foreign / "checkpoints" / "last.ckpt", weights_only=True)
    loops = content["loops"]["fit_loop"]
    for old, new in OLD_LOOPS.items():
        loops[old] = loops.pop(new)
    kept = {key: state for key, state in content["callbacks"].items() if not key.startswith("ModelCheckpoint")}
    old_form = {"checkpoint_callback_best_model_score": None, "checkpoint_callback_best_model_path": scene.filled(path)}
    hostile(
        foreign,
        "last.ckpt",
        loops=content["loops"],
        callbacks=kept,
        **old_form,
        **{"pytorch-lightning_version": "0.9.0"},
    )
    done = launch(f"resume={foreign}", "trainer.max_epochs=2")
    assert done.code == 0, done.err
    scene.assert_untouched()


@pytest.mark.parametrize("place", ["{home}/notes.txt", "{home}", "ftp://127.0.0.1:9/x", "{run}/../home/notes.txt"])
def test_only_checkpoints_of_a_run_are_deleted(scene, place: str) -> None:
    (scene.run / "old.ckpt").touch()
    files = AtomicCheckpointIO([scene.run])
    files.remove_checkpoint(scene.filled(place))
    files.remove_checkpoint(scene.run / "old.ckpt")
    assert not (scene.run / "old.ckpt").exists()
    scene.assert_untouched()


SAID: dict[str, Any] = {
    "class_names": [1, 2],
    "input_shape": [1, 8],
    "mean": "x",
    "std": torch.ones(1, 3, 3),
    "resize": 5,
    "model": "x",
    "precision": "transformer-engine",
}


@pytest.mark.parametrize("name", SAID)
def test_a_checkpoint_that_says_nonsense_of_itself_is_one_line(foreign, call, scene, name: str) -> None:
    path = foreign / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["lightsweep"][name] = SAID[name]
    torch.save(content, path)
    for main, arguments in ((evaluate.main, ()), (predict.main, (scene.victim,)), (export.main, ())):
        one_line(call(main, foreign, *arguments), "")


@pytest.mark.parametrize("epochs", [-5, float("nan"), "x", 10**30])
def test_a_checkpoint_of_no_number_of_epochs_is_one_line(foreign, launch, call, epochs: Any) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        loops = torch.load(foreign / "checkpoints" / name, weights_only=True)["loops"]
        loops["fit_loop"]["epoch_progress"]["current"]["processed"] = epochs
        hostile(foreign, name, loops=loops)
    one_line(launch(f"resume={foreign}", "trainer.max_epochs=2"), "epochs")
    one_line(call(evaluate.main, foreign), "best.ckpt is no checkpoint of lightsweep")
