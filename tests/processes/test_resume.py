"""A run that was killed and resumed ends as one that was never stopped, to the last bit."""

import json
import random
import shutil
import signal
import time

import pytest

from .conftest import epochs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN = (
    "data=digits",
    "data.batch_size=32",
    "trainer=cpu",
    "trainer.max_epochs=10",
    "logger=none",
    "model.width=128",
    "model.bn=true",
    "model.dropout=0.2",
    "data.augment.crop=1",
    "data.augment.cutout=2",
    "data.augment.noise=0.1",
)

SCHEDULES = {
    "constant": ["scheduler=constant", "scheduler.warmup=2"],
    "step": ["scheduler=step", "scheduler.every=3"],
    "plateau": ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.05"],
    "plateau on its own metric": ["scheduler=plateau", "scheduler.monitor=val/loss", "scheduler.mode=min"],
    "cosine by step": ["scheduler=cosine", "scheduler.warmup=1.5"],
    "cosine by epoch": ["scheduler=cosine", "scheduler.interval=epoch", "optimizer=sgd"],
}


def kill(running, path, delay: float) -> None:
    running.wait_for(path)
    time.sleep(delay)
    running.send(signal.SIGKILL)
    assert running.wait().code in (-signal.SIGKILL, 0)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_killed_again_and_again(start, train, tmp_path, schedule):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(*RUN, *schedule, f"hydra.run.dir={whole}").code == 0

    moments = random.Random(str(schedule))
    kill(start(*RUN, *schedule, f"hydra.run.dir={killed}"), killed / "config.yaml", moments.uniform(0, 0.6))
    for _ in range(2):
        kill(start(f"resume={killed}"), killed / "checkpoints" / "last.ckpt", moments.uniform(0.3, 0.9))
    ended = train(f"resume={killed}")

    assert (ended.code, ended.err) == (0, "")
    assert epochs(killed) == epochs(whole)
    assert result(killed) == result(whole)


def result(run):
    facts = json.loads((run / "result.json").read_text())
    for name in ("seconds", "score_seconds", "peak_memory", "overrides"):
        del facts[name]
    facts["config"] = {**facts["config"], "overrides": None, "run_dir": None}
    return json.loads(json.dumps(facts).replace(str(run), "RUN"))


def test_killed_before_the_folder_was_worked_in(start, train, tmp_path):
    run = tmp_path / "run"
    kill(start(*RUN), run / "config.yaml", 0)
    assert not (run / "checkpoints").exists()

    assert train(f"resume={run}", "trainer.max_epochs=1").code == 0

    facts = json.loads((run / "result.json").read_text())
    assert (facts["epochs"], facts["config"]["model"]["width"], facts["status"]) == (1, 128, "completed")


def test_two_runs_with_the_same_seed_are_the_same(train, tmp_path):
    for name in ("one", "two"):
        assert train(*RUN, "trainer.max_epochs=3", f"hydra.run.dir={tmp_path / name}").code == 0

    assert epochs(tmp_path / "one") == epochs(tmp_path / "two")


def test_moved_meanwhile(start, train, tmp_path):
    """The best score so far is known in the new place, and the best weights of the old are not replaced by worse."""
    worse_later = ("optimizer=sgd", "optimizer.lr=0.05", "scheduler=step", "scheduler.every=1", "scheduler.factor=0.1")
    whole, old, new = tmp_path / "whole", tmp_path / "old", tmp_path / "elsewhere" / "new"
    assert train(*RUN, *worse_later, f"hydra.run.dir={whole}").code == 0
    assert train(*RUN, *worse_later, "trainer.max_epochs=4", f"hydra.run.dir={old}").code == 0
    new.parent.mkdir()
    shutil.move(old, new)

    ended = train("resume=new", "trainer.max_epochs=10", cwd=new.parent)

    assert (ended.code, ended.err) == (0, "")
    assert epochs(new) == epochs(whole)
    assert json.loads((new / "result.json").read_text())["best_epoch"] == result(whole)["best_epoch"]
    assert not old.exists()


def test_longer_and_with_other_values(train, tmp_path):
    run = tmp_path / "run"
    assert train(*RUN, "trainer.max_epochs=2", "optimizer=adamw").code == 0

    ended = train(f"resume={run}", "trainer.max_epochs=4", "callbacks=none", "test=false")

    facts = json.loads((run / "result.json").read_text())
    assert (ended.code, ended.err) == (0, "")
    assert [row["epoch"] for row in epochs(run)] == ["1", "2", "3", "4"]
    assert facts["config"]["optimizer"]["_target_"] == "torch.optim.AdamW"
    assert facts["config"]["callbacks"] == {}
    assert facts["overrides"][-3:] == ["trainer.max_epochs=4", "callbacks=none", "test=false"]


@pytest.mark.parametrize("end", ["trainer.max_epochs=2", "callbacks.early_stopping.patience=1"])
def test_of_a_completed_run_changes_nothing(train, tmp_path, end):
    run = tmp_path / "run"
    assert train(*RUN, end).code == 0
    before = result(run)
    assert before["epochs"] < 10

    ended = train(f"resume={run}")

    assert (ended.code, ended.err) == (0, "")
    assert result(run) == before


def test_a_bad_value_leaves_the_run_as_it_was(train, tmp_path):
    run = tmp_path / "run"
    assert train(*RUN, "trainer.max_epochs=1").code == 0
    before = {
        file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.suffix in (".ckpt", ".json")
    }
    before[run / "config.yaml"] = (run / "config.yaml").read_bytes()

    ended = train(f"resume={run}", "model.dropout=1.5")

    assert (ended.code, ended.lines) == (1, ["model.dropout must be in [0, 1), got 1.5"])
    assert {file: file.read_bytes() for file in before} == before
    assert train(f"resume={run}", "trainer.max_epochs=2").code == 0
