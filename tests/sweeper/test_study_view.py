"""The study as samplers see it: which trials, under which names, with which values."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.study_view import ViewSampler, inside

X = {"x": "interval(0,1)"}
BOTH = {"x": "interval(0,1)", "kind": "choice(a,b)"}
WHEN = {"kind=a": {"a.lr": "interval(0,1)"}, "kind=b": {"b.lr": "interval(0,1)"}}
ONE = FloatDistribution(0.0, 1.0)
COMPLETE, PRUNED, RUNNING, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL


def spaced(params: dict[str, str], when: Any = None, extend: Any = None) -> Space:
    return parse(params, when or {}, [], extend)


def tried(state: TrialState = COMPLETE, value: Any = None, reports: Any = None, **further: Any) -> FrozenTrial:
    """A trial; x between 0 and 1 unless `params` has others."""
    params = further.pop("params", {"x": 0.5})
    distributions = further.pop("distributions", dict.fromkeys(params, ONE))
    values = value if isinstance(value, list) or value is None else [value]
    return create_trial(
        state=state,
        values=values,
        params=params,
        distributions=distributions,
        intermediate_values=reports or {},
        **further,
    )


def study_of(*trials: FrozenTrial, directions: Any = ("maximize",), **named: Any) -> optuna.Study:
    study = optuna.create_study(directions=directions, **named)
    study.add_trials(trials)
    return study


def seen(study: optuna.Study, params: dict[str, str] = X, **named: Any) -> list[FrozenTrial]:
    return ViewSampler(spaced(params), RandomSampler(seed=0), **named).view(study).trials


def values(trials: list[FrozenTrial]) -> list[Any]:
    return [trial.values[0] if len(trial.values) == 1 else trial.values for trial in trials]


def test_pruned_trials_are_seen_as_completed_and_running_ones_as_running() -> None:
    study = study_of(
        tried(value=0.5, reports={1: 0.1, 2: 0.4}),
        tried(PRUNED, reports={1: 0.3}),
        tried(PRUNED, reports={1: 0.2, 2: float("nan")}),
        tried(RUNNING, reports={1: 0.9}),
    )
    view = seen(study)
    assert [trial.state for trial in view] == [COMPLETE, COMPLETE, COMPLETE, RUNNING]
    assert values(view[:3]) == pytest.approx([0.5, 0.6, 0.55])
    assert [trial.state for trial in study.trials] == [
        COMPLETE,
        PRUNED,
        PRUNED,
        RUNNING,
    ]  # itself it is as before


def test_what_says_nothing_is_left_out() -> None:
    study = study_of(
        tried(FAIL),
        tried(FAIL, user_attrs={"interrupted": True}),
        tried(PRUNED),
        tried(PRUNED, reports={1: float("nan")}),
        tried(value=float("inf")),
        tried(value=0.7, user_attrs={"repeat_of": 0}),
        tried(TrialState.WAITING, params={}),
        tried(RUNNING, params={}),  # that another sweeper has just claimed
    )
    assert seen(study) == []


def test_trials_from_before_a_change_are_left_out() -> None:
    study = study_of(tried(value=0.1), tried(PRUNED, reports={1: 0.5}), tried(value=0.3))
    study.set_user_attr("changed_at", 2)
    assert values(seen(study)) == [0.3]


@pytest.mark.parametrize(
    ("params", "before", "shown"),
    [
        ({"x": "interval(0,2)"}, {"x": (0.5, ONE)}, {"x": 0.5}),
        ({"x": "interval(0.6,2)"}, {"x": (0.5, ONE)}, None),
        ({"x": "tag(log,interval(0.1,1))"}, {"x": (0.5, ONE)}, {"x": 0.5}),
        ({"x": "range(0.1,0.9,step=0.1)"}, {"x": (0.1 + 0.2, ONE)}, {"x": 0.1 + 2 * 0.1}),
        ({"x": "range(0.1,0.9,step=0.1)"}, {"x": (0.35, ONE)}, None),
        ({"x": "range(1,9)"}, {"x": (4.0, FloatDistribution(0, 9))}, {"x": 4}),
        ({"x": "choice(1,2)"}, {"x": (2, CategoricalDistribution([2, 3]))}, {"x": 2}),
        ({"x": "choice(1,2)"}, {"x": (3, CategoricalDistribution([2, 3]))}, None),
        ({"x": "choice(true,false)"}, {"x": (True, CategoricalDistribution([True, False]))}, {"x": True}),
        ({"x": "choice(1,2)"}, {"x#2": (2, CategoricalDistribution([2, 3]))}, {"x": 2}),
        (BOTH, {"x": (0.5, ONE)}, None),  # it lacks a parameter
        (X, {"x": (0.5, ONE), "y": (0.5, ONE)}, None),  # that has another value today
    ],
)
def test_a_trial_is_seen_in_todays_space_or_not_at_all(params: Any, before: Any, shown: Any) -> None:
    named = {name: value for name, (value, _) in before.items()}
    distributions: dict[str, BaseDistribution] = {name: one for name, (_, one) in before.items()}
    view = seen(study_of(tried(value=1.0, params=named, distributions=distributions)), params)
    assert [trial.params for trial in view] == ([] if shown is None else [shown])
    today = {parameter.name: parameter.distribution for parameter in spaced(params).parameters}
    assert all(trial.distributions == today for trial in view)


@pytest.mark.parametrize("value", [10**400, math.inf, math.nan, None, "many", {}])
@pytest.mark.parametrize("text", ["range(1,9)", "interval(0,1)", "choice(1,2)"])
def test_what_somebody_elses_study_has_as_a_value_may_be_anything(text: str, value: Any) -> None:
    assert inside(spaced({"x": text}).parameters[0].distribution, value) is ...


def test_a_parameter_with_other_choices_is_known_under_its_new_name() -> None:
    old = tried(value=1.0, params={"x": 2}, distributions={"x": CategoricalDistribution([2, 3])})
    study = study_of(old)
    space = spaced({"x": "choice(1,2)"}).renamed_for(study.trials)
    assert [parameter.name for parameter in space.parameters] == ["x#2"]
    (shown,) = ViewSampler(space, RandomSampler()).view(study).trials
    assert shown.params == {"x#2": 2}


def conditional(kind: str, **further: float) -> FrozenTrial:
    params = {"kind": kind, **{f"kind={kind}:{name[0]}.lr": value for name, value in further.items()}}
    kinds = CategoricalDistribution(["a", "b"])
    return tried(value=1.0, params=params, distributions={name: ONE if ":" in name else kinds for name in params})


def test_under_a_condition_only_its_own_parameters_are_asked_for() -> None:
    space = spaced({"kind": "choice(a,b)"}, WHEN)
    study = study_of(conditional("a", a=0.5), conditional("b", b=0.5), conditional("b"), conditional("a", b=0.5))
    shown = ViewSampler(space, RandomSampler()).view(study).trials
    assert [trial.params for trial in shown] == [
        {"kind": "a", "kind=a:a.lr": 0.5},
        {"kind": "b", "kind=b:b.lr": 0.5},
    ]


@pytest.mark.filterwarnings("ignore")
def test_conditions_and_values_that_are_fixed_hold_as_a_trial_is_drawn() -> None:
    space = spaced({"kind": "choice(a,b)"}, WHEN)
    sampler = ViewSampler(space, TPESampler(seed=3, multivariate=True, group=True))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for number in range(60):
        if number % 3 == 0:
            study.enqueue_trial({"kind": "b"})
        trial = study.ask()
        space.suggest(trial)
        kind = trial.params["kind"]
        assert list(trial.params) == ["kind", f"kind={kind}:{kind}.lr"]
        assert kind == "b" or number % 3
        study.tell(trial, trial.params[f"kind={kind}:{kind}.lr"])
    rates = [next(value for name, value in trial.params.items() if name != "kind") for trial in study.trials]
    assert sum(rates[-20:]) / 20 > 0.7  # it has learned, also below a condition


def suggesting(trial: Trial) -> None:
    if trial.suggest_categorical("layers", [1, 2]) == 2:
        trial.suggest_float("second", 0.0, 1.0)


@pytest.mark.filterwarnings("ignore")
def test_what_the_users_own_function_suggests_is_learned_too() -> None:
    space = spaced(X, extend=suggesting)
    sampler = ViewSampler(space, TPESampler(seed=3, multivariate=True, group=True))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for _ in range(40):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, trial.params.get("second", 0.0) - abs(trial.params["x"] - 0.2))
    assert sampler.view(study).trials[3].params == study.trials[3].params
    assert study.best_value > 0.8
    late = [trial.params.get("second", 0.0) for trial in study.trials[-10:]]
    assert sum(late) / 10 > 0.6


def test_a_function_whose_range_changed_keeps_what_it_can() -> None:
    wide, far = FloatDistribution(0.0, 2.0), FloatDistribution(-9.0, 0.0)
    study = study_of(
        tried(value=1.0, params={"x": 0.5, "y": -3.0}, distributions={"x": ONE, "y": far}),
        tried(value=1.0, params={"x": 0.5, "y": 0.5}, distributions={"x": ONE, "y": ONE}),
        tried(value=1.0, params={"x": 0.5, "y": 1.5}, distributions={"x": ONE, "y": wide}),
    )
    view = ViewSampler(spaced(X, extend=suggesting), RandomSampler()).view(study).trials
    assert [trial.distributions["y"] for trial in view] == [far, wide, wide]


def test_all_trials_have_the_same_constraints() -> None:
    study = study_of(
        tried(value=1.0, constraints={"params": -0.5, "seconds": -1.0}),
        tried(value=2.0, constraints={"params": 0.5}),
        tried(PRUNED, reports={1: 1.5}, constraints={"params": -0.1}),
        tried(value=4.0),
    )
    shown = [trial.constraints for trial in seen(study)]
    assert shown == [
        {"params": -0.5, "seconds": -1.0},
        {"params": 0.5, "seconds": -1.0},
        {"params": -0.1, "seconds": -1.0},
        {"params": -0.1, "seconds": -1.0},  # the medians
    ]
    assert seen(study, constraints=["params"])[0].constraints == {"params": -0.5}


def test_a_violation_without_a_value_is_seen_with_the_median_value() -> None:
    study = study_of(
        tried(value=1.0, constraints={"params": -0.5}),
        tried(value=3.0, constraints={"params": -0.5}),
        tried(value=9.0, constraints={"params": -0.5}),
        tried(FAIL, constraints={"params": 0.5}),
        tried(PRUNED, constraints={"params": 0.7}),
        tried(FAIL, constraints={"params": -0.5}),
    )
    assert [(trial.values[0], trial.constraints["params"]) for trial in seen(study)[3:]] == [(3.0, 0.5), (3.0, 0.7)]
    lone = study_of(tried(FAIL, constraints={"params": 0.5}), directions=("minimize", "maximize"))
    assert values(seen(lone)) == [[0.0, 0.0]]


def test_of_several_objectives_pruned_trials_are_left_out() -> None:
    directions = ("maximize", "minimize")
    far = tried(value=[0.6, float("inf")])
    study = study_of(tried(value=[0.5, 2.0]), tried(PRUNED, reports={1: 0.4}), far, directions=directions)
    sampler = ViewSampler(spaced(X), RandomSampler())
    assert values(sampler.view(study).trials) == [[0.5, 2.0]]
    assert sampler.view(study).directions == study.directions


def test_earlier_trials_come_first_and_never_into_the_study() -> None:
    study = study_of(tried(value=0.3))
    earlier = [tried(value=0.1), tried(value=0.2, params={"x": 5.0}, distributions={"x": FloatDistribution(0, 9)})]
    assert values(seen(study, earlier_trials=earlier)) == [0.1, 0.3]
    assert len(study.trials) == 1


def test_with_hyperband_a_sampler_sees_all_trials() -> None:
    """Optuna shows it those of one bracket."""
    asked = []

    class Watched(RandomSampler):
        def infer_relative_search_space(self, study, trial):  # type: ignore[no-untyped-def]
            asked.append(len(study.trials))
            return super().infer_relative_search_space(study, trial)

    space, pruner = spaced(X), optuna.pruners.HyperbandPruner(1, 27, 3)
    study = optuna.create_study(sampler=ViewSampler(space, Watched(seed=1)), pruner=pruner)
    for number in range(8):
        trial = study.ask()
        space.suggest(trial)
        trial.report(0.5, 1)
        trial.should_prune()
        study.tell(trial, float(number))
    assert asked == [1, 2, 3, 4, 5, 6, 7, 8]  # with the one that is drawn


def at(x: float, state: TrialState = PRUNED, value: float | None = None) -> FrozenTrial:
    """The first report says all; the best are at 0.8."""
    return tried(state, value, reports={1: -((x - 0.8) ** 2)}, params={"x": x})


@pytest.mark.parametrize("make", [lambda: GPSampler(seed=1), lambda: TPESampler(seed=1)], ids=["gp", "tpe"])
def test_a_clue_that_only_pruned_trials_hold_is_found(make: Callable[[], Any]) -> None:
    """All completed trials lie at the other end, where values are the lowest."""
    complete = [at(x, COMPLETE, 0.9 - (x - 0.8) ** 2) for x in (0.02, 0.05)]
    study = study_of(*complete, *(at(0.1 * step) for step in range(11)), sampler=ViewSampler(spaced(X), make()))
    drawn = []
    for _ in range(5):
        trial = study.ask()
        drawn.append(trial.suggest_float("x", 0.0, 1.0))
        study.tell(trial, state=FAIL)
    assert sum(abs(x - 0.8) for x in drawn) / 5 < 0.1


def test_a_running_trial_changes_what_is_drawn_next() -> None:
    points = [tried(value=-((0.1 * step - 0.55) ** 2), params={"x": 0.1 * step}) for step in range(11)]
    drawn = []
    for running in ([], [tried(RUNNING, params={"x": 0.55})]):
        study = study_of(*points, *running, sampler=ViewSampler(spaced(X), GPSampler(seed=1)))
        drawn.append(study.ask().suggest_float("x", 0.0, 1.0))
    assert abs(drawn[0] - 0.55) < 0.005 < abs(drawn[1] - 0.55)


def test_a_study_that_is_resumed_is_seen_as_before(tmp_path) -> None:
    from lightsweep.sweeper.storage import connect

    space, views = spaced(BOTH), []
    for _ in range(2):
        connect.cache_clear()
        sampler = ViewSampler(space, TPESampler(seed=1))
        study = optuna.create_study(
            study_name="s", storage=connect(str(tmp_path / "j")), sampler=sampler, load_if_exists=True
        )
        if not study.trials:
            for number in range(15):
                trial = study.ask()
                space.suggest(trial)
                study.tell(trial, float(number))
        views.append([(trial.params, trial.values, trial.distributions) for trial in sampler.view(study).trials])
    assert len(views[0]) == 15
    assert views[0] == views[1]


def test_the_users_own_function_is_not_called_by_the_view() -> None:
    def refuse(trial: Trial) -> None:
        raise AssertionError

    space = spaced(X, extend=refuse)
    study = optuna.create_study(sampler=ViewSampler(space, RandomSampler()))
    replace(space, extend=None).suggest(study.ask())


def test_a_sampler_draws_with_one_thread() -> None:
    import torch

    threads = []

    class Counting(RandomSampler):
        def sample_independent(self, *arguments: Any) -> Any:
            threads.append(torch.get_num_threads())
            return super().sample_independent(*arguments)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        spaced(X).suggest(optuna.create_study(sampler=ViewSampler(spaced(X), Counting())).ask())
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
