"""Distributed training and confirmations in apps of strangers: further processes are plain runs, seeds are fresh."""

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from apps.running import SWEEP, App, ended_trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SOURCES = str(Path(__file__).parents[2] / "src")
DDP = ("trainer.devices=2", "+trainer.strategy=ddp", "data.count=400", "trainer.max_epochs=3", "hydra.sweeper.n_jobs=1")
BELOW = "hydra.sweeper.pruner={_target_: optuna.pruners.ThresholdPruner, lower: 0.6, n_warmup_steps: 1}"
STUDY = "logs/train/multiruns/rings"


def sweep(app: App, n_trials: int, *overrides: str, code: int = 0) -> list[TrialState]:
    module = ["src.train"] if app.script == "-m" else []
    app.run(*module, "-m", "hparams_search=rings", *DDP, f"hydra.sweeper.n_trials={n_trials}", *overrides, code=code)
    assert len(list(app.folder.rglob("study.journal"))) == 1
    folders = sorted((app.folder / STUDY).glob("trial-*"))
    assert len(folders) == n_trials
    assert all((folder / "train_ddp_process_1.log").is_file() for folder in folders)
    return [trial.state for trial in ended_trials(app.folder / STUDY)]


def test_a_worker_trains_one_trial_after_another_on_two_processes(tmp_path: Path) -> None:
    app = App.copy("lightning", "src/train.py", tmp_path, path=SOURCES)
    good = "{model.optimizer.lr: 0.05, model.width: 64, data.batch_size: 32}"  # the baseline learns nothing
    states = sweep(app, 3, BELOW, f"hydra.sweeper.enqueue=[{good}]")
    assert states[:2] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert states[2] != TrialState.FAIL


def test_a_module_is_started_as_a_module(tmp_path: Path) -> None:
    app = App.copy("lightning", "-m", tmp_path, path=SOURCES)
    assert sweep(app, 1) == [TrialState.COMPLETE]


@pytest.mark.parametrize(("script", "launcher"), [("src/train.py", "submitit_local"), ("-m", "joblib")])
def test_a_launchers_job_starts_the_app_not_what_the_launcher_has_started(tmp_path: Path, launcher, script) -> None:
    app = App.copy("lightning", script, tmp_path, path=SOURCES)
    many = "trainer.max_epochs=2000"  # the answer to a report may come late
    assert sweep(app, 1, f"hydra/launcher={launcher}", BELOW, many, code=1) == [TrialState.PRUNED]


def test_best_and_baseline_are_confirmed_with_fresh_seeds(tmp_path: Path) -> None:
    app = App.copy("loop", "train.py", tmp_path, path=SOURCES)
    typed = [*SWEEP, "lr=tag(log,interval(1e-4,1e-1))", "epochs=2", "hydra.sweeper.direction=maximize"]
    typed += ["hydra.sweeper.metric=val/acc", "hydra.sweeper.n_trials=3", "hydra.sweeper.confirm=2"]
    typed += ["hydra.sweeper.enqueue=[{lr: 0.03}]"]  # better than the baseline, which learns nothing
    assert "hydra.sweeper.confirm needs hydra.sweeper.seed_key" in app.run(*typed, code=1)
    assert not (app.folder / "multirun").exists()
    app.run(*typed, "hydra.sweeper.seed_key=seed", "hydra.sweeper.confirm_overrides=['epochs=3']")
    confirmed = json.loads((app.folder / "multirun/default/confirmation.json").read_text())
    baseline = confirmed["baseline"]
    assert {name: len(baseline[name]["values"]) for name in ("val/acc", "val/loss")} == {"val/acc": 2, "val/loss": 2}
    assert baseline["epochs"]["values"] == [3, 3]
    again = app.run(*typed, "hydra.sweeper.seed_key=seed", "hydra.sweeper.confirm_overrides=['epochs=3']")
    assert "0 runs with fresh seeds (" in again
