"""No config runs code: known attacks and their relatives, through every group, a checkpoint and a run's folder.

Each attack would leave a file, the witness, had it run.
"""

import pickle
import re
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from lightsweep import checkpoints
from lightsweep.build import build
from lightsweep.errors import ConfigError

# What is called, and how: {witness} is the file to leave, {pickle} and {hub} leave it when they are loaded.
ATTACKS: dict[str, dict] = {
    "os.system": {"command": "touch {witness}"},
    "posix.system": {"command": "touch {witness}"},
    "subprocess.run": {"args": ["touch", "{witness}"]},
    "subprocess.check_output": {"args": ["touch", "{witness}"]},
    "builtins.eval": {"_args_": ["open('{witness}', 'w')"]},
    "builtins.exec": {"_args_": ["open('{witness}', 'w')"]},
    "builtins.open": {"file": "{witness}", "mode": "w"},
    "pathlib.Path.write_text": {"_args_": ["{witness}", "x"]},
    "runpy.run_path": {"path_name": "{hub}/hubconf.py"},
    "torch.utils.collect_env.run": {"command": "touch {witness}"},
    "torch.load": {"f": "{pickle}", "weights_only": False},
    "torch.hub.load": {"repo_or_dir": "{hub}", "source": "local", "model": "net"},
    "torch.ops.load_library": {"path": "{hub}/library.so"},
    "torch.save": {"obj": 1, "f": "{witness}"},
    "torch.serialization.load": {"f": "{pickle}", "weights_only": False},
    "torch.nn.modules.module.torch.load": {"f": "{pickle}", "weights_only": False},
    "torch.optim.optimizer.torch.load": {"f": "{pickle}", "weights_only": False},
    "torch.optim.swa_utils.torch.save": {"obj": 1, "f": "{witness}"},
    "pytorch_lightning.core.saving.save_hparams_to_yaml": {"config_yaml": "{witness}", "hparams": {}},
    "pytorch_lightning.core.saving.pl_load": {"path_or_url": "{pickle}", "weights_only": False},
    "pytorch_lightning.callbacks.model_checkpoint.os.system": {"command": "touch {witness}"},
    "pytorch_lightning.loggers.csv_logs.os.system": {"command": "touch {witness}"},
    "pytorch_lightning.callbacks.model_checkpoint.shutil.copy": {"src": "{pickle}", "dst": "{witness}"},
    "torchvision.models.get_weight": {"name": "ResNet18_Weights.DEFAULT"},
    "torchvision.models._api.WeightsEnum.get_state_dict": {"_args_": ["file://{pickle}"]},
    "torchvision.models.ResNet18_Weights.DEFAULT.get_state_dict": {},
    "lightsweep.nets.torch.load": {"f": "{pickle}", "weights_only": False},
    "lightsweep.nets.nn.modules.module.torch.load": {"f": "{pickle}", "weights_only": False},
    "lightsweep.nets.checks.math.sqrt": {"_args_": [1.0]},
    "lightsweep.schedules.checks.ConfigError": {},
    "lightsweep.schedules.cos": {"_args_": [1.0]},
    "lightsweep.schedules.ReduceLROnPlateau.__init__.__globals__": {},
    "lightsweep.checkpoints.torch.load": {"f": "{pickle}", "weights_only": False},
    "lightsweep.checkpoints.load": {"path": "{pickle}"},
    "lightsweep.run_folder.shutil.rmtree": {"path": "{hub}"},
    "lightsweep.run_folder.os.system": {"command": "touch {witness}"},
    "lightsweep.files.write_whole": {"path": "{witness}", "text": "x"},
    "lightsweep.data.cifar10.os.system": {"command": "touch {witness}"},
    "lightsweep.data.cifar10.CIFAR10DataModule.load_from_checkpoint": {"checkpoint_path": "{pickle}"},
    "lightsweep.data.batch_files.pickle.load": {"file": "{pickle}"},
    "hydra.utils.get_method": {"path": "os.system"},
    "hydra.utils.instantiate": {"config": {"_target_": "os.system", "command": "touch {witness}"}},
    "hydra._internal.instantiate._instantiate2.instantiate": {"config": {"_target_": "os.system"}},
    "train.main": {},
}
REFUSED = "execution whitelist|cannot be selected by declarative configuration|Error loading"
GROUPS = ("model", "optimizer", "scheduler", "data", "trainer", "callbacks.checkpoint", "logger.tensorboard")


class Leaves:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return open, (str(self.witness), "w")


class Scene:
    """A folder with all that the attacks need."""

    def __init__(self, folder: Path) -> None:
        self.witness, self.pickle, self.hub = folder / "witness", folder / "bad.pkl", folder / "hub"
        self.pickle.write_bytes(pickle.dumps(Leaves(self.witness)))
        self.hub.mkdir()
        for name in ("hubconf.py", "library.so"):
            (self.hub / name).write_text(f"dependencies = []\nopen('{self.witness}', 'w')\ndef net(): pass\n")

    def attack(self, target: str, **extra) -> dict:
        filled = yaml.safe_dump(ATTACKS[target] | {"_target_": target} | extra)
        for name in ("witness", "pickle", "hub"):
            filled = filled.replace(f"{{{name}}}", str(getattr(self, name)))
        return yaml.safe_load(filled)

    def untouched(self) -> bool:
        return not self.witness.exists() and len(list(self.hub.iterdir())) == 2


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("target", ATTACKS)
def test_every_attack_is_refused_in_every_form(scene: Scene, target: str) -> None:
    plain, partial = scene.attack(target), scene.attack(target, _partial_=True)
    nested = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": plain}
    listed = {"_target_": "pytorch_lightning.Trainer", "callbacks": [{"nested": plain}]}
    for node in (plain, partial, nested, listed):
        with pytest.raises(ConfigError, match=rf"^model: .*({REFUSED})"):
            build(OmegaConf.create(node), "model")
    assert scene.untouched()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("target", ["os.system", "torch.load", "torch.utils.collect_env.run"])
def test_every_group_of_a_run_refuses(scene: Scene, run, group: str, target: str) -> None:
    changes = [f"++{group}.{key}={value}" for key, value in scene.attack(target).items()]
    with pytest.raises(ConfigError, match=rf"^{group}: .*{target}.*({REFUSED})"):
        run("logger=tensorboard", *(change.replace("touch ", "touch\\ ") for change in changes))
    assert scene.untouched()


def test_augmentation_refuses_too(scene: Scene, run) -> None:
    with pytest.raises(ConfigError, match=rf"^data: .*os.system.*({REFUSED})"):
        run("data.augment._target_=os.system")


@pytest.mark.parametrize("list_of_its_own", ["*", ["os.*"], "os.system", None])
def test_a_config_cannot_bring_a_whitelist_of_its_own(scene: Scene, list_of_its_own: object) -> None:
    node = scene.attack("os.system", _execution_whitelist_=list_of_its_own)
    with pytest.raises(ConfigError, match=r"must be passed to instantiate.* from trusted code"):
        build(OmegaConf.create(node), "model")
    assert scene.untouched()


@pytest.mark.parametrize(
    "target", ["os.system", "torch.load", "torch.hub.load", "lightsweep.nets.nn.modules.module.torch.load"]
)
def test_a_checkpoints_model_cannot_call_it(scene: Scene, finished, tmp_path: Path, target: str) -> None:
    content = finished.checkpoint("best.ckpt")
    content["lightsweep"]["model"] = scene.attack(target)
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(ConfigError, match=REFUSED):
        checkpoints.load(tmp_path / "evil.ckpt")
    assert scene.untouched()


def test_the_environment_of_a_running_process_grants_nothing(scene: Scene, monkeypatch) -> None:
    monkeypatch.setenv("LIGHTSWEEP_TRUST", "posix.*,torch.*,os.*")  # read once, before Hydra starts
    for target in ("os.system", "torch.load"):
        with pytest.raises(ConfigError, match=REFUSED):
            build(OmegaConf.create(scene.attack(target)), "model")
    assert scene.untouched()


def test_a_checkpoint_is_never_unpickled_freely(scene: Scene, finished, tmp_path: Path) -> None:
    content = finished.checkpoint("best.ckpt") | {"harm": Leaves(scene.witness)}
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(ConfigError, match=r"evil.ckpt is no checkpoint of lightsweep"):
        checkpoints.load(tmp_path / "evil.ckpt")
    assert scene.untouched()


@pytest.mark.parametrize("target", ["os.system", "torch.utils.collect_env.run"])
@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("callbacks", "_target_"),
        ("job_logging.handlers", "()"),
        ("job_logging.formatters", "()"),
        ("hydra_logging.handlers", "()"),
    ],
)
def test_hydras_own_nodes_are_guarded(scene: Scene, launch, tmp_path: Path, place: str, key: str, target: str) -> None:
    node: dict = {"harm": {key: target, "command": f"touch {scene.witness}"}}
    for name in reversed(["hydra", *place.split(".")]):
        node = {name: node}
    (tmp_path / "conf" / "harm").mkdir(parents=True)
    (tmp_path / "conf" / "harm" / "evil.yaml").write_text("# @package _global_\n" + yaml.safe_dump(node))
    done = launch("data=digits", "--config-dir", f"{tmp_path}/conf", "+harm=evil", f"hydra.run.dir={tmp_path}/run")
    assert done.code == 1
    assert target in done.err
    assert re.search(REFUSED, done.err)
    assert scene.untouched()


@pytest.mark.parametrize("node", ["hydra.launcher", "hydra.sweeper"])
def test_launcher_and_sweeper_are_guarded(scene: Scene, launch, tmp_path: Path, node: str) -> None:
    harm = f"+{node}.command='touch {scene.witness}'"
    done = launch("-m", "data=digits", f"{node}._target_=os.system", harm, f"hydra.sweep.dir={tmp_path}/grid")
    assert done.code == 1
    assert "os.system" in done.err
    assert scene.untouched()


@pytest.mark.parametrize("group", ["model", "trainer"])
def test_a_resumed_runs_config_is_guarded(scene: Scene, launch, tmp_path: Path, group: str) -> None:
    folder = tmp_path / "run"
    small = ["data=digits", "trainer=cpu", "trainer.max_epochs=1", "model.width=4", "logger=none"]
    assert launch(*small, f"hydra.run.dir={folder}").code == 0
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[group] |= scene.attack("os.system")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = launch(f"resume={folder}", "trainer.max_epochs=2")
    assert done.code == 1
    assert f"{group}: " in done.err
    assert "os.system" in done.err
    assert scene.untouched()
