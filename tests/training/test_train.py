"""Whole runs in this process, on the bundled digits: the records, repeating, resuming, and every way to end."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from digits_runs import EVERYTHING, Stopped, same, stop_in_epoch
from lightsweep.core.errors import ConfigError, Diverged
from lightsweep.runs.results import COLUMNS

STANDING_STILL = ("optimizer=sgd", "optimizer.lr=1e-12", "trainer.max_epochs=3")  # the first epoch is the best


def best(run, metric: str, pick=max) -> dict[str, str]:
    return pick(run.rows, key=lambda row: float(row[metric]))


def test_leaves_its_records(finished) -> None:
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


def test_a_command_line_leaves_everything_in_the_runs_folder(launch, tmp_path: Path) -> None:
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
def test_the_same_seed_gives_the_same_run_and_another_another(run, overrides: tuple[str, ...]) -> None:
    first, again = run(*overrides, name="first"), run(*overrides, name="again")
    other = run(*overrides, "seed=7", name="other")
    assert first.measured == again.measured
    assert first.measured[0]["train/loss"] != other.measured[0]["train/loss"]


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
def test_resuming_gives_what_a_run_that_was_never_stopped_gives(run, monkeypatch, schedule: list[str]) -> None:
    overrides = [*EVERYTHING, *schedule, "trainer.max_epochs=4", "callbacks=checkpoint"]
    whole = run(*overrides, name="whole")
    with monkeypatch.context() as stopping:
        stopping.setattr("lightsweep.training.trainer.Recorder", stop_in_epoch(3))
        with pytest.raises(Stopped):
            run(*overrides, name="stopped")
    resumed = run(*overrides, name="stopped")
    assert resumed.measured == whole.measured
    assert [row["epoch"] for row in resumed.rows] == ["1", "2", "3", "4"]
    assert same(resumed.result, whole.result)
    assert len({row["lr"] for row in whole.rows}) > 1


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "schedule", [pytest.param("constant", marks=SLOW), pytest.param("step", marks=SLOW), "plateau"]
)
def test_a_finished_run_can_be_made_longer(run, schedule: str) -> None:
    overrides = [*EVERYTHING, f"scheduler={schedule}", "callbacks=default"]
    whole = run(*overrides, "trainer.max_epochs=4", name="whole")
    run(*overrides, "trainer.max_epochs=2", name="longer")
    longer = run(*overrides, "trainer.max_epochs=4", name="longer")
    assert longer.measured == whole.measured
    assert same(longer.result, whole.result)


def test_validating_every_second_epoch_keeps_the_records_in_step(run) -> None:
    overrides = ["trainer.check_val_every_n_epoch=2", "callbacks=checkpoint"]
    whole = run(*overrides, "trainer.max_epochs=4", name="whole")
    assert [bool(row["val/acc"]) for row in whole.rows] == [False, True, False, True]
    assert all(row["train/acc"] for row in whole.rows)
    validated = [row for row in whole.rows if row["val/acc"]]
    assert whole.result["best_epoch"] == int(max(validated, key=lambda row: float(row["val/acc"]))["epoch"])
    assert whole.result["val/acc"] == max(float(row["val/acc"]) for row in validated)
    run(*overrides, "trainer.max_epochs=3", name="longer")
    assert run(*overrides, "trainer.max_epochs=4", name="longer").measured == whole.measured


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
def test_callbacks_and_loggers_go_together_in_any_way(run, callbacks: str, logger: str) -> None:
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


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_best_checkpoint(run, tmp_path: Path, monkeypatch) -> None:
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
def test_runs_to_the_end_with(run, overrides: list[str]) -> None:
    done = run("callbacks=default", *overrides)
    assert (done.result["status"], len(done.rows)) == ("completed", 2)


@pytest.mark.parametrize("model", [["model=cnn", "model.dropout=0.1"], ["model=resmlp", "model.drop_path=0.5"]])
def test_every_network_resumes_to_the_last_bit(run, model: list[str]) -> None:
    keys = (*model, "model.depth=2", "optimizer=sgd")
    whole = run(*keys, "trainer.max_epochs=2", name="whole")
    run(*keys, "trainer.max_epochs=1")
    assert run(*keys, "trainer.max_epochs=2").measured == whole.measured


def test_trains_on_cifar10_files(run, cifar10: Path) -> None:
    done = run("data=cifar10", f"data_dir='{cifar10}'", "data.batch_size=16", "callbacks=default")
    assert (done.folder / "confusion_val.csv").read_text().startswith("true \\ predicted,airplane,automobile,")
    assert done.result["params"] == 3072 * 16 + 16 + 16 * 10 + 10


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
        ("+optimizer.amsgrad=true", "optimizer.amsgrad: a resumed run cannot begin with it, since Adam gathers what"),
    ],
)
def test_what_a_resumed_run_cannot_change_is_refused(run, override: str, message: str) -> None:
    run("trainer.max_epochs=1")
    with pytest.raises(ConfigError, match=message):
        run("trainer.max_epochs=2", override)


def test_a_device_too_small_for_a_resumed_run_is_not_the_checkpoints_fault(run, monkeypatch) -> None:
    run("trainer.max_epochs=1")

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr("lightsweep.training.classifier.Classifier.on_load_checkpoint", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        run("trainer.max_epochs=2")


def test_momentum_begins_in_a_resumed_run_where_it_can(run) -> None:
    run("optimizer=rmsprop", "trainer.max_epochs=1", name="rmsprop")
    with pytest.raises(ConfigError, match=r"^optimizer.momentum: a resumed run cannot begin with it, since RMSprop"):
        run("optimizer=rmsprop", "optimizer.momentum=0.9", "trainer.max_epochs=2", name="rmsprop")
    sgd = ("optimizer=sgd", "optimizer.nesterov=false")
    run(*sgd, "optimizer.momentum=0", "trainer.max_epochs=1", name="sgd")
    assert run(*sgd, "optimizer.momentum=0.9", "trainer.max_epochs=2", name="sgd").result["epochs"] == 2


@pytest.mark.parametrize("overrides", [["data.drop_last=false", "data.batch_size=29"], ["data.batch_size=1"]])
def test_a_batch_of_one_image_is_refused_where_batchnorm_would_see_it(run, tmp_path: Path, overrides) -> None:
    size = ["data.limit=162", "data.split=first", *overrides]
    assert run(*size, "trainer.max_epochs=1").result["status"] == "completed"
    way_out = r"choose another(, or data.drop_last=true)?"
    with pytest.raises(ConfigError, match=rf"^data.batch_size=\d+ leaves a batch of one image of 146 .*: {way_out}$"):
        run(*size, "model.bn=true", name="bn")
    assert not (tmp_path / "bn" / "metrics.csv").exists()


def test_a_job_has_no_threads_of_the_one_before(run) -> None:
    own = torch.get_num_threads()
    run("threads=3", "trainer.max_epochs=1", name="three")
    assert torch.get_num_threads() == 3
    run("threads=null", "trainer.max_epochs=1", name="own")
    assert torch.get_num_threads() == own


def test_plateau_counts_only_epochs_that_were_validated(run) -> None:
    more = ("scheduler.patience=1", "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=5")
    rates = [float(row["lr"]) for row in run(*STANDING_STILL[:2], "scheduler=plateau", *more).rows]
    assert len(set(rates)) == 1  # validated after 2 and 4: one epoch without improvement is borne
