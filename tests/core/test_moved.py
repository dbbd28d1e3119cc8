"""The names of version 0.1, which configs, checkpoints and studies of that version hold, are known."""

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from lightsweep.config import allowlist, permissions
from lightsweep.core.errors import ConfigError
from lightsweep.core.moved import MOVED, rename_moved, with_new_names
from lightsweep.runs import saved_config

# Every name of lightsweep's that version 0.1 let a config call, by its key.
VERSION_0_1 = {
    "model": ("nets.CNN", "nets.MLP", "nets.ResMLP"),
    "optimizer": ("keras_rmsprop.KerasRMSprop",),
    "scheduler": ("schedules.constant", "schedules.cosine", "schedules.plateau", "schedules.step"),
    "data": (
        "data.cifar10.CIFAR10DataModule",
        "data.cifar100.CIFAR100DataModule",
        "data.digits.DigitsDataModule",
        "data.fake.FakeDataModule",
        "data.image_folder.ImageFolderDataModule",
    ),
    "data.augment": ("data.augment.Augment",),
    "callbacks.x": (
        "averaging.WeightAverage",
        "checkpoints.BestCheckpoint",
        "insight.layers.Graph",
        "insight.layers.Histograms",
        "insight.run_figures.RunFigures",
        "lr_monitor.LearningRateMonitor",
        "progress.ProgressLine",
    ),
    "logger.x": ("tracking.loggers.mlflow", "tracking.loggers.wandb"),
    "hydra.callbacks.x": ("run_folder.ConfigFirst",),
}
NAMES = [(key, f"lightsweep.{name}") for key, names in VERSION_0_1.items() for name in names]


@pytest.mark.parametrize(("key", "name"), NAMES)
def test_a_name_of_version_0_1_is_allowed_at_its_key(key: str, name: str) -> None:
    (node,) = with_new_names([{"_target_": name}])
    slot = allowlist.find_node(key.split("."))
    assert slot is not None
    assert node["_target_"] in slot.names
    assert callable(get_object(node["_target_"]))


@pytest.mark.parametrize(("key", "name"), NAMES)
def test_a_saved_config_of_version_0_1_is_read_with_todays_names(key: str, name: str, tmp_path) -> None:
    config = OmegaConf.create({"_target_": name, "other": "${missing}"})
    for part in reversed(key.split(".")):
        config = OmegaConf.create({part: config})
    OmegaConf.save(config, tmp_path / "config.yaml")
    node = OmegaConf.select(saved_config.read_config(tmp_path), key)
    assert node._target_ == MOVED.get(name, name)


def test_every_moved_name_is_one_of_version_0_1() -> None:
    assert MOVED.keys() <= {name for _, name in NAMES}


def test_a_users_config_file_of_version_0_1_is_composed_with_todays_names(launch, tmp_path) -> None:
    own = {
        "defaults": ["train", "_self_"],
        "scheduler": {"_target_": "lightsweep.schedules.cosine"},
        "hydra": {"callbacks": {"config_first": {"_target_": "lightsweep.run_folder.ConfigFirst"}}},
    }
    OmegaConf.save(own, tmp_path / "own.yaml")
    typed = "+callbacks.graph={_target_: lightsweep.insight.layers.Graph, in_trials: true}"
    done = launch("--config-dir", str(tmp_path), "--config-name", "own", "--cfg", "all", typed)
    assert done.code == 0, done.err
    cfg = OmegaConf.create(done.out)
    assert cfg.scheduler._target_ == MOVED["lightsweep.schedules.cosine"]
    assert cfg.hydra.callbacks.config_first._target_ == MOVED["lightsweep.run_folder.ConfigFirst"]
    assert cfg.callbacks.graph._target_ == MOVED["lightsweep.insight.layers.Graph"]


def test_flat_keys_and_lists_are_renamed_too() -> None:
    old = "lightsweep.schedules.step"
    assert with_new_names({"scheduler._target_": old, "typed": [old]}) == {
        "scheduler._target_": MOVED[old],
        "typed": [old],
    }


def test_a_moved_name_is_not_allowed_at_another_key() -> None:
    config = OmegaConf.create({"scheduler": {"_target_": "lightsweep.averaging.WeightAverage"}})
    rename_moved(config)
    with pytest.raises(ConfigError, match="scheduler._target_ must be in the allowlist"):
        permissions.check_targets(OmegaConf.to_container(config))
