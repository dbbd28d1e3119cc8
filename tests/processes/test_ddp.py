"""Two processes on the CPU: each trains on its own share, and the records are written once."""

import json

import pytest

from .conftest import epochs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RUN = ("data=digits", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2")


def test_two_processes(python, tmp_path):
    ended = python(*RUN, timeout=170)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("epoch   1 ") == 1
    assert ended.stdout.count("run folder: ") == 1
    run = tmp_path / "run"
    facts = json.loads((run / "result.json").read_text())
    assert [row["epoch"] for row in epochs(run)] == ["1", "2"]
    assert (facts["status"], facts["epochs"]) == ("completed", 2)
    assert facts["val/acc"] == pytest.approx(max(float(row["val/acc"]) for row in epochs(run)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert len(list(run.glob("events.out.*"))) <= 2


def test_too_large_a_batch_for_a_share(train, tmp_path):
    ended = train(*RUN, "data.batch_size=1000")

    assert ended.code == 1
    assert ended.err == (
        "data.batch_size must be at most 647, the training images of each of 2 processes, got 1000"
        " (data.drop_last=false makes all of them one batch)\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_divergence_is_told_and_recorded_once(python, tmp_path):
    ended = python(*RUN, "optimizer=sgd", "optimizer.lr=1e30", "callbacks=none", timeout=170)

    told = "train/loss became nan in epoch 1 at a learning rate of 1e+30"
    assert ended.returncode == 1
    assert ended.stderr.count(told) == 1
    assert "Traceback" not in ended.stderr
    facts = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (facts["status"], facts["epochs"], facts["error"]) == ("diverged", 1, told)


def test_a_grid_of_one_and_of_several_processes(python, tmp_path):
    """Each process runs the whole grid: a job of one process is trained once all the same."""
    ended = python("-m", *RUN[:1], "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.devices=1,2")

    assert ended.returncode == 0, ended.stderr
    assert [ended.stdout.count(f"run folder: {tmp_path}/grid/{job}\n") for job in "01"] == [1, 1]
    for job in "01":
        assert json.loads((tmp_path / "grid" / job / "result.json").read_text())["epochs"] == 1
