"""The config of a run from somebody else: resumed, evaluated, reported."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import evaluate
import report
from saved_runs import change, one_line

LINK = {
    "a": {
        "_target_": "pytorch_lightning.callbacks.ModelCheckpoint._link_checkpoint",
        "_args_": [{"_target_": "pytorch_lightning.Trainer"}, "{victim}", "{marker}"],
    },
    "b": {"_target_": "torch.nn.attention._fa3._fa3_import_module", "module_path": "antigravity"},
}
CHANGES: dict[str, tuple[str, Any, str]] = {
    "a method nested in a value": ("model.dropout", LINK, "model.dropout.a must not have a _target_"),
    "in the data": ("data.limit", LINK, "data.limit.a must not have a _target_"),
    "in the augmentation": ("data.augment._target_", "os.system", "data.augment._target_"),
    "a callback": ("callbacks.evil", {"_target_": "os.system", "command": "touch {marker}"}, "callbacks.evil._target_"),
    "a logger": ("logger.evil", {"_target_": "pytorch_lightning.loggers.MLFlowLogger"}, "logger.evil._target_"),
    "the trainer": ("trainer._target_", "pytorch_lightning.Trainer.test", "trainer._target_"),
    "the optimizer": ("optimizer._target_", "torch.utils.collect_env.run", "optimizer._target_"),
    "where nothing stands": ("loss.evil", {"_target_": "lightsweep.nets.MLP"}, "loss.evil must not have a _target_"),
}


@pytest.mark.parametrize(("key", "value", "says"), CHANGES.values(), ids=CHANGES)
def test_a_changed_config_is_refused_by_all_that_read_it(
    scene, foreign, launch, call, key: str, value: Any, says: str
) -> None:
    change(foreign, key, scene.filled(value))
    one_line(launch(f"resume={foreign}", "trainer.max_epochs=2"), says)
    one_line(call(evaluate.main, foreign), says)
    scene.assert_untouched()


PATHS: dict[str, tuple[str, Any, str]] = {
    "best.ckpt elsewhere": ("callbacks.checkpoint.dirpath", "{home}", "callbacks.checkpoint.dirpath must lie in"),
    "a checkpoint on a server": (
        "callbacks.more",
        {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "dirpath": "ftp://127.0.0.1:9/x"},
        "callbacks.more.dirpath must lie in",
    ),
    "a name that leads elsewhere": (
        "callbacks.more",
        {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "dirpath": "{run}", "filename": "../home/x"},
        "callbacks.more.filename must lie in",
    ),
    "a name that becomes another": (
        "callbacks.more",
        {
            "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
            "dirpath": "{run}",
            "filename": "{{home}/x}",
        },
        "callbacks.more.filename must lie in",
    ),
    "a log elsewhere": (
        "logger.csv",
        {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "{run}", "name": "", "version": "{home}"},
        "logger.csv.version must lie in",
    ),
    "events elsewhere": (
        "logger.tensorboard",
        {"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": "{run}", "name": "../home"},
        "logger.tensorboard.name must lie in",
    ),
    "an argument for another library": (
        "logger.tensorboard",
        {
            "_target_": "pytorch_lightning.loggers.TensorBoardLogger",
            "save_dir": "{run}",
            "comet_config": {"disabled": False},
        },
        "logger.tensorboard.comet_config must be left out",
    ),
    "a tracker's server": (
        "logger.mlflow",
        {
            "_target_": "lightsweep.training.loggers.mlflow_logger",
            "store": "http://127.0.0.1:9",
            "experiment": "a",
            "name": "b",
            "run_dir": "{run}",
        },
        "logger.mlflow.store must lie in",
    ),
    "a tracker that uploads": (
        "logger.wandb",
        {
            "_target_": "lightsweep.training.loggers.wandb_logger",
            "project": "a",
            "group": "b",
            "name": "c",
            "run_dir": "{run}",
            "offline": False,
        },
        "logger.wandb.offline must be True unless it is typed",
    ),
    "a model hub": ("trainer.model_registry", "evil/model", "trainer.model_registry must be left out"),
    "another place for all of it": ("run_dir", "{home}", "run_dir must be left as it is"),
}


@pytest.mark.parametrize(("key", "value", "says"), PATHS.values(), ids=PATHS)
def test_a_resumed_run_writes_nowhere_else(scene, foreign, launch, key: str, value: Any, says: str) -> None:
    change(foreign, key, scene.filled(value))
    one_line(launch(f"resume={foreign}", "trainer.max_epochs=2"), says)
    scene.assert_untouched()


def test_a_path_may_be_typed(scene, foreign, launch) -> None:
    assert (
        launch(f"resume={foreign}", "trainer.max_epochs=2", f"++callbacks.checkpoint.dirpath={scene.folder}/mine").code
        == 0
    )
    assert (scene.folder / "mine" / "best.ckpt").is_file()


def test_a_secret_stays_in_the_environment(scene, foreign, launch, call, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    change(foreign, "optimizer.foreach", "${oc.env:SECRET}")
    done = launch(f"resume={foreign}", "trainer.max_epochs=2")
    one_line(done, "${oc.env:SECRET} must be typed")
    assert not any("hunter2" in path.read_text(errors="replace") for path in foreign.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['touch x']", "model: !!python/name:os.system", "a: [", "[]", "\x00"]
)
def test_a_config_that_is_no_plain_yaml_is_one_line(scene, foreign, launch, call, text: str) -> None:
    (foreign / "config.yaml").write_text(text)
    one_line(launch(f"resume={foreign}"), "config.yaml cannot be read")
    one_line(call(evaluate.main, foreign), "config.yaml cannot be read")
    scene.assert_untouched()


def test_a_report_offers_no_command_that_leads_elsewhere(foreign, call, tmp_path: Path) -> None:
    result = json.loads((foreign / "result.json").read_text())
    result["overrides"] = [
        "optimizer=adam",
        "++hydra.job_logging.handlers.file.filename=/home/x",
        "hydra={run:{dir:/home/x}}",
        "+callbacks.checkpoint.dirpath=/home/x",
        "logger.wandb.offline=false",
        "logger.csv={save_dir:/home/x}",
        "data_dir=${oc.env:SECRET}",
        "run_dir=/home/x",
        " hydra.searchpath=[pkg://evil]",
        "\thydra.run.dir=/home/x",
    ]
    (foreign / "result.json").write_text(json.dumps(result))
    page = tmp_path / "page.html"
    assert call(report.main, foreign, "--html", page).code == 0
    command = re.search(r"python src/train.py[^<]*", page.read_text())
    assert command is not None
    assert command[0].split() == ["python", "src/train.py", "optimizer=adam"]
    assert "Left out, add them yourself: ++hydra.job_logging" in page.read_text()


def test_a_range_test_keeps_to_its_folder(scene, foreign, launch) -> None:
    """Lightning's profiler writes to the Trainer's folder."""
    scene.write("experiment/evil.yaml", {"lr_find": True, "trainer": {"profiler": "pytorch"}}, "# @package _global_\n")
    small = ("data=digits", "trainer=cpu", "model.width=4", "lr_find_range.steps=20", "callbacks=none", "logger=none")
    mine = ("--config-dir", str(scene.folder / "conf"), "experiment=evil", f"hydra.run.dir={scene.run}/range")
    assert launch(*small, *mine).code == 0
    scene.assert_untouched()


@pytest.mark.parametrize("overrides", [None, "x", [{"a": 1}], {"a": 1}])
def test_overrides_that_are_no_texts_are_one_line(foreign, launch, overrides: Any) -> None:
    change(foreign, "overrides", overrides)
    one_line(launch(f"resume={foreign}"), "overrides must be a list of texts")
