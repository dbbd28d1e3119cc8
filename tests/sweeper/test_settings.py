"""What a person sets of a sweep: of the right kind, or one line that names the key."""

import enum
import re
import sys
from importlib.resources import files
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.settings import Settings, read_settings

SETTINGS = files("hydra_plugins.lightsweep_sweeper.conf") / "hydra/sweeper/_lightsweep_settings.yaml"
DEFAULTS: Any = OmegaConf.create(SETTINGS.read_text())
FINE = vars(read_settings({key: value for key, value in DEFAULTS.items() if not key.startswith("_")})[0]) | {
    "seed_key": "seed"
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
        ("trial_overrides", ["test=false", "+a.b=[1,2]", "++c='x y'", "~d", "e@f=g"]),
        ("seed_key", "+trainer.seed-of.run_1"),
        ("metric", "val/acc (top 1) [%]"),
        ("constraints", None),
        ("constraints", {"params": "<= 2e6", "val/acc": ">= 0.5"}),
        ("foresee", {"params": "app.count", "seconds": None}),
        ("target", -1),
        ("patience", 1),
        ("trial_timeout", 0.5),
        ("not_in_best", ["paths", "a/b"]),
    ],
)
def test_lets_through_what_can_be(key: str, value: Any) -> None:
    Settings(**{**FINE, key: value})


@pytest.mark.parametrize(("key", "value"), [("seeds", [1, 2]), ("confirm", 3)])
def test_fresh_seeds_need_the_key_of_the_seed(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"hydra.sweeper.{key} needs hydra.sweeper.seed_key"):
        Settings(**{**FINE, "seed_key": None, key: value})


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("foresee", {"params": 5}, "be a mapping of recorded names to functions, "),
        ("foresee", ["app.count"], "be a mapping of recorded names to functions, "),
        ("target", "high", "be null or a number, got 'high'"),
        ("patience", 0, "be an integer >= 1, got 0"),
        ("min_delta", -0.1, "be >= 0, got -0.1"),
        ("trial_timeout", 0, "be > 0, got 0"),
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
        ("storage", 5, "be null or a path or an Optuna URL"),
        ("storage", "", "be null or a path or an Optuna URL"),
        ("storage", ["a"], "be null or a path or an Optuna URL"),
        ("custom_search_space", [1], "be null or a function's name"),
        ("custom_search_space", "", "be null or a function's name"),
        ("study_name", [], "be a name"),
        ("study_name", 5, "be a name"),
        ("confirm", 10**12, "be an integer in [0, 1000]"),
        ("n_jobs", 10**12, "be an integer in [0, 1000]"),
        ("n_trials", [5], "be an integer >= 1"),
        ("trial_overrides", ["a"], "be a list of overrides KEY=VALUE, [] for none"),
        ("trial_overrides", ["a=1,2"], "be a list of overrides"),
        ("trial_overrides", ["a=interval(0,1)"], "be a list of overrides"),
        ("trial_overrides", "a=1", "be a list of overrides"),
        ("confirm_overrides", ["a=[1"], "be a list of overrides"),
        ("confirm_overrides", ["a=1", "a=1\nb=2"], "be a list of overrides"),
        ("changeable_keys", ["a", 5], "be a list of keys, [] for none"),
        ("not_in_best", {"a": 1}, "be a list of keys and config groups"),
        ("seed_key", "a=1", "be null or a key of the config"),
        ("seed_key", "a b", "be null or a key of the config"),
        ("seed_key", "~a", "be null or a key of the config"),
        ("seed_key", 5, "be null or a key of the config"),
        ("metric", "a\nb", "be null or a name"),
        ("confirm_metric", ["a"], "be null or a name"),
        ("study_name", "a\x1b[31mb", "be a name"),
        ("max_steps", 0, "be an integer >= 1"),
        ("validate", 5, "be null or a function's name"),
    ],
)
def test_refuses_what_is_of_another_kind(key: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"hydra.sweeper.{key} must {rule}")):
        Settings(**{**FINE, key: value})


@pytest.mark.parametrize(("key", "value"), [("seeds", [1, 2]), ("confirm", 3)])
def test_seeds_need_a_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.{key} needs hydra\.sweeper\.seed_key"):
        Settings(**{**FINE, key: value, "seed_key": None})


def test_a_confirmation_needs_scipy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.confirm: .* needs scipy: .*lightsweep\[scipy\]"):
        Settings(**{**FINE, "confirm": 3})


def test_hydras_own_keys_are_never_kept_in_a_study() -> None:
    assert Settings(**{**FINE, "changeable_keys": ["paths"]}).may_change == ("hydra", "paths")


def test_the_params_of_a_condition_are_a_mapping() -> None:
    with pytest.raises(ConfigError) as refusal:
        Settings(**{**FINE, "when": {"a=1": 5}})
    assert str(refusal.value) == "hydra.sweeper.when.a=1 must be a mapping of keys to ranges or choices, got 5"


@pytest.mark.parametrize("name", ["no_such_module", "a..b", "no_such_package.part"])
def test_a_module_that_is_not_there_is_refused_and_none_is_imported(name: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Settings(**{**FINE, "preload": ["json", name]})
    assert str(refusal.value) == f"hydra.sweeper.preload must name modules that can be imported, got '{name}'"


def read(**values: Any) -> tuple[Settings, list[str]]:
    return read_settings({key: value for key, value in {**DEFAULTS, **values}.items() if not key.startswith("_")})


@pytest.mark.parametrize(
    ("kind", "name", "target"),
    [
        ("sampler", "cmaes", "optuna.samplers.CmaEsSampler"),
        ("sampler", "grid", "optuna.samplers.GridSampler"),
        ("pruner", "none", "optuna.pruners.NopPruner"),
        ("pruner", "hyperband", "optuna.pruners.HyperbandPruner"),
    ],
)
def test_sampler_and_pruner_can_be_named(kind: str, name: str, target: str) -> None:
    settings, _ = read(**{kind: name})
    assert getattr(settings, kind)._target_ == target


@pytest.mark.parametrize(
    ("kind", "value", "got"),
    [
        ("sampler", "tpa", "'tpa'; did you mean tpe?"),
        ("pruner", "medain", "median"),
        ("pruner", {}, "{}"),
        ("sampler", None, "None"),
    ],
)
def test_a_sampler_or_pruner_that_is_none_is_refused(kind: str, value: Any, got: str) -> None:
    with pytest.raises(ConfigError, match=f"hydra.sweeper.{kind} must be one of .*{re.escape(got)}"):
        read(**{kind: OmegaConf.create(value) if isinstance(value, dict) else value})


def test_a_key_of_the_official_sweeper_without_meaning_here_is_named() -> None:
    assert read(max_failure_rate=0.5)[1] == [
        "hydra.sweeper.max_failure_rate is not used: max_failures is how many failures in a row end a sweep"
    ]


def test_the_official_sweepers_direction_can_be_an_enum_or_a_list_of_one() -> None:
    assert read(direction=OmegaConf.create(["maximize"]))[0].direction == "maximize"
    assert read(direction=enum.Enum("Direction", ["minimize", "maximize"]).maximize)[0].direction == "maximize"


def test_a_study_without_a_name_is_called_default() -> None:
    assert read(study_name=None)[0].study_name == "default"
