"""A point that was tried is not trained again: what is known is told, another is asked for, or the sweep ends."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.config_differences import keep_settings
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.repeats import MOST_REPEATS, Repeats
from lightsweep.sweeper.samplers import random_point
from lightsweep.sweeper.space import Parameter, Space, list_points, point_key
from lightsweep.sweeper.storage import Address, connect, follow
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import count_ended, is_repeat, without_repeats
from toy_sweeps import check_books

WHEN = {"optimizer=sgd": {"optimizer.momentum": "choice(0.8,0.9)"}}


class Stubborn(optuna.samplers.RandomSampler):
    """Suggests the first choice, always."""

    def sample_independent(self, study, trial, param_name, param_distribution):  # type: ignore[no-untyped-def]
        return param_distribution.choices[0]


@pytest.fixture
def open_queue(tmp_path: Path) -> Callable[..., TrialQueue]:
    def queue(
        sampler: optuna.samplers.BaseSampler | None = None, *, n_trials: int = 50, points=None, since=0
    ) -> TrialQueue:
        connect.cache_clear()
        address = Address(str(tmp_path / JOURNAL), "study")
        study = optuna.create_study(
            study_name="study", storage=connect(address.location), load_if_exists=True, sampler=sampler or Stubborn()
        )
        opened = TrialQueue(study, address, n_trials=n_trials, retries=3)
        opened.repeats = Repeats(points, since)
        return opened

    return queue


def draw(queue: TrialQueue, *, most: int = 3) -> Trial | None:
    """The next trial that is no repeat, of a space of `most` points."""
    while (trial := queue.claim()) is not None:
        trial.suggest_categorical("x", list(range(most)))
        if not queue.close_repeat(trial):
            return trial
    return None


def listed(most: int = 3) -> list[dict]:
    return [{"x": value} for value in range(most)]


def test_each_point_of_a_space_is_tried_once_and_then_it_is_said(open_queue) -> None:
    queue = open_queue(points=listed())
    tried = []
    while (trial := draw(queue)) is not None:
        tried.append(trial.params["x"])
        queue.tell(trial, JobResult(JobState.COMPLETED, float(trial.params["x"])))
    assert sorted(tried) == [0, 1, 2]
    assert count_ended(queue.trials()) == 3
    assert queue.is_done()
    assert queue.repeats.why_over(queue.trials()) == "all 3 points of the space were tried"


def test_a_sampler_that_repeats_itself_in_a_space_that_cannot_be_listed_ends_the_sweep(open_queue) -> None:
    queue = open_queue(points=None)
    queue.tell(draw(queue), JobResult(JobState.COMPLETED, 1.0))
    assert draw(queue) is None
    assert len(queue.trials()) == 1 + MOST_REPEATS
    assert queue.is_done()
    assert (
        queue.repeats.why_over(queue.trials()) == f"{MOST_REPEATS} suggestions in a row were points that had been tried"
    )


def test_in_a_space_that_cannot_be_listed_an_untried_point_is_drawn_at_random(open_queue) -> None:
    queue = open_queue(points=None)
    queue.repeats.draw = partial(random_point, Space((Parameter("x", "x", CategoricalDistribution(range(9))),), ()))
    tried = []
    for _ in range(4):
        trial = draw(queue, most=9)
        tried.append(trial.params["x"])
        queue.tell(trial, JobResult(JobState.COMPLETED, 1.0))
    assert tried[0] == 0
    assert len(set(tried)) == 4
    assert sum(map(is_repeat, queue.trials())) == 15  # five suggestions before each


def test_a_random_point_has_the_parameters_that_apply() -> None:
    space = parse({"optimizer": "choice(sgd,adam)", "lr": "interval(0,1)"}, WHEN, [], extend=print)
    points = [random_point(space, seed) for seed in range(20)]
    assert points == [random_point(space, seed) for seed in range(20)]
    assert {len(point) for point in points if point["optimizer"] == "sgd"} == {3}
    assert {len(point) for point in points if point["optimizer"] == "adam"} == {2}


@pytest.mark.parametrize(
    ("outcome", "state", "value"),
    [
        (JobResult(JobState.COMPLETED, 0.25), TrialState.COMPLETE, 0.25),
        (JobResult(JobState.PRUNED), TrialState.PRUNED, 0.125),
        (JobResult(JobState.FAILED, error="no luck"), TrialState.FAIL, None),
    ],
)
def test_the_sampler_is_told_what_is_known(open_queue, outcome: JobResult, state: TrialState, value) -> None:
    queue = open_queue()
    first = draw(queue)
    first.report(0.125, 3)
    queue.tell(first, outcome)
    again = queue.claim()
    again.suggest_categorical("x", [0, 1, 2])
    assert queue.close_repeat(again)
    repeat = queue.trials()[1]
    assert (repeat.state, repeat.value, repeat.user_attrs["repeat_of"]) == (state, value, 0)
    assert [trial.number for trial in without_repeats(queue.trials())] == [0]
    assert count_ended(queue.trials()) == 1
    assert [
        trial.number for trial in follow(Address(str(queue._claims.path).removesuffix(".claims"), "study")).trials
    ] == [0]  # as a pruner sees it


def test_what_runs_is_waited_for_and_what_was_cut_off_is_no_repeat(open_queue) -> None:
    queue = open_queue(points=listed(1))
    running = draw(queue, most=1)
    assert draw(queue, most=1) is None
    assert not queue.is_done()  # it may be cut off
    queue.tell(running, JobResult(JobState.INTERRUPTED))
    again = draw(queue, most=1)
    assert again is not None
    assert queue.trials()[again.number].user_attrs["retry_of"] == running.number
    queue.tell(again, JobResult(JobState.COMPLETED, 1.0))
    assert queue.is_done()


def test_of_two_that_run_at_once_the_first_goes_on(open_queue) -> None:
    queue = open_queue()
    one, other = queue.claim(), queue.claim()
    for trial in (other, one):
        trial.suggest_categorical("x", [0, 1])
    assert not queue.close_repeat(one)
    assert queue.close_repeat(other)
    assert queue.trials()[other.number].state == TrialState.FAIL  # nothing is known yet


def test_a_trial_that_ends_lets_the_sampler_try_again(open_queue) -> None:
    queue = open_queue(points=None)
    first = draw(queue)
    assert draw(queue) is None
    assert queue.repeats.why_over(queue.trials())
    queue.tell(first, JobResult(JobState.COMPLETED, 1.0))
    assert queue.repeats.why_over(queue.trials()) is None


def test_values_of_other_settings_or_data_are_not_known(open_queue) -> None:
    queue = open_queue()
    queue.tell(draw(queue), JobResult(JobState.COMPLETED, 1.0))
    queue.mark_changed(1)
    trial = queue.claim()
    trial.suggest_categorical("x", [0, 1, 2])
    assert not queue.close_repeat(trial)


def test_values_of_other_data_end_no_sweep(open_queue) -> None:
    queue = open_queue()
    for value in (1.0, 2.0):
        queue.study.add_trial(create_trial(value=value))
    queue.why_over_early = lambda trials: str([trial.number for trial in trials])
    assert queue.why_over(queue.trials()) == "[0, 1]"
    queue.mark_changed(1)
    assert queue.why_over(queue.trials()) == "[1]"


def at(number: int, **params) -> FrozenTrial:
    distributions = {name: CategoricalDistribution([value]) for name, value in params.items()}
    trial = create_trial(state=TrialState.COMPLETE, value=0.5, params=params, distributions=distributions)
    trial.number = number
    return trial


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 0.1 + 0.2}, {"a": 0.3}, True),
        ({"model.width#2": 8}, {"model.width": 8}, True),
        ({"optimizer=sgd:optimizer.lr": 0.1}, {"optimizer.lr": 0.1}, True),
        ({"a": 1e-5}, {"a": 1.0001e-5}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": True}, {"a": False}, False),
        ({"seed": 1, "a": 1}, {"seed": 2, "a": 1}, False),
    ],
)
def test_a_point_is_what_is_typed_for_it(one: dict, other: dict, same: bool) -> None:
    found = Repeats(None, since=0).earlier(at(1, **one), [at(0, **other)])
    assert (found is not None) == same


@pytest.mark.parametrize(
    ("params", "when", "count"),
    [
        ({"a": "choice(1,2)", "b": "range(0,10,step=5)"}, {}, 2 * 2),
        ({"a": "range(0.0,0.5,step=0.25)"}, {}, 2),
        ({"optimizer": "choice(adam,sgd)", "b": "choice(1,2,3)"}, WHEN, 3 + 3 * 2),
        ({"a": "choice(1,2)", "b": "interval(0.0,1.0)"}, {}, None),
        ({"a": "range(1,200)", "b": "range(1,200)"}, {}, None),
    ],
)
def test_the_points_of_a_space(params: dict, when: dict, count: int | None) -> None:
    space = parse(params, when, [])
    found = list_points(space)
    assert (found and len(found)) == count
    for point in found or []:
        study = optuna.create_study()
        study.enqueue_trial(point)
        trial = study.ask()
        space.suggest(trial)
        assert trial.params == point


def test_a_stepped_range_is_listed_as_it_is_drawn() -> None:
    space = parse({"a": "range(0.1,1.0,step=0.1)", "b": "range(3,9,step=3)"}, {}, [])
    known = {point_key(point) for point in list_points(space) or []}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(60):
        trial = study.ask()
        space.suggest(trial)
        assert point_key(trial.params) in known


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_of_few_points_trains_each_once_and_confirms_them(sweep, jobs: int) -> None:

    few = ("~optimizer.lr", "~optimizer.weight_decay", "model.width=choice(8,16)", "model.dropout=choice(0.1,0.3)")
    arguments = (*few, "hydra.sweeper.n_trials=9", f"hydra.sweeper.n_jobs={jobs}")
    done = sweep.run(*arguments)
    assert done.returncode == 0, done.stderr
    check_books(sweep, 4)
    points = [tuple(trial.params.items()) for trial in without_repeats(sweep.study().trials)]
    assert len(points) == len(set(points)) == 4
    assert "all 4 points of the space were tried: the sweep ends with 4 trials of 9" in done.stdout
    repeated = sum(map(is_repeat, sweep.study().trials))
    assert "confirm it: python src/train.py sweep=quick " in done.stdout
    assert (f"{repeated} suggestion" in done.stdout) == (repeated > 0)
    again = sweep.run(*arguments, "hydra.sweeper.confirm=3")  # nothing is left but the confirmation
    assert again.returncode == 0, again.stderr
    check_books(sweep, 4)
    assert "all 4 points of the space were tried" in again.stdout  # the config itself has dropout 0
    assert "is better than the baseline: val/acc +30.00 points" in again.stdout
    assert "run the best one: python src/train.py" in again.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("more", [[], ["hydra/sweeper/sampler=grid"]], ids=["asked for", "met in a grid"])
def test_a_best_that_is_the_baseline_is_confirmed_once(sweep, more: list[str]) -> None:
    """Dropout 0 is the default, and of these values the one that the toy likes best."""
    few = ("~optimizer.lr", "~optimizer.weight_decay", "~model.width", "model.dropout=choice(0.0,0.65,0.7)")
    done = sweep.run(*few, "hydra.sweeper.n_trials=3", "hydra.sweeper.confirm=2", *more)
    assert done.returncode == 0, done.stderr
    baseline = next(trial for trial in sweep.study().trials if trial.params["model.dropout"] == 0.0)
    assert f"The best of 3 completed trials is the baseline (trial {baseline.number}, " in done.stdout
    assert "run the best one" not in done.stdout
    assert sorted(run.name for run in (sweep.folder / "confirm").iterdir()) == [
        "baseline-seed-101",
        "baseline-seed-102",
    ]
    assert sum(row["note"].startswith("baseline") for row in sweep.leaderboard()) == 1


def test_a_study_remembers_since_when_its_settings_hold() -> None:
    study = optuna.create_study()
    first = {"space": {"a": "1"}, "config": {"trainer.max_epochs": 2}, "beside": {}}
    keep_settings(study, first, Application())
    assert "changed_at" not in study.user_attrs
    for _ in range(3):
        study.ask()
    keep_settings(study, first | {"space": {"a": "2"}}, Application())  # the values of its points hold on
    assert "changed_at" not in study.user_attrs
    keep_settings(study, first | {"config": {"trainer.max_epochs": 9}}, Application())
    assert study.user_attrs["changed_at"] == 3
