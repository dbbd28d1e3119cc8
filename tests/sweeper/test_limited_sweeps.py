"""Sweeps with constraints, and with an end before their total, in this process."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from lightsweep.sweeper.constraints import MOST_IN_A_ROW
from lightsweep.sweeper.status import read_status
from lightsweep.sweeper.trials import count_ended, is_untried

# On digits two layers of 8 units have 682 parameters, of 16 units 1,482, of 256 units 85,002 (the baseline).
SIZES = {8: 682, 16: 1482}
RANDOM = ("hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1")


def bounded(*bounds: str) -> str:
    return f"hydra.sweeper.constraints={{{', '.join(bounds)}}}"


def test_a_network_that_is_too_large_is_not_trained_and_what_was_known_is_what_the_run_counts(
    tiny_sweep, study, tmp_path: Path
) -> None:
    enqueued = "hydra.sweeper.enqueue=[{model.width: 8}, {model.width: 16}]"
    done = tiny_sweep(bounded("params: '<= 1000'"), enqueued, *RANDOM, "hydra.sweeper.n_trials=2")
    assert done.code == 0, done.err
    found = study().trials
    assert count_ended(found) == 2
    closed = {trial.number for trial in found if is_untried(trial)}
    assert closed == {trial.number for trial in found if trial.params["model.width"] == 16} != set()
    assert not [number for number in closed if (tmp_path / f"study/trial-{number:04d}").exists()]
    for trial in found:
        size = SIZES[trial.params["model.width"]]
        assert trial.user_attrs["facts"]["params"] == size
        assert trial.constraints == {"params": pytest.approx((size - 1000) / 1000)}
    assert "(enqueued) is not run: params 1482 > 1000" in done.out
    assert "would have violated hydra.sweeper.constraints: not run" in done.out
    board = (tmp_path / "study/leaderboard.md").read_text()
    assert "infeasible: params 1482 > 1000" in board


def test_a_trial_that_turns_out_to_violate_a_constraint_is_not_the_best(toy_sweep, study, tmp_path: Path) -> None:
    done = toy_sweep(bounded("val/acc: '<= 0.9'"), *RANDOM, "hydra.sweeper.n_trials=8")
    assert done.code == 0, done.err
    found = study()
    assert max(trial.value for trial in found.trials) > 0.9 >= found.best_value
    best = (tmp_path / "study/optimization_results.yaml").read_text()
    assert f"best_value: {found.best_value}" in best
    assert "infeasible: val/acc" in (tmp_path / "study/leaderboard.csv").read_text()


def test_no_trial_within_the_constraints_is_an_error_that_names_the_nearest(toy_sweep, study) -> None:
    done = toy_sweep(bounded("val/acc: '>= 2'"), *RANDOM, "hydra.sweeper.n_trials=3")
    assert done.code == 1
    nearest = max(study().trials, key=lambda trial: trial.value)
    assert done.err.splitlines()[-1].startswith(
        f"none of 3 trials meets hydra.sweeper.constraints; the nearest is trial {nearest.number}, val/acc"
    )


def test_a_constraint_that_no_point_meets_ends_the_sweep_before_any_training(toy_sweep, study, tmp_path: Path) -> None:
    space = ("~model.width", "~optimizer.lr", "~optimizer.weight_decay", "model.dropout=interval(0,0.5)")
    done = toy_sweep(bounded("params: '<= 10'"), *space, *RANDOM)
    assert done.code == 1
    found = study().trials
    assert len(found) == MOST_IN_A_ROW
    assert all(map(is_untried, found))
    assert "meets hydra.sweeper.constraints; the nearest is trial 0, params " in done.err.splitlines()[-1]
    assert not list((tmp_path / "study").glob("trial-*"))


def test_what_was_never_recorded_is_one_line_at_the_first_trial(toy_sweep, study) -> None:
    done = toy_sweep(bounded("best_epoch: '<= 1e3'"), *RANDOM)
    assert done.code == 1
    line = "hydra.sweeper.constraints.best_epoch: a trial must return or record best_epoch as a number, got only"
    assert done.err.splitlines()[-1].startswith(line)
    assert len([trial for trial in study().trials if trial.state == TrialState.FAIL]) == 1


def test_a_study_keeps_its_constraints(toy_sweep) -> None:
    typed = (*RANDOM, "hydra.sweeper.n_trials=2")
    assert toy_sweep(bounded("val/acc: '<= 0.9'"), *typed).code == 0
    for other in ((), (bounded("val/acc: '<= 0.8'"),)):
        done = toy_sweep(*other, *typed)
        assert done.code == 1
        assert "hydra.sweeper.constraints was {'val/acc': '<= 0.9'}, is " in done.err


def test_a_function_that_does_not_exist_is_refused_before_the_first_trial(toy_sweep, tmp_path: Path) -> None:
    done = toy_sweep(bounded("params: '<= 10'"), "hydra.sweeper.foresee={params: no.such.function}")
    assert done.code == 1
    assert "hydra.sweeper.foresee" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_what_no_trial_measures_is_refused_before_the_first(toy_sweep, tmp_path: Path) -> None:
    done = toy_sweep(bounded("parms: '<= 10'"))
    assert done.code == 1
    assert done.err.startswith("hydra.sweeper.constraints must name what a trial measures, ")
    assert done.err.endswith("; got parms; did you mean params?\n")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("setting", ["target=0.5", "patience=3"])
def test_an_early_end_needs_one_objective(toy_sweep, setting: str) -> None:
    done = toy_sweep("hydra.sweeper.objectives={val/acc: maximize, params: minimize}", f"hydra.sweeper.{setting}")
    assert done.code == 1
    key = setting.partition("=")[0]
    assert done.err == f"hydra.sweeper.{key} needs one objective, got val/acc and params\n"


def test_a_target_that_is_reached_ends_the_sweep_and_the_same_command_starts_nothing_more(toy_sweep, study) -> None:
    typed = ("hydra.sweeper.target=0.5", *RANDOM, "hydra.sweeper.n_trials=30")
    done = toy_sweep(*typed)
    assert done.code == 0, done.err
    found = study()
    reached = [trial.number for trial in found.trials if trial.value >= 0.5]
    assert reached == [len(found.trials) - 1]
    count = f"{len(found.trials)} trial{'s' * (len(found.trials) > 1)}"
    line = f"hydra.sweeper.target=0.5 is reached: the sweep ends with {count} of 30"
    assert line in done.out
    status = read_status(found)
    assert (status.state, status.why) == ("finished", found.user_attrs["over"]["why"])
    assert line in toy_sweep(*typed).out
    assert len(study().trials) == len(found.trials)


def test_patience_ends_the_sweep(toy_sweep, study) -> None:
    done = toy_sweep("hydra.sweeper.patience=3", "hydra.sweeper.min_delta=5", *RANDOM, "hydra.sweeper.n_trials=30")
    assert done.code == 0, done.err
    why = "3 completed trials have not improved val/acc by more than 5 (hydra.sweeper.patience=3)"
    assert f"{why}: the sweep ends with 4 trials of 30" in done.out
    assert len(study().trials) == 4


@pytest.mark.parametrize("seeds", ["null", "[1,2]"])
def test_a_trial_that_takes_too_long_is_pruned_and_not_tried_again(
    toy_sweep, study, monkeypatch, tmp_path: Path, seeds: str
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "30")
    typed = ("hydra.sweeper.trial_timeout=0.3", f"hydra.sweeper.seeds={seeds}", "hydra.sweeper.seed_key=seed")
    done = toy_sweep(*typed, *RANDOM, "hydra.sweeper.n_trials=2")
    assert done.code == 1
    found = study().trials
    note = "its time is over (hydra.sweeper.trial_timeout=0.3)"
    assert [(trial.state, trial.user_attrs["error"]) for trial in found] == [(TrialState.PRUNED, note)] * 2
    assert not [trial for trial in found if "retries" in trial.user_attrs or trial.user_attrs.get("interrupted")]
    assert note in (tmp_path / "study/leaderboard.csv").read_text()
