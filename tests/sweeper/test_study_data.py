"""A study keeps to its data: where they changed it ends before a trial trains, unless that is allowed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from image_files import picture, write_folder
from lightsweep.app.sweeping import TRAINING
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.trials import count_ended, is_interrupted


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos", ["x", "y"], count=30)


@pytest.fixture
def search(tiny_sweep, photos: Path, tmp_path: Path) -> Callable:
    typical = ["data=image_folder", f"data.root={photos}", f"data.data_dir={tmp_path}/kept", "data.image_size=6"]
    typical += ["trainer.max_epochs=1"]
    return lambda *overrides: tiny_sweep(
        *typical, "data.batch_size=8", "data.limit=null", "callbacks=checkpoint", *overrides
    )


def grow(photos: Path) -> None:
    picture(5).save(photos / "x" / "new.png")


SEEDS = "hydra.sweeper.seeds=[1,2]"
REFUSED = "the data changed since this study was started: 1 file added (x/new.png). Trials on them cannot be compared"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("overrides", [(), pytest.param((SEEDS,), marks=pytest.mark.slow)])
def test_a_study_refuses_changed_data_before_a_trial_trains(search, study, photos, tmp_path, overrides) -> None:
    overrides = (*overrides, "hydra.sweeper.retries=1")
    assert search("hydra.sweeper.n_trials=1", *overrides).code == 0
    digest = study().user_attrs["data"]
    grow(photos)
    for _ in range(3):  # more often than a trial is asked for again that was cut off
        refused = search("hydra.sweeper.n_trials=2", *overrides)
        assert refused.code == 1
        assert refused.err.splitlines()[-1].startswith(REFUSED)
        assert refused.err.splitlines()[-1].endswith("or continue anyway with allow_changed_data=true")
    trials = study().trials
    assert count_ended(trials) == 1
    assert [trial.state for trial in trials if not is_interrupted(trial)] == [TrialState.COMPLETE, TrialState.WAITING]
    assert len(list(tmp_path.glob("study/trial-*/**/metrics.csv"))) == len(overrides)
    assert study().user_attrs["data"] == digest

    allowed = search("hydra.sweeper.n_trials=2", "allow_changed_data=true", *overrides)
    assert allowed.code == 0, allowed.err
    assert "the data changed since this study was started: trials before and after do not compare" in allowed.out
    assert count_ended(study().trials) == 2
    assert study().user_attrs["data"] != digest
    assert search("hydra.sweeper.n_trials=3", *overrides).code == 0  # these are its data now


def test_without_the_record_it_is_still_seen_that_data_changed(search, photos: Path, tmp_path: Path) -> None:
    assert search("hydra.sweeper.n_trials=1").code == 0
    (tmp_path / "study" / "data.json").unlink()
    again = search("hydra.sweeper.n_trials=2")
    assert again.code == 0, again.err
    grow(photos)
    refused = search("hydra.sweeper.n_trials=3")
    assert refused.code == 1
    assert "the data changed since this study was started: they are others. " in refused.err


def test_a_study_that_was_begun_without_a_record_takes_its_trials(search, study, photos: Path) -> None:
    assert search("hydra.sweeper.n_trials=1").code == 0
    study().set_user_attr("data", None)
    grow(photos)
    assert search("hydra.sweeper.n_trials=2").code == 1


@pytest.mark.slow
def test_a_confirmation_refuses_changed_data_too(search, photos: Path) -> None:
    assert search("hydra.sweeper.n_trials=1").code == 0
    grow(photos)
    refused = search("hydra.sweeper.n_trials=1", "hydra.sweeper.confirm=1")
    assert refused.code == 1
    assert refused.err.splitlines()[-1].startswith(REFUSED)


@pytest.mark.slow
def test_a_study_that_was_begun_with_another_split_keeps_it(search, study, tmp_path: Path) -> None:
    assert search("hydra.sweeper.n_trials=1", "data.split=stratified").code == 0
    went_on = search("hydra.sweeper.n_trials=2")
    assert went_on.code == 0, went_on.err
    assert "the study keeps what it was started with: data.split=stratified" in went_on.out
    assert count_ended(study().trials) == 2
    records = [path.read_text() for path in sorted(tmp_path.glob("study/trial-*/data.json"))]
    assert records[0] == records[1]
    assert "data.split=stratified" in (tmp_path / "study/trial-0001/config.yaml").read_text()
    typed = search("hydra.sweeper.n_trials=3", "data.split=by_file")
    assert typed.code == 1
    assert "data.split was stratified, is by_file" in typed.err


@pytest.mark.slow
def test_a_search_of_how_many_images_are_trained_on_is_no_change_of_data(search, study, tmp_path: Path) -> None:
    points = "hydra.sweeper.enqueue=[{data.max_per_class:7},{data.max_per_class:9}]"  # the baseline is at 5
    found = search("hydra.sweeper.n_trials=3", "data.max_per_class=choice(5,7,9)", points)
    assert found.code == 0, found.err
    assert len({path.read_text() for path in tmp_path.glob("study/trial-*/data.json")}) == 3
    assert count_ended(study().trials) == 3
    assert "data" not in study().user_attrs


OURS, OWN = "lightsweep.data.datasets.DigitsDataModule", "mine.Photos"


@pytest.mark.parametrize(
    ("line", "data", "one"),
    [
        ("data.batch_size=choice(8,16)", OURS, True),
        ("data.batch_size=choice(8,16)", OWN, False),  # its loader may drop the last batch
        ("model.dropout=choice(0,0.1)", OWN, True),
        ("+data.max_per_class=choice(5,6)", OURS, False),
    ],
)
def test_which_searches_have_one_training_part(line: str, data: str, one: bool) -> None:
    config = OmegaConf.create({"data": {"_target_": data}})
    assert TRAINING.reads_same_data(parse({}, {}, [line]), config) is one


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_refuse_changed_data_too(search, study, photos: Path) -> None:
    assert search("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2").code == 0
    grow(photos)
    refused = search("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2")
    assert refused.code == 1
    assert refused.err.splitlines()[-1].startswith(REFUSED)
    assert count_ended(study().trials) == 2
    shutil.rmtree(photos / ".lightsweep-cache")
    (photos / "x" / "new.png").unlink()
    assert search("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2").code == 0
