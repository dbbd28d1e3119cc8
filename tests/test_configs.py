"""Every YAML in conf/: it composes, what it names can be built under the whitelist, and no value is restated in Python."""

import inspect
import logging
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

from lightsweep.build import build

CONF = Path(__file__).resolve().parents[1] / "conf"
FILES = sorted(file.relative_to(CONF) for file in CONF.rglob("*.yaml") if file.parent != CONF)
CHOICES = [f"{file.parent}={file.stem}" for file in FILES if not file.stem.startswith("_")]
NO_ACCELERATOR = {"trainer=gpu": ["trainer.accelerator=cpu"]}  # the rest of the file is tested anywhere
GROUPS = ("model", "optimizer", "scheduler", "data", "callbacks", "logger", "trainer")


def targets(node: object) -> list[str]:
    if isinstance(node, dict):
        return [value for key, value in node.items() if key == "_target_"] + targets(list(node.values()))
    return [target for item in node for target in targets(item)] if isinstance(node, list) else []


@pytest.fixture
def built(compose):
    """All that a config names."""

    def build_all(*overrides: str) -> dict:
        cfg = compose(*overrides)
        parts = {
            "model": build(cfg.model, "model", input_shape=(3, 32, 32), num_classes=10),
            "optimizer": build(cfg.optimizer, "optimizer"),
            "data": build(cfg.data, "data"),
            "callbacks": [build(node, f"callbacks.{name}") for name, node in cfg.callbacks.items()],
            "logger": [build(node, f"logger.{name}") for name, node in cfg.logger.items()],
            "trainer": build(cfg.trainer, "trainer", logger=False),
        }
        optimizer = parts["optimizer"]([torch.zeros(1, requires_grad=True)])
        parts["scheduler"] = build(cfg.scheduler, "scheduler")(optimizer, 10, 5)
        return parts

    return build_all


def test_every_group_of_the_design_is_there() -> None:
    assert {str(file.parent).split("/")[0] for file in FILES} >= set(GROUPS)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_can_be_built(built, choice: str) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    parts = built(choice, *NO_ACCELERATOR.get(choice, []))
    assert isinstance(parts["model"], torch.nn.Module)
    assert isinstance(parts["data"], pl.LightningDataModule)
    assert isinstance(parts["trainer"], pl.Trainer)


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if "=_" not in choice])
def test_our_own_targets_have_no_default_beside_the_yaml(compose, choice: str) -> None:
    ours = {name for name in targets(OmegaConf.to_container(compose(choice))) if name.startswith("lightsweep.")}
    assert ours
    for name in ours - {"lightsweep.run_folder.ConfigFirst"}:
        parameters = inspect.signature(get_object(name)).parameters.values()
        assert [parameter.name for parameter in parameters if parameter.default is not parameter.empty] == []


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("callbacks=default", ["early_stopping", "lr_monitor", "checkpoint", "progress"]),
        ("callbacks=early_stopping", ["early_stopping"]),
        ("callbacks=none", []),
        ("callbacks=[checkpoint,progress]", ["checkpoint", "progress"]),
        ("logger=tensorboard", ["tensorboard"]),
        ("logger=csv", ["csv"]),
        ("logger=[tensorboard,csv]", ["tensorboard", "csv"]),
        ("logger=none", []),
    ],
)
def test_callbacks_and_loggers_come_alone_together_or_not_at_all(compose, choice: str, names: list[str]) -> None:
    assert list(compose(choice)[choice.partition("=")[0]]) == names


def test_everything_follows_the_root_monitor(compose) -> None:
    cfg = compose("monitor.metric=val/loss", "monitor.mode=min", "callbacks=default", "scheduler=plateau")
    nodes = [cfg.callbacks.early_stopping, cfg.callbacks.checkpoint, cfg.scheduler]
    assert {(node.monitor, node.mode) for node in nodes} == {("val/loss", "min")}


def test_one_of_them_can_name_its_own(compose) -> None:
    cfg = compose("scheduler=plateau", "scheduler.monitor=val/loss", "scheduler.mode=min", "callbacks=default")
    assert (cfg.scheduler.monitor, cfg.callbacks.checkpoint.monitor) == ("val/loss", "val/acc")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data._target_", "lightsweep.data.cifar10.CIFAR10DataModule"),
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
def test_defaults_are_those_of_the_issue(compose, key: str, value: object) -> None:
    cfg = compose("data=cifar10", "logger=tensorboard", "trainer=default")
    assert OmegaConf.select(cfg, key, throw_on_missing=True) == value


def test_gpu_and_ddp_are_what_they_say(compose) -> None:
    gpu, ddp, debug = (compose(f"trainer={name}").trainer for name in ("gpu", "ddp", "debug"))
    assert (gpu.accelerator, gpu.precision) == ("gpu", "bf16-mixed")
    assert ddp.strategy == "ddp"
    assert debug.limit_train_batches <= 20
