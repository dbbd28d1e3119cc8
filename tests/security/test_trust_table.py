"""The table itself: our configs need nothing beside it, and no entry of it does harm with hostile arguments."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object
from omegaconf import OmegaConf

from lightsweep.config import allowlist, permissions
from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"
ENTRIES = [(key, name) for key, slot in allowlist.NODES.items() for name in slot.names]
# Of launchers and sweepers only the name is compared here: Hydra builds them, and `hydra_keys` looks at their values.
BUILT = [(key, name) for key, name in ENTRIES if key not in ("hydra.launcher", "hydra.sweeper")]
# What such a class needs to be built at all.
NEEDED: dict[str, dict[str, Any]] = {
    "pytorch_lightning.callbacks.EarlyStopping": {"monitor": "val/acc"},
    "pytorch_lightning.callbacks.GradientAccumulationScheduler": {"scheduling": {0: 1}},
    "pytorch_lightning.callbacks.StochasticWeightAveraging": {"swa_lrs": 0.1},
    "pytorch_lightning.loggers.CSVLogger": {"save_dir": "{run}"},
    "pytorch_lightning.loggers.TensorBoardLogger": {"save_dir": "{run}"},
    "lightsweep.training.checkpoints.BestCheckpoint": {"dirpath": "{run}", "monitor": "val/acc", "mode": "max"},
    "optuna.samplers.GridSampler": {"search_space": {"a": [1]}},
    "optuna.samplers.PartialFixedSampler": {
        "fixed_params": {},
        "base_sampler": {"_target_": "optuna.samplers.RandomSampler"},
    },
    "optuna.pruners.PatientPruner": {"wrapped_pruner": {"_target_": "optuna.pruners.NopPruner"}, "patience": 1},
    "optuna.pruners.PercentilePruner": {"percentile": 25.0},
    "pytorch_lightning.Trainer": {"accelerator": "cpu", "logger": False, "enable_progress_bar": False},
}
HOSTILE = (
    "{victim}",
    "{home}",
    "../../home/notes.txt",
    "~/.bashrc",
    "$HOME/x",
    "ftp://127.0.0.1:9/x",
    "filecache::ftp://127.0.0.1:9/x",
    "{epoch.__class__}/../../home/x",
    ["{victim}"],
    {"path": "{victim}", "filename": "{victim}", "mode": "w", "file": "{victim}"},
    True,
    1e308,
)


def test_our_configs_name_nothing_else() -> None:
    named = {}
    for file in CONF.rglob("*.yaml"):
        for name in permissions.find_targets(yaml.safe_load(file.read_text())):
            named[name] = file
    assert named
    everything = {name for slot in allowlist.NODES.values() for name in slot.names}
    assert {name: str(file) for name, file in named.items() if name not in everything} == {}


def test_what_hydras_plugins_bring_is_in_it(compose) -> None:
    for choice in ("tpe", "random", "gp", "qmc", "cmaes", "nsgaii", "nsgaiii", "grid"):
        config = compose("hydra/sweeper=lightsweep", f"hydra/sweeper/sampler={choice}")
        assert config is not None  # the loader has compared it


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_a_name_is_exact_and_stands_for_what_the_slot_says(key: str, name: str) -> None:
    assert "*" not in name
    if name.startswith("hydra_plugins.") and "_launcher." in name:
        pytest.importorskip(name.rpartition(".")[0], reason="needs the extras: pip install -e '.[services]'")
    thing, slot = get_object(name), allowlist.NODES[key]
    if name in slot.functions:
        assert inspect.isfunction(thing)
        assert f"{thing.__module__}.{thing.__qualname__}" == name
    else:
        assert issubclass(thing, get_object(slot.base))


def _arguments(name: str) -> list[str]:
    parameters = inspect.signature(get_object(name)).parameters.values()
    return [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]


@pytest.mark.parametrize(("key", "name"), BUILT)
def test_no_argument_of_an_entry_does_harm(scene, monkeypatch, key: str, name: str) -> None:
    monkeypatch.chdir(scene.run)
    key = key.replace("*", "some")
    for argument in _arguments(name):
        for value in HOSTILE:
            node = {"_target_": name, **NEEDED.get(name, {}), argument: value}
            _built_and_used(scene, key, node)
    everything = dict.fromkeys(_arguments(name), "{victim}")
    _built_and_used(scene, key, {"_target_": name, **everything})
    scene.assert_untouched()


def _built_and_used(scene, key: str, node: dict[str, Any]) -> None:
    try:
        made = build(OmegaConf.create(scene.filled(node)), key, folder=scene.run)
    except (ConfigError, OSError):
        return
    if key.startswith("logger."):
        try:
            made.log_metrics({"val/acc": 1.0}, step=0)
            made.save()
            made.finalize("success")
        except Exception:  # whatever nonsense comes to
            return


@pytest.mark.parametrize(("key", "name"), BUILT)
def test_an_entry_takes_keywords_only(scene, key: str, name: str) -> None:
    key = key.replace("*", "some")
    for extra, value in {
        "_args_": ["{victim}"],
        "_recursive_": False,
        "_convert_": "object",
        "_isolate_": True,
    }.items():
        with pytest.raises(ConfigError, match=rf"^{key}\.{extra} must be left out"):
            build(OmegaConf.create(scene.filled({"_target_": name, extra: value})), key)


def test_trust_is_exact_or_a_package(trust) -> None:
    trust("mine.*", "other.Net")
    assert all(map(allowlist.is_trusted, ("mine", "mine.Net", "mine.deep.Net", "other.Net")))
    assert not any(
        map(allowlist.is_trusted, ("minerva.Net", "other", "other.Net.method", "my.mine.Net", "", "torch.load"))
    )
