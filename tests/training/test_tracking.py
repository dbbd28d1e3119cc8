"""Every tracker holds the same settings, scores and end of a run, read back from its storage."""

import json
import sys
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger

from digits_runs import trained
from lightsweep.core.errors import ConfigError, Diverged
from lightsweep.runs import run_folder
from lightsweep.training import loggers

SHORT = ("trainer.max_epochs=1", "callbacks=[figures,histograms]", "callbacks.figures.samples=1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    """A store of MLflow: its tables take ten seconds to make. `runs` reads an experiment's."""
    folder = tmp_path_factory.mktemp("mlruns")
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow.tracking import MlflowClient

    class Store:
        path = str(folder)
        override = f"logger.mlflow.store={folder}"

        @property
        def client(self) -> MlflowClient:
            return MlflowClient(f"sqlite:///{folder}/mlflow.db")

        def runs(self, experiment: str) -> list:
            return self.client.search_runs([self.client.get_experiment_by_name(experiment).experiment_id])

    return Store()


@pytest.mark.slow
def test_mlflow_has_settings_scores_pictures_and_the_end(tmp_path: Path, store) -> None:
    done = trained(tmp_path / "sweeps/big/trial-0003", *SHORT, "logger=mlflow", store.override, shown=True)
    (run,) = store.runs("big")
    assert run.info.run_name == "trial-0003"
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "completed")
    assert run.data.params["optimizer.lr"] == "0.001"
    assert run.data.metrics["hp/test_acc"] == pytest.approx(done.result["test/acc"])
    assert run.data.metrics["val/acc"] == pytest.approx(done.result["best_value"])
    pictures = {Path(file.path).name for file in store.client.list_artifacts(run.info.run_id, "figures")}
    assert pictures == {file.name for file in (done.folder / "figures").iterdir()}
    assert "report_test.txt" in {file.path for file in store.client.list_artifacts(run.info.run_id)}


@pytest.mark.slow
def test_a_resumed_run_continues_its_run_of_mlflow(tmp_path: Path, store) -> None:
    overrides = ("logger=mlflow", store.override, "callbacks=none")
    trained(tmp_path / "again/trial-0000", *overrides, "trainer.max_epochs=1")
    trained(tmp_path / "again/trial-0000", *overrides, "trainer.max_epochs=2")
    (run,) = store.runs("again")
    assert run.data.tags["resumed.trainer.max_epochs"] == "2"
    assert [point.step for point in store.client.get_metric_history(run.info.run_id, "val/acc")] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status", "tag"),
    [(KeyboardInterrupt, "KILLED", "interrupted"), (Diverged, "FAILED", "diverged"), (ValueError, "FAILED", "failed")],
)
def test_mlflow_knows_how_a_run_ended(tmp_path: Path, store, compose, error: type, status: str, tag: str) -> None:
    logger = loggers.mlflow_logger(store=store.path, experiment=tag, name="x", run_dir=f"{tmp_path}/x")
    with pytest.raises(error), loggers.tracking_run([logger], compose(), []):
        raise error
    (run,) = store.runs(tag)
    assert (run.info.status, run.data.tags["status"]) == (status, tag)


@pytest.mark.slow
def test_wandb_stays_offline_holds_the_run_and_is_closed(tmp_path: Path, monkeypatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")  # put back afterwards: Lightning sets it
    done = trained(tmp_path / "run", *SHORT, "logger=wandb", shown=True)
    assert wandb.run is None
    (folder,) = (done.folder / "wandb").glob("offline-run-*")
    (record,) = folder.glob("*.wandb")
    stored = record.read_bytes()
    for expected in (b"optimizer.lr", b"hp/test_acc", b"weights/head.weight", b"gradients/head.weight"):
        assert expected in stored
    pictures = {path.name.partition("_")[0] for path in (folder / "files/media/images/figures").iterdir()}
    assert pictures == {file.stem.partition("_")[0] for file in (done.folder / "figures").iterdir()}


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_package_that_is_missing_is_one_clear_line(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ConfigError, match=rf"^logger={name} needs the package {name} \(.*\): pip install -e '.\[{name}\]'$"
    ):
        trained(tmp_path, f"logger={name}")


def test_a_logger_that_fails_costs_a_warning(tmp_path: Path, caplog) -> None:
    class FullLogger(CSVLogger):
        def log_metrics(self, metrics, step=None) -> None:
            raise OSError(28, "No space left on device")

    loggers.Trackers([FullLogger(tmp_path)]).scores({"val/acc": 0.5})
    assert caplog.messages == ["FullLogger did not take the scores (OSError: [Errno 28] No space left on device)"]


@pytest.mark.parametrize(
    ("folder", "group", "name"),
    [
        ("outputs/runs/2026-11-21_10-52-37-957b", "runs", "2026-11-21_10-52-37-957b"),
        ("outputs/sweeps/mlp/trial-0007", "mlp", "trial-0007"),
        ("elsewhere/mlp/trial-0007/seed-2", "mlp", "trial-0007/seed-2"),
        ("outputs/sweeps/mlp/confirm/best-seed-101", "mlp", "confirm/best-seed-101"),
        ("outputs/grids/2026-11-21/3", "2026-11-21", "3"),
        ("mine", "runs", "mine"),
    ],
)
def test_a_run_has_the_name_of_its_folder_and_the_group_of_its_sweep(folder: str, group: str, name: str) -> None:
    assert run_folder.split_name(f"/somewhere/{folder}") == (group, name)


def test_csv_gets_the_scores_too(finished) -> None:
    text = (finished.folder / "csv" / "metrics.csv").read_text()
    assert "hp/test_acc" in text
    assert json.dumps(finished.result["test/acc"])[:6] in text
