"""Loggers of services that are no part of the installation, set up so that nothing leaves this machine unasked."""

import hashlib
import importlib
import os
import time
import warnings
from collections.abc import Mapping
from html import escape
from pathlib import Path
from textwrap import indent
from typing import Any

import torch
from filelock import FileLock
from google.protobuf.message import DecodeError
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor, nn
from torch.utils.tensorboard.summary import hparams

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import replace_atomically
from lightsweep.training.tracking import COMPARED, Column, Tracker, compared_scores, finite_values, outcome

_DATABASE = "mlflow.db"


def mlflow_logger(*, store: str, experiment: str, name: str, run_dir: str) -> Any:
    """Lightning's MLFlowLogger. A run that is resumed goes on in its own run of MLflow.

    Args:
        store: a folder, made if it is not there, or the address of a server (or a database).
        experiment: made if it is not there.
        name: of the run.
        run_dir: the run's folder, by which it is found again.

    Raises:
        ConfigError: MLflow is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    _need("mlflow")
    import logging

    from mlflow.tracking import MlflowClient
    from pytorch_lightning.loggers import MLFlowLogger

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # a page about each table that it makes
    logging.getLogger("alembic").setLevel(logging.WARNING)
    checks.require(isinstance(store, str) and store != "", "logger.mlflow.store", "be a folder or an address", store)
    if "://" in store:
        client, uri = MlflowClient(store), store
        return MLFlowLogger(experiment, name, uri, tags=_tags(run_dir), run_id=_run_of(client, experiment, run_dir))
    folder = Path(store).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{folder / _DATABASE}"
    # MLflow's own making of tables and experiments is no single step. The lock's file stays: a process that waits for
    # a removed one would not see a third that makes it anew.
    with FileLock(folder / f".{_DATABASE}.lock"):
        client = MlflowClient(uri)
        if client.get_experiment_by_name(experiment) is None:
            client.create_experiment(experiment, artifact_location=(folder / "artifacts").as_uri())
    return MLFlowLogger(experiment, name, uri, tags=_tags(run_dir), run_id=_run_of(client, experiment, run_dir))


def wandb_logger(*, project: str, group: str, name: str, run_dir: str, offline: bool) -> Any:
    """Lightning's WandbLogger. A run that is resumed goes on in its own run of W&B.

    Args:
        offline: keep everything in `run_dir`/wandb; ``wandb sync`` uploads it.

    Raises:
        ConfigError: W&B is not installed.
    """
    checks.flag("logger.wandb.offline", offline)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    _need("wandb")
    from pytorch_lightning.loggers import WandbLogger

    settings = Path(run_dir) / "wandb" / "settings"  # W&B would read another server from it
    checks.require(not settings.exists(), "logger.wandb.run_dir", f"be a folder without {settings}", run_dir)
    identity = _identity(run_dir)
    logger = WandbLogger(name, save_dir=run_dir, offline=offline, id=identity, project=project, group=group)
    logger._wandb_init.pop("anonymous", None)  # Lightning always hands it on, and W&B warns of it
    return logger


def _identity(run_dir: str) -> str:
    """The same for a run whenever it is gone on with."""
    return hashlib.sha256(run_dir.encode()).hexdigest()[:16]


def _tags(run_dir: str) -> dict[str, str]:
    return {"folder": run_dir, "lightsweep": _identity(run_dir)}


def _run_of(client: Any, experiment: str, run_dir: str) -> str | None:
    """The run of MLflow that a run's folder has already."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs([found.experiment_id], f"tags.lightsweep = '{_identity(run_dir)}'", max_results=1)
    return runs[0].info.run_id if runs else None


def _need(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"logger={package} needs the package {package} ({error}): pip install -e '.[{package}]'"
        ) from None


_MLFLOW_STATUS = {"success": "FINISHED", "stopped": "KILLED", "failure": "FAILED"}


class MLFlowTracker(Tracker):
    """MLflow keeps the first value of a setting for ever: what a resumed run changed becomes a tag."""

    logger: MLFlowLogger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        client, run = self.logger.experiment, self.logger.run_id
        client.update_run(run, status="RUNNING")
        before = client.get_run(run).data.params
        self.logger.log_hyperparams({key: value for key, value in params.items() if key not in before})
        for key, value in params.items():
            if before.get(key, str(value)) != str(value):
                client.set_tag(run, f"resumed.{key}", str(value))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(path), "figures")

    def text(self, name: str, path: Path, epoch: int) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(path))

    def close(self, status: str) -> None:
        client, run = self.logger.experiment, self.logger.run_id
        client.set_tag(run, "status", status)
        client.set_terminated(run, _MLFLOW_STATUS[outcome(status)])


_EXIT_CODES = {"success": 0, "stopped": 255, "failure": 1}  # 255 is what W&B calls killed


class WandbTracker(Tracker):
    """Lightning leaves a run of W&B open; the next one in the same process would go on in it."""

    logger: WandbLogger

    def scores(self, scores: Mapping[str, float]) -> None:
        self.logger.experiment.summary.update(compared_scores(scores))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        import wandb

        self.logger.experiment.log({name: wandb.Image(str(path)), "trainer/global_step": epoch})

    def text(self, name: str, path: Path, epoch: int) -> None:
        import wandb

        page = wandb.Html(f"<pre>{escape(path.read_text(encoding='utf-8'))}</pre>", inject=False)
        self.logger.experiment.log({name: page, "trainer/global_step": epoch})

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        import wandb

        if len(finite := finite_values(values)):
            self.logger.experiment.log({name: wandb.Histogram(finite.tolist()), "trainer/global_step": epoch})

    def close(self, status: str) -> None:
        self.logger.experiment.summary["status"] = status
        self.logger.experiment.finish(exit_code=_EXIT_CODES[outcome(status)])


# TensorBoard sorts groups of tags by name. Curves are what a person opens it for: all else follows `train` and `val`.
_AFTER_CURVES = "z_"
_BINS = 60  # of a histogram; TensorBoard shows 30
_TENSORBOARD_STATUS = {
    "success": api_pb2.STATUS_SUCCESS,
    "stopped": api_pb2.STATUS_UNKNOWN,
    "failure": api_pb2.STATUS_FAILURE,
}


class TensorBoardTracker(Tracker):
    """A run is one row in the HParams tab from its start on, and has no scores there before it was scored."""

    logger: TensorBoardLogger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        forget_settings(Path(self.logger.log_dir))
        self.logger.log_hyperparams(dict(params))  # without metrics: into hparams.yaml only
        _, session_start, _ = hparams(dict(params), {})
        self._add(_tagged(metadata.EXPERIMENT_TAG, experiment=_experiment(columns)))
        self._add(session_start)

    def scores(self, scores: Mapping[str, float]) -> None:
        self.logger.log_metrics({_tag(name): score for name, score in compared_scores(scores).items()}, step=1)

    def figure(self, name: str, path: Path, epoch: int) -> None:
        width, height = _size(png := path.read_bytes())
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._add(Summary(value=[Summary.Value(tag=_tag(name), image=image)]), epoch)

    def text(self, name: str, path: Path, epoch: int) -> None:
        verbatim = indent(path.read_text(encoding="utf-8"), "    ")  # the text is Markdown to TensorBoard
        self.logger.experiment.add_text(name, verbatim, epoch)

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        if len(finite := finite_values(values)):
            self.logger.experiment.add_histogram(_tag(name), finite, epoch, bins=_BINS)

    def graph(self, net: nn.Module, images: Tensor) -> None:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # of torch.jit.trace, which torch's writer uses
            self.logger.experiment.add_graph(net, images)

    def close(self, status: str) -> None:
        ended = plugin_data_pb2.SessionEndInfo(status=_TENSORBOARD_STATUS[outcome(status)], end_time_secs=time.time())
        self._add(_tagged(metadata.SESSION_END_INFO_TAG, session_end_info=ended))
        super().close(status)

    def _add(self, summary: Summary, step: int | None = None) -> None:
        self.logger.experiment._get_file_writer().add_summary(summary, step)


def _experiment(columns: Mapping[str, Column]) -> api_pb2.Experiment:
    settings = [
        api_pb2.HParamInfo(
            name=key,
            type=api_pb2.DATA_TYPE_STRING if column.text else api_pb2.DATA_TYPE_FLOAT64,
            differs=column.first,  # sorts them: the tab opens with the first five
        )
        for key, column in columns.items()
    ]
    scores = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=_tag(name)), display_name=key) for name, key in COMPARED.items()
    ]
    return api_pb2.Experiment(hparam_infos=settings, metric_infos=scores)


def _tag(name: str) -> str:
    return _AFTER_CURVES + name


def _tagged(tag: str, **content: Any) -> Summary:
    """What the HParams tab is told, by the field of its message."""
    data = plugin_data_pb2.HParamsPluginData(**content, version=metadata.PLUGIN_DATA_VERSION)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))])


def _size(png: bytes) -> tuple[int, int]:
    """Width and height, as the head of a PNG file says."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


_SETTINGS = (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)


def forget_settings(folder: Path) -> None:
    """Take out what the HParams tab was told by an earlier part of the run: TensorBoard believes what it reads first,
    and would show the old settings and the old end for ever."""
    for file in folder.glob("events.out.tfevents.*"):
        if not file.is_file():  # a pipe would be waited for
            continue
        records = list(RawEventFileLoader(str(file)).Load())
        kept = [record for record in records if not _is_setting(record)]
        if len(kept) == len(records):
            continue
        with replace_atomically(file) as temporary, temporary.open("wb") as stream:
            writer = RecordWriter(stream)
            for record in kept:
                writer.write(record)
            writer.flush()


def _is_setting(record: bytes) -> bool:
    try:
        event = Event.FromString(record)
    except DecodeError:  # none of ours
        return False
    return any(value.tag in _SETTINGS for value in event.summary.value)
