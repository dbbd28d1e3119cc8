"""Sweeps that train for real on the bundled digits, in this process. What needs no training is in test_sweeps.py."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from lightsweep.reports import finding
from lightsweep.reports import study as reporting_study
from lightsweep.reports.study_figures import StudyFigures
from tiny import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(tiny_sweep):
    return tiny_sweep


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_leaves_a_study_that_can_be_looked_at(sweep, study, tmp_path: Path) -> None:
    done = sweep("hydra.sweeper.n_trials=2", "hydra.sweeper.confirm=1")
    assert done.code == 0, done.err
    folder = tmp_path / "study"
    with (folder / "leaderboard.csv").open() as file:
        board = list(csv.DictReader(file))
    trials = study().trials
    assert {int(row["trial"]): float(row["value"]) for row in board} == {trial.number: trial.value for trial in trials}
    best = study().best_trial
    found = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert found == {"name": "optuna", "best_params": best.params, "best_value": best.value}
    for trial in trials:
        record = result(folder / f"trial-{trial.number:04d}")
        assert (record["kind"], record["status"]) == ("trial", "completed")
        assert record["best_value"] == trial.value
        assert trial.user_attrs["facts"]["val/acc"] == record["val/acc"]
        assert "test/acc" not in record
        assert list(trial.intermediate_values) == [1, 2]
    assert {path.name for path in folder.glob("**/checkpoints/*")} == {"best.ckpt"}
    confirmed = json.loads((folder / "confirmation.json").read_text())
    assert confirmed["best_trial"] == best.number
    name = "best" if "best" in confirmed else "baseline"  # which is not trained twice
    assert best.number == 0 or name == "best"
    assert {key: confirmed[key]["n"] for key in ("best", "baseline") if key in confirmed} == {name: 1, "baseline": 1}
    confirmation = result(folder / "confirm" / f"{name}-seed-101")
    assert (confirmation["kind"], confirmation["seed"]) == ("confirmation", 101)
    assert confirmation["test/acc"] == confirmed[name]["test/acc"]["mean"]
    assert confirmed["verdict"]["outcome"] == ("unclear" if name == "best" else "baseline")  # one seed tells nothing
    assert "--config-name best" not in done.out
    for line in confirmed["verdict"]["lines"]:
        assert line in done.out
        assert f"- {line}\n" in (folder / "leaderboard.md").read_text()
    assert "\n2 trials: 2 completed, 0 pruned, 0 failed, in " in done.out
    assert f"look at the sweep: python src/report.py {folder} --html {folder}/report.html" in done.out
    both = " and the baseline" if name == "best" else ""
    head = f"Confirmation of trial {best.number}{both}, seeds 101:"
    assert head in (folder / "leaderboard.md").read_text()
    assert sweep("hydra.sweeper.n_trials=3").code == 0
    assert head in (folder / "leaderboard.md").read_text()  # it stays, with the trial that it is about


def test_the_best_config_trains_with_one_command(sweep, launch, tmp_path: Path) -> None:
    assert sweep("hydra.sweeper.n_trials=2").code == 0
    where = ["--config-dir", f"{tmp_path}/study", "--config-name", "best", f"hydra.run.dir={tmp_path}/again"]
    done = launch(*where)
    assert done.code == 0, done.err
    found = yaml.safe_load((tmp_path / "study" / "optimization_results.yaml").read_text())
    again = result(tmp_path / "again")
    assert again["best_value"] == found["best_value"]  # the same seed on the same machine
    assert again["config"]["optimizer"]["lr"] == found["best_params"]["optimizer.lr"]
    assert "test/acc" in again


def test_any_trial_trains_again_with_one_command(sweep, launch, tmp_path: Path) -> None:
    assert sweep("hydra.sweeper.n_trials=3", "hydra.sweeper.confirm=1").code == 0
    for name in ("trial-0001", "confirm/best-seed-101"):
        folder = tmp_path / "study" / name
        again = tmp_path / "again" / folder.name
        done = launch("--config-dir", str(folder), "--config-name", "repeat", f"hydra.run.dir={again}")
        assert done.code == 0, done.err
        assert result(again)["best_value"] == result(folder)["best_value"]
        assert result(again)["config"]["optimizer"] == result(folder)["config"]["optimizer"]
        assert result(again)["seed"] == result(folder)["seed"]


def test_a_trial_that_lags_is_pruned(sweep, study, tmp_path: Path) -> None:
    pruner = ("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1")
    more = (
        "hydra.sweeper.pruner.n_warmup_steps=2",
        "hydra.sweeper.pruner.n_min_trials=1",
        "trainer.max_epochs=3",
        "data.batch_size=16",
    )
    slow = "{optimizer.lr:1e-6,model.width:8,model.dropout:0.5}"
    fast = "{optimizer.lr:0.03,optimizer.weight_decay:1e-5,model.width:16,model.dropout:0}"
    points = f"hydra.sweeper.enqueue=[{fast},{slow}]"
    done = sweep("hydra.sweeper.n_trials=3", points, *pruner, *more, "optimizer.lr=tag(log,interval(1e-6,1e-1))")
    assert done.code == 0, done.err
    lagging = study().trials[2]
    assert lagging.state == TrialState.PRUNED
    assert lagging.last_step == 2
    record = result(tmp_path / "study" / "trial-0002")
    assert (record["status"], record["epochs"]) == ("pruned", 2)
    assert len(set(values_of_a_pruned_trial(tmp_path / "study", lagging))) == 1
    (line,) = (line for line in done.out.splitlines() if line.startswith("trial 2 "))
    assert f"{lagging.value:.4f} after step 2" in line


def values_of_a_pruned_trial(folder: Path, trial: FrozenTrial) -> list[float]:
    """Its value in the study, the leaderboard, the tables of reports and the page's figures, to the digit."""
    with (folder / "leaderboard.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if row["state"] == "pruned")
    found = finding.fold_seeds(finding.find_runs([folder]).runs)
    (run,) = (run for run in found if run.status == "pruned")
    figures = StudyFigures(reporting_study.find_study(folder, None), "val/acc")
    (marks,) = (trace for trace in figures.history()["data"] if trace["name"] == "pruned")
    return [trial.value, float(row["value"]), run.value, *marks["y"]]


def test_a_pruned_trial_over_seeds_has_one_value_too(sweep, study, tmp_path: Path) -> None:
    points = (
        "hydra.sweeper.enqueue=[{optimizer.lr:0.03,optimizer.weight_decay:1e-5,model.dropout:0},{optimizer.lr:1e-6}]"
    )
    done = sweep(
        "optimizer.lr=tag(log,interval(1e-6,1e-1))",
        "hydra.sweeper.n_trials=3",
        "data.batch_size=16",
        "hydra.sweeper.seeds=[3,4]",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.pruner.n_warmup_steps=0",
        "hydra.sweeper.pruner.n_min_trials=1",
        points,
    )
    assert done.code == 0, done.err
    pruned = study().trials[2]
    assert pruned.state == TrialState.PRUNED
    assert len(set(values_of_a_pruned_trial(tmp_path / "study", pruned))) == 1


def test_several_seeds_make_one_value(sweep, study, tmp_path: Path) -> None:
    done = sweep("hydra.sweeper.n_trials=1", "hydra.sweeper.seeds=[1,2]")
    assert done.code == 0, done.err
    folder = tmp_path / "study" / "trial-0000"
    seeds = [result(folder / f"seed-{seed}") for seed in (1, 2)]
    assert [(record["kind"], record["seed"]) for record in seeds] == [("seed", 1), ("seed", 2)]
    values = [record["best_value"] for record in seeds]
    trial = study().trials[0]
    assert trial.value == sum(values) / 2
    assert trial.user_attrs["facts"]["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert list(trial.intermediate_values) == [1]  # the steps are seeds, and after the last there is nothing to prune
    whole = result(folder)
    assert (whole["kind"], whole["status"], whole["values"]) == ("trial", "completed", values)


def test_a_divergence_is_a_failure(sweep, study) -> None:
    points = "hydra.sweeper.enqueue=[{optimizer.lr:1e30}]"
    done = sweep("optimizer=sgd", "optimizer.lr=tag(log,interval(1e-3,1e31))", "hydra.sweeper.n_trials=2", points)
    assert done.code == 0, done.err
    assert study().trials[1].state == TrialState.FAIL
    assert "at a learning rate of 1e+30" in study().trials[1].user_attrs["error"]


def test_the_official_sweeper_works_unchanged(launch, tmp_path: Path) -> None:
    small = [line for line in TINY if not line.startswith("hydra.")]
    done = launch(
        "-m",
        "data=digits",
        *small,
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        f"hydra.sweep.dir={tmp_path}/official",
    )
    assert done.code == 0, done.err
    found = yaml.safe_load((tmp_path / "official" / "optimization_results.yaml").read_text())
    records = [result(*(tmp_path / "official").glob(f"{number}-*")) for number in range(2)]
    assert found["best_value"] == max(record["best_value"] for record in records)  # it maximises
    assert all(record["kind"] == "job" and "test/acc" not in record for record in records)


def test_f1_can_be_what_is_searched_for_with_averaged_weights_from_an_earlier_run(
    sweep, study, run, tmp_path: Path
) -> None:
    earlier = run("model.width=8", "trainer.max_epochs=1").folder / "checkpoints" / "last.ckpt"
    how = ("monitor.metric=val/f1", "callbacks=[default,ema]", "callbacks.ema.decay=0.5", f"init_from={earlier}")
    done = sweep(*how, "model.width=8", "hydra.sweeper.n_trials=2", "hydra.sweeper.confirm=1")
    assert done.code == 0, done.err
    for trial in study().trials:
        record = result(tmp_path / "study" / f"trial-{trial.number:04d}")
        assert trial.value == record["best_value"] == pytest.approx(record["val/f1"])
    assert study().direction.name == "MAXIMIZE"
    assert "val/f1" in next(line for line in done.out.splitlines() if line.startswith("configuration"))
