"""Every YAML in conf/ composes, what it names can be built under the whitelist, and no value is restated in Python."""

import inspect
from pathlib import Path

import hydra
import pytest
import torch
from hydra.plugins.sweeper import Sweeper
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from optuna.pruners import BasePruner

from lightsweep.app import validation
from lightsweep.config.build import build
from lightsweep.core.metrics import BY_EPOCH_NAMES

CONF = Path(__file__).resolve().parents[2] / "conf"
FILES = sorted(file.relative_to(CONF) for file in CONF.rglob("*.yaml") if file.parent != CONF)
FILES = [file for file in FILES if file.parts[0] != "experiment"]  # test_experiments.py has those
CHOSEN = [f"{file.parent}={file.stem}" for file in FILES if not file.stem.startswith("_")]
CHOICES = [choice for choice in CHOSEN if not choice.startswith("hydra/")]
SWEEPERS = [choice for choice in CHOSEN if choice.startswith("hydra/sweeper")]
NEEDED = {
    "trainer=gpu": ["trainer.accelerator=cpu"],  # the rest of the file is tested anywhere
    "data=image_folder": ["data.root=images"],
}
TRAINING = ("early_stopping", "lr_monitor", "checkpoint", "progress")
EXTRAS = ("logger=mlflow", "logger=wandb")  # built, and used, by test_tracking.py
GROUPS = ("model", "optimizer", "scheduler", "data", "callbacks", "logger", "trainer")


def targets(node: object) -> list[str]:
    if isinstance(node, dict):
        return [value for key, value in node.items() if key == "_target_"] + targets(list(node.values()))
    return [target for item in node for target in targets(item)] if isinstance(node, list) else []


def build_group(cfg: DictConfig, group: str) -> list:
    """What a group of a config names."""
    if group in ("callbacks", "logger"):
        return [build(node, f"{group}.{name}") for name, node in cfg[group].items()]
    if group == "model":
        return [build(cfg.model, group, input_shape=(3, 32, 32), num_classes=10)]
    if group == "trainer":
        return [build(cfg.trainer, group, logger=False)]
    if group == "data":
        return [build(cfg.data, group)]
    optimizer = build(cfg.optimizer, "optimizer")([torch.zeros(1, requires_grad=True)])
    return [optimizer, build(cfg.scheduler, "scheduler")(optimizer, 10, 5)]


def test_every_group_exists() -> None:
    assert {str(file.parent).split("/")[0] for file in FILES} >= set(GROUPS)


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice not in EXTRAS])
def test_every_choice_can_be_built(compose, choice: str) -> None:
    cfg = compose(choice, *NEEDED.get(choice, []))
    group = choice.partition("=")[0]
    built = [build_group(cfg, one) for one in ([group] if group in GROUPS else GROUPS)]
    assert any(built) or choice.endswith("=none")


@pytest.mark.parametrize("choice", SWEEPERS)
def test_every_sweeper_and_pruner_composes_to_what_it_names(choice: str) -> None:
    base = ["hydra/sweeper=lightsweep"] if choice.startswith("hydra/sweeper/") else []
    with hydra.initialize_config_dir(str(CONF)):
        cfg = hydra.compose("train", ["data=digits", *base, choice], return_hydra_config=True)
    group = choice.partition("=")[0]
    node = OmegaConf.to_container(OmegaConf.select(cfg, group.replace("/", ".")), resolve=True)
    assert isinstance(node, dict)
    if group.endswith("pruner"):
        allowed = [node["_target_"], "optuna.pruners.*"]
        assert isinstance(hydra.utils.instantiate(node, _execution_whitelist_=allowed), BasePruner)
    else:
        assert issubclass(get_object(node["_target_"]), Sweeper)


@pytest.mark.parametrize("choice", CHOICES)
def test_our_own_targets_have_no_defaults_in_python(compose, choice: str) -> None:
    ours = {name for name in targets(OmegaConf.to_container(compose(choice))) if name.startswith("lightsweep.")}
    assert ours
    for name in ours - {"lightsweep.runs.saved_config.ConfigFirst"}:
        parameters = inspect.signature(get_object(name)).parameters.values()
        assert [parameter.name for parameter in parameters if parameter.default is not parameter.empty] == []


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("callbacks=default", [*TRAINING, "figures", "histograms", "graph"]),
        ("callbacks=[default,figures]", [*TRAINING, "figures", "histograms", "graph"]),
        ("callbacks=early_stopping", ["early_stopping"]),
        ("callbacks=none", []),
        ("callbacks=[checkpoint,progress]", ["checkpoint", "progress"]),
        ("logger=tensorboard", ["tensorboard"]),
        ("logger=csv", ["csv"]),
        ("logger=[tensorboard,csv]", ["tensorboard", "csv"]),
        ("logger=none", []),
    ],
)
def test_callbacks_and_loggers_can_be_combined(compose, choice: str, names: list[str]) -> None:
    assert list(compose(choice)[choice.partition("=")[0]]) == names


def test_everything_follows_the_root_monitor(compose) -> None:
    cfg = compose("monitor.metric=val/loss", "callbacks=default", "scheduler=plateau")
    nodes = [cfg.callbacks.early_stopping, cfg.callbacks.checkpoint, cfg.scheduler]
    assert {(node.monitor, node.mode) for node in nodes} == {("val/loss", "min")}
    assert cfg.monitor.mode == "min"


@pytest.mark.parametrize("metric", BY_EPOCH_NAMES)
@pytest.mark.parametrize("key", ["monitor.metric", "scheduler.monitor", "callbacks.early_stopping.monitor"])
def test_the_mode_follows_from_the_metric_wherever_it_is_named(compose, key: str, metric: str) -> None:
    cfg = compose("scheduler=plateau", "callbacks=default", f"{key}={metric}")
    lower = metric.endswith(("loss", "objective"))
    assert OmegaConf.select(cfg, f"{key.rpartition('.')[0]}.mode") == ("min" if lower else "max")
    validation.check_config(cfg, [])


def test_the_official_sweepers_direction_follows_the_metric() -> None:
    with hydra.initialize_config_dir(str(CONF)):
        directions = [
            hydra.compose("train", ["hydra/sweeper=optuna", f"monitor.metric={metric}"], return_hydra_config=True)
            for metric in ("val/acc", "val/objective")
        ]
    assert [cfg.hydra.sweeper.direction for cfg in directions] == ["maximize", "minimize"]


def test_a_scheduler_can_have_another_monitor(compose) -> None:
    cfg = compose("scheduler=plateau", "scheduler.monitor=val/loss", "callbacks=default")
    assert (cfg.scheduler.monitor, cfg.callbacks.checkpoint.monitor) == ("val/loss", "val/acc")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data._target_", "lightsweep.data.datasets.CIFAR10DataModule"),
        ("data.val_fraction", 0.1),
        ("data.split", "first"),
        ("data.normalize", "symmetric"),
        ("data.drop_last", True),
        ("data.augment.flip", False),
        ("data.augment.noise", 0.0),
        ("model.hidden", None),
        ("callbacks.early_stopping.monitor", "val/acc"),
        ("logger.tensorboard.default_hp_metric", False),
        ("trainer.accelerator", "auto"),
        ("monitor.mode", "max"),
        ("score_with", "best"),
        ("test", True),
        ("resume", None),
        ("compile", False),
        ("decay_all", False),
        ("loss.l2_head", False),
    ],
)
def test_defaults_are_the_documented_ones(compose, key: str, value: object) -> None:
    cfg = compose("data=cifar10", "logger=tensorboard", "trainer=default")
    assert OmegaConf.select(cfg, key, throw_on_missing=True) == value


def test_trainer_choices_set_accelerator_and_strategy(compose) -> None:
    gpu, ddp, debug = (compose(f"trainer={name}").trainer for name in ("gpu", "ddp", "debug"))
    assert (gpu.accelerator, gpu.precision) == ("gpu", "bf16-mixed")
    assert ddp.strategy == "ddp"
    assert debug.limit_train_batches <= 20
