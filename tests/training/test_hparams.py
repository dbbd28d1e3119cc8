"""What the loggers are told: TensorBoard's event files read back with its own reader, and the CSV logger's file."""

import csv
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from lightsweep.runs.results import COLUMNS
from lightsweep.training import tracking


@pytest.fixture(scope="module")
def events(finished) -> list[EventAccumulator]:
    files = sorted(finished.folder.rglob("events.out.tfevents.*"))
    return [EventAccumulator(str(file)).Reload() for file in files]


@pytest.fixture(scope="module")
def scalars(events) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for file in events:
        for tag in file.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in file.Scalars(tag))
    return {tag: sorted(values) for tag, values in found.items()}


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_tensorboard_has_every_column_of_metrics_csv_by_epoch(finished, scalars, column: str) -> None:
    tag = column if "/" in column else f"train/{column}"
    expected = [(int(row["epoch"]), float(row[column])) for row in finished.rows]
    assert [step for step, _ in scalars[tag]] == [step for step, _ in expected]
    assert [value for _, value in scalars[tag]] == pytest.approx([value for _, value in expected])


def test_tensorboard_shows_train_and_val_first_and_one_learning_rate(events) -> None:
    kinds = ("scalars", "images", "histograms")  # its first tab shows them in one list
    tags = sorted(tag for file in events for kind in kinds for tag in file.Tags()[kind])
    assert list(dict.fromkeys(tag.partition("/")[0] for tag in tags))[:2] == ["train", "val"]
    assert [tag for tag in tags if "lr" in tag] == ["train/lr"]


@pytest.mark.parametrize(("interval", "steps"), [("epoch", [1, 2]), ("step", [0, 1, 2, 3, 4, 5, 6, 7])])
def test_the_learning_rate_is_logged_by_epochs_or_steps(run, interval: str, steps: list[int]) -> None:
    done = run("callbacks=lr_monitor", "logger=csv", f"callbacks.lr_monitor.logging_interval={interval}")
    with (done.folder / "csv" / "metrics.csv").open(newline="") as file:
        logged = [(int(row["step"]), float(row["train/lr"])) for row in csv.DictReader(file) if row["train/lr"]]
    assert logged == [(step, 1e-3) for step in steps]


def test_tensorboard_has_one_row_of_hparams_a_run(events) -> None:
    started = [file for file in events if "_hparams_/session_start_info" in file.summary_metadata]
    assert len(started) == 1


def test_hparams_are_numbers_where_they_are_numbers(events) -> None:
    metadata = next(
        file.summary_metadata["_hparams_/session_start_info"]
        for file in events
        if "_hparams_/session_start_info" in file.summary_metadata
    )
    info = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    assert info["optimizer"].string_value == "Adam"
    assert info["optimizer.lr"].number_value == 1e-3
    assert info["model.dropout"].number_value == 0.1
    assert info["model.bn"].number_value == 1


@pytest.mark.parametrize("name", ["train/acc", "val/acc", "val/f1", "val/loss", "test/acc", "test/f1"])
def test_hparams_end_with_the_real_metrics(finished, scalars, name: str) -> None:
    assert scalars[f"z_hp/{name.replace('/', '_')}"][-1][1] == pytest.approx(finished.result[name])


def test_the_csv_logger_has_the_same_epochs(finished) -> None:
    with (finished.folder / "csv" / "metrics.csv").open(newline="") as file:
        logged = [row["val/acc"] for row in csv.DictReader(file) if row.get("val/acc")]
    assert [float(value) for value in logged] == pytest.approx([float(row["val/acc"]) for row in finished.rows])


def test_keeps_short_names_and_plain_values(compose) -> None:
    params = tracking.flat_settings(compose("model.hidden=[8,4]", "optimizer=adamw", "scheduler=cosine"), [])
    assert (params["optimizer"], params["scheduler"]) == ("AdamW", "cosine")
    assert params["model.hidden"] == "[8, 4]"
    assert {type(value) for value in params.values()} <= {int, float, str, bool}
    assert not [key for key in params if "_target_" in key or "_partial_" in key]


def test_folder_is_one_tensorboard_run(finished) -> None:
    assert {Path(file).parent for file in finished.folder.rglob("events.out.tfevents.*")} == {finished.folder}


def test_what_was_typed_is_a_column_that_comes_first_and_all_runs_have_the_same_others(compose) -> None:
    typed = ["callbacks.early_stopping.patience=3", "optimizer=sgd"]
    table = tracking.table_columns(tracking.flat_settings(compose("callbacks=default", *typed), typed), typed)
    other = tracking.table_columns(tracking.flat_settings(compose(), []), [])
    assert table.keys() - other.keys() == {"callbacks.early_stopping.patience"}
    assert other.keys() <= table.keys()
    first = {key for key, column in table.items() if column.first}
    assert first >= {"callbacks.early_stopping.patience", "optimizer", "model", "data"}


def test_typed_keys_come_first_with_model_and_data(compose) -> None:
    typed = ["data.batch_size=32", "optimizer.lr=0.1", "model.bn=true", "model.dropout=0.2", "loss.l2=0.1", "seed=1"]
    table = tracking.table_columns(tracking.flat_settings(compose(*typed), typed), typed)
    first = {key for key, column in table.items() if column.first}
    assert first == {"model", "data", *(line.partition("=")[0] for line in typed if not line.startswith("seed"))}


def test_five_columns_come_first_whatever_was_typed(compose) -> None:
    for typed in ([], ["optimizer.lr=0.1"], ["model.width=8", "seed=1"]):
        table = tracking.table_columns(tracking.flat_settings(compose(*typed), typed), typed)
        assert sum(column.first for column in table.values()) == 5
