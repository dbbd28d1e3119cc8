"""What a person sets of a sweep: of the right kind, or one line that names the key."""

import re
from typing import Any

import pytest
from omegaconf import DictConfig

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.settings import Settings

FINE: dict[str, Any] = {
    "sampler": DictConfig({"_target_": "optuna.samplers.TPESampler"}),
    "pruner": DictConfig({"_target_": "optuna.pruners.NopPruner"}),
    "direction": None,
    "storage": None,
    "study_name": "quick",
    "n_trials": 1,
    "n_jobs": 0,
    "executor": None,
    "ray": {"num_cpus": 1, "num_gpus": 0},
    "batch": 1,
    "on_interrupt": "cancel",
    "timeout": None,
    "retries": 3,
    "max_failures": 5,
    "seeds": None,
    "confirm": 0,
    "enqueue": None,
    "allow_changed_space": False,
    "custom_search_space": None,
    "preload": ["pytorch_lightning"],
    "params": {},
    "when": {},
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("storage", "sqlite:///x.db"),
        ("enqueue", []),
        ("enqueue", [{"a.b": None}, {}]),
        ("preload", []),
        ("params", None),
        ("when", None),
        ("when", {"optimizer=sgd": {"optimizer.lr": "interval(0,1)"}}),
        ("seeds", [1, 2]),
        ("executor", "ray"),
        ("ray", {"num_cpus": 0.5, "num_gpus": 0.25}),
        ("on_interrupt", "leave"),
    ],
)
def test_lets_through_what_can_be(key: str, value: Any) -> None:
    Settings(**{**FINE, key: value})


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("enqueue", 5, "be a list of points, "),
        ("enqueue", "x", "be a list of points, "),
        ("enqueue", [5], "be a list of points, "),
        ("enqueue", [[1]], "be a list of points, "),
        ("enqueue", {"a": 1}, "be a list of points, "),
        ("enqueue", [{5: 3}], "be a list of points, "),
        ("enqueue", [None], "be a list of points, "),
        ("when", 5, "be a mapping of conditions to params"),
        ("when", [1], "be a mapping of conditions to params"),
        ("when", {5: {}}, "be a mapping of conditions to params"),
        ("when", {"a": {}}, "have conditions KEY=CHOICE"),
        ("when", {"=a": {}}, "have conditions KEY=CHOICE"),
        ("when", {"a=": {}}, "have conditions KEY=CHOICE"),
        ("params", 5, "be a mapping of keys to values"),
        ("params", [1], "be a mapping of keys to values"),
        ("params", "x", "be a mapping of keys to values"),
        ("preload", 5, "be a list of modules, [] for none"),
        ("preload", None, "be a list of modules, [] for none"),
        ("preload", "json", "be a list of modules, [] for none"),
        ("preload", [5], "be a list of modules, [] for none"),
        ("preload", [""], "be a list of modules, [] for none"),
        ("preload", [".json"], "be a list of modules, [] for none"),
        ("seeds", "x", "be a list of different integers >= 0"),
        ("seeds", 5, "be a list of different integers >= 0"),
        ("storage", 5, "be null, a path or an Optuna URL"),
        ("storage", "", "be null, a path or an Optuna URL"),
        ("storage", ["a"], "be null, a path or an Optuna URL"),
        ("custom_search_space", [1], "be null or a function's name"),
        ("custom_search_space", "", "be null or a function's name"),
        ("study_name", [], "be a name"),
        ("study_name", 5, "be a name"),
        ("sampler", None, "be chosen by hydra/sweeper/sampler=NAME"),
        ("sampler", "tpe", "be chosen by hydra/sweeper/sampler=NAME"),
        ("pruner", DictConfig({}), "be chosen by hydra/sweeper/pruner=NAME"),
        ("confirm", 10**12, "be an integer in [0, 1000]"),
        ("n_jobs", 10**12, "be an integer in [0, 1000]"),
        ("n_trials", [5], "be an integer >= 1"),
    ],
)
def test_refuses_what_is_of_another_kind(key: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"hydra.sweeper.{key} must {rule}")):
        Settings(**{**FINE, key: value})


def test_the_params_of_a_condition_are_a_mapping() -> None:
    with pytest.raises(ConfigError) as refusal:
        Settings(**{**FINE, "when": {"a=1": 5}})
    assert str(refusal.value) == "hydra.sweeper.when.a=1 must be a mapping of keys to ranges or choices, got 5"


@pytest.mark.parametrize("name", ["no_such_module", "a..b", "no_such_package.part"])
def test_a_module_that_is_not_there_is_refused_and_none_is_imported(name: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Settings(**{**FINE, "preload": ["json", name]})
    assert str(refusal.value) == f"hydra.sweeper.preload must name modules that can be imported, got '{name}'"
