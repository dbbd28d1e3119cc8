"""Several objectives: the order of trials, the points that are confirmed, what is refused before the first trial."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState, create_trial
from test_samplers import DEFAULTS

from lightsweep.app.sweeping import TRAINING
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper import confirmation
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.objectives import Objectives, check_objectives, check_same_objectives, format_value
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.settings import read_settings
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.statistics import Confirmed
from lightsweep.sweeper.verdict import judge_front, remove_points

TWO = Objectives(("acc", "params"), ("maximize", "minimize"))


def trials(*values: Sequence[float] | TrialState, **constraints: float) -> list[FrozenTrial]:
    """Complete trials with these values, or trials of another state; the constraints are of the first."""
    made = [create_trial(state=each) if isinstance(each, TrialState) else create_trial(values=each) for each in values]
    for number, trial in enumerate(made):
        trial.number = number
    for name, value in constraints.items():
        made[0].set_constraint(name, value)
    return made


@pytest.mark.parametrize(
    ("values", "ranks"),
    [
        ([(0.9, 100.0), (0.8, 50.0), (0.7, 60.0), (0.6, 70.0)], [1, 1, 2, 3]),
        ([(0.5, 10.0), (0.5, 10.0), (0.5, 11.0)], [1, 1, 2]),  # equal ones do not dominate each other
        ([(0.5, 10.0)], [1]),
        ([], []),
    ],
)
def test_pareto_ranks(values: list[tuple[float, float]], ranks: list[int]) -> None:
    assert list(TWO.pareto_ranks(trials(*values)).values()) == ranks


@pytest.mark.parametrize("count", [2, 3])
def test_the_front_is_the_one_that_optuna_finds(count: int) -> None:
    names, directions = tuple("abc"[:count]), (("maximize", "minimize", "maximize")[:count])
    objectives, drawn = Objectives(names, directions), random.Random(count)  # type: ignore[arg-type]
    study = optuna.create_study(directions=list(directions))
    for number in range(60):
        trial = create_trial(values=[float(drawn.randrange(8)) for _ in names])
        if number % 7 == 0:
            trial.set_constraint("c", 1.0)
        elif number % 2:
            trial.set_constraint("c", -1.0)
        study.add_trial(trial)
    expected = {trial.number for trial in study.best_trials if trial.constraints.get("c", 0.0) <= 0.0}
    assert {trial.number for trial in objectives.front(study.trials)} == expected
    left = [trial for trial in study.trials if trial.number not in expected]
    ranks = objectives.pareto_ranks(study.trials)
    assert {trial.number for trial in objectives.front(left)} == {number for number in ranks if ranks[number] == 2}


def test_the_front_comes_first_then_what_it_dominates_then_the_rest() -> None:
    found = trials((0.6, 70.0), TrialState.PRUNED, (0.8, 50.0), TrialState.FAIL, (0.9, 100.0), (0.7, 60.0))
    assert [trial.number for trial in TWO.ranked(found)] == [4, 2, 5, 0, 1, 3]


def test_one_that_violates_a_constraint_is_behind_all_complete_ones() -> None:
    found = trials((0.9, 10.0), (0.5, 20.0), TrialState.PRUNED, size=0.5)
    assert [trial.number for trial in TWO.ranked(found)] == [1, 0, 2]
    assert [trial.number for trial in TWO.front(found)] == [1]


def test_one_objective_is_ordered_by_its_value() -> None:
    found = trials((0.5,), (0.9,), TrialState.RUNNING, (0.7,))
    assert [trial.number for trial in Objectives(("acc",), ("maximize",)).ranked(found)] == [1, 3, 0, 2]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_trial_is_the_first_of_those_that_are_ranked(direction: Any) -> None:
    one = Objectives(("acc",), (direction,))
    found = trials((0.5,), (0.9,), TrialState.PRUNED, (0.9,), (0.5,), acc=0.5)
    assert one.best(found) is one.ranked_complete(found)[0]
    assert one.best(found[2:3]) is None


def test_points_that_are_confirmed_are_far_from_each_other() -> None:
    near = [(0.5 + step / 1000, 100.0 + step) for step in range(8)]
    front_of_many = TWO.ranked(trials(*near, (0.9, 1000.0), (0.1, 1.0)))
    chosen = TWO.spread(front_of_many, 3)
    assert {trial.values[0] for trial in chosen} & {0.9, 0.1} == {0.9, 0.1}
    assert [trial.number for trial in chosen] == [each.number for each in front_of_many if each in chosen]
    assert TWO.spread(front_of_many[:3], 3) == front_of_many[:3]


def test_points_that_are_named_are_confirmed_the_baseline_never_twice() -> None:
    found = trials((0.9, 100.0), (0.5, 10.0), (0.4, 20.0), TrialState.PRUNED)
    found[1].user_attrs["baseline"] = True
    assert [each.number for each in confirmation.choose_points(found, TWO, None)] == [0]
    assert [each.number for each in confirmation.choose_points(found, TWO, [2, 0, 1])] == [2, 0]
    with pytest.raises(ConfigError, match=r"confirm_points must be completed trials, got 3, 9$"):
        confirmation.choose_points(found, TWO, [0, 3, 9])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6084321, "0.6084"),
        (269322.0, "269322"),
        (1.0, "1.0000"),
        (0.0, "0"),
        (2.5e-5, "2.5e-05"),
        (123456.7, "1.235e+05"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_values_are_short(value: float, text: str) -> None:
    assert format_value(value) == text


def judge(found: list[FrozenTrial], confirmed: Confirmed | None = None, **attributes: Any) -> list[str]:
    verdict = judge_front(found, TWO, confirmed, attributes)
    return [] if verdict is None else list(verdict.lines)


def test_the_verdict_places_the_baseline() -> None:
    found = trials((0.5, 100.0), (0.9, 90.0), (0.1, 10.0))
    found[0].user_attrs["baseline"] = True
    lines = judge(found)
    assert lines[0] == "The Pareto front has 2 of 3 completed trials: 1 and 2."
    assert lines[1].startswith("The baseline (trial 0, acc 0.5000 params 100) is not on it: trial 1 is as good")
    assert "hydra.sweeper.confirm=3" in lines[2]
    found[2].user_attrs["baseline"] = found[0].user_attrs.pop("baseline")
    assert judge(found)[1] == "The baseline (trial 2, acc 0.1000 params 10) is on it."
    assert judge(found, changed_at=2)[-1].startswith("Data or settings changed before trial 2")
    alone = trials((0.9, 10.0), (0.5, 100.0))
    alone[0].user_attrs["baseline"] = True
    assert judge(alone) == ["The Pareto front is the baseline alone (trial 0): none of 1 others is better in anything."]
    assert judge(trials(TrialState.FAIL)) == []
    violating = judge(trials((0.9, 10.0), (0.5, 100.0), size=0.5))[0]
    assert violating == "The Pareto front has 1 of 1 completed trials that violate no constraint: 1."


def test_the_verdict_compares_confirmed_points_objective_by_objective() -> None:
    found = trials((0.5, 100.0), (0.9, 90.0))
    confirmed = Confirmed(
        None,
        (101, 102, 103),
        {
            "best-1": {"acc": (0.9, 0.91, 0.92), "params": (90.0, 90.0, 90.0)},
            "baseline": {"acc": (0.5, 0.52, 0.51), "params": (100.0, 100.0, 100.0)},
        },
    )
    line = judge(found, confirmed)[-1]
    assert line.startswith("Trial 1 against the baseline, 3 fresh seeds: acc +40.00 points, better (95 % interval ")
    assert line.endswith("; params -10, better, the same in every run.")
    one = {"best-1": {"acc": (0.9,)}, "baseline": {"acc": (0.5,), "params": (1.0,)}}
    assert judge(found, Confirmed(None, (101,), one))[-1].endswith(
        "acc +40.00 points, of single runs; params is not known."
    )


def test_a_score_on_other_data_stands_for_the_objective_that_is_called_like_it() -> None:
    scores = {"val/acc": (0.5,), "test/acc": (0.4,), "params": (9.0,)}
    confirmed = Confirmed(None, (1,), {"best-3": scores, "baseline": scores}, compared_by="test/acc")
    assert [confirmed.score(name) for name in ("val/acc", "params", "loss")] == ["test/acc", "params", None]


def settings(**values: Any) -> Any:
    return read_settings({**DEFAULTS, **values})[0]


def planned(application: Application, **values: Any) -> Plan:
    config, anything = OmegaConf.create({"monitor": {"metric": "val/acc", "mode": "max"}}), Any
    plan = Plan(settings(**values), config, anything, anything, application, Space((), ()), optuna.pruners.NopPruner())  # type: ignore[arg-type]
    object.__setattr__(plan, "context", _Composes(config))
    return plan


class _Composes:
    """The part of a Hydra context that composes a job's config."""

    def __init__(self, config: Any) -> None:
        self.config_loader, self.config = self, config

    def load_sweep_config(self, config: Any, overrides: list[str]) -> Any:
        return self.config


BOTH = {"val/acc": "maximize", "params": "minimize"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objectives": {"acc": "up"}}, "hydra.sweeper.objectives.acc must be one of minimize, maximize, got 'up'"),
        ({"objectives": {}}, "hydra.sweeper.objectives must be null, or a mapping of names to minimize or maximize"),
        ({"objectives": ["acc"]}, "hydra.sweeper.objectives must be null, or a mapping of names"),
        ({"objectives": {"note": "minimize"}}, "hydra.sweeper.objectives must have names that are no columns"),
        (
            {"objectives": BOTH, "metric": "val/acc"},
            "hydra.sweeper.metric must be left out where hydra.sweeper.objectives",
        ),
        (
            {"objectives": BOTH, "direction": ["maximize", "maximize"]},
            "hydra.sweeper.direction=maximize,maximize contradicts hydra.sweeper.objectives={val/acc: maximize, ",
        ),
        ({"objectives": BOTH, "direction": "maximize"}, "hydra.sweeper.direction=maximize contradicts"),
        ({"direction": ["maximize", "down"]}, "hydra.sweeper.direction must be one of minimize, maximize, got 'down'"),
        ({"direction": []}, "hydra.sweeper.direction must be null, or at least one direction"),
        ({"confirm_points": [1, 1]}, "hydra.sweeper.confirm_points must be null, or a list of numbers of trials"),
        ({"confirm_points": 7}, "hydra.sweeper.confirm_points must be null, or a list of numbers of trials"),
        ({"prune_on": 1}, "hydra.sweeper.prune_on must be null or the name of an objective, got 1"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**values)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("application", "values", "message"),
    [
        (
            TRAINING,
            {"objectives": {"val/acc": "maximize", "parms": "minimize"}},
            "objectives must name what a trial meas",
        ),
        (
            TRAINING,
            {"objectives": {"val/acc": "maximize", "test/acc": "maximize"}},
            "objectives must name what a trial",
        ),
        (TRAINING, {"metric": "nothing"}, "hydra.sweeper.metric must name what a trial measures, val/acc, "),
        (TRAINING, {"objectives": {"val/acc": "minimize", "params": "minimize"}}, "must be maximize for val/acc, got"),
        (
            TRAINING,
            {"objectives": {"val/loss": "maximize", "params": "minimize"}},
            "must be minimize for val/loss, got",
        ),
        (TRAINING, {"direction": ["maximize", "minimize"]}, "hydra.sweeper.direction must be one: hydra.sweeper.objec"),
        (
            TRAINING,
            {"objectives": BOTH, "prune_on": "params"},
            "prune_on must be val/acc, which runs report, got 'params'",
        ),
        (TRAINING, {"objectives": BOTH, "prune_on": "val/f1"}, "prune_on must be one of val/acc, params, got 'val/f1'"),
        (
            Application(),
            {"objectives": BOTH, "sampler": "cmaes"},
            "CMA-ES knows one objective, got val/acc and params; ",
        ),
        (Application(), {"confirm_points": [7]}, "hydra.sweeper.confirm_points needs several objectives"),
        (
            Application(),
            {"objectives": BOTH, "confirm_points": [7]},
            "hydra.sweeper.confirm_points needs hydra.sweeper.confirm, the number",
        ),
    ],
)
def test_objectives_that_make_no_sense(application: Application, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_objectives(planned(application, **values))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "names", "directions"),
    [
        ({}, ("value",), ("minimize",)),
        ({"direction": ["maximize", "minimize"]}, ("value", "value_2"), ("maximize", "minimize")),
        ({"direction": ["maximize", "minimize"], "metric": "acc"}, ("acc", "value_2"), ("maximize", "minimize")),
        ({"direction": ["maximize"]}, ("value",), ("maximize",)),
        ({"objectives": {"params": "minimize"}}, ("params",), ("minimize",)),
        ({"objectives": BOTH, "direction": ["maximize", "minimize"]}, tuple(BOTH), ("maximize", "minimize")),
    ],
)
def test_what_is_optimised(values: dict[str, Any], names: tuple[str, ...], directions: tuple[str, ...]) -> None:
    plan = planned(Application(), **values)
    check_objectives(plan)
    assert (plan.objectives.names, plan.objectives.directions) == (names, directions)


def test_a_study_keeps_its_objectives() -> None:
    study = optuna.create_study(study_name="mine", directions=["maximize", "minimize"])
    study.set_metric_names(list(BOTH))
    check_same_objectives(study, planned(Application(), objectives=BOTH))
    for values in (
        {"objectives": {"val/acc": "maximize", "seconds": "minimize"}},
        {},
        {"objectives": {"params": "minimize"}},
    ):
        with pytest.raises(ConfigError, match=r"'mine' was started with \(val/acc is maximized, params is minimized\)"):
            check_same_objectives(study, planned(Application(), **values))


def test_configs_of_trials_that_left_the_front_are_removed(tmp_path: Path) -> None:
    for name in ("best-1.yaml", "best-12.yaml", "best.yaml", "best-mine.yaml"):
        (tmp_path / name).touch()
    remove_points(tmp_path, [12])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best-12.yaml", "best-mine.yaml", "best.yaml"]
