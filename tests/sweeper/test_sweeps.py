"""Whole sweeps in this process, through the command line, on the bundled digits."""

import csv
import json
import sys
from pathlib import Path

import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from lightsweep.reports import finding
from lightsweep.reports import study as reporting_study
from lightsweep.reports.study_figures import StudyFigures
from lightsweep.sweeper.executors.local_jobs import share_of_gpus
from tiny import TINY


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
    confirmed = json.loads((folder / "confirmation.json").read_text())
    assert confirmed["best_trial"] == best.number
    name = "best" if best.number else "baseline"  # which is not trained twice
    assert {key: confirmed[key]["n"] for key in ("best", "baseline") if key in confirmed} == {name: 1, "baseline": 1}
    confirmation = result(folder / "confirm" / f"{name}-seed-101")
    assert (confirmation["kind"], confirmation["seed"]) == ("confirmation", 101)
    assert confirmation["test/acc"] == confirmed[name]["test/acc"]["mean"]
    assert confirmed["verdict"]["outcome"] == ("unclear" if best.number else "baseline")  # one seed tells nothing
    assert "--config-name best" not in done.out
    for line in confirmed["verdict"]["lines"]:
        assert line in done.out
        assert f"- {line}\n" in (folder / "leaderboard.md").read_text()
    assert "\n2 trials: 2 completed, 0 pruned, 0 failed, in " in done.out
    assert f"look at the sweep: python src/report.py {folder} --html {folder}/report.html" in done.out
    both = " and the baseline" if best.number else ""
    head = f"Confirmation of trial {best.number}{both} on test data, seeds 101:"
    assert head in (folder / "leaderboard.md").read_text()
    assert sweep("hydra.sweeper.n_trials=3").code == 0
    assert head in (folder / "leaderboard.md").read_text()  # it stays, with the trial that it is about


def test_the_first_trial_is_the_config_as_it_stands(sweep, study) -> None:
    done = sweep("hydra.sweeper.n_trials=1", "model.dropout=interval(0.2,0.5)")
    assert done.code == 0
    first = study().trials[0]
    assert first.user_attrs["baseline"] is True
    assert first.params["optimizer.lr"] == 1e-2
    assert first.params["model.dropout"] == 0.2
    outside = "model.dropout=0.0 lies outside the space, 0.2 is searched from"
    assert outside in first.user_attrs["note"]
    (line,) = (line for line in done.out.splitlines() if line.startswith("trial 0 "))
    assert "(baseline; " in line
    assert outside in line


def test_points_that_the_user_names_come_next(sweep, study) -> None:
    points = "hydra.sweeper.enqueue=[{model.width:16,optimizer.lr:0.02}]"
    assert sweep("hydra.sweeper.n_trials=2", points).code == 0
    assert study().trials[1].params["optimizer.lr"] == 0.02
    assert study().trials[1].params["model.width"] == 16


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


def test_the_best_config_lacks_what_the_sweep_took_away(sweep, launch, tmp_path: Path) -> None:
    typed = ("callbacks=[checkpoint,progress]", "~trainer.log_every_n_steps")
    assert sweep("hydra.sweeper.n_trials=1", *typed).code == 0
    where = ["--config-dir", f"{tmp_path}/study", "--config-name", "best", f"hydra.run.dir={tmp_path}/again"]
    done = launch(*where)
    assert done.code == 0, done.err
    trial, again = (result(tmp_path / place)["config"] for place in ("study/trial-0000", "again"))
    assert list(again["callbacks"]) == ["checkpoint", "progress"]
    assert again["trainer"] == trial["trainer"]


@pytest.mark.parametrize("way", ["folder", "path"])
def test_the_best_config_finds_a_choice_of_ones_own(launch, tmp_path: Path, way: str) -> None:
    own = tmp_path / "own" / "model"
    own.mkdir(parents=True)
    (own / "small.yaml").write_text("defaults: [mlp, _self_]\nwidth: 8\n")
    study = ("sweep=quick", f"hydra.sweep.dir={tmp_path}/study", *TINY, "hydra.sweeper.n_trials=1", "~model.width")
    where = {"folder": ["--config-dir", str(own.parent)], "path": [f"hydra.searchpath=['file://{own.parent}']"]}[way]
    found = launch(*where, *study, "model=small")
    assert found.code == 0, found.err
    done = launch("--config-dir", f"{tmp_path}/study", "--config-name", "best", f"hydra.run.dir={tmp_path}/again")
    assert done.code == 0, done.err
    assert result(tmp_path / "again")["config"]["model"]["width"] == 8


def test_a_sweep_over_optimizers_with_one_of_them_searches_what_goes_with_it(launch, study, tmp_path: Path) -> None:
    tiny = [line for line in TINY if not line.startswith("optimizer")]
    done = launch(
        *("sweep=optimizers", "optimizer=sgd", "data=digits", "hydra.sweeper.n_trials=2"),
        *(f"hydra.sweep.dir={tmp_path}/study", *tiny),
    )
    assert done.code == 0, done.err
    for trial in study("optimizers").trials:
        assert set(trial.params) >= {"optimizer=sgd:optimizer.lr", "optimizer=sgd:optimizer.momentum"}


@pytest.fixture
def sweep_when(launch, tmp_path: Path):
    """Run one trial of ``sweep=quick`` with conditions of its own, from a file: the command line has no way to."""

    def run(conditions: str):
        own = tmp_path / "own" / "sweep"
        own.mkdir(parents=True)
        head = "# @package _global_\ndefaults: [quick, _self_]\n"
        (own / "mine.yaml").write_text(f"{head}hydra: {{sweeper: {{n_trials: 1, when: {conditions}}}}}\n")
        return launch("--config-dir", str(own.parent), "sweep=mine", f"hydra.sweep.dir={tmp_path}/study", *TINY)

    return run


@pytest.mark.parametrize("condition", ["loss.l2=0", "model.hidden=null", "optimizer=sgd"])
def test_a_condition_holds_as_the_config_has_it(sweep_when, study, condition: str) -> None:
    conditions = f"{{{condition}: {{optimizer.momentum: 'interval(0.1,0.9)'}}, loss.l2=1: {{seed: 'choice(1,2)'}}}}"
    done = sweep_when(conditions)
    assert done.code == 0, done.err
    (trial,) = study().trials
    assert f"{condition}:optimizer.momentum" in trial.params
    assert "loss.l2=1:seed" not in trial.params


@pytest.mark.parametrize("condition", ["optimiser=sgd", "optimizer=sgdd", "loss.l3=1"])
def test_a_condition_that_is_misspelt_is_refused(sweep_when, tmp_path: Path, condition: str) -> None:
    done = sweep_when(f"{{{condition}: {{optimizer.lr: 'interval(0.1,0.2)'}}}}")
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1
    assert condition.partition("=")[0] in done.err
    assert not (tmp_path / "study" / "trial-0000").exists()


def test_a_trial_that_lags_is_pruned(sweep, study, tmp_path: Path) -> None:
    pruner = ("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1")
    more = (
        "hydra.sweeper.pruner.n_warmup_steps=2",
        "hydra.sweeper.pruner.n_min_trials=1",
        "trainer.max_epochs=3",
        "data.batch_size=16",
    )
    slow = "{optimizer.lr:1e-6,model.width:8,model.dropout:0.5}"
    points = f"hydra.sweeper.enqueue=[{{optimizer.lr:0.03,model.width:16,model.dropout:0}},{slow}]"
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
    points = "hydra.sweeper.enqueue=[{optimizer.lr:0.03,model.width:16},{optimizer.lr:1e-6,model.width:16}]"
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


def test_wilcoxons_pruner_gives_up_a_worse_configuration(sweep, study, tmp_path: Path) -> None:
    points = "hydra.sweeper.enqueue=[{optimizer.lr:0.03,model.width:16},{optimizer.lr:1e-6,model.width:16}]"
    done = sweep(
        "optimizer=adamw",
        "optimizer.lr=tag(log,interval(1e-6,1e-1))",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.seeds=[1,2,3,4,5]",
        "hydra/sweeper/pruner=wilcoxon",
        "hydra.sweeper.pruner.p_threshold=0.3",
        "trainer.max_epochs=3",
        points,
    )
    assert done.code == 0, done.err
    assert study().trials[2].state == TrialState.PRUNED
    assert 2 <= len(list((tmp_path / "study" / "trial-0002").glob("seed-*"))) < 5


def test_conditions_hold_in_a_real_sweep(launch, study, tmp_path: Path) -> None:
    done = launch(
        "sweep=optimizers",
        "data=digits",
        *(line for line in TINY if not line.startswith("model.width")),
        "model.width=8",
        f"hydra.sweep.dir={tmp_path}/study",
        "hydra.sweeper.n_trials=4",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=3",
    )
    assert done.code == 0, done.err
    for trial in study("optimizers").trials:
        optimizer = trial.params["optimizer"]
        assert f"optimizer={optimizer}:optimizer.lr" in trial.params
        config = yaml.safe_load((tmp_path / "study" / f"trial-{trial.number:04d}" / "config.yaml").read_text())
        assert config["optimizer"]["_target_"].rpartition(".")[2].lower() == optimizer
        assert config["optimizer"]["lr"] == trial.params[f"optimizer={optimizer}:optimizer.lr"]


def test_failed_trials_are_told_with_their_last_line_and_end_the_sweep(sweep, study) -> None:
    done = sweep("hydra.sweeper.n_trials=6", "hydra.sweeper.max_failures=2", "model.activation=foo")
    assert done.code == 1
    assert "2 trials failed in a row, the sweep stops" in done.err
    assert "model.activation must be one of relu" in done.err
    states = [trial.state for trial in study().trials if trial.state != TrialState.WAITING]
    assert states == [TrialState.FAIL, TrialState.FAIL]


def test_a_sweep_whose_trials_all_fail_says_so(sweep) -> None:
    done = sweep("hydra.sweeper.n_trials=2", "model.activation=foo")
    assert done.code == 1
    assert "none of 2 trials was completed" in done.err


def test_a_divergence_is_a_failure(sweep, study) -> None:
    points = "hydra.sweeper.enqueue=[{optimizer.lr:1e30}]"
    done = sweep("optimizer=sgd", "optimizer.lr=tag(log,interval(1e-3,1e31))", "hydra.sweeper.n_trials=2", points)
    assert done.code == 0, done.err
    assert study().trials[1].state == TrialState.FAIL
    assert "at a learning rate of 1e+30" in study().trials[1].user_attrs["error"]


def test_the_same_command_again_does_nothing_more(sweep, study) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    assert len(study().trials) == 1


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        ("trainer.max_epochs=1", "trainer.max_epochs was 2, is 1"),
        ("model.width=choice(8,16,32)", "model.width was"),
        ("monitor.metric=train/acc", "monitor.metric was val/acc, is train/acc"),
        ("hydra.sweeper.seeds=[3]", "hydra.sweeper.seeds was None, is [3]"),
    ],
)
def test_a_changed_study_is_refused_with_the_difference(sweep, study, override: str, difference: str) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    done = sweep("hydra.sweeper.n_trials=2", override)
    assert done.code == 1
    assert difference in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert len(study().trials) == 1
    assert sweep("hydra.sweeper.n_trials=2", override, "hydra.sweeper.allow_changed_space=true").code == 0


def test_a_study_of_an_earlier_version_goes_on_though_its_mode_was_set(sweep, study) -> None:
    """It says max where a config now says that the mode follows from the metric."""
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    begun = study()
    followed = {"callbacks.checkpoint.mode": "${monitor.mode}", "scheduler.mode": "${monitor.mode}"}
    begun.set_user_attr("config", begun.user_attrs["config"] | {"monitor.mode": "max"} | followed)
    done = sweep("hydra.sweeper.n_trials=2")
    assert (done.code, len(study().trials)) == (0, 2), done.err


def test_a_loss_is_minimised_without_a_word(sweep, study) -> None:
    assert sweep("hydra.sweeper.n_trials=2", "monitor.metric=val/loss").code == 0
    assert study().direction.name == "MINIMIZE"


def test_what_is_fixed_below_a_searched_group_may_not_change_either(sweep) -> None:
    searched = ("optimizer=choice(adam,adamw)", "hydra.sweeper.n_trials=1")
    assert sweep(*searched, "optimizer.weight_decay=0.1").code == 0
    done = sweep(*searched, "optimizer.weight_decay=0.9")
    assert done.code == 1
    assert "optimizer.weight_decay was 0.1, is 0.9" in done.err


@pytest.mark.parametrize("pruner", ["none", "median", "percentile", "successive_halving", "hyperband", "patient"])
def test_every_pruner_can_be_chosen_over_the_sweep_files(sweep, pruner: str) -> None:
    done = sweep("hydra.sweeper.n_trials=1", f"hydra/sweeper/pruner={pruner}")
    assert done.code == 0, done.err


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsgaii", "gp"])
def test_the_official_samplers_can_be_chosen(sweep, sampler: str) -> None:
    done = sweep("hydra.sweeper.n_trials=2", f"hydra/sweeper/sampler={sampler}")
    assert done.code == 0, done.err


def test_a_grid_is_visited_whole(launch, study, tmp_path: Path) -> None:
    done = launch(
        "sweep=custom",
        "data=digits",
        *TINY,
        "model.bn=choice(true,false)",
        f"hydra.sweep.dir={tmp_path}/study",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_trials=100",
    )
    assert done.code == 0, done.err
    points = {(trial.params["model.width"], trial.params["model.bn"]) for trial in study("custom").trials}
    assert points == {(8, True), (8, False), (16, True), (16, False)}


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials must be an integer >= 1, got 0"),
        (["hydra.sweeper.n_jobs=-1"], "hydra.sweeper.n_jobs must be an integer in [0, 1000], got -1"),
        (["hydra.sweeper.seeds=[1,1]"], "hydra.sweeper.seeds must be a list of different integers >= 0"),
        (["hydra.sweeper.timeout=0"], "hydra.sweeper.timeout must be > 0, got 0"),
        (["hydra.sweeper.direction=up"], "hydra.sweeper.direction must be one of minimize, maximize, got 'up'"),
        (["hydra.sweeper.ntrials=3"], "did you mean hydra.sweeper.n_trials?"),
        (["monitor.metric=val/accc"], "monitor.metric must be one of"),
        (["model.widht=choice(1,2)"], "did you mean model.width?"),
        (["model.widht=3"], "did you mean model.width?"),
        (["optimizer.lr=interval(1,0)"], "optimizer.lr=interval(1,0): `low <= high` must hold"),
        (["optimizer=foo"], "optimizer=foo: there is no such choice; there is adam, adam_keras, adamw, "),
        (["hydra/sweeper/pruner=foo"], "hydra/sweeper/pruner=foo: there is no such choice; there is hyperband"),
        (["hydra/sweeper/pruner=wilcoxon"], "needs hydra.sweeper.seeds with at least two seeds"),
        (["hydra.sweeper.pruner.n_startup_trials=-1"], "hydra.sweeper.pruner: Number of startup trials"),
        (["hydra.sweeper.storage=sqlite:////nowhere/x.db"], "hydra.sweeper.storage: sqlite:////nowhere/x.db cannot be"),
        (["hydra.sweeper.enqueue=[{model.width:9}]"], "hydra.sweeper.enqueue must lie inside the space"),
        (["hydra.sweeper.enqueue=[{model.widht:8}]"], "hydra.sweeper.enqueue must name searched keys, got model.widht"),
        (["hydra.sweeper.custom_search_space=os.system"], "hydra.sweeper.custom_search_space"),
        (["model.hidden=[8]"], "model.hidden replaces model.width"),
    ],
)
def test_what_is_wrong_is_one_line_before_the_first_trial(sweep, tmp_path: Path, overrides, line: str) -> None:
    done = sweep(*overrides)
    assert done.code == 1
    assert line in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not list((tmp_path / "study").glob("trial-*"))


def test_a_sampler_that_is_not_installed_is_named(sweep, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    done = sweep("hydra/sweeper/sampler=cmaes")
    assert done.code == 1
    assert "hydra/sweeper/sampler=cmaes needs the package cmaes" in done.err


def test_trials_without_their_study_are_not_written_over(sweep, tmp_path: Path) -> None:
    (tmp_path / "study" / "trial-0000").mkdir(parents=True)
    done = sweep("hydra.sweeper.n_trials=1")
    assert done.code == 1
    assert "holds trials that the study 'quick' does not know" in done.err


def test_nor_are_those_of_another_study_that_has_more_of_them(sweep, tmp_path: Path) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    (tmp_path / "study" / "trial-0003").mkdir()
    done = sweep("hydra.sweeper.n_trials=2")
    assert done.code == 1
    assert "holds trials that the study 'quick' does not know" in done.err


@pytest.mark.parametrize(
    ("index", "gpus", "visible", "share"),
    [(0, 0, None, None), (0, 2, None, "0"), (3, 2, None, "1"), (1, 2, "4,7", "7"), (2, 2, "4,7", "4")],
)
def test_workers_are_dealt_out_over_the_gpus(index: int, gpus: int, visible: str | None, share: str | None) -> None:
    assert share_of_gpus(index, gpus, visible) == share


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
