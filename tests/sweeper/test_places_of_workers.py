"""How many places a worker gets, and what goes with more than one: refusals are one line each."""

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.pruners import MedianPruner, NopPruner, PercentilePruner, SuccessiveHalvingPruner

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper import places
from lightsweep.sweeper.application import Application

SHARED = ", as trials of a population share their time"


class App(Application):
    def places(self, plan: Any) -> int:
        return 50

    def find_function(self, name: str, key: str) -> Any:
        return None

    def check_population(self, plan: Any) -> None:
        if plan.space == "networks of users":
            raise ConfigError("hydra.sweeper.population must be 1 for a network of one's own")


def plan(**settings: Any) -> Any:
    """As much of a plan as the count needs."""
    known: dict[str, Any] = {
        "population": 64,
        "batch_function": "app.train_batch",
        "n_jobs": 2,
        "executor": None,
        "trial_timeout": None,
        "constraints": None,
    }
    objectives = SimpleNamespace(names=settings.pop("objectives", ("val/acc",)), reported=0)
    rest = {"pruner": settings.pop("pruner", MedianPruner()), "space": settings.pop("space", None)}
    config = OmegaConf.create({"hydra": {"runtime": {"choices": {"hydra/launcher": "submitit_slurm"}}}})
    return SimpleNamespace(
        settings=SimpleNamespace(**known | settings), objectives=objectives, application=App(), config=config, **rest
    )


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("inline", {"n_jobs": 0}, "with hydra.sweeper.n_jobs=0, as a population trains in a worker"),
        ("ray", {"executor": "ray"}, "with hydra.sweeper.executor=ray, as a population trains in a worker of this"),
        ("slurm", {}, "with hydra/launcher=submitit_slurm, as a population trains in a worker of this machine"),
        ("workers", {"batch_function": None}, "without hydra.sweeper.batch_function, which names the function that"),
        ("workers", {"trial_timeout": 60.0}, f"with hydra.sweeper.trial_timeout=60{SHARED}"),
        ("workers", {"objectives": ("val/acc", "seconds")}, f"with seconds in hydra.sweeper.objectives{SHARED}"),
        ("workers", {"constraints": {"images_per_second": "> 1"}}, "with images_per_second in hydra.sweeper.constr"),
        ("workers", {"constraints": {"score_seconds": "< 1"}}, "with score_seconds in hydra.sweeper.constr"),
    ],
)
def test_what_means_nothing_in_a_population_is_refused(kind: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        places.check_places(plan(**settings), kind)
    assert str(refusal.value).startswith(f"hydra.sweeper.population must be 1 {says}")
    assert str(refusal.value).endswith(", got 64")
    places.check_places(plan(**settings, population=1), kind)
    places.check_places(plan(**settings, population="auto"), kind)
    assert places.count_places(plan(**settings, population="auto"), kind, 1000) == 1


def test_a_space_that_no_population_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match="hydra.sweeper.population must be 1 for a network of one's own"):
        places.check_places(plan(space="networks of users"), "workers")
    places.check_places(plan(space="networks of users", population="auto"), "workers")


@pytest.mark.parametrize(
    ("settings", "n_trials", "count"),
    [
        ({"population": 1}, 1000, 1),
        ({"population": 64}, 1000, 64),
        ({"population": 64}, 100, 50),  # two workers
        ({"population": 64, "n_jobs": 1}, 9, 9),
        ({"population": "auto", "n_jobs": 1}, 1000, 50),
        ({"population": "auto", "n_jobs": 1}, 40, 8),  # n_trials / 5
        ({"population": "auto"}, 40, 4),  # of all workers together
        ({"population": "auto"}, 4, 1),
    ],
)
def test_places(settings: dict[str, Any], n_trials: int, count: int) -> None:
    assert places.count_places(plan(**settings), "workers", n_trials) == count


@pytest.mark.parametrize(
    ("pruner", "is_staggered"),
    [
        (NopPruner(), False),
        (SuccessiveHalvingPruner(), False),  # it compares with trials that still run
        (MedianPruner(), True),
        (PercentilePruner(25.0), True),
    ],
)
def test_trials_are_spread_over_time_where_the_pruner_needs_completed_ones(
    pruner: optuna.pruners.BasePruner, is_staggered: bool
) -> None:
    assert places.is_staggered(plan(pruner=pruner)) == is_staggered


@pytest.mark.parametrize("value", ["0", "1001", "-1", "many", "1.5", "true", "null"])
def test_a_population_is_a_number_or_auto(launch, value: str) -> None:
    done = launch("sweep=quick", f"hydra.sweeper.population={value}")
    assert done.code == 1
    shown = {"true": "True", "null": "None", "many": "'many'"}.get(value, value)
    assert f"hydra.sweeper.population must be auto or an integer in [1, 1000], got {shown}" in done.err
