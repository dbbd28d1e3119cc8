"""Sweeps through the command line in this process, of runs that return a number (tests/toy.py) and train nothing."""

import sys
from pathlib import Path

import pytest
import yaml
from optuna.trial import TrialState

import toy
from lightsweep.sweeper.executors.worker_process import share_of_gpus
from lightsweep.sweeper.status import read_status
from tiny import TINY


@pytest.fixture
def sweep(toy_sweep):
    return toy_sweep


def config(folder: Path) -> dict:
    """A run's config, as Hydra records it."""
    return yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())


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


def test_the_best_config_lacks_what_the_sweep_took_away(sweep, launch, tmp_path: Path) -> None:
    typed = ("callbacks=[checkpoint,progress]", "~trainer.log_every_n_steps")
    assert sweep("hydra.sweeper.n_trials=1", *typed).code == 0
    where = ["--config-dir", f"{tmp_path}/study", "--config-name", "best", f"hydra.run.dir={tmp_path}/again"]
    done = launch(*where, main=toy.main)
    assert done.code == 0, done.err
    trial, again = (config(tmp_path / place) for place in ("study/trial-0000", "again"))
    assert list(again["callbacks"]) == ["checkpoint", "progress"]
    assert again["trainer"] == trial["trainer"]


@pytest.mark.parametrize("way", ["folder", "path"])
def test_the_best_config_finds_a_choice_of_ones_own(launch, tmp_path: Path, way: str) -> None:
    own = tmp_path / "own" / "model"
    own.mkdir(parents=True)
    (own / "small.yaml").write_text("defaults: [mlp, _self_]\nwidth: 8\n")
    study = ("sweep=quick", f"hydra.sweep.dir={tmp_path}/study", *TINY, "hydra.sweeper.n_trials=1", "~model.width")
    where = {"folder": ["--config-dir", str(own.parent)], "path": [f"hydra.searchpath=['file://{own.parent}']"]}[way]
    found = launch(*where, *study, "model=small", main=toy.main)
    assert found.code == 0, found.err
    best = ("--config-dir", f"{tmp_path}/study", "--config-name", "best")
    done = launch(*best, f"hydra.run.dir={tmp_path}/again", main=toy.main)
    assert done.code == 0, done.err
    assert config(tmp_path / "again")["model"]["width"] == 8


def test_a_sweep_over_optimizers_with_one_of_them_searches_what_goes_with_it(launch, study, tmp_path: Path) -> None:
    tiny = [line for line in TINY if not line.startswith("optimizer")]
    done = launch(
        *("sweep=optimizers", "optimizer=sgd", "data=digits", "hydra.sweeper.n_trials=2"),
        *(f"hydra.sweep.dir={tmp_path}/study", *tiny),
        main=toy.main,
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
        where = ("--config-dir", str(own.parent), f"hydra.sweep.dir={tmp_path}/study")
        return launch(*where, "sweep=mine", *TINY, main=toy.main)

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


def test_wilcoxons_pruner_gives_up_a_worse_configuration(sweep, study, tmp_path: Path) -> None:
    done = sweep(
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.seeds=[1,2,3,4,5]",
        "hydra/sweeper/pruner=wilcoxon",
        "hydra.sweeper.pruner.p_threshold=0.3",
        "hydra.sweeper.enqueue=[{model.dropout:0.3,optimizer.lr:0.003},{model.dropout:0.0,optimizer.lr:0.5}]",
    )
    assert done.code == 0, done.err
    assert study().trials[2].state == TrialState.PRUNED
    assert 2 <= len(list((tmp_path / "study" / "trial-0002").glob("seed-*"))) < 5


def test_each_trial_gets_what_goes_with_its_choice(launch, study, tmp_path: Path) -> None:
    done = launch(
        "sweep=optimizers",
        "data=digits",
        *(line for line in TINY if not line.startswith("model.width")),
        "model.width=8",
        f"hydra.sweep.dir={tmp_path}/study",
        "hydra.sweeper.n_trials=4",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=3",
        main=toy.main,
    )
    assert done.code == 0, done.err
    for trial in study("optimizers").trials:
        optimizer = trial.params["optimizer"]
        assert f"optimizer={optimizer}:optimizer.lr" in trial.params
        used = config(tmp_path / "study" / f"trial-{trial.number:04d}")["optimizer"]
        assert used["_target_"].rpartition(".")[2].lower() == optimizer
        assert used["lr"] == trial.params[f"optimizer={optimizer}:optimizer.lr"]


def test_failed_trials_are_told_with_their_last_line_and_end_the_sweep(sweep, study, monkeypatch) -> None:
    monkeypatch.setenv("TOY_FAIL", "8,16")
    done = sweep("hydra.sweeper.n_trials=6", "hydra.sweeper.max_failures=2")
    assert done.code == 1
    assert "2 trials failed in a row, the sweep stops" in done.err
    assert "is unlucky" in done.err
    states = [trial.state for trial in study().trials if trial.state != TrialState.WAITING]
    assert states == [TrialState.FAIL, TrialState.FAIL]


def test_a_sweep_whose_trials_all_fail_says_so(sweep, study, monkeypatch) -> None:
    monkeypatch.setenv("TOY_FAIL", "8,16")
    done = sweep("hydra.sweeper.n_trials=2")
    assert done.code == 1
    assert "none of 2 trials was completed" in done.err
    assert read_status(study()).state == "failed"
    assert read_status(study()).why.startswith("none of 2 trials was completed: trial 0: ")


def test_the_same_command_again_does_nothing_more(sweep, study) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    assert len(study().trials) == 1


DIFFERENCES = {
    "trainer.max_epochs=1": "trainer.max_epochs was 2, is 1",
    "model.width=choice(8,16,32)": "model.width was",
    "monitor.metric=train/acc": "monitor.metric was val/acc, is train/acc",
    "hydra.sweeper.seeds=[3]": "hydra.sweeper.seeds was None, is [3]",
}


def test_a_changed_study_is_refused_with_the_difference(sweep, study) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    for override, difference in DIFFERENCES.items():
        done = sweep("hydra.sweeper.n_trials=2", override)
        assert done.code == 1
        assert difference in done.err
        assert len(done.err.strip().splitlines()) == 1
        assert len(study().trials) == 1
    assert sweep("hydra.sweeper.n_trials=2", *DIFFERENCES, "hydra.sweeper.allow_changed_space=true").code == 0


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


def test_every_pruner_can_be_chosen_over_the_sweep_files(sweep) -> None:
    for pruner in ("none", "median", "percentile", "successive_halving", "hyperband", "patient"):
        done = sweep("hydra.sweeper.n_trials=1", f"hydra/sweeper/pruner={pruner}")
        assert done.code == 0, done.err


def test_the_official_samplers_can_be_chosen(sweep) -> None:
    for trial, sampler in enumerate(("tpe", "random", "qmc", "nsgaii", "gp")):
        done = sweep(f"hydra.sweeper.n_trials={trial + 2}", f"hydra/sweeper/sampler={sampler}")
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
        main=toy.main,
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
        (["hydra/sweeper/pruner=foo"], "hydra/sweeper/pruner=foo: there is no such choice; there is auto, hyperband"),
        (["hydra/sweeper/pruner=wilcoxon"], "needs hydra.sweeper.seeds with at least two seeds"),
        (["hydra.sweeper.pruner.n_startup_trials=-1"], "hydra.sweeper.pruner: Number of startup trials"),
        (["hydra.sweeper.storage=sqlite:////nowhere/x.db"], "hydra.sweeper.storage: sqlite:////nowhere/x.db cannot be"),
        (["hydra.sweeper.enqueue=[{model.width:9}]"], "hydra.sweeper.enqueue must lie inside the space"),
        (["hydra.sweeper.enqueue=[{model.widht:8}]"], "hydra.sweeper.enqueue must name searched keys, got model.widht"),
        (["hydra.sweeper.custom_search_space=os.system"], "hydra.sweeper.custom_search_space"),
        (["model.hidden=[8]"], "model.width must not be set together with model.hidden"),
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
    assert "hydra.sweeper.sampler: CmaEsSampler needs cmaes: pip install" in done.err


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
