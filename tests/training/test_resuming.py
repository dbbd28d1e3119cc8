"""Resumed runs: equal to runs that were not interrupted, with other settings, and what they refuse."""

import csv
import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from digits_runs import EVERYTHING, Stopped, same, stop_in_epoch
from lightsweep.core.errors import ConfigError
from lightsweep.runs.results import COLUMNS
from lightsweep.training import checkpoints

STANDING_STILL = ("optimizer=sgd", "optimizer.lr=1e-12", "trainer.max_epochs=3")  # the first epoch is the best
SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    [
        ["scheduler=constant", "scheduler.warmup=1.5"],
        ["scheduler=step", "scheduler.every=1"],
        ["scheduler=step", "scheduler.every=1", "scheduler.interval=step"],
        ["scheduler=cosine", "trainer.max_epochs=4"],
        ["scheduler=cosine", "scheduler.interval=epoch", "scheduler.warmup=1"],
        ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5"],
        [
            *("scheduler=plateau", "scheduler.monitor=train/loss", "scheduler.mode=min"),
            *("scheduler.patience=1", "scheduler.threshold=9"),
        ],
    ],
    ids=" ".join,
)
def test_a_resumed_run_equals_one_that_was_not_interrupted(run, monkeypatch, schedule: list[str]) -> None:
    overrides = [*EVERYTHING, *schedule, "trainer.max_epochs=4", "callbacks=checkpoint"]
    full = run(*overrides, name="full")
    with monkeypatch.context() as stopping:
        stopping.setattr("lightsweep.training.trainer.Recorder", stop_in_epoch(3))
        with pytest.raises(Stopped):
            run(*overrides, name="stopped")
    resumed = run(*overrides, name="stopped")
    assert resumed.measured == full.measured
    assert [row["epoch"] for row in resumed.rows] == ["1", "2", "3", "4"]
    assert same(resumed.result, full.result)
    assert len({row["lr"] for row in full.rows}) > 1


def test_a_checkpoint_that_takes_long_is_written_seldom_and_nothing_is_lost(run, monkeypatch) -> None:
    overrides = [*EVERYTHING, "trainer.max_epochs=4", "callbacks=checkpoint"]
    full = run(*overrides, name="full")
    with monkeypatch.context() as slow:
        slow.setattr("lightsweep.training.checkpoints._SHORT", -1.0)
        slow.setattr("lightsweep.training.checkpoints._SHARE", 1e-9)  # the next one years later
        slow.setattr("lightsweep.training.trainer.Recorder", stop_in_epoch(3))
        with pytest.raises(Stopped):
            run(*overrides, name="stopped")
    stopped = checkpoints.load(full.folder.parent / "stopped" / "checkpoints" / "last.ckpt")
    assert stopped.epoch == 1
    with monkeypatch.context() as slow:
        slow.setattr("lightsweep.training.checkpoints._SHORT", -1.0)
        slow.setattr("lightsweep.training.checkpoints._SHARE", 1e-9)
        resumed = run(*overrides, name="stopped")
    assert resumed.measured == full.measured
    assert checkpoints.load(resumed.folder / "checkpoints" / "last.ckpt").epoch == 4


@pytest.mark.parametrize(
    "schedule", [pytest.param("constant", marks=SLOW), pytest.param("step", marks=SLOW), "plateau"]
)
def test_a_completed_run_can_be_made_longer(run, schedule: str) -> None:
    overrides = [*EVERYTHING, f"scheduler={schedule}", "callbacks=default"]
    full = run(*overrides, "trainer.max_epochs=4", name="full")
    run(*overrides, "trainer.max_epochs=2", name="longer")
    longer = run(*overrides, "trainer.max_epochs=4", name="longer")
    assert longer.measured == full.measured
    assert same(longer.result, full.result)


def test_metrics_and_result_agree_when_every_second_epoch_is_validated(run) -> None:
    overrides = ["trainer.check_val_every_n_epoch=2", "callbacks=checkpoint"]
    full = run(*overrides, "trainer.max_epochs=4", name="full")
    assert [bool(row["val/acc"]) for row in full.rows] == [False, True, False, True]
    assert all(row["train/acc"] for row in full.rows)
    validated = [row for row in full.rows if row["val/acc"]]
    assert full.result["best_epoch"] == int(max(validated, key=lambda row: float(row["val/acc"]))["epoch"])
    assert full.result["val/acc"] == max(float(row["val/acc"]) for row in validated)
    run(*overrides, "trainer.max_epochs=3", name="longer")
    assert run(*overrides, "trainer.max_epochs=4", name="longer").measured == full.measured


def test_a_resumed_run_keeps_its_best_weights_from_before(run) -> None:
    overrides = [*STANDING_STILL, "callbacks=checkpoint"]
    run(*overrides, "trainer.max_epochs=1")
    assert run(*overrides).result["best_epoch"] == 1


def test_the_command_line_resumes_with_the_runs_own_config(launch, tmp_path: Path) -> None:
    small = ["data=digits", "trainer=cpu", "model.width=8", "logger=none", "scheduler=plateau", "seed=3"]
    small += ["callbacks=[early_stopping,checkpoint]"]
    assert launch(*small, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}/a").code == 0
    assert launch(*small, "trainer.max_epochs=3", f"hydra.run.dir={tmp_path}/b").code == 0
    assert launch(f"resume={tmp_path}/a", "trainer.max_epochs=3").code == 0
    rows = []
    for name in ("a", "b"):
        with (tmp_path / name / "metrics.csv").open(newline="") as file:
            rows.append([[row[column] for column in COLUMNS[:7]] for row in csv.DictReader(file)])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert result["overrides"] == [*small, "trainer.max_epochs=2", "trainer.max_epochs=3"]


def test_what_was_typed_at_a_resume_holds_for_the_next_one(launch, tmp_path: Path) -> None:
    small = ["data=digits", "trainer=cpu", "model.width=8", "logger=none", "callbacks=none", "optimizer=sgd"]
    small += ["scheduler=plateau", "trainer.max_epochs=1"]
    assert launch("-m", *small, f"hydra.sweep.dir={tmp_path}/grid").code == 0
    (run,) = (tmp_path / "grid").glob("0-*")
    config = (run / "config.yaml").read_bytes()

    refused = launch(f"resume={run}", "trainer.max_epochs=3", "optimizer.momentum=-1")
    assert refused.code == 1
    assert (run / "config.yaml").read_bytes() == config

    changes = ["trainer.max_epochs=3", "optimizer.momentum=0.8", "scheduler.patience=7"]  # adam, constant have no such
    assert launch(f"resume={run}", *changes).code == 0
    assert launch(f"resume={run}").code == 0
    result = json.loads((run / "result.json").read_text())
    assert (result["kind"], result["epochs"]) == ("job", 3)
    assert result["overrides"] == [*small, *changes]
    assert (result["config"]["optimizer"]["momentum"], result["config"]["scheduler"]["patience"]) == (0.8, 7)

    assert launch(f"resume={run}", "score_with=last").code == 0  # there is nothing left to train
    kept = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    assert (kept["score_with"], kept["run_dir"]) == ("last", "${hydra:runtime.output_dir}")


@pytest.mark.parametrize("model", [["model=cnn", "model.dropout=0.1"], ["model=resmlp", "model.drop_path=0.5"]])
def test_every_network_resumes_bit_for_bit(run, model: list[str]) -> None:
    keys = (*model, "model.depth=2", "optimizer=sgd")
    full = run(*keys, "trainer.max_epochs=2", name="full")
    run(*keys, "trainer.max_epochs=1")
    assert run(*keys, "trainer.max_epochs=2").measured == full.measured


@pytest.mark.parametrize("scheduler", ["constant", "plateau"])
def test_a_resumed_run_takes_another_rate_and_decay(run, scheduler: str) -> None:
    start = ("optimizer=adamw", f"scheduler={scheduler}", "optimizer.lr=1e-3")
    run(*start, "trainer.max_epochs=1")
    more = run(*start[:2], "trainer.max_epochs=2", "optimizer.lr=4e-3", "optimizer.weight_decay=0.5")
    assert [float(row["lr"]) for row in more.rows] == pytest.approx([1e-3, 4e-3])
    groups = more.checkpoint("last.ckpt")["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


def test_a_resumed_run_takes_another_schedule_and_patience(run) -> None:
    run("scheduler=constant", "trainer.max_epochs=2")
    stopping = "callbacks.early_stopping.patience=1"
    more = run("scheduler=step", "scheduler.every=1", "scheduler.factor=0.5", "trainer.max_epochs=4", stopping)
    assert [float(row["lr"]) for row in more.rows][2:] == pytest.approx(
        [1e-3 * 0.5**2, 1e-3 * 0.5**3][: len(more.rows) - 2]
    )
    states = more.checkpoint("last.ckpt")["callbacks"]
    assert next(state for key, state in states.items() if key.startswith("EarlyStopping"))["patience"] == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.width=32", r"model: a resumed run keeps its network; net\.\S+ was \[.*\], would be \[.*\]"),
        ("optimizer=sgd", "optimizer: a resumed run keeps its optimizer, Adam, got SGD"),
        ("scheduler=plateau", "scheduler: a resumed run can change to another schedule, but not to or from plateau"),
        ("decay_all=true", "decay_all: a resumed run decays the weights that it decayed before, it cannot change this"),
        ("+optimizer.amsgrad=true", "optimizer.amsgrad: a resumed run cannot switch it on, its Adam"),
    ],
)
def test_changes_that_a_resumed_run_cannot_make_are_refused(run, override: str, message: str) -> None:
    run("trainer.max_epochs=1")
    with pytest.raises(ConfigError, match=message):
        run("trainer.max_epochs=2", override)


def test_exhausted_memory_of_a_resumed_run_is_not_reported_as_a_damaged_checkpoint(run, monkeypatch) -> None:
    run("trainer.max_epochs=1")

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr("lightsweep.training.classifier.Classifier.on_load_checkpoint", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        run("trainer.max_epochs=2")


def test_a_resumed_run_can_switch_on_momentum_with_sgd_only(run) -> None:
    run("optimizer=rmsprop", "trainer.max_epochs=1", name="rmsprop")
    with pytest.raises(ConfigError, match=r"^optimizer.momentum: a resumed run cannot switch it on, its RMSprop"):
        run("optimizer=rmsprop", "optimizer.momentum=0.9", "trainer.max_epochs=2", name="rmsprop")
    sgd = ("optimizer=sgd", "optimizer.nesterov=false")
    run(*sgd, "optimizer.momentum=0", "trainer.max_epochs=1", name="sgd")
    assert run(*sgd, "optimizer.momentum=0.9", "trainer.max_epochs=2", name="sgd").result["epochs"] == 2
