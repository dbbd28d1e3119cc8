"""A whole sweep whose trials train as a population, and what the other commands make of its folders."""

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState
from PIL import Image

import compare
import evaluate
import predict
import report
from lightsweep.runs.results import FILE
from tiny import TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
TOGETHER = ("hydra.sweeper.n_jobs=1", "hydra.sweeper.population=3", "hydra.sweeper.n_trials=5")


def test_members_are_runs_for_every_other_command(tiny_sweep, launch, call, study, tmp_path: Path) -> None:
    shown = ("callbacks.figures.in_trials=true", "logger=tensorboard", "hydra.sweeper.pruner=none", "model.width=16")
    done = tiny_sweep(*TOGETHER, *shown, "optimizer.lr=interval(0.001, 0.05)", "optimizer=adamw")
    assert done.code == 0, done.err
    trials, folder = study().trials, tmp_path / "study"
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    run = folder / "trial-0002"
    result = json.loads((run / FILE).read_text())
    assert result["best_value"] == trials[2].value
    assert trials[2].user_attrs["facts"]["val/acc"] == result["val/acc"]
    assert "a member of a population with 3 places" in (run / "train.log").read_text()
    assert {path.name for path in folder.glob("**/checkpoints/*")} == {"best.ckpt"}
    assert {"curves.png", "images_train.png"} <= {path.name for path in (run / "figures").iterdir()}

    scored = call(evaluate.main, run, "--split", "val", "train")
    assert scored.code == 0, scored.err
    assert "equal to result.json, digit for digit" in scored.out
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    assert call(predict.main, run, tmp_path / "black.png").code == 0
    compared = call(compare.main, run, folder / "trial-0003")
    assert compared.code == 0, compared.err
    assert call(report.main, folder, "--html", tmp_path / "page.html").code == 0
    assert "trial-0002" in (tmp_path / "page.html").read_text()

    more = launch(*TINY[1:4], "data=digits", "model.width=16", f"init_from={run}", f"hydra.run.dir={tmp_path / 'more'}")
    assert more.code == 0, more.err
    refused = launch(f"resume={run}")
    assert refused.code == 1
    assert "has no last.ckpt" in refused.err


def test_seeds_are_members_and_what_fits_in_no_population_runs_beside_them(tiny_sweep, study, tmp_path: Path) -> None:
    done = tiny_sweep(
        *TOGETHER, "hydra.sweeper.seeds=[1,2]", "hydra.sweeper.n_trials=3", "model=choice(mlp,cnn)", "~model.width"
    )
    assert done.code == 0, done.err
    assert done.out.count("some trials train by themselves: model: ") == 1
    trials, folder = study().trials, tmp_path / "study"
    kinds = {json.loads(path.read_text())["kind"] for path in folder.glob("trial-*/*/result.json")}
    assert kinds == {"seed"}
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
