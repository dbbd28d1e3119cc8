"""Where things lie: outputs/ in the project's root, what a person types relative to where he stands."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from forked import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "logger=none")


def test_a_typed_folder_is_relative_to_the_working_directory(train, tmp_path):
    ended = train(*RUN, "hydra.run.dir=my/run", "data_dir=my/data")

    assert (ended.code, ended.err) == (0, "")
    run = tmp_path / "here" / "my" / "run"
    assert ended.out.splitlines()[-1] == f"run folder: {run}"
    assert f"data_dir: {tmp_path / 'here' / 'my' / 'data'}" in (run / "config.yaml").read_text()


def test_outputs_lie_in_the_root(train, tmp_path):
    before = set((ROOT / "outputs" / "runs").glob("*"))

    ended = train(*RUN, "hydra.run.dir=${lightsweep.root:outputs}/runs/test-${lightsweep.run_id:}")

    (made,) = set((ROOT / "outputs" / "runs").glob("test-*")) - before
    try:
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.splitlines()[-1] == f"run folder: {made}"
        assert train(f"resume={made}").code == 0  # not latest: somebody else may be training here
        assert list((tmp_path / "here").iterdir()) == []
    finally:
        shutil.rmtree(made)


def test_outputs_are_moved_by_one_variable(train, tmp_path):
    moved = tmp_path / "elsewhere"
    typed = "hydra.run.dir=${lightsweep.root:outputs}/runs/mine"

    ended = train(*RUN, typed, LIGHTSWEEP_OUTPUTS=str(moved))

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == f"run folder: {moved}/runs/mine"
    assert train("resume=latest", "trainer.max_epochs=2", LIGHTSWEEP_OUTPUTS=str(moved)).code == 0
    environment = {**os.environ, "LIGHTSWEEP_OUTPUTS": str(moved)}
    command = [sys.executable, str(ROOT / "src" / "report.py")]
    told = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "runs/mine" in told.stdout


def test_a_name_with_odd_letters(train, tmp_path):
    folder = tmp_path / "a run, with [odd] letters = ö"
    assert train(*RUN, f"hydra.run.dir='{folder}'").code == 0

    ended = train(f"resume={folder}", "trainer.max_epochs=2")

    assert (ended.code, ended.err) == (0, "")
    assert json.loads((folder / "result.json").read_text())["epochs"] == 2


def test_a_folder_with_other_things_is_left_alone(train, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "train.log").write_text("mine")

    ended = train(*RUN, "hydra.run.dir=.", "model.dropout=1.5")

    assert ended.code == 1
    assert ended.lines == ["hydra.run.dir must be a new or an empty folder, got '.'"]
    assert [(path.name, path.read_text()) for path in here.iterdir()] == [("train.log", "mine")]


def test_nothing_is_left_in_the_working_directory(train, tmp_path):
    assert train(*RUN, "logger=[tensorboard,csv]").code == 0

    assert list((tmp_path / "here").iterdir()) == []
