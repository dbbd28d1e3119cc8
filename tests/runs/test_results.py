"""result.json: of a run that was completed, and of those that failed."""

import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from lightsweep.app.validation import plain_config
from lightsweep.core.errors import ConfigError, Diverged, Interrupted, JobState, RunFailed
from lightsweep.runs import results
from lightsweep.runs.results import MetricsFile

KEYS = {
    *(f"{part}/{name}" for part in ("train", "val", "test") for name in ("loss", "acc")),
    *("status", "kind", "params", "params_keras", "best_epoch", "epochs", "seconds", "seed", "overrides", "config"),
    *("device", "versions", "git_commit", "peak_memory", "monitor", "best_value", "last_lr"),
}


@pytest.fixture
def record(compose, tmp_path: Path):
    return new_record(compose(), tmp_path)


def new_record(cfg: DictConfig, folder: Path) -> results.ResultWriter:
    config, metrics = plain_config(cfg), MetricsFile(folder / "metrics.csv")
    facts = {"kind": "run", "overrides": ["seed=42"]}
    return results.ResultWriter(
        folder,
        metrics,
        monitor=config.monitor,
        config=config.saved,
        facts=facts,
        publish=lambda facts: None,
        hardware=lambda: {"device": "cpu"},
    )


def test_has_every_key_that_others_read(finished) -> None:
    assert finished.result.keys() >= KEYS
    assert (finished.result["status"], finished.result["kind"], finished.result["epochs"]) == ("completed", "run", 3)


def test_agrees_with_metrics_csv(finished) -> None:
    result, rows = finished.result, finished.rows
    best = max(rows, key=lambda row: float(row["val/acc"]))
    assert result["best_value"] == finished.value == float(best["val/acc"])
    assert result["val/acc"] == float(best["val/acc"])
    assert result["val/loss"] == pytest.approx(float(best["val/loss"]), rel=1e-5)
    assert result["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows))
    assert result["last_lr"] == float(rows[-1]["lr"])


def test_config_is_resolved_and_has_nothing_of_this_machine_but_paths(finished) -> None:
    config = finished.result["config"]
    assert config["callbacks"]["checkpoint"]["monitor"] == "val/acc"
    assert config["data"]["seed"] == config["seed"] == 42
    assert not {"run_dir", "resume", "overrides"} & config.keys()


def test_counts_parameters_as_torch_and_as_keras(finished) -> None:
    assert finished.result["params"] == 64 * 16 + 16 + 2 * 16 + 16 * 10 + 10
    assert finished.result["params_keras"] == finished.result["params"] + 2 * 16


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (None, "completed", None),
        (Diverged("train/loss became nan in epoch 2"), "diverged", "train/loss became nan in epoch 2"),
        (Interrupted(2), "interrupted", "Interrupted: 2"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt: KeyboardInterrupt"),
        (RunFailed("a reason"), "failed", "RunFailed: a reason"),
        (RuntimeError("first\nlast line"), "failed", "RuntimeError: last line"),
    ],
    ids=["none", "diverged", "interrupted", "ctrl-c", "failed", "bug"],
)
def test_status_is_how_a_run_ended(record, tmp_path: Path, error, status: str, message: str | None) -> None:
    with suppress(BaseException), record:
        if error is not None:
            raise error
        record.complete()
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["status"], result.get("error")) == (status, message)


def test_a_later_failure_does_not_change_the_result(record, tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), record:
        record.complete()
        raise KeyboardInterrupt
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "completed"


def test_a_run_that_was_refused_leaves_no_result(record, tmp_path: Path) -> None:
    with pytest.raises(ConfigError), record:
        raise ConfigError("no")
    assert list(tmp_path.iterdir()) == []


def test_of_several_processes_the_first_writes(record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(Diverged), record:
        raise Diverged("train/loss became nan in epoch 2")
    assert list(tmp_path.iterdir()) == []


def test_the_error_survives_a_disk_that_is_full(record, monkeypatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write_atomic", full)
    with pytest.raises(ZeroDivisionError), record:
        raise ZeroDivisionError


def test_is_json_also_with_numbers_that_json_lacks(record, tmp_path: Path) -> None:
    record.scores["train/loss"] = math.nan
    record.add(deep={"list": [math.inf, 1.5, (2, -math.inf)]})
    record.write(JobState.DIVERGED)
    text = (tmp_path / "result.json").read_text()
    result = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert result["train/loss"] is None
    assert result["deep"] == {"list": [None, 1.5, [2, None]]}


def test_is_written_atomically(record, tmp_path: Path) -> None:
    record.write(JobState.COMPLETED)
    before = (tmp_path / "result.json").read_text()
    record.add(broken=object())
    with pytest.raises(TypeError):
        record.write(JobState.FAILED)
    assert (tmp_path / "result.json").read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_confusion_has_the_true_classes_as_rows() -> None:
    text = results.confusion_csv(np.array([[5, 1], [0, 7]]), ("cat", 'a "big", dog'))
    assert text == 'true \\ predicted,cat,"a ""big"", dog"\ncat,5,1\n"a ""big"", dog",0,7\n'


def test_paths_are_those_that_a_resumed_run_has_too(compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = compose("data=image_folder", "data.root=photos/")
    assert new_record(cfg, tmp_path).config["data"]["root"] == str(tmp_path / "photos")
