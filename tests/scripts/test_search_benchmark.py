"""The search benchmark: curves that were recorded, a surrogate of them, and simulated sweeps."""

import json
import math
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from benchmarks import curves, places, searching, sweeping
from benchmarks.curves import Curves
from benchmarks.simulation import Contender, Simulation
from benchmarks.surrogate import Surrogate
from lightsweep.sweeper.study_view import ViewSampler

_SPACE = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "depth": IntDistribution(1, 4),
    "act": CategoricalDistribution(("relu", "tanh", "gelu")),
}
_EPOCHS = 6


def _made_up(count: int = 60) -> Curves:
    """Curves that rise to 0.7 at lr=1e-3 and depth 3 with gelu, less elsewhere, with noise of 0.005."""
    draw = np.random.default_rng(0)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    points = [study.ask(_SPACE).params for _ in range(count)]
    return Curves(_SPACE, points, np.array([_mean(point) + draw.normal(0, 0.005, _EPOCHS) for point in points]))


def _mean(point: dict) -> np.ndarray:
    last = 0.7 - 0.05 * (math.log10(point["lr"]) + 3) ** 2 - 0.02 * (point["depth"] - 3) ** 2
    last -= 0.0 if point["act"] == "gelu" else 0.03
    return last - 0.2 / np.arange(1, _EPOCHS + 1)


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return Surrogate(_made_up())


def _contender(**options: object) -> Contender:
    return Contender(lambda _, seed: TPESampler(seed=seed), NopPruner, **options)


class _PruneAll(BasePruner):
    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return trial.number > 0 and trial.last_step == 2


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = _made_up(5)
    short = Curves({"lr": _SPACE["lr"]}, [{"lr": 0.5e-3}], np.array([[0.25, 0.5]]))
    curves.write(tmp_path / "curves.csv", {"a": written, "b": short}, {"machine": "a laptop"})
    assert json.loads((tmp_path / "curves.csv").read_text().splitlines()[0][2:])["machine"] == "a laptop"
    read = curves.read(tmp_path / "curves.csv")
    assert read["a"].distributions == _SPACE
    assert [(point["depth"], point["act"]) for point in read["a"].params] == [
        (point["depth"], point["act"]) for point in written.params
    ]
    assert isinstance(read["a"].params[0]["depth"], int)
    assert [point["lr"] for point in read["a"].params] == pytest.approx([p["lr"] for p in written.params], rel=1e-5)
    assert read["a"].values == pytest.approx(written.values, abs=1e-4)
    assert (read["b"].params, read["b"].values.tolist()) == ([{"lr": 0.5e-3}], [[0.25, 0.5]])


def test_of_a_study_only_whole_trials_are_collected(tmp_path: Path) -> None:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(storage=storage, direction="maximize")
    for reports, state in (([0.1, 0.2], None), ([0.3], None), ([0.4, 0.5], TrialState.PRUNED), ([0.6, 0.5], None)):
        trial = study.ask({"lr": _SPACE["lr"]})
        for step, value in enumerate(reports, 1):
            trial.report(value, step)
        study.tell(trial, None if state else max(reports), state=state)
    assert curves.collect(tmp_path / "study.journal").values.tolist() == [[0.1, 0.2], [0.6, 0.5]]


def test_the_surrogate_ranks_points_as_the_curves_do(surrogate: Surrogate) -> None:
    assert surrogate.rank_correlations()["best"] > 0.85
    assert surrogate.rank_correlations()["last"] > 0.85
    good, bad = {"lr": 1e-3, "depth": 3, "act": "gelu"}, {"lr": 9e-2, "depth": 1, "act": "relu"}
    assert surrogate.true_value(good) > surrogate.true_value(bad) + 0.1
    assert surrogate.true_value(good) == pytest.approx(0.7 - 0.2 / _EPOCHS, abs=0.02)


def test_shuffled_curves_have_no_rank_correlation() -> None:
    made = _made_up()
    shuffled = np.random.default_rng(1).permutation(made.values)
    assert abs(Surrogate(Curves(_SPACE, made.params, shuffled)).rank_correlations()["best"]) < 0.4


def test_no_point_is_better_than_the_best(surrogate: Surrogate) -> None:
    points = optuna.create_study(sampler=RandomSampler(seed=1))
    values = surrogate.true_values(surrogate.encoder.encode([points.ask(_SPACE).params for _ in range(500)]))
    assert values.max() <= surrogate.best
    assert surrogate.best < values.max() + 0.02


def test_a_run_has_noise_that_its_seed_and_point_fix(surrogate: Surrogate) -> None:
    point = {"lr": 1e-3, "depth": 3, "act": "gelu"}
    assert surrogate.run(point, 1).tolist() == surrogate.run(dict(reversed(point.items())), 1).tolist()
    assert surrogate.run(point, 1).tolist() != surrogate.run(point, 2).tolist()
    assert surrogate.run(point, 1).tolist() != surrogate.run({**point, "lr": 1.001e-3}, 1).tolist()
    best = [surrogate.run(point, seed).max() for seed in range(400)]
    assert np.mean(best) == pytest.approx(surrogate.true_value(point), abs=4 * np.std(best) / 20)
    assert np.std(best) > 0.001


def test_a_budget_is_epochs_of_all_workers_and_the_baseline_comes_first(surrogate: Surrogate) -> None:
    simulation = Simulation(surrogate, _contender(), seed=0, workers=2)
    done = simulation.run(budget=5 * _EPOCHS, every=_EPOCHS)
    assert len(done.regrets) == 5
    assert done.trials == {"COMPLETE": 4, "RUNNING": 2}
    assert simulation.study.trials[0].params == surrogate.curves.params[0]
    spent = [len(trial.intermediate_values) for trial in simulation.study.trials]
    assert sum(spent) == 5 * _EPOCHS
    assert done.regrets[0] == pytest.approx(surrogate.best - surrogate.true_value(surrogate.curves.params[0]))


def test_the_chosen_point_is_the_best_observed_of_completed_trials(surrogate: Surrogate) -> None:
    simulation = Simulation(surrogate, _contender(), seed=3, workers=2)
    done = simulation.run(budget=20 * _EPOCHS, every=_EPOCHS)
    best = simulation.study.best_trial
    assert best.value == max(best.intermediate_values.values())
    assert done.regrets[-1] == pytest.approx(surrogate.best - surrogate.true_value(best.params))


def test_a_pruned_trial_costs_its_epochs_and_is_never_chosen(surrogate: Surrogate) -> None:
    simulation = Simulation(surrogate, Contender(lambda _, seed: TPESampler(seed=seed), _PruneAll), seed=0, workers=1)
    done = simulation.run(budget=_EPOCHS + 8, every=1)
    assert done.trials == {"COMPLETE": 1, "PRUNED": 4}
    assert done.regrets[-1] == pytest.approx(surrogate.best - surrogate.true_value(surrogate.curves.params[0]))
    pruned = simulation.study.get_trials(states=(TrialState.PRUNED,))
    assert all(list(trial.intermediate_values) == [1, 2] for trial in pruned)


@pytest.mark.parametrize(("in_batches", "known"), [(True, 2), (False, 3)])
def test_batches_wait_for_all_workers(surrogate: Surrogate, in_batches: bool, known: int) -> None:
    """Where trial 1 is pruned after two epochs, the next one starts at once, or with the batch."""
    simulation = Simulation(
        surrogate, Contender(lambda _, seed: TPESampler(seed=seed), _PruneAll, in_batches), seed=0, workers=2
    )
    simulation.run(budget=7, every=1)
    assert len(simulation.study.trials) == known


def test_our_sampler_learns_in_a_simulation(surrogate: Surrogate) -> None:
    ours = Contender(lambda space, seed: ViewSampler(space, TPESampler(seed=seed, n_startup_trials=4)), _PruneAll)
    done = Simulation(surrogate, ours, seed=0, workers=2).run(budget=60)
    assert done.trials["PRUNED"] > 20


def test_the_command_keeps_studies_and_goes_on_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _made_up(20)
    long = Curves(_SPACE, made.params, np.repeat(made.values, 4, axis=1)[:, :20])
    curves.write(tmp_path / "curves.csv", {"made": long}, {})
    parser = ArgumentParser()
    searching.add_options(parser)
    options = parser.parse_args(
        f"--studies 2 --budget 40 --only {searching.OURS} --spaces made --curves {tmp_path / 'curves.csv'}"
        f" --folder {tmp_path / 'kept'} --out {tmp_path / 'out.json'}".split()
    )
    monkeypatch.setattr(searching, "ProcessPoolExecutor", _Here)
    searching.run(options)
    kept = sorted((tmp_path / "kept").rglob("*.json"))
    assert [file.name for file in kept] == ["0.json", "1.json"]
    kept[0].write_text(json.dumps({"regrets": [0.5] * 4, "trials": {"COMPLETE": 2}, "seconds": 1.0}))
    searching.run(options)
    (studies,) = json.loads((tmp_path / "out.json").read_text())["studies"]
    assert studies["regrets"][0] == [0.5] * 4
    assert (tmp_path / "kept" / "search.png").stat().st_size > 5000
    assert "n = 2 studies" in " ".join(capsys.readouterr().out.split())


class _Here:
    """Runs in this process what a pool would run in others."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> "_Here":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function, *arguments: object):
        from concurrent.futures import Future

        future: Future = Future()
        future.set_result(function(*arguments))
        return future


def test_early_values_that_order_runs_as_their_best_ones_do_and_those_that_do_not() -> None:
    values = np.array([[0.0, 0.3, 0.0, 0.4], [0.1, 0.2, 0.0, 0.5], [0.2, 0.1, 0.1, 0.6], [0.3, 0.0, 0.2, 0.7]])
    found = curves.early_correlations(values)
    assert list(found) == [1, 2, 3]
    assert (found[1], found[2]) == pytest.approx((1.0, -1.0))
    assert 0.8 < found[3] < 1.0


def test_regrets_are_averaged_over_studies() -> None:
    mean, error = searching.summarize([[0.5, 0.1], [0.5, 0.3]], spent=20)
    assert (mean, error) == pytest.approx((0.2, 0.1))


def test_a_sweep_reached_a_value_when_its_first_trial_as_good_ended() -> None:
    reached = sweeping.improvements([(30.0, 0.5), (10.0, 0.4), (20.0, 0.3), (40.0, 0.45)])
    assert reached == [(10.0, 0.4), (30.0, 0.5)]
    assert [sweeping.seconds_until(reached, value) for value in (0.4, 0.41, 0.51)] == [10.0, 30.0, math.inf]


def test_members_start_together_or_by_and_by(surrogate: Surrogate) -> None:
    together, staggered = (
        Simulation(surrogate, _contender(), seed=0, workers=6, starts=starts).run(math.inf, 1, trials=8)
        for starts in (None, 2)
    )
    assert together.trials == staggered.trials == {"COMPLETE": 8}
    assert together.spent == staggered.spent == 8 * _EPOCHS
    assert (together.duration, staggered.duration) == (2 * _EPOCHS, 2 * _EPOCHS)


def test_staggered_members_end_one_after_the_other(surrogate: Surrogate) -> None:
    done = Simulation(surrogate, _contender(), seed=0, workers=6, starts=1).run(math.inf, 1, trials=6)
    assert done.duration == 5 + _EPOCHS


def test_a_search_is_compared_by_places(
    surrogate: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    parser = ArgumentParser()
    places.add_options(parser)
    options = f"--studies 1 --trials 3 --places 1 2 --spaces made --out {tmp_path / 'out.json'}"
    monkeypatch.setattr(places, "ProcessPoolExecutor", _Here)
    monkeypatch.setattr(searching, "surrogate", lambda path, space: surrogate)
    places.run(parser.parse_args(options.split()))
    studies = json.loads((tmp_path / "out.json").read_text())["studies"]
    assert [(each["places"], each["staggered"]) for each in studies] == [(1, False), (2, False), (2, True)]
    assert [each["found"][0]["epochs"] for each in studies] == [3 * _EPOCHS] * 3
    assert [each["found"][0]["time"] for each in studies] == [3 * _EPOCHS, 2 * _EPOCHS, 2 * _EPOCHS]
    assert "n = 1 studies" in " ".join(capsys.readouterr().out.split())
