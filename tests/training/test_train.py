"""Complete runs in this process, on the bundled digits: their files, repeating, and every way to end."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from digits_runs import EVERYTHING
from lightsweep.core.errors import ConfigError, Diverged
from lightsweep.runs.results import COLUMNS

STANDING_STILL = ("optimizer=sgd", "optimizer.lr=1e-12", "trainer.max_epochs=3")  # the first epoch is the best


def best(run, metric: str, pick=max) -> dict[str, str]:
    return pick(run.rows, key=lambda row: float(row[metric]))


def test_a_run_writes_its_files(finished) -> None:
    names = {"metrics.csv", "result.json", "confusion_val.csv", "confusion_test.csv", "hparams.yaml"}
    assert {path.name for path in finished.folder.iterdir()} >= names | {"checkpoints", "csv"}
    assert sorted(path.name for path in (finished.folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_metrics_have_a_row_an_epoch_from_1(finished) -> None:
    assert tuple(finished.rows[0]) == COLUMNS
    assert [row["epoch"] for row in finished.rows] == ["1", "2", "3"]
    assert all(math.isfinite(float(cell)) for row in finished.rows for cell in row.values())
    assert all(float(row["images_per_second"]) > 0 for row in finished.rows)


@pytest.mark.parametrize("part", ["val", "test"])
def test_confusion_counts_every_image_and_agrees_with_the_accuracy(finished, part: str) -> None:
    with (finished.folder / f"confusion_{part}.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header[1:] == [line[0] for line in lines] == list("0123456789")
    counts = [[int(cell) for cell in line[1:]] for line in lines]
    total = sum(map(sum, counts))
    assert total == {"val": 30, "test": 359}[part]
    assert sum(counts[k][k] for k in range(10)) / total == finished.result[f"{part}/acc"]


def test_a_command_writes_everything_to_the_runs_folder(launch, tmp_path: Path) -> None:
    small = ["data=digits", "trainer=cpu", "trainer.max_epochs=1", "model.width=8", "optimizer.lr=2e-3"]
    done = launch(*small, f"hydra.run.dir={tmp_path}/run")
    assert done.code == 0
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= {".hydra", "config.yaml", "train.log", "metrics.csv", "result.json", "checkpoints"}
    assert [name for name in left if name.startswith("events.out.tfevents")]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["overrides"] == [*small]
    assert f"run folder: {tmp_path}/run" in done.out
    for part in ("train", "val", "test"):
        assert f"{result[f'{part}/acc']:.4f}" in done.out


@pytest.mark.parametrize("overrides", [(), EVERYTHING], ids=["plain", "everything random"])
def test_equal_seeds_give_equal_runs_and_another_seed_another_run(run, overrides: tuple[str, ...]) -> None:
    first, again = run(*overrides, name="first"), run(*overrides, name="again")
    other = run(*overrides, "seed=7", name="other")
    assert first.measured == again.measured
    assert first.measured[0]["train/loss"] != other.measured[0]["train/loss"]


SLOW = pytest.mark.slow


CALLBACKS = ("none", "default", "early_stopping", "lr_monitor", "checkpoint", "progress", "[progress,checkpoint]")
LOGGERS = ("csv", "tensorboard", "[tensorboard,csv]")


@pytest.mark.parametrize(
    ("callbacks", "logger"),
    [
        ("none", "none"),
        ("default", "[tensorboard,csv]"),
        *(pytest.param(callbacks, "none", marks=pytest.mark.slow) for callbacks in CALLBACKS[1:]),
        *(pytest.param("none", logger, marks=pytest.mark.slow) for logger in LOGGERS),
        *(pytest.param("default", logger, marks=pytest.mark.slow) for logger in LOGGERS[:2]),
    ],
)
def test_callbacks_and_loggers_can_be_combined_freely(run, callbacks: str, logger: str) -> None:
    done = run(f"callbacks={callbacks}", f"logger={logger}", "trainer.max_epochs=1")
    assert len(done.rows) == 1
    assert done.result["status"] == "completed"
    assert done.checkpoint("last.ckpt")["lightsweep"]["class_names"] == list("0123456789")
    assert (done.folder / "checkpoints" / "best.ckpt").exists() == (callbacks == "default" or "checkpoint" in callbacks)


@pytest.mark.parametrize(
    ("overrides", "epoch"),
    [(["callbacks=none"], 3), (["callbacks=default", "score_with=last"], 3), (["callbacks=default"], 1)],
)
def test_scores_the_best_weights_or_the_last_where_asked_for_or_none_were_kept(run, overrides, epoch: int) -> None:
    done = run(*overrides, *STANDING_STILL)
    assert done.result["best_epoch"] == epoch
    assert done.result["val/acc"] == float(done.rows[epoch - 1]["val/acc"])
    assert done.value == max(float(row["val/acc"]) for row in done.rows)


@pytest.mark.parametrize(
    "metric",
    [
        "val/objective",
        "val/f1",
        *(pytest.param(f"train/{name}", marks=SLOW) for name in ("loss", "acc", "balanced_acc")),
        *(pytest.param(f"val/{name}", marks=SLOW) for name in ("loss", "acc")),
    ],
)
def test_every_metric_can_be_monitored(run, metric: str) -> None:
    pick = min if metric.endswith(("loss", "objective")) else max
    done = run(
        f"monitor.metric={metric}",
        "callbacks=default",
        "scheduler=plateau",
        "loss.l2=1e-3",
        "trainer.max_epochs=3",
    )
    row = best(done, metric, pick)
    assert done.value == float(row[metric]) == done.result["best_value"]
    assert done.result["best_epoch"] == int(row["epoch"])


def test_without_test_the_test_set_is_not_scored(run) -> None:
    done = run("test=false")
    assert not [key for key in done.result if key.startswith("test/")]
    assert not (done.folder / "confusion_test.csv").exists()
    assert {"train/acc", "val/acc"} <= done.result.keys()


def test_recorded_loss_is_the_cross_entropy_alone(run) -> None:
    plain = run("trainer.max_epochs=1", "optimizer=sgd", "optimizer.lr=1e-12", name="plain").rows[0]
    other = run(
        "trainer.max_epochs=1",
        "optimizer=sgd",
        "optimizer.lr=1e-12",  # the weights stay as they are, so the losses can be compared
        "loss.label_smoothing=0.2",
        "loss.l2=0.01",
        name="other",
    ).rows[0]
    for column in ("train/loss", "val/loss", "val/acc"):
        assert float(other[column]) == pytest.approx(float(plain[column]), rel=1e-6)
    assert float(plain["val/objective"]) == float(plain["val/loss"])
    assert float(other["val/objective"]) > float(other["val/loss"]) + 0.01


def test_objective_is_smoothed_cross_entropy_and_l2_of_the_final_weights(run, compose) -> None:
    from lightsweep.config.build import build
    from lightsweep.training import checkpoints

    overrides = ["loss.label_smoothing=0.2", "loss.l2=0.01", "trainer.max_epochs=1", "data.limit=300"]
    done = run(*overrides)
    trained = checkpoints.load(done.folder / "checkpoints" / "last.ckpt")
    data = build(compose(*overrides).data, "data")
    data.setup()
    images, targets = next(iter(data.eval_loader("val", torch.device("cpu"))))
    smoothed = torch.nn.functional.cross_entropy(trained.net(images), targets, label_smoothing=0.2)
    expected = smoothed + 0.01 * trained.net.body[1].weight.square().sum()
    assert float(done.rows[-1]["val/objective"]) == pytest.approx(expected.item(), rel=1e-5)


def test_a_loss_that_is_nan_ends_the_run_and_keeps_the_best_checkpoint(run, tmp_path: Path, monkeypatch) -> None:
    from lightsweep.training.classifier import Classifier

    training_step = Classifier.training_step

    def breaks_in_epoch_3(self, batch, index: int) -> torch.Tensor:
        if self.current_epoch == 2:
            batch = batch[0] * math.inf, batch[1]
        return training_step(self, batch, index)

    monkeypatch.setattr(Classifier, "training_step", breaks_in_epoch_3)
    with pytest.raises(Diverged, match=r"loss became nan in epoch 3 at a learning rate of 0.002"):
        run("trainer.max_epochs=5", "optimizer.lr=2e-3", "callbacks=default")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["status"], result["epochs"]) == ("diverged", 3)
    assert "epoch 3" in result["error"]
    kept = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(weight.isfinite().all() for weight in kept.values())


def test_a_huge_learning_rate_diverges(run, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"in epoch 1 at a learning rate of 1e\+30"):
        run("optimizer=sgd", "optimizer.lr=1e30", "callbacks=default")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "diverged"


def test_early_stopping_ends_a_run(run) -> None:
    impatient = ["callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1"]
    done = run("callbacks=default", *impatient, "trainer.max_epochs=9")
    assert done.result["epochs"] == len(done.rows) == 2
    assert done.result["status"] == "completed"


def test_plateau_cuts_the_rate_in_the_records(run) -> None:
    done = run("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1", "trainer.max_epochs=3")
    assert [float(row["lr"]) for row in done.rows] == [1e-3, 1e-3, 5e-4]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer=debug", "trainer.accelerator=cpu"],
        ["trainer.gradient_clip_val=0.1", "optimizer=adamw"],
        ["trainer.accumulate_grad_batches=3", "scheduler=cosine"],
        ["trainer.limit_train_batches=0.5", "trainer.limit_val_batches=1"],
        ["data.batch_size=100000", "data.drop_last=false"],
        ["optimizer=rmsprop", "decay_all=true"],
        ["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1"],
        [
            "trainer.precision=bf16-mixed",
            "trainer.gradient_clip_val=1",
            "trainer.accumulate_grad_batches=2",
            "model=cnn",
        ],
        ["trainer.precision=16-mixed", "trainer.gradient_clip_val=1", "optimizer=adamw", "scheduler=plateau"],
        ["trainer.precision=bf16-true", "model=resmlp"],
        ["trainer.precision=bf16-true", "callbacks=[default,ema]", "callbacks.ema.start=0"],
        [
            "trainer.gradient_clip_val=1",
            "+trainer.gradient_clip_algorithm=value",
            "callbacks.early_stopping.patience=3",
        ],
        ["trainer.deterministic=true"],
        ["data.normalize=feature", "data.split=random"],
    ],
    ids=" ".join,
)
def test_a_run_completes_with(run, overrides: list[str]) -> None:
    done = run("callbacks=default", *overrides)
    assert (done.result["status"], len(done.rows)) == ("completed", 2)


def test_trains_on_cifar10_files(run, cifar10: Path) -> None:
    done = run("data=cifar10", f"data_dir='{cifar10}'", "data.batch_size=16", "callbacks=default")
    assert (done.folder / "confusion_val.csv").read_text().startswith("true \\ predicted,airplane,automobile,")
    assert done.result["params"] == 3072 * 16 + 16 + 16 * 10 + 10


@pytest.mark.parametrize("overrides", [["data.drop_last=false", "data.batch_size=29"], ["data.batch_size=1"]])
def test_a_batch_of_one_image_is_refused_with_batchnorm(run, tmp_path: Path, overrides) -> None:
    size = ["data.limit=162", "data.split=first", *overrides]
    assert run(*size, "trainer.max_epochs=1").result["status"] == "completed"
    way_out = r"choose another(, or data.drop_last=true)?"
    with pytest.raises(ConfigError, match=rf"^data.batch_size=\d+ leaves a batch of one image of 146 .*: {way_out}$"):
        run(*size, "model.bn=true", name="bn")
    assert not (tmp_path / "bn" / "metrics.csv").exists()


def test_a_job_does_not_keep_the_threads_of_an_earlier_one(run) -> None:
    own = torch.get_num_threads()
    run("threads=3", "trainer.max_epochs=1", name="three")
    assert torch.get_num_threads() == 3
    run("threads=null", "trainer.max_epochs=1", name="own")
    assert torch.get_num_threads() == own


def test_plateau_counts_only_epochs_that_were_validated(run) -> None:
    more = ("scheduler.patience=1", "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=5")
    rates = [float(row["lr"]) for row in run(*STANDING_STILL[:2], "scheduler=plateau", *more).rows]
    assert len(set(rates)) == 1  # validated after 2 and 4: one epoch without improvement is borne
