"""No config, checkpoint or saved run calls anything beside the table, at any depth, in any form."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from lightsweep.config import allowlist, permissions
from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.training import checkpoints

# What is called, and how. Each would leave the marker or change the victim.
ATTACKS: dict[str, dict[str, Any]] = {
    "os.system": {"command": "touch {marker}"},
    "posix.system": {"command": "touch {marker}"},
    "subprocess.run": {"args": ["touch", "{marker}"]},
    "builtins.eval": {"_args_": ["open('{marker}', 'w')"]},
    "builtins.open": {"file": "{victim}", "mode": "w"},
    "pathlib.Path.write_text": {"_args_": ["{victim}", "x"]},
    "shutil.rmtree": {"path": "{home}"},
    "runpy.run_path": {"path_name": "{pickle}"},
    "importlib.import_module": {"name": "antigravity"},
    "torch.utils.collect_env.run": {"command": "touch {marker}"},
    "torch.load": {"f": "{pickle}", "weights_only": False},
    "torch.hub.load": {"repo_or_dir": "{home}", "source": "local", "model": "net"},
    "torch.ops.load_library": {"path": "{victim}"},
    "torch.save": {"obj": 1, "f": "{victim}"},
    "torch.nn.modules.module.torch.load": {"f": "{pickle}", "weights_only": False},
    "torch.nn.attention._fa3._fa3_import_module": {"module_path": "antigravity"},
    "torch.nn.Linear": {"in_features": 1, "out_features": 1},
    "torch.nn.parallel.DistributedDataParallel": {},
    "torch.nn.utils.parametrize.cached": {},
    "torch.optim.Adam.step": {},
    "torch.optim.optimizer.torch.load": {"f": "{pickle}", "weights_only": False},
    "torch.optim.swa_utils.torch.save": {"obj": 1, "f": "{victim}"},
    "pytorch_lightning.callbacks.ModelCheckpoint._link_checkpoint": {
        "_args_": [{"_target_": "pytorch_lightning.Trainer"}, "{victim}", "{marker}"]
    },
    "pytorch_lightning.callbacks.ModelCheckpoint._remove_checkpoint": {
        "_args_": [None, {"_target_": "pytorch_lightning.Trainer"}, "{home}"]
    },
    "pytorch_lightning.callbacks.ModelCheckpoint.to_yaml": {"_args_": [None, "{victim}"]},
    "pytorch_lightning.callbacks.LambdaCallback": {"setup": {"_target_": "os.system"}},
    "pytorch_lightning.callbacks.OnExceptionCheckpoint": {"dirpath": "{home}"},
    "pytorch_lightning.callbacks.model_checkpoint.os.system": {"command": "touch {marker}"},
    "pytorch_lightning.callbacks.model_checkpoint.shutil.copy": {"src": "{pickle}", "dst": "{victim}"},
    "pytorch_lightning.loggers.csv_logs.os.system": {"command": "touch {marker}"},
    "pytorch_lightning.loggers.CSVLogger.save": {},
    "pytorch_lightning.loggers.WandbLogger": {"save_dir": "{home}"},
    "pytorch_lightning.loggers.MLFlowLogger": {"tracking_uri": "http://127.0.0.1:9"},
    "pytorch_lightning.core.saving.save_hparams_to_yaml": {"config_yaml": "{victim}", "hparams": {}},
    "pytorch_lightning.Trainer.save_checkpoint": {"filepath": "{victim}"},
    "pytorch_lightning.profilers.AdvancedProfiler": {"dirpath": "{home}"},
    "torchvision.models.resnet18": {},
    "torchvision.models._api.WeightsEnum.get_state_dict": {"_args_": ["file://{pickle}"]},
    "optuna.samplers.BaseSampler.reseed_rng": {},
    "optuna.storages.RDBStorage": {"url": "sqlite:///{marker}"},
    "optuna.load_study": {"study_name": "x", "storage": "sqlite:///{marker}"},
    "lightsweep.nets.torch.load": {"f": "{pickle}", "weights_only": False},
    "lightsweep.nets.MLP.load_state_dict": {},
    "lightsweep.training.optimization.checks.ConfigError": {},
    "lightsweep.training.optimization.cos": {"_args_": [1.0]},
    "lightsweep.training.checkpoints.load": {"path": "{pickle}"},
    "lightsweep.core.files.write_atomic": {"path": "{victim}", "text": "x"},
    "lightsweep.runs.run_folder.discard_folder": {"folder": "{home}"},
    "lightsweep.data.datasets.CIFAR10DataModule.load_from_checkpoint": {"checkpoint_path": "{pickle}"},
    "lightsweep.data.datasets.pickle.load": {"file": "{pickle}"},
    "hydra.utils.get_method": {"path": "os.system"},
    "hydra.utils.instantiate": {"config": {"_target_": "os.system", "command": "touch {marker}"}},
    "hydra_plugins.hydra_optuna_sweeper._impl.instantiate": {"config": {"_target_": "os.system"}},
    "train.main": {},
}
SLOTS = [key.replace("*", "some") for key in allowlist.NODES]
REFUSED = r"must be in the allowlist|must not have a _target_|must be left out"


@pytest.mark.parametrize("target", ATTACKS)
def test_every_attack_is_refused_in_every_slot_and_form(scene, target: str) -> None:
    plain = scene.filled({"_target_": target} | ATTACKS[target])
    for key in SLOTS:
        legitimate = next(iter(allowlist.find_node(key.split(".")).names))
        for node in (
            plain,
            plain | {"_partial_": True},
            {"_target_": legitimate, "width": plain},
            {"_target_": legitimate, "width": {"a": {"b": [1, [plain]]}}},
            {"_target_": legitimate, "_args_": [plain]},
        ):
            with pytest.raises(ConfigError, match=REFUSED):
                build(OmegaConf.create(node), key)
    scene.assert_untouched()


@pytest.mark.parametrize(("key", "other"), [("model", "data"), ("optimizer", "model"), ("callbacks.x", "trainer")])
def test_what_belongs_elsewhere_is_refused(key: str, other: str) -> None:
    node = OmegaConf.create({"_target_": allowlist.NODES[other].names[0]})
    with pytest.raises(ConfigError, match=rf"^{key}\._target_ must be in the allowlist"):
        build(node, key)


@pytest.mark.parametrize(
    "key",
    ["monitor", "loss", "model.dropout", "lr_find_range", "data.augment.flip", "hydra.help", "callbacks", "x.y.z"],
)
def test_where_no_object_stands_nothing_is_called(key: str) -> None:
    tree: Any = {"_target_": "lightsweep.nets.MLP"}
    for part in reversed(key.split(".")):
        tree = {part: tree}
    with pytest.raises(ConfigError, match=rf"^{key} must not have a _target_"):
        permissions.check_targets(tree)


@pytest.mark.parametrize("name", [5, None, ["os.system"], {"a": 1}, "${x}", "os.system ", "", "lightsweep.nets.MLP\n"])
def test_a_name_is_a_name(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^model\._target_ must be"):
        permissions.check_targets({"model": {"_target_": name}})


def test_an_interpolation_cannot_become_something_else_after_the_check() -> None:
    with pytest.raises(ConfigError, match=r"must not hold \$\{"):
        build(OmegaConf.create({"_target_": "lightsweep.nets.MLP", "init": r"\${oc.env:HOME}"}), "model")


def test_trusted_names_may_be_functions_and_nested(trust) -> None:
    trust("collections.OrderedDict", "datetime.*")
    node = {"_target_": "collections.OrderedDict", "a": {"_target_": "datetime.timedelta", "_args_": [1]}}
    made = build(OmegaConf.create(node), "model")
    assert made["a"].days == 1
    with pytest.raises(ConfigError, match=r"^model\.a must not have a _target_"):
        build(OmegaConf.create(node | {"a": {"_target_": "os.getcwd"}}), "model")


def test_the_environment_of_a_running_process_grants_nothing(scene, monkeypatch) -> None:
    monkeypatch.setenv("LIGHTSWEEP_TRUST", "posix.*,torch.*,os.*")  # read once, before Hydra starts
    with pytest.raises(ConfigError, match=REFUSED):
        build(OmegaConf.create(scene.filled({"_target_": "os.system", "command": "touch {marker}"})), "model")
    scene.assert_untouched()


@pytest.mark.parametrize("list_of_its_own", ["*", ["os.*"], None])
def test_a_config_cannot_bring_a_list_of_its_own(list_of_its_own: Any) -> None:
    node = {"_target_": "lightsweep.nets.MLP", "_execution_whitelist_": list_of_its_own}
    with pytest.raises(ConfigError, match=r"_execution_whitelist_ must be left out"):
        build(OmegaConf.create(node), "model")


@pytest.mark.parametrize("target", ["os.system", "torch.load", "torch.nn.attention._fa3._fa3_import_module"])
def test_a_checkpoints_network_is_compared_too(scene, finished, target: str) -> None:
    content = finished.checkpoint("best.ckpt")
    whole = content["lightsweep"]["model"]
    attack = scene.filled({"_target_": target} | ATTACKS[target])
    for model in (attack, whole | {"dropout": {"a": attack}}, whole | {"init": "${oc.coerce:antigravity.x,1}"}):
        content["lightsweep"]["model"] = model
        torch.save(content, scene.run / "evil.ckpt")
        with pytest.raises(ConfigError):
            checkpoints.load(scene.run / "evil.ckpt")
    scene.assert_untouched()


def test_a_checkpoint_is_never_unpickled_freely(scene, finished) -> None:
    torch.save(finished.checkpoint("best.ckpt") | {"harm": scene.bomb()}, scene.run / "evil.ckpt")
    with pytest.raises(ConfigError, match=r"evil.ckpt is no checkpoint of lightsweep"):
        checkpoints.load(scene.run / "evil.ckpt")
    scene.assert_untouched()
