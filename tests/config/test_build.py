"""From a node of the config to an object, or to one line that names the key."""

from functools import partial
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightsweep.config import build as building
from lightsweep.config.build import build, config_error
from lightsweep.core.errors import ConfigError


def test_lists_and_dicts_arrive_as_plain_python() -> None:
    node = OmegaConf.create({"_target_": "torch.optim.Adam", "_partial_": True, "betas": [0.9, 0.99]})
    assert type(build(node, "optimizer").keywords["betas"]) is list


def test_a_dict_of_config_nodes_becomes_plain_too() -> None:
    node = {"_target_": "torch.optim.Adam", "_partial_": True, "betas": OmegaConf.create([0.9, 0.99])}
    assert type(build(node, "optimizer").keywords["betas"]) is list


def test_objects_are_passed_in_addition_to_the_config(compose) -> None:
    net = build(compose().model, "model", input_shape=(1, 2, 2), num_classes=3)
    assert (net.body[1].in_features, net.head.out_features) == (4, 3)


def test_a_config_error_keeps_its_message(compose) -> None:
    with pytest.raises(ConfigError, match=r"^model.dropout must be in \[0, 1\), got 2$"):
        build(compose("model.dropout=2").model, "model", input_shape=(1, 2, 2), num_classes=3)


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (["+trainer.warmth=1"], "warmth"),
        (["trainer.precision=31"], "31"),
        (["trainer.accelerator=abacus"], "abacus"),
        (["trainer.strategy=chaos"], "chaos"),
        (["trainer.devices=0"], "devices"),
        (["trainer.limit_train_batches=-1"], "limit_train_batches"),
    ],
)
def test_a_librarys_error_is_one_line_that_begins_with_the_key(compose, overrides: list[str], word: str) -> None:
    with pytest.raises(ConfigError, match=r"^trainer(\.warmth)?: ") as refusal:
        build(compose(*overrides).trainer, "trainer")
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_gpu_is_one_line(compose, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"^trainer: .*gpu"):
        build(compose("trainer=gpu").trainer, "trainer")


def test_an_interpolation_of_an_unknown_key_is_one_line(compose) -> None:
    with pytest.raises(ConfigError, match=r"^model: .*nowhere"):
        build(compose("model.width=${nowhere}").model, "model", input_shape=(1, 2, 2), num_classes=3)


def test_an_error_of_several_lines_becomes_one() -> None:
    assert str(config_error(ValueError("a\n  b\n\nc"), "key")) == "key: a b c"


def described(made: Any) -> Any:
    """What an object was made with, as far as it shows it."""
    if isinstance(made, partial):
        return made.func, described(made.keywords)
    if isinstance(made, list | tuple):
        return [described(each) for each in made]
    if isinstance(made, dict):
        return {name: described(each) for name, each in made.items()}
    if isinstance(made, bool | int | float | str | None):
        return made
    return type(made), described(vars(made)) if type(made).__module__.startswith("lightsweep.") else None


NODES = ("model", "optimizer", "scheduler", "data")


def test_what_is_made_of_a_node_is_what_hydra_makes_of_it(compose, monkeypatch) -> None:
    config = compose("data=digits", "scheduler=cosine", "optimizer.betas=[0.8,0.9]", "callbacks=[default,ema]")
    nodes = {name: config[name] for name in NODES} | {
        f"callbacks.{each}": config.callbacks[each] for each in config.callbacks
    }
    ours = {
        key: described(build(node, key, **{"_partial_": True} if key == "model" else {})) for key, node in nodes.items()
    }
    monkeypatch.setattr(building, "_is_simple", lambda *_: False)
    for key, node in nodes.items():
        assert ours[key] == described(build(node, key, **{"_partial_": True} if key == "model" else {})), key


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^callbacks.stop: Missing mandatory value: monitor"):
        build({"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "???"}, "callbacks.stop")


def test_an_error_is_the_arguments_own_whatever_its_cause(monkeypatch) -> None:
    def refuse(**_: Any) -> None:
        raise ValueError("outer") from KeyError("inner")

    monkeypatch.setattr(building, "_check_type", lambda name, *_: (refuse, name))
    with pytest.raises(ConfigError, match=r"^callbacks.timer: outer$"):
        build({"_target_": "pytorch_lightning.callbacks.Timer"}, "callbacks.timer")
