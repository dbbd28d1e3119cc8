"""Bounds on what trials record: what is kept of them in a study, and what may not be the best."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.reports.study import copy_study
from lightsweep.reports.trials import status_of
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.constraints import MOST_IN_A_ROW, Bound, Constraints, nearest, read_bounds
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.leaderboard import leaderboard_rows
from lightsweep.sweeper.objectives import Objectives
from lightsweep.sweeper.optuna_access import set_system_attribute
from lightsweep.sweeper.status import read_status
from lightsweep.sweeper.storage import Address, connect
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import check_attributes, count_ended, is_untried, summarise_trials
from lightsweep.sweeper.view import Progress, running_table, seconds_left

ONE = Objectives(("value",), ("maximize",))
SPACE = FloatDistribution(0.0, 1.0)


def size_of(cfg: DictConfig) -> float:
    return cfg.size


def config_of(size: float) -> Callable[[], DictConfig]:
    return lambda: OmegaConf.create({"size": size, "hydra": {"verbose": True}})


@pytest.fixture
def open_queue(tmp_path: Path) -> Callable[..., TrialQueue]:
    def queue(
        constraints: Mapping[str, str], known: tuple[str, ...] = (), *, sampler: Any = None, n_trials: int = 3
    ) -> TrialQueue:
        connect.cache_clear()
        address = Address(str(tmp_path / JOURNAL), "study")
        study = optuna.create_study(
            study_name="study", storage=connect(address.location), direction="maximize", sampler=sampler
        )
        opened = TrialQueue(study, address, n_trials=n_trials, retries=3)
        opened.constraints = Constraints(read_bounds(dict(constraints)), dict.fromkeys(known, size_of))
        return opened

    return queue


def trial(
    number: int,
    value: float | None,
    constraints: Mapping[str, float] | None = None,
    *,
    state: TrialState = TrialState.COMPLETE,
    **attributes: Any,
) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=value,
        params={"x": 0.5},
        distributions={"x": SPACE},
        user_attrs=attributes,
        constraints=dict(constraints or {}),
    )
    made.number = number
    return made


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("<= 2e6", 3_000_000, 0.5),
        ("<= 2e6", 2_000_000, 0.0),
        ("<=2_000_000", 1e6, -0.5),
        (">= 0.5", 0.25, 0.5),
        (" >= -2 ", -3, 0.5),
        ("<= 0", 0.25, 0.25),
        ("<= .5", float("inf"), 1e6),
    ],
)
def test_a_bound_is_violated_by_as_much_as_a_value_is_beyond_it(text: str, value: float, violation: float) -> None:
    (bound,) = read_bounds({"params": text})
    assert bound.violation(value) == pytest.approx(violation)


@pytest.mark.parametrize(
    ("constraints", "line"),
    [
        ([1], r"hydra\.sweeper\.constraints must be a mapping of names to bounds, .* got \[1\]"),
        ({"par\nams": "<= 5"}, r"hydra\.sweeper\.constraints must be a mapping of names to bounds"),
        ({"params": 5}, r"hydra\.sweeper\.constraints\.params must be '<= NUMBER' or '>= NUMBER', got 5"),
        ({"params": "< 5"}, r"hydra\.sweeper\.constraints\.params must be .* got '< 5'"),
        ({"params": "<= many"}, r"hydra\.sweeper\.constraints\.params must be .* got '<= many'"),
        ({"params": "<= 1e999"}, r"hydra\.sweeper\.constraints\.params must be .* got '<= 1e999'"),
        ({"params": "<= nan"}, r"hydra\.sweeper\.constraints\.params must be .* got '<= nan'"),
    ],
)
def test_what_is_no_bound_is_refused(constraints: Any, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        read_bounds(constraints)


def test_a_violation_that_rounds_away_is_shown_with_all_digits() -> None:
    assert Bound("params", "<=", 2e6).describe(3.1e6) == "params 3.1e+06 > 2e+06"
    assert Bound("params", "<=", 2e6).describe(2_000_001) == "params 2000001 > 2e+06"
    assert Bound("acc", ">=", 0.5).describe(0.25) == "acc 0.25 < 0.5"


def test_a_point_that_violates_what_is_known_is_closed_without_a_run_and_does_not_count(open_queue) -> None:
    queue = open_queue({"size": "<= 100", "seconds": "<= 60"}, known=("size",), n_trials=1)
    first = queue.claim()
    assert queue.close_infeasible(first, config_of(150.0))
    (closed,) = queue.trials()
    assert (closed.state, closed.constraints) == (TrialState.PRUNED, {"size": 0.5})
    assert closed.user_attrs["infeasible"] == "size 150 > 100"
    assert closed.user_attrs["facts"] == {"size": 150.0}
    assert is_untried(closed)
    assert count_ended(queue.trials()) == 0
    assert not queue.is_done()
    second = queue.claim()
    assert not queue.close_infeasible(second, config_of(80.0))
    queue.tell(second, JobResult(JobState.COMPLETED, 0.5, facts={"seconds": 90.0}))
    assert queue.trials()[1].constraints == {"size": pytest.approx(-0.2), "seconds": 0.5}
    assert queue.trials()[1].user_attrs["facts"] == {"size": 80.0, "seconds": 90.0}
    assert queue.trials()[1].user_attrs["infeasible"] == "seconds 90 > 60"
    assert queue.is_done()
    check_attributes(queue.study)


def test_what_a_trial_has_recorded_before_it_was_pruned_is_not_judged(open_queue) -> None:
    queue = open_queue({"seconds": "<= 60"})
    claimed = queue.claim()
    claimed.report(0.5, 1)
    queue.tell(claimed, JobResult(JobState.PRUNED, facts={"seconds": 90.0}))
    assert queue.trials()[0].constraints == {}
    assert not is_untried(queue.trials()[0])
    assert count_ended(queue.trials()) == 1


def test_the_value_itself_may_be_bounded(open_queue) -> None:
    queue = open_queue({"value": ">= 0.5"})
    queue.tell(queue.claim(), JobResult(JobState.COMPLETED, 0.25))
    assert queue.trials()[0].constraints == {"value": 0.5}


def test_the_best_violates_nothing_as_for_optuna(open_queue) -> None:
    queue = open_queue({"size": "<= 100"})
    for value, size in [(0.9, 200.0), (0.5, 50.0), (0.7, 100.0)]:
        queue.tell(queue.claim(), JobResult(JobState.COMPLETED, value, facts={"size": size}))
    ranking = [each.number for each in ONE.ranked_complete(queue.trials())]
    assert ranking == [2, 1]
    assert queue.study.best_trial.number == 2
    found = summarise_trials(queue.trials(), metric="value", maximises=True, seeds=1, changed_at=0)
    assert found is not None
    assert found.best.number == 2
    assert [entry.number for entry in found.completed] == [1, 2]
    status = read_status(queue.study)
    assert status.best is not None
    assert status.best["trial"] == 2
    assert nearest(queue.trials()) == "the nearest is trial 0, size 200 > 100"


def test_after_many_in_a_row_the_sweep_is_over_and_names_the_nearest(open_queue) -> None:
    queue = open_queue({"size": "<= 100"}, known=("size",))
    for number in range(MOST_IN_A_ROW):
        assert queue.why_over(queue.trials()) is None
        claimed = queue.claim()
        claimed.suggest_float("x", 0, 1)
        assert queue.close_infeasible(claimed, config_of(1000.0 - number))
    nearest_one = queue.trials()[-1]
    why = queue.why_over(queue.trials())
    assert why == (
        f"{MOST_IN_A_ROW} points in a row violate hydra.sweeper.constraints; the nearest is trial {nearest_one.number},"
        f" size 951 > 100 (x={nearest_one.params['x']:.4g})"
    )
    assert queue.claim() is None
    assert queue.is_done()


def test_a_point_that_may_be_tried_starts_the_count_anew(open_queue) -> None:
    queue = open_queue({"size": "<= 100"}, known=("size",), n_trials=5)
    for size in (200.0, 50.0, 200.0):
        queue.close_infeasible(queue.claim(), config_of(size))
    assert queue.constraints.in_a_row == 1


def test_the_sampler_learns_where_nothing_may_be_tried(open_queue) -> None:
    queue = open_queue({"size": "<= 50"}, known=("size",), sampler=optuna.samplers.TPESampler(seed=1), n_trials=60)
    while (claimed := queue.claim()) is not None:
        x = claimed.suggest_float("x", 0, 1)
        if not queue.close_infeasible(claimed, config_of(100 * x)):
            value = claimed.number * 7919 % 100 / 100  # says nothing of x
            queue.tell(claimed, JobResult(JobState.COMPLETED, value, facts={"size": 100 * x}))
    tried = [each.params["x"] <= 0.5 for each in queue.trials()]
    assert sum(tried) == 60
    assert len(tried) < 90  # half of what a sampler that learns nothing suggests is infeasible


def test_gp_takes_a_study_whose_completed_trials_have_all_constraints(open_queue) -> None:
    sampler = optuna.samplers.GPSampler(seed=1, n_startup_trials=2)
    queue = open_queue({"size": "<= 50", "seconds": "<= 60"}, known=("size",), sampler=sampler, n_trials=4)
    sizes = iter([20.0, 80.0, 40.0, 30.0, 20.0])
    while (claimed := queue.claim()) is not None:
        x, size = claimed.suggest_float("x", 0, 1), next(sizes)
        if not queue.close_infeasible(claimed, config_of(size)):
            queue.tell(claimed, JobResult(JobState.COMPLETED, x, facts={"size": size, "seconds": 1.0}))
    assert [list(each.constraints) for each in queue.trials() if each.state == TrialState.COMPLETE] == [
        ["size", "seconds"]
    ] * 4


@pytest.mark.parametrize(
    ("facts", "got"),
    [
        ({}, "only value"),
        ({"loss": 1.0}, "only loss, value"),
        ({"size": None}, "None"),
        ({"size": float("nan")}, "nan"),
    ],
)
def test_a_completed_job_that_has_not_recorded_what_is_bounded_has_failed_like_all(facts: Any, got: str) -> None:
    constraints = Constraints(read_bounds({"size": "<= 100"}))
    result = constraints.checked(JobResult(JobState.COMPLETED, 0.5, facts=facts))
    line = f"hydra.sweeper.constraints.size: a trial must return or record size as a number, got {got}"
    assert (result.state, result.error, result.of_all) == (JobState.FAILED, line, True)


def test_what_is_known_before_need_not_be_recorded() -> None:
    constraints = Constraints(read_bounds({"size": "<= 100"}), {"size": size_of})
    for result in (JobResult(JobState.COMPLETED, 0.5), JobResult(JobState.PRUNED), JobResult(JobState.FAILED)):
        assert constraints.checked(result) is result


def plan_of(application: Application | None = None, **settings: Any) -> Any:
    chosen = {"constraints": {"size": "<= 100"}, "foresee": None} | settings
    return SimpleNamespace(
        settings=SimpleNamespace(**chosen), application=application or Application(), metric="value", objectives=ONE
    )


class Knowing(Application):
    def foresee(self, name: str) -> Any:
        return size_of if name == "size" else None


def test_a_function_is_the_apps_or_the_users_or_none() -> None:
    module = f"{__name__}.size_of"
    assert Constraints.of(plan_of()).known == {}
    assert set(Constraints.of(plan_of(foresee={"size": module, "other": "no.such.function"})).known) == {"size"}
    assert Constraints.of(plan_of(Knowing())).known == {"size": size_of}
    assert Constraints.of(plan_of(Knowing(), foresee={"size": None})).known == {}
    assert Constraints.of(plan_of(Knowing(), constraints={"seconds": "<= 60"})).known == {}
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.foresee\.size: there is no function app\.no"):
        Constraints.of(plan_of(foresee={"size": "app.no"}))


def test_the_function_gets_the_config_as_the_job_does() -> None:
    seen = []
    constraints = Constraints(read_bounds({"size": "<= 100"}), {"size": lambda cfg: seen.append(cfg) or 80})
    assert constraints.foresee(config_of(80)) == {"size": 80.0}
    assert seen == [{"size": 80}]


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda cfg: cfg.nothing.size, r"hydra\.sweeper\.foresee\.size fails \(.*\); null judges it after training"),
        (lambda cfg: "many", r"hydra\.sweeper\.foresee\.size must give a number, got 'many'"),
        (lambda cfg: float("nan"), r"hydra\.sweeper\.foresee\.size must give a number, got nan"),
    ],
)
def test_a_function_that_fails_or_gives_no_number_is_one_line(function: Any, line: str) -> None:
    constraints = Constraints(read_bounds({"size": "<= 100"}), {"size": function})
    with pytest.raises(ConfigError, match=line):
        constraints.foresee(lambda: OmegaConf.create({"nothing": None}))


def test_a_point_that_cannot_be_composed_fails_alone() -> None:
    def compose() -> DictConfig:
        raise MissingConfigException("there is no optimizer/adm", "adm")

    with pytest.raises(ConfigError, match="there is no optimizer/adm"):  # the controller closes the trial as failed
        Constraints(read_bounds({"size": "<= 100"}), {"size": size_of}).foresee(compose)


VIOLATING = {"size": 0.5}
MIXED = [
    trial(0, None, VIOLATING, state=TrialState.PRUNED, infeasible="size 150 > 100", baseline=True),
    trial(1, 0.5, {"size": -0.5}),
    trial(2, 0.9, VIOLATING, infeasible="size 150 > 100", note="enqueued"),
    trial(3, 0.7, {"size": 0.0}),
    trial(4, None, state=TrialState.PRUNED),
]


def test_the_table_shows_what_violates_and_gives_it_no_rank() -> None:
    space = parse({"x": "interval(0,1)"}, {}, [], None)
    rows = leaderboard_rows(MIXED, space, ONE, ())
    assert [(row["rank"], row["trial"], row["state"]) for row in rows] == [
        (1, 3, "complete"),
        (2, 1, "complete"),
        ("", 2, "complete"),
        ("", 4, "pruned"),
        ("", 0, "infeasible"),
    ]
    assert rows[2]["note"] == "infeasible: size 150 > 100; enqueued"
    assert rows[4]["note"] == "baseline; infeasible: size 150 > 100"
    assert ONE.ranked_complete(MIXED)[0] is ONE.ranked(MIXED)[0]


def test_a_baseline_that_was_not_run_is_named_as_such() -> None:
    found = summarise_trials(MIXED, metric="value", maximises=True, seeds=1, changed_at=0)
    assert found is not None
    assert (found.baseline, found.baseline_state, found.is_baseline) == (None, "infeasible", False)


def test_a_baseline_that_violates_a_constraint_is_compared_with_and_never_the_best() -> None:
    trials = [trial(0, 0.9, VIOLATING, baseline=True), trial(1, 0.5, {"size": 0.0})]
    found = summarise_trials(trials, metric="value", maximises=True, seeds=1, changed_at=0)
    assert found is not None
    assert (found.best.number, found.is_baseline) == (1, False)
    assert found.baseline is not None
    assert found.baseline.value == 0.9


def test_no_trial_that_meets_the_constraints_is_nothing_found() -> None:
    assert summarise_trials(MIXED[2:3], metric="value", maximises=True, seeds=1, changed_at=0) is None


def test_points_that_were_not_run_count_neither_as_pruned_nor_for_the_time_left() -> None:
    space: Any = SimpleNamespace(overrides=lambda trial: ())
    progress = Progress(MIXED, {}, 10, ONE, space, 0)
    lines = [str(line) for line in running_table(progress).renderables]
    assert lines[0] == "4/10 trials  3 completed  1 pruned  0 failed"
    assert lines[1].startswith("best value 0.7000 (trial 3)")
    assert seconds_left(MIXED[:1] * 5, 10, MIXED[0].datetime_complete) is None  # type: ignore[arg-type]


def test_a_report_leaves_out_what_was_not_run_and_never_calls_best_what_violates() -> None:
    study = optuna.create_study(direction="maximize")
    for each in MIXED:
        study.add_trial(each)
    copied = copy_study(study, {}, None)
    assert [each.number for each in copied.trials] == [1, 2, 3, 4]
    assert [each.number for each in copied.complete] == [1, 3]
    assert [status_of(each) for each in study.trials] == [None, "completed", "infeasible", "completed", "pruned"]


def test_a_constraint_of_somebody_elses_study_is_a_number() -> None:
    study = optuna.create_study()
    study.add_trial(
        create_trial(value=1.0, params={}, distributions={}, system_attrs={"constraints:size": "[bold]much[/]"})
    )
    with pytest.raises(ConfigError, match="trial 0 has an attribute size that this program did not write"):
        check_attributes(study)


@pytest.mark.parametrize("names", [5, ["a"], ["a", 5], ["a", "b\x1b[2J"]])
def test_names_of_objectives_of_somebody_elses_study_are_texts(names: Any) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.set_metric_names(["a", "b"])
    check_attributes(study)
    set_system_attribute(study, "study:metric_names", names)
    with pytest.raises(ConfigError, match="the study has an attribute metric_names that this program did not write"):
        check_attributes(study)
