"""Which searches a population can hold, and how many places `hydra.sweeper.population=auto` is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution

from digits_runs import composed
from lightsweep.app import together
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.space import Parameter, Space

SWEEP = ("-m", "hydra/sweeper=lightsweep", "data=digits", "trainer=cpu", "optimizer.lr=interval(0.001, 0.1)")


def plan(*overrides: str, **searched: list[Any]) -> Any:
    found: dict[str, BaseDistribution] = {key: CategoricalDistribution(choices) for key, choices in searched.items()}
    space = Space(tuple(Parameter(key, key, each) for key, each in found.items()), overrides)
    settings = SimpleNamespace(population=8)
    return SimpleNamespace(
        space=space, settings=settings, compose=lambda typed: composed(Path("nowhere"), *typed, "trainer=cpu")
    )


def test_a_search_of_other_networks_is_refused() -> None:
    with pytest.raises(ConfigError) as refusal:
        together.check_population(plan("model=cnn"))
    assert str(refusal.value) == (
        "hydra.sweeper.population must be 1, as each trial trains by itself, got 8"
        " (model: a population trains lightsweep.nets.MLP only, got lightsweep.nets.CNN)"
    )


def test_a_search_with_some_networks_that_fit_is_not() -> None:
    together.check_population(plan(model=["cnn", "mlp"]))
    together.check_population(plan("optimizer=sgd"))


@pytest.mark.slow
def test_before_anything_is_trained(tmp_path: Path, launch) -> None:
    done = launch(*SWEEP, "model=cnn", f"hydra.sweep.dir={tmp_path / 'sweep'}", "hydra.sweeper.population=8")
    assert done.code == 1
    assert done.err.startswith("hydra.sweeper.population must be 1, as each trial trains by itself, got 8 (model: ")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("overrides", "places"),
    [
        (["model.width=256"], 16),  # 19,000 parameters
        (["model.width=2048", "model.depth=2"], 1),  # 4.3 million
        (["model=cnn"], 1),
        (["trainer.accelerator=gpu", "model.width=2048", "model.depth=2"], 38),
        (["trainer.accelerator=gpu"], 64),
    ],
)
def test_auto_is_what_was_measured(overrides: list[str], places: int) -> None:
    assert together.choose_places(plan(*overrides)) == places


def test_weights_of_the_last_epoch_need_a_run_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"score_with=last needs last\.ckpt"):
        together.check_population(plan("score_with=last"))
