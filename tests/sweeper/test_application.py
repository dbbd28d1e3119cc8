"""What a program gives to its sweeper, and what the sweeper takes where it gives nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.utils import execution_whitelist
from omegaconf import DictConfig, OmegaConf
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler

from lightsweep.app.sweeping import TRAINING, _check_shapes
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.application import Application, application_of, sweepable
from lightsweep.sweeper.grammar import parse


def job(cfg: DictConfig) -> float:
    return 0.0


@sweepable(TRAINING)
def training(cfg: DictConfig) -> float:
    return 0.0


def test_a_function_that_is_not_marked_belongs_to_a_neutral_application() -> None:
    application = application_of(job)
    assert type(application) is Application
    config = OmegaConf.create({"a": 1})
    assert application.objective(config) == ("value", None)
    assert application.own_config(config) == config


def test_a_marked_functions_application_is_found_behind_its_decorators() -> None:
    assert application_of(training) is TRAINING


def test_the_objective_of_training_is_its_monitor() -> None:
    config = OmegaConf.create({"monitor": {"metric": "val/loss", "mode": "min"}})
    assert TRAINING.objective(config) == ("val/loss", "minimize")


def test_a_study_of_an_earlier_version_lacks_keys_that_mean_their_defaults() -> None:
    kept = {
        "data.augment._target_": "lightsweep.data.transforms.Augment",
        "data.augment.flip": True,
        "x._target_": "y.Z",
    }
    later = TRAINING.later_keys(kept)
    assert later["data.augment.fill"] == "black"
    assert all(key.startswith("data.augment.") for key in later)
    assert Application().later_keys(kept) == {}


def test_an_application_is_given_without_importing_optuna_or_torch() -> None:
    source = str(Path(__file__).parents[2] / "src")
    code = "import sys, lightsweep.app.sweeping; print({'optuna', 'torch'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("drawn", [("model.width=4",), ("model.hidden=[3]", "++model.depth=2"), ("model={taper:2}",)])
def test_a_drawn_trial_with_a_list_of_widths_and_a_width_is_refused(drawn: tuple[str, ...]) -> None:
    config = OmegaConf.create({"model": {"hidden": [3], "width": 1}})
    with pytest.raises(ConfigError, match=r"must not be set together with model\.hidden"):
        TRAINING.check_drawn(config, drawn)
    TRAINING.check_drawn(config, ("model.hidden=[3]", "model.dropout=0.1"))
    TRAINING.check_drawn(OmegaConf.create({"model": {"hidden": None, "width": 1}}), drawn)


def test_a_whitelist_of_the_app_lets_samplers_and_pruners_of_optuna_pass_and_nothing_else() -> None:
    allowed, refused = {"_target_": "optuna.pruners.MedianPruner"}, {"_target_": "builtins.dict"}
    wrapping = {"_target_": "optuna.pruners.PatientPruner", "patience": 3, "wrapped_pruner": refused}
    with execution_whitelist(["math.sqrt"]):
        assert isinstance(Application().build(OmegaConf.create(allowed), "hydra.sweeper.pruner"), MedianPruner)
        for node in (refused, wrapping):
            with pytest.raises(ConfigError, match=r"hydra\.sweeper\.pruner: .*whitelist"):
                Application().build(OmegaConf.create(node), "hydra.sweeper.pruner")


HIDDEN = {"model.hidden": "null,[8,4]"}


@pytest.mark.parametrize(
    ("params", "when", "fixed"),
    [
        (HIDDEN | {"model.width": "choice(4,8)"}, {}, []),
        ({"model.hidden": "[8,4],null", "model.taper": "interval(0.5,1)"}, {}, []),  # whichever is drawn first
        (HIDDEN, {"model.hidden=[8,4]": {"model.depth": "range(1,4)"}}, []),
        (HIDDEN, {}, ["model.depth=2"]),
    ],
)
def test_a_width_beside_a_choice_of_a_list_is_refused_before_the_first_trial(params, when, fixed) -> None:
    with pytest.raises(ConfigError, match=r"^model\.\w+ must not be set together with model\.hidden,"):
        _check_shapes(parse(params, when, fixed))


def test_a_width_is_searched_where_there_is_no_list() -> None:
    when = {"model.hidden=null": {"model.width": "choice(4,8)"}, "model.bn=true": {"model.dropout": "interval(0,0.5)"}}
    _check_shapes(parse(HIDDEN | {"model.bn": "choice(true,false)"}, when, ["model.init=he_normal"]))


def test_an_argument_that_a_sampler_does_not_have_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object, **__: object) -> None:  # as Hydra 1.4 does: not wrapped
        TPESampler(sed=1)  # type: ignore[call-arg]

    monkeypatch.setattr("lightsweep.sweeper.application.instantiate", build)
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.sampler: .*unexpected keyword argument 'sed'$"):
        Application().build(OmegaConf.create({}), "hydra.sweeper.sampler")
