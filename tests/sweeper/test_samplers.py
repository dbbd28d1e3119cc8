"""Samplers and pruners by name: each draws and judges, under the allowlist too, or one line says what is missing."""

import importlib
import importlib.util
import sys
from dataclasses import replace
from importlib.resources import files
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf

from lightsweep.app.sweeping import TRAINING
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper import samplers
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.samplers import PRUNERS, SAMPLERS, named_node, pruner_node
from lightsweep.sweeper.settings import read_settings

SPACE = {"a.x": "range(0,1,0.1)", "a.y": "choice(1,2)", "a.z": "range(1,5)"}
CONTINUOUS = SPACE | {"a.r": "tag(log,interval(1e-4,1e-1))"}
FILE = files("hydra_plugins.lightsweep_sweeper.conf") / "hydra/sweeper/_lightsweep_settings.yaml"
DEFAULTS: Any = {str(key): value for key, value in OmegaConf.create(FILE.read_text()).items() if key[0] != "_"}
OFFICIAL = "hydra_plugins.hydra_optuna_sweeper.config"
CLASSES = {
    "tpe": "TPESamplerConfig",
    "gp": "GPSamplerConfig",
    "nsgaii": "NSGAIISamplerConfig",
    "nsgaiii": "NSGAIIISamplerConfig",
    "grid": "GridSamplerConfig",
}
APPLICATIONS = pytest.mark.parametrize("application", [Application(), TRAINING], ids=["any app", "the allowlist"])


def planned(application: Application, sampler: str, params: dict[str, str] = CONTINUOUS) -> Plan:
    settings, _ = read_settings({**DEFAULTS, "sampler": sampler, "n_trials": 1000, "direction": "maximize"})
    anything: Any = None
    config = OmegaConf.create({"monitor": {"metric": "val/acc", "mode": "max"}})
    pruner = optuna.pruners.NopPruner()
    return Plan(settings, config, anything, anything, application, parse(params, {}, []), pruner)


@APPLICATIONS
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore")
def test_a_sampler_that_is_named_draws(name: str, application: Application) -> None:
    plan = planned(application, name, SPACE if name == "grid" else CONTINUOUS)
    sampler, n_trials = samplers.make_sampler(plan, shift=0)
    drawing = sampler.sampler if name in ("auto", "tpe", "gp") else sampler
    assert f"{type(drawing).__module__}.".startswith(SAMPLERS[name]["_target_"].rpartition(".")[0])
    assert n_trials == (80 if name == "grid" else 1000)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for number in range(14):  # ten of them are drawn at random by the GP sampler
        trial = study.ask()
        values = [parameter.suggest(trial) for parameter in plan.space.parameters]
        assert all(value is not None for value in values)
        study.tell(trial, float(number))
    assert len({tuple(trial.params.values()) for trial in study.trials}) > 3


def plain(sampler: Any) -> dict[str, Any]:
    """What it was made with, as far as that can be compared."""
    kinds = bool | int | float | str | None
    return {name: value for name, value in vars(sampler).items() if name != "_seed" and isinstance(value, kinds)}


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("auto", "grid")])
@pytest.mark.filterwarnings("ignore")
def test_a_name_means_optunas_own_defaults(name: str) -> None:
    sampler: Any = samplers.make_sampler(planned(Application(), name), shift=0)[0]
    own = getattr(optuna.samplers, str(SAMPLERS[name]["_target_"]).rpartition(".")[2])
    assert plain(getattr(sampler, "sampler", sampler)) == plain(own())


@pytest.mark.parametrize("name", ["tpe", "auto"])
@pytest.mark.parametrize(
    ("node", "grouped"), [({}, True), ({"multivariate": False}, False), ({"group": False, "multivariate": True}, False)]
)
@pytest.mark.filterwarnings("ignore")
def test_tpe_learns_groups_where_the_space_has_conditions(name: str, node: dict, grouped: bool) -> None:
    plan = planned(Application(), name)
    assert samplers.make_sampler(plan, shift=0)[0].space == plan.space  # type: ignore[attr-defined]
    for space in (parse(CONTINUOUS, {"a.y=2": {"a.w": "interval(0,1)"}}, []), parse(CONTINUOUS, {}, [], print)):
        if name == "auto" and node:
            continue
        settings = replace(plan.settings, sampler=OmegaConf.create({**SAMPLERS[name], **node}))
        sampler: Any = samplers.make_sampler(replace(plan, space=space, settings=settings), shift=0)[0].sampler
        assert getattr(sampler, "_tpe", sampler)._group == grouped


@pytest.mark.parametrize(
    ("typed", "value", "target", "arguments"),
    [
        ("tpe", {}, "optuna.samplers.TPESampler", {}),
        ("tpe", {"seed": 3}, "optuna.samplers.TPESampler", {"seed": 3}),
        ("tpe", {"multivariate": False}, "optuna.samplers.TPESampler", {"multivariate": False}),  # as pinned, but typed
        ("gp", {"deterministic_objective": True}, "optuna.samplers.GPSampler", {"deterministic_objective": True}),
        ("nsgaii", {"population_size": 9}, "optuna.samplers.NSGAIISampler", {"population_size": 9}),
        (
            "nsgaiii",
            {"reference_points": [[0.5, 0.5]]},
            "hydra_plugins.hydra_optuna_sweeper._impl.create_nsgaiii_sampler",
            {"reference_points": [[0.5, 0.5]]},
        ),
        ("grid", {}, "optuna.samplers.GridSampler", {"_partial_": True}),
    ],
)
def test_a_group_of_the_official_plugin_pins_nothing(typed: str, value: dict, target: str, arguments: dict) -> None:
    node = OmegaConf.structured(importlib.import_module(OFFICIAL).__dict__[CLASSES[typed]])
    node.merge_with(value)
    before = OmegaConf.to_container(node)
    lines = [f"hydra/sweeper/sampler={typed}", *(f"hydra.sweeper.sampler.{key}=…" for key in value)]
    hydra = OmegaConf.create({"runtime": {"choices": {"hydra/sweeper/sampler": typed}}, "overrides": {"hydra": lines}})
    assert samplers.without_pinned(node, hydra) == {"_target_": target, **arguments}
    assert OmegaConf.to_container(node) == before
    own = OmegaConf.create({"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 10})
    assert samplers.without_pinned(own, hydra) is own  # an app's own file of this name
    assert samplers.without_pinned("gp", hydra) == "gp"
    hydra.runtime.choices["hydra/sweeper/sampler"] = None
    assert samplers.without_pinned(node, hydra) is node


@APPLICATIONS
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "grid"])
def test_a_sampler_learns_where_it_is_checked(name: str, application: Application, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(samplers, "_draw", lambda plan, sampler: asked.append(sampler))
    samplers.check_sampler(planned(application, name))
    sampler = getattr(asked[0], "sampler", asked[0])
    assert getattr(sampler, "_n_startup_trials", 0) <= 4
    assert getattr(sampler, "_population_size", None) in (None, 4)
    if name == "auto":
        assert sampler.most_trials == 0  # torch is not imported to see whether it can draw


def test_a_sampler_that_is_a_node_of_a_closed_config_is_checked() -> None:
    config = OmegaConf.create({"seed": 3, "sampler": {"_target_": "optuna.samplers.TPESampler", "seed": "${seed}"}})
    OmegaConf.set_struct(config, True)
    OmegaConf.set_readonly(config, True)
    plan = planned(Application(), "tpe")
    plan = replace(plan, settings=replace(plan.settings, sampler=config.sampler))
    samplers.check_sampler(plan)


@APPLICATIONS
@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.filterwarnings("ignore")
def test_a_pruner_that_is_named_judges(name: str, application: Application) -> None:
    pruner = application.build(pruner_node(name, 8), "hydra.sweeper.pruner")
    study = optuna.create_study(pruner=pruner)
    for worst in range(12):
        trial = study.ask()
        for step in range(1, 9):
            trial.report(worst + step / 10, step)
        pruned = trial.should_prune()
        study.tell(trial, float(worst))
    assert type(pruner).__module__.startswith("optuna.pruners") or name == "auto"
    if name in ("auto", "median", "percentile", "successive_halving"):
        assert pruned


def test_hyperband_knows_how_long_a_trial_is() -> None:
    assert pruner_node("hyperband", 8).max_resource == 8
    assert "max_resource" not in pruner_node("hyperband", None)
    assert "max_resource" not in pruner_node("median", 8)


def test_a_name_may_have_arguments() -> None:
    value = OmegaConf.create({"seed": 7, "sampler": {"name": "gp", "seed": "${seed}"}}).sampler
    assert named_node("sampler", value, SAMPLERS) == {"_target_": "optuna.samplers.GPSampler", "seed": 7}
    assert named_node("sampler", OmegaConf.create({"seed": 1}), SAMPLERS) == {**SAMPLERS["auto"], "seed": 1}
    node = pruner_node(OmegaConf.create({"name": "hyperband", "reduction_factor": 4}), 8)
    assert (node.max_resource, node.reduction_factor) == (8, 4)


@pytest.mark.parametrize(
    ("kind", "value", "missing", "extra"),
    [
        ("sampler", "gp", "torch", "gp"),
        ("sampler", "gp", "scipy", "gp"),
        ("sampler", "cmaes", "cmaes", "cmaes"),
        ("sampler", "qmc", "scipy", "scipy"),
        ("pruner", "wilcoxon", "scipy", "scipy"),
        ("sampler", {"_target_": "optuna.samplers.QMCSampler", "seed": 1}, "scipy", "scipy"),
        (
            "sampler",
            {"_target_": "optuna.samplers.PartialFixedSampler", "base_sampler": {"_target_": "x.GPSampler"}},
            "torch",
            "gp",
        ),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    kind: str, value: Any, missing: str, extra: str, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    known = SAMPLERS if kind == "sampler" else PRUNERS
    value = value if isinstance(value, str) else OmegaConf.create(value)
    with pytest.raises(ConfigError, match=rf"hydra\.sweeper\.{kind}: \w+ needs .*{missing}") as refusal:
        named_node(kind, value, known)
    assert str(refusal.value).endswith(f"pip install 'lightsweep[{extra}]'")


@pytest.mark.parametrize("name", ["tpe", "random", "nsgaii", "nsgaiii", "grid"])
def test_the_others_need_nothing_further(name: str, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(samplers, "find_spec", lambda name: None)
    named_node("sampler", name, SAMPLERS)


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("sampler", "tpee", "did you mean tpe?"),
        ("sampler", "optuna.samplers.TPESampler", "or a node with a _target_"),
        ("sampler", OmegaConf.create({"name": "gpp", "seed": 1}), "did you mean gp?"),
        ("sampler", OmegaConf.create({"name": 3}), "got 3"),
        ("sampler", None, "be one of auto, tpe,"),
        ("pruner", 5, "be one of auto, median,"),
    ],
)
def test_what_names_none_is_one_line(kind: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.{kind} must be one of") as refusal:
        named_node(kind, value, SAMPLERS if kind == "sampler" else PRUNERS)
    assert says in str(refusal.value)


def test_the_official_sweeper_is_a_name_in_this_repositorys_configs_only() -> None:
    from lightsweep.core.files import ROOT

    for file in (ROOT / "src").rglob("*.py"):
        assert "import hydra_plugins.hydra_optuna" not in (text := file.read_text()), file
        assert "from hydra_plugins.hydra_optuna" not in text, file
    assert "hydra_optuna_sweeper" not in "".join(
        file.read_text() for file in (ROOT / "src/hydra_plugins").rglob("*.yaml")
    )
